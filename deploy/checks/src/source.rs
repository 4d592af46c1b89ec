//! The files of the repository, and what of them is code.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file, by its path from the repository's root.
#[derive(Clone, Debug)]
pub struct Source {
    pub path: String,
    pub text: String,
}

/// Folders that hold no work of ours.
const SKIPPED: [&str; 7] = ["target", ".git", ".venv", ".node", "gateway-data", "node_modules", "out"];
/// What is text. Lock files are written by machines.
const KINDS: [&str; 14] =
    ["rs", "toml", "md", "proto", "sql", "py", "sh", "yaml", "yml", "json", "html", "js", "mjs", "txt"];
const NAMES: [&str; 5] = ["Makefile", "run", "LICENSE", "LICENSE-MIT", "LICENSE-APACHE"];

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate is two folders below the root")
        .to_owned()
}

/// Every text file, in a fixed order.
pub fn all(root: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    collect(root, root, &mut sources);
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn collect(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a folder's entry can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                collect(root, &path, sources);
            }
            continue;
        }
        let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        if !KINDS.contains(&extension.as_str()) && !NAMES.contains(&name.as_str()) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let path = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
        sources.push(Source { path, text });
    }
}

// === impl Source ===

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub fn is_generated(&self) -> bool {
        self.path.contains("/generated/")
    }

    /// Code that only tests run: integration tests, `tests.rs` modules and folders, the crates made for tests and benches.
    pub fn is_test(&self) -> bool {
        let test_crates =
            ["deploy/checks/", "deploy/bench/", "deploy/testing/", "deploy/sim/", "deploy/fleet/", "data-plane/fake/"];
        test_crates.iter().any(|start| self.path.starts_with(start))
            || self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
    }

    /// Lines of code with their numbers from 1: no comments, and nothing from the first in-file test module on.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(at, line)| (at + 1, line));
        let mut in_tests = false;
        let mut previous_is_gate = false;
        lines.filter(move |(_, line)| {
            let line = line.trim_start();
            in_tests |= previous_is_gate && line.starts_with("mod ") && line.ends_with('{');
            previous_is_gate = line == "#[cfg(test)]";
            !in_tests && !line.starts_with("//")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_without_comments_and_in_file_tests() {
        let gate = "#[cfg(test)]";
        let text =
            format!("//! doc\nuse a;\n{gate}\nmod tests;\nfn b() {{}}\n{gate}\nmod tests {{\n    fn c() {{}}\n}}\n");
        let source = Source::new("a/src/lib.rs", &text);
        let code: Vec<usize> = source.code().map(|(line, _)| line).collect();
        assert_eq!(code, [2, 3, 4, 5, 6]);
    }

    #[test]
    fn the_repository_is_found() {
        let sources = all(&root());
        assert!(sources.iter().any(|source| source.path == "deploy/checks/src/source.rs"));
        assert!(!sources.iter().any(|source| source.path.starts_with("target/")));
    }
}
