//! What our documents promise is there: links lead somewhere, `make` targets and `gatewayctl` commands exist.

use std::path::Path;

use crate::source::Source;

/// Links of a Markdown file to files that are not there. `exists` tells of a path from the repository's root.
pub fn check_links(document: &Source, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let folder = Path::new(&document.path).parent().unwrap_or(Path::new(""));
    let mut findings = Vec::new();
    for (at, _) in document.text.match_indices("](") {
        let target = document.text[at + 2..].split(')').next().unwrap_or_default();
        let file = target.split('#').next().unwrap_or_default();
        if file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
            continue;
        }
        let path = normal(&folder.join(file).to_string_lossy());
        if !exists(&path) {
            findings.push(format!("{}: links to {path}, which is not there", document.path));
        }
    }
    findings
}

/// `make` targets that a document names and the Makefile does not have.
pub fn check_make(document: &Source, makefile: &str) -> Vec<String> {
    let is_target = |name: &str| makefile.lines().any(|line| line.split(':').next() == Some(name));
    let named = commands(&document.text, "make ").into_iter().filter(|name| !is_target(name));
    named.map(|name| format!("{}: `make {name}` is not in the Makefile", document.path)).collect()
}

/// Commands of `gatewayctl` that a document names and its help does not list.
pub fn check_gatewayctl(document: &Source, help: &str) -> Vec<String> {
    let is_command = |name: &str| help.lines().any(|line| line.split_whitespace().next() == Some(name));
    let named = commands(&document.text, "gatewayctl ").into_iter().filter(|name| !is_command(name));
    named.map(|name| format!("{}: `gatewayctl {name}` is not a command", document.path)).collect()
}

/// First words after `program` inside code: spans in backticks and fenced blocks.
fn commands(text: &str, program: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            continue;
        }
        let spans: Vec<&str> = if in_block { vec![line] } else { line.split('`').skip(1).step_by(2).collect() };
        for span in spans {
            let at_start = span.trim_start().trim_start_matches("$ ").trim_start_matches("./");
            if let Some(rest) = at_start.strip_prefix(program) {
                let word: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
                if !word.is_empty() && !word.starts_with('-') {
                    found.push(word);
                }
            }
        }
    }
    found
}

fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_promises_are_found() {
        let links = "[a](there.md) [b](gone.md#part) [c](https://example.com) [d](../LICENSE) [e](#here)";
        let exists = |path: &str| path == "docs/there.md" || path == "LICENSE";
        assert_eq!(check_links(&Source::new("docs/x.md", links), exists).len(), 1);
        let makefile = ".PHONY: test\ntest: deps\n\tcargo test\n";
        let text = "Run `make test`, then make sure of `make fly`.\n```\nmake test\nmake swim\n```\n";
        assert_eq!(check_make(&Source::new("README.md", text), makefile).len(), 2);
        let help = "Commands:\n  apply  Applies a file\n  up     Starts\n";
        let text = "```\n$ gatewayctl apply -f x\ngatewayctl fly\n```\nor `gatewayctl up` and `gatewayctl --help`";
        assert_eq!(check_gatewayctl(&Source::new("README.md", text), help).len(), 1);
    }
}
