//! What must be so of the dashboard's files.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

fn text(file: &File) -> &'static str {
    std::str::from_utf8(file.bytes).expect("all files are text")
}

/// Nothing is loaded from anywhere else: by the policy, and by what stands in the files.
#[test]
fn dashboard_makes_no_external_request() {
    let policy = page(Some("http://0.0.0.0:8080"), Some("gateway.example.com"), &HeaderMap::new());
    let policy = policy.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect("text").to_owned();
    let sources: Vec<&str> = policy.split("; ").collect();
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self' http://gateway.example.com:8080",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "object-src 'none'",
    ] {
        assert!(sources.contains(&part), "{part} in {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    let alone = page(None, None, &HeaderMap::new());
    assert!(alone.headers()[header::CONTENT_SECURITY_POLICY].to_str().expect("text").contains("connect-src 'self';"));
    for file in FILES.iter().filter(|file| !file.path.starts_with("vendor/LICENSE")) {
        let text = text(file);
        for loads in
            ["import(\"http", "from \"http", "src=\"http", "url(http", "url(//", "@import", "eval(", "new Function"]
        {
            assert!(!text.contains(loads), "{} has `{loads}`", file.path);
        }
        let is_ours = !file.path.starts_with("vendor/");
        for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"] {
            assert!(!is_ours || !text.contains(markup), "{} has `{markup}`: what a model says is text", file.path);
        }
        if file.path.ends_with(".js") && is_ours {
            let calls = text.match_indices("fetch(").count();
            let may_fetch = ["app/api.js", "app/public.js"].contains(&file.path);
            assert!(calls == 0 || may_fetch, "{} calls out by itself; api.js does that", file.path);
        }
    }
    let index = text(&FILES[0]);
    for file in FILES.iter().filter(|file| file.path.ends_with(".js")) {
        assert!(
            index.contains(&format!("=\"/ui/{}\"", file.path)),
            "{} is loaded with the page, not after it",
            file.path
        );
    }
    for inline in ["<style", "style=", "onclick", "onload", "<script>"] {
        assert!(!index.contains(inline), "the policy forbids `{inline}` in the page");
    }
}

#[test]
fn the_table_has_every_file_and_every_import_leads_to_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboard");
    let mut found: BTreeSet<String> = BTreeSet::from([INDEX.to_owned()]);
    for folder in ["app", "pages", "style", "vendor"] {
        for entry in std::fs::read_dir(root.join(folder)).expect("a folder") {
            let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            found.insert(format!("{folder}/{name}"));
        }
    }
    found.remove("vendor/README.md");
    let listed: BTreeSet<String> = FILES.iter().map(|file| file.path.to_owned()).collect();
    assert_eq!(found, listed);
    for file in FILES.iter().filter(|file| file.path.ends_with(".js")) {
        // At the head of a file; further down it is a recipe for somebody else's.
        let head = text(file)
            .lines()
            .take_while(|line| line.is_empty() || line.starts_with("//") || line.starts_with("import "));
        for import in head.filter_map(|line| line.split("from \"").nth(1)?.split('"').next()) {
            let folder = Path::new(file.path).parent().expect("all are in folders");
            let mut path: Vec<&str> = folder.iter().filter_map(|part| part.to_str()).collect();
            for part in import.split('/') {
                match part {
                    "." => {}
                    ".." => drop(path.pop()),
                    name => path.push(name),
                }
            }
            let path = path.join("/");
            let named = import.starts_with('.') && listed.contains(&path);
            assert!(named, "{} imports `{import}`, which is not there", file.path);
        }
    }
}

#[test]
fn every_library_comes_with_its_licence() {
    for (library, holder) in
        [("preact", "Jason Miller"), ("htm", "Google"), ("signals", "Preact Team"), ("uplot", "Leon Sorokin")]
    {
        let path = format!("vendor/LICENSE-{library}.txt");
        let licence = FILES.iter().find(|file| file.path == path).map(text).unwrap_or_default();
        assert!(licence.contains(holder), "{path} names {holder}");
        let readme = include_str!("../../dashboard/vendor/README.md");
        assert!(readme.contains(library), "{library}: where it came from");
    }
    let libraries = FILES.iter().filter(|file| file.path.starts_with("vendor/") && file.path.ends_with(".js"));
    for file in libraries {
        let name = file.path.trim_start_matches("vendor/");
        let library = name.split(['.', '-']).next().unwrap_or_default();
        let path = format!("vendor/LICENSE-{library}.txt");
        assert!(FILES.iter().any(|file| file.path == path), "{name} has no licence beside it");
    }
}

#[test]
fn a_file_that_is_known_is_not_sent_again() {
    let first = asset("app", "main.js", &HeaderMap::new()).expect("there");
    assert_eq!(first.headers()[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
    let asked = HeaderMap::from_iter([(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone())]);
    assert_eq!(asset("app", "main.js", &asked).expect("there").status(), StatusCode::NOT_MODIFIED);
    for (folder, file) in [("app", "../../Cargo.toml"), ("..", "Cargo.toml"), ("app", "none.js"), ("", "index.html")] {
        assert!(asset(folder, file, &HeaderMap::new()).is_none(), "{folder}/{file}");
    }
}
