//! The rules of the house, applied to this repository. Each rule lives in this crate's library, beside the test that proves
//! that it can fail.

use gateway_checks::source::{Source, all, root};
use gateway_checks::{edges, externals, graph, licences, order, places, promises, text};

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
