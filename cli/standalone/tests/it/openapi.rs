//! The checked-in OpenAPI document and its page are what the tables of both planes say.

use std::path::PathBuf;

use gateway_standalone::openapi;
use serde_json::Value;

#[test]
fn openapi_document() {
    let document = openapi::document();
    let mut text = serde_json::to_string_pretty(&document).expect("a value is JSON");
    text.push('\n');
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/api");
    for (name, made) in [("openapi.json", text), ("index.html", openapi::page(&document))] {
        let path = folder.join(name);
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            std::fs::write(&path, &made).expect("docs/api can be written");
        }
        let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(checked_in == made, "docs/api/{name} is not what the tables say; run with UPDATE_GENERATED=1");
    }
}

/// What a reader of the document relies on.
#[test]
fn the_document_is_whole() {
    let document = openapi::document();
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap_or_default();
        assert!(document.pointer(pointer).is_some(), "{pointer} is not there");
    }
    let mut ids = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("a path").iter().filter(|(name, _)| *name != "servers") {
            ids.push(operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no id")));
            assert!(operation["responses"].as_object().is_some_and(|all| !all.is_empty()), "{method} {path}");
            let named = |name: &str| {
                operation["parameters"].as_array().into_iter().flatten().any(|one: &Value| one["name"] == name)
            };
            for part in path.split('{').skip(1) {
                let name = part.split('}').next().unwrap_or_default();
                assert!(named(name), "{method} {path} does not describe `{name}`");
            }
        }
    }
    let n_all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), n_all, "operation ids are unique");
    assert!(n_all > 80, "both planes are in it");
    assert!(!openapi::page(&document).contains("<script"), "the page needs no script");
}
