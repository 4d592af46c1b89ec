//! Modules are listed vocabulary first, entry point last, and a module uses only modules listed before it. This makes cycles
//! impossible and gives every crate a reading order.

use std::collections::BTreeMap;

use crate::source::Source;

/// Uses against the order that are known, by crate and modules: who uses what. One that is no longer there is a finding too, so that
/// the list only grows shorter.
///
/// All of them are one knot: `Gateway`, what a worker serves requests with, is defined where it begins to serve, and holds what
/// those who are handed it define themselves.
const KNOWN: &[(&str, &str, &str)] = &[
    ("gateway-proxy", "reply", "pipeline"),
    ("gateway-proxy", "own", "pipeline"),
    ("gateway-proxy", "pass", "pipeline"),
    ("gateway-proxy", "batches", "pipeline"),
    ("gateway-proxy", "models", "pipeline"),
    ("gateway-proxy", "ops", "pipeline"),
    ("gateway-proxy", "responses", "pipeline"),
    ("gateway-proxy", "shadow", "pipeline"),
];

/// Uses of modules that are listed later, in production code. `sources` are all files of one crate's `src` folder, by their
/// path from there.
pub fn check(crate_name: &str, sources: &[Source]) -> Vec<String> {
    // A `main.rs` beside a `lib.rs` is a crate of its own, with a root of its own.
    let has_library = sources.iter().any(|source| source.path == "lib.rs");
    let is_of_crate = |source: &&Source| !(source.path.starts_with("bin/") || has_library && source.path == "main.rs");
    let lists: BTreeMap<String, Vec<String>> =
        sources.iter().filter(is_of_crate).map(|source| (module_of(&source.path), listed(source))).collect();
    let mut findings = Vec::new();
    let mut known: Vec<_> = KNOWN.iter().filter(|(of, ..)| *of == crate_name).map(|known| (known, false)).collect();
    for source in sources.iter().filter(is_of_crate).filter(|source| !source.is_test()) {
        let own = module_of(&source.path);
        for (line, used) in uses(source, &own) {
            // The first place where the paths part is where the order counts.
            let own_path: Vec<&str> = own.split("::").filter(|part| !part.is_empty()).collect();
            let used_path: Vec<&str> = used.split("::").filter(|part| !part.is_empty()).collect();
            let n_common = own_path.iter().zip(&used_path).take_while(|(a, b)| a == b).count();
            let (Some(own_branch), Some(used_branch)) = (own_path.get(n_common), used_path.get(n_common)) else {
                continue;
            };
            let parent = own_path[..n_common].join("::");
            let Some(order) = lists.get(&parent) else { continue };
            let place = |name: &str| order.iter().position(|listed| listed == name);
            if let (Some(own_place), Some(used_place)) = (place(own_branch), place(used_branch))
                && used_place > own_place
            {
                if let Some((_, is_met)) =
                    known.iter_mut().find(|((_, by, of), _)| by == own_branch && of == used_branch)
                {
                    *is_met = true;
                    continue;
                }
                let path = &source.path;
                findings.push(format!(
                    "{crate_name} {path}:{line}: `{own_branch}` uses `{used_branch}`, which is listed later"
                ));
            }
        }
    }
    let unmet = known.into_iter().filter(|(_, is_met)| !is_met);
    findings.extend(unmet.map(|((_, by, of), _)| {
        format!("{crate_name}: `{by}` no longer uses `{of}` against the order; take it off the list of order.rs")
    }));
    findings
}

/// `a/b.rs` is `a::b`; the crate's root is empty.
fn module_of(path: &str) -> String {
    let path = path.trim_end_matches(".rs");
    if path == "lib" || path == "main" { String::new() } else { path.replace('/', "::") }
}

/// Modules that a file declares, in order, without those that only tests have.
fn listed(source: &Source) -> Vec<String> {
    let mut modules = Vec::new();
    let mut only_tests = false;
    for (_, line) in source.code() {
        let declared =
            line.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ").trim_start_matches("pub ");
        if let Some(name) = declared.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'))
            && !only_tests
        {
            modules.push(name.to_owned());
        }
        only_tests = line.trim() == "#[cfg(test)]";
    }
    modules
}

/// Absolute module paths (without the crate) that the code names, through `crate::` and `super::`.
fn uses(source: &Source, own: &str) -> Vec<(usize, String)> {
    let parent = own.rsplit_once("::").map_or("", |(parent, _)| parent);
    let mut found = Vec::new();
    let mut statement: Option<(usize, String)> = None;
    for (line, text) in source.code() {
        // A `use` with braces may run over several lines; it is read as one.
        let (first, code) = match statement.take() {
            Some((first, before)) => (first, before + text.trim()),
            None => (line, text.trim().to_owned()),
        };
        let is_use = code.starts_with("use ") || code.starts_with("pub use ") || code.starts_with("pub(crate) use ");
        if is_use && !code.contains(';') {
            statement = Some((first, code));
            continue;
        }
        for (marker, base) in [("crate::", ""), ("super::", parent)] {
            for (at, _) in code.match_indices(marker) {
                let is_word = code[..at]
                    .chars()
                    .next_back()
                    .is_none_or(|before| !before.is_alphanumeric() && before != '_' && before != ':');
                if is_word {
                    found.extend(heads(&code[at + marker.len()..]).into_iter().map(|head| (first, join(base, &head))));
                }
            }
        }
    }
    found
}

/// `a::b::C` gives `a::b::C`; `{a::B, c}` gives both.
fn heads(rest: &str) -> Vec<String> {
    let path =
        |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect() };
    let Some(group) = rest.strip_prefix('{') else { return vec![path(rest)] };
    let mut depth = 0;
    let mut items = vec![String::new()];
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            _ => {}
        }
        items.last_mut().expect("never empty").push(character);
    }
    items.iter().map(|item| path(item.trim_start_matches([',', ' ']))).filter(|item| !item.is_empty()).collect()
}

fn join(base: &str, path: &str) -> String {
    if base.is_empty() { path.to_owned() } else { format!("{base}::{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_files(files: &[(&str, &str)], expected: &[&str]) {
        let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        let findings = check("x", &sources);
        assert_eq!(findings.len(), expected.len(), "{files:?}: {findings:?}");
        for (finding, expected) in findings.iter().zip(expected) {
            assert!(finding.contains(expected), "{finding} does not contain {expected}");
        }
    }

    #[test]
    fn uses_against_the_order_are_found() {
        let lib = ("lib.rs", "mod word;\npub mod deed;\n");
        check_files(&[lib, ("word.rs", "pub struct W;"), ("deed.rs", "use crate::word::W;")], &[]);
        check_files(&[lib, ("word.rs", "use crate::deed;"), ("deed.rs", "")], &["`word` uses `deed`"]);
        check_files(
            &[lib, ("word.rs", "use crate::{\n    deed::D,\n    word::W,\n};"), ("deed.rs", "")],
            &["word.rs:1"],
        );
        check_files(&[lib, ("word.rs", "fn f() { crate::deed::d() }"), ("deed.rs", "")], &["`deed`"]);
        let main = ("main.rs", "fn main() { x::deed::d() }");
        check_files(&[lib, ("word.rs", "use crate::deed;"), ("deed.rs", ""), main], &["`word` uses `deed`"]);
        check_files(&[lib, ("word.rs", "// crate::deed is the entry\nuse other_crate::deed;"), ("deed.rs", "")], &[]);
        check_files(
            &[lib, ("word/part.rs", "use crate::deed;"), ("word.rs", "mod part;"), ("deed.rs", "")],
            &["`word`"],
        );
    }

    #[test]
    fn what_is_known_is_no_finding_until_it_is_gone() {
        let (crate_name, by, of) = KNOWN[0];
        let check_knot = |text: &str, n_expected: usize| {
            let (lib, by, of) = (format!("mod {by};\nmod {of};"), format!("{by}.rs"), format!("{of}.rs"));
            let sources = [Source::new("lib.rs", &lib), Source::new(&by, text), Source::new(&of, "")];
            assert_eq!(check(crate_name, &sources).len(), n_expected, "{text}");
        };
        check_knot(&format!("use crate::{of};"), KNOWN.len() - 1);
        check_knot(&format!("// nothing of {by}"), KNOWN.len());
    }

    #[test]
    fn siblings_in_a_folder_have_an_order_too() {
        let files = |part: &'static str| {
            [
                ("lib.rs", "mod a;"),
                ("a.rs", "mod first;\nmod second;"),
                ("a/first.rs", part),
                ("a/second.rs", "use super::first;"),
            ]
        };
        check_files(&files("use super::Own;"), &[]);
        check_files(&files("use super::second::X;"), &["`first` uses `second`"]);
        check_files(&files("use crate::a::second;"), &["`first` uses `second`"]);
    }
}
