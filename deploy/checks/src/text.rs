//! What every file looks like: its size, its opening, what it must not contain. Patterns are put together at compile time so
//! that this file does not contain them.

use crate::source::Source;

const MAX_LINES: usize = 500;

/// Longer files, each a table without logic, with the reason.
const TABLES: &[(&str, &str)] = &[];

/// In Rust files; the reason is the message.
const NOT_IN_RUST: &[(&str, &str)] = &[
    (concat!("#[al", "low("), "use `#[expect(…, reason = …)]`, which goes away with its cause"),
    (concat!("#![al", "low("), "use `#[expect(…, reason = …)]`, which goes away with its cause"),
    (concat!("#[ign", "ore"), "a test that is not run is no test"),
    (concat!("should_", "panic"), "test the error that a caller sees"),
    (concat!("dbg", "!("), "left from debugging"),
    (concat!("to", "do!("), "unfinished"),
    (concat!("unimple", "mented!("), "unfinished"),
    (concat!("uns", "afe "), "forbidden"),
];

/// In any file.
const NOWHERE: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "open an issue instead"),
    (concat!("FIX", "ME"), "open an issue instead"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("Co-Auth", "ored-By"), "belongs to no file"),
    (concat!("crates", ".io"), "a package registry's host"),
    (concat!("pypi", ".org"), "a package registry's host"),
    (concat!("registry.npm", "js"), "a package registry's host"),
    (concat!("proxy.go", "lang"), "a package registry's host"),
    (concat!("BEGIN PRIV", "ATE KEY"), "a secret"),
    (concat!("sk-pr", "oj-"), "looks like a real key"),
    (concat!("sk-ant-", "api"), "looks like a real key"),
];

/// Findings of one file.
pub fn check(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    let path = &source.path;
    if source.is_rust() && !source.is_generated() {
        let n_lines = source.text.lines().count();
        if n_lines > MAX_LINES && !TABLES.iter().any(|(table, _)| table == path) {
            findings.push(format!("{path}: {n_lines} lines; split it by idea at {MAX_LINES}"));
        }
        if !source.text.starts_with("//!") {
            findings.push(format!("{path}: does not start with `//!` saying what it owns"));
        }
        if path.ends_with("/mod.rs") && !path.contains("/tests/") {
            findings.push(format!("{path}: name it after the module, beside its folder"));
        }
        findings.extend(lines_with(source, NOT_IN_RUST));
    }
    if !source.is_generated() && !path.starts_with("LICENSE") {
        findings.extend(lines_with(source, NOWHERE));
    }
    // Who is a workspace of its own has no other's lints to take.
    let has_lints = source.text.contains("[lints]\nworkspace = true") || source.text.contains("\n[workspace]");
    if path.ends_with("Cargo.toml") && path != "Cargo.toml" && !has_lints {
        findings.push(format!("{path}: does not take the workspace's lints"));
    }
    findings
}

/// The lints that the rules lean on are set for the whole workspace.
pub fn check_root_manifest(text: &str) -> Vec<String> {
    let lines: [(&str, &str); 2] = [(concat!("uns", "afe_code = \"forbid\""), "rust"), ("unwrap_used = ", "clippy")];
    let missing = lines.iter().filter(|(line, _)| !text.contains(line));
    missing.map(|(line, tool)| format!("Cargo.toml: the {tool} lint `{line}` is not set")).collect()
}

fn lines_with(source: &Source, patterns: &[(&str, &str)]) -> Vec<String> {
    let mut findings = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        // What a generator writes may break any lint or none, so that nothing can be expected of it.
        if line.contains("reason = \"generated code\"") {
            continue;
        }
        for (pattern, reason) in patterns.iter().filter(|(pattern, _)| line.contains(pattern)) {
            findings.push(format!("{}:{}: `{pattern}`: {reason}", source.path, at + 1));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(path: &str, text: &str, expected: usize) {
        let findings = check(&Source::new(path, text));
        assert_eq!(findings.len(), expected, "{path}: {findings:?}");
    }

    #[test]
    fn bad_files_are_found() {
        check_text("a/src/lib.rs", "//! Owns a.\n", 0);
        check_text("a/src/lib.rs", "use b;\n", 1);
        check_text("a/src/b/mod.rs", "//! Owns b.\n", 1);
        check_text("a/src/lib.rs", &"//! Long.\n".repeat(501), 1);
        check_text("a/src/generated/x.rs", &"x\n".repeat(501), 0);
        for (pattern, _) in NOT_IN_RUST {
            check_text("a/src/lib.rs", &format!("//! a\n{pattern}x"), 1);
            check_text("README.md", pattern, 0);
        }
        for (pattern, _) in NOWHERE {
            check_text("README.md", &format!("x {pattern}"), 1);
        }
        check_text("a/Cargo.toml", "[package]\n", 1);
        check_text("a/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n", 0);
        assert_eq!(check_root_manifest("").len(), 2);
    }
}
