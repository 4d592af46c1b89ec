//! Licences of everything that we build with: permissive ones, by name.

use crate::graph::Licensed;

/// What may be linked into a program that is given away under MIT or Apache-2.0 without further duties than notices.
const PERMISSIVE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages whose licence does not permit us to use them, or that name none.
pub fn check(packages: &[Licensed]) -> Vec<String> {
    let refused = packages.iter().filter(|package| !package.licence.as_deref().is_some_and(permits));
    refused.map(|package| format!("`{}` is under {:?}", package.name, package.licence)).collect()
}

/// Whether an SPDX expression can be satisfied with permissive licences alone. `/` is the old way to write `OR`.
fn permits(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    any(&mut rest) == Some(true) && rest.is_empty()
}

fn any(tokens: &mut &[&str]) -> Option<bool> {
    let mut value = all(tokens)?;
    while take(tokens, "OR") {
        value |= all(tokens)?;
    }
    Some(value)
}

fn all(tokens: &mut &[&str]) -> Option<bool> {
    let mut value = one(tokens)?;
    while take(tokens, "AND") {
        value &= one(tokens)?;
    }
    Some(value)
}

fn one(tokens: &mut &[&str]) -> Option<bool> {
    if take(tokens, "(") {
        let value = any(tokens)?;
        return take(tokens, ")").then_some(value);
    }
    let (name, rest) = tokens.split_first()?;
    *tokens = rest;
    let mut name = (*name).to_owned();
    if take(tokens, "WITH") {
        let (exception, rest) = tokens.split_first()?;
        *tokens = rest;
        name = format!("{name} WITH {exception}");
    }
    Some(PERMISSIVE.contains(&name.as_str()))
}

fn take(tokens: &mut &[&str], token: &str) -> bool {
    match tokens.split_first() {
        Some((first, rest)) if *first == token => {
            *tokens = rest;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_weighed() {
        for (licence, expected) in [
            (Some("MIT"), 0),
            (Some("MIT/GPL-3.0"), 0),
            (Some("Apache-2.0 WITH LLVM-exception OR Apache-2.0"), 0),
            (Some("(MIT OR GPL-2.0) AND Unicode-3.0"), 0),
            (Some("GPL-3.0-only"), 1),
            (Some("MIT AND GPL-2.0"), 1),
            (Some("(MIT OR Apache-2.0) AND LGPL-2.1-or-later"), 1),
            (Some("MIT OR"), 1),
            (Some("(MIT"), 1),
            (None, 1),
        ] {
            let package = Licensed { name: "x".to_owned(), licence: licence.map(str::to_owned) };
            assert_eq!(check(&[package]).len(), expected, "{licence:?}");
        }
    }
}
