//! The rules of the house, applied to this repository. Each rule lives in this crate's library, beside the test that proves
//! that it can fail.

use gateway_checks::source::{Source, all, root};
use gateway_checks::{edges, externals, features, graph, licences, order, places, promises, text};

/// Fails with all findings at once: a rule that tells one at a time costs a run for each.
fn none(findings: Vec<String>) {
    assert!(findings.is_empty(), "{} findings:\n  {}\n", findings.len(), findings.join("\n  "));
}

#[test]
fn crates_import_only_what_they_may() {
    let (packages, _) = graph::read(&root());
    none([edges::check(&packages), externals::check_direct(&packages)].concat());
}

#[test]
fn nothing_is_compiled_in_that_must_not_be() {
    let (packages, _) = graph::read(&root());
    let of = |name: &str| externals::check_closure(name, &graph::closure(&root(), name));
    none(packages.iter().flat_map(|package| of(&package.name)).collect());
}

#[test]
fn licences_are_permissive() {
    let (_, licensed) = graph::read(&root());
    none(licences::check(&licensed));
}

#[test]
fn modules_use_only_modules_listed_before_them() {
    let (packages, _) = graph::read(&root());
    let sources = all(&root());
    let mut findings = Vec::new();
    for package in packages {
        let folder = format!("{}/src/", package.folder);
        let own = sources.iter().filter(|source| source.is_rust() && !source.is_generated());
        let own = own.filter_map(|source| Some(Source::new(source.path.strip_prefix(&folder)?, &source.text)));
        findings.extend(order::check(&package.name, &own.collect::<Vec<_>>()));
    }
    none(findings);
}

#[test]
fn files_are_small_say_what_they_own_and_hold_nothing_forbidden() {
    let sources = all(&root());
    let manifest = sources.iter().find(|source| source.path == "Cargo.toml").expect("the workspace has a manifest");
    let findings = sources.iter().flat_map(text::check).chain(text::check_root_manifest(&manifest.text));
    none(findings.collect());
}

#[test]
fn environment_time_and_tasks_have_their_places() {
    let sources = all(&root());
    none(sources.iter().flat_map(places::check).chain(places::check_table(&sources)).collect());
}

#[test]
fn documents_keep_their_promises() {
    let sources = all(&root());
    let makefile = sources.iter().find(|source| source.path == "Makefile").expect("there is a Makefile");
    let documents = sources.iter().filter(|source| source.path.ends_with(".md"));
    let of = |document: &Source| {
        let links = promises::check_links(document, |path| root().join(path).exists());
        [links, promises::check_make(document, &makefile.text)].concat()
    };
    none(documents.flat_map(of).collect());
}

#[test]
fn every_promised_feature_has_its_test() {
    let sources = all(&root());
    let list = sources.iter().find(|source| source.path == "deploy/checks/features.txt").expect("the list is there");
    let (list, tests) = (features::List::read(&list.text), features::tests(&sources));
    let mut findings = list.check(&tests);
    match std::fs::read_to_string(shared().join("spec/features.md")) {
        Ok(text) => {
            let table = text.split("\n## 43.").nth(1).and_then(|rest| rest.split("\n## ").next());
            findings.extend(list.check_against(table.expect("the table is section 43")));
        }
        Err(_) => {
            eprintln!("SKIPPED: the list of features against the table that it was made from, which is not there")
        }
    }
    none(findings);
    let (page, path) = (list.page(&tests), root().join("docs/features.md"));
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, &page).expect("docs/features.md can be written");
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(checked_in == page, "docs/features.md is not what the list and the tests say; run with UPDATE_GENERATED=1");
}

/// Data beside the checkout that is no part of it.
fn shared() -> std::path::PathBuf {
    std::env::var_os("GATEWAY_SHARED").map_or_else(|| root().join("../shared"), Into::into)
}
