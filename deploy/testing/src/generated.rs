//! Parts of documents that are made of tables in the code: between two marks, checked by a test, written anew where
//! `UPDATE_GENERATED` is set.

use std::path::Path;

/// Holds what stands between `<!-- {mark} -->` and `<!-- /{mark} -->` in the file against `text`.
///
/// # Panics
/// Where they differ and nothing is to be written, or the file or its marks are not there.
pub fn section(path: &Path, mark: &str, text: &str) {
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
    let page = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no `{begin}` in {}", path.display()));
    let (found, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no `{end}` in {}", path.display()));
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        return std::fs::write(path, [before, &begin, text, &end, after].concat()).expect("the page can be written");
    }
    assert!(found == text, "`{mark}` in {} is not what the code says; run with UPDATE_GENERATED=1", path.display());
}
