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
    let begins = FILES
        .iter()
        .filter(|file| file.path.ends_with(".js") && index.contains(&format!("/ui/{VERSION}/{}\"", file.path)));
    // With the page, not one after the other: all that the first one needs.
    let begins: BTreeSet<&str> = begins.map(|file| file.path).collect();
    for file in begins.iter().filter_map(|path| FILES.iter().find(|file| file.path == *path)) {
        for path in imports(file) {
            assert!(begins.contains(path.as_str()), "{} needs {path}, which comes after it", file.path);
        }
    }
    assert!(begins.contains("pages/overview.js"));
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
        let later = text(file).split("import(\"").skip(1).filter_map(|rest| rest.split('"').next());
        for path in imports(file).into_iter().chain(later.map(|import| path(file, import))) {
            assert!(listed.contains(&path), "{} imports {path}, which is not there", file.path);
        }
    }
}

/// What stands at the head of a file; further down it is a recipe for somebody else's.
fn imports(file: &File) -> Vec<String> {
    let head =
        text(file).lines().take_while(|line| line.is_empty() || line.starts_with("//") || line.starts_with("import "));
    head.filter_map(|line| Some(path(file, line.split("from \"").nth(1)?.split('"').next()?))).collect()
}

fn path(file: &File, import: &str) -> String {
    assert!(import.starts_with('.'), "{} imports `{import}`, which is not ours", file.path);
    let folder = Path::new(file.path).parent().expect("all are in folders");
    let mut path: Vec<&str> = folder.iter().filter_map(|part| part.to_str()).collect();
    for part in import.split('/') {
        match part {
            "." => {}
            ".." => drop(path.pop()),
            name => path.push(name),
        }
    }
    path.join("/")
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
    let version = FILES_VERSION.as_str();
    let asset = |folder, file, asked: &HeaderMap| asset(version, folder, file, asked);
    let first = asset("app", "main.js", &HeaderMap::new()).expect("there");
    assert_eq!(first.headers()[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
    let asked = HeaderMap::from_iter([(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone())]);
    assert_eq!(asset("app", "main.js", &asked).expect("there").status(), StatusCode::NOT_MODIFIED);
    for (folder, file) in [("app", "../../Cargo.toml"), ("..", "Cargo.toml"), ("app", "none.js"), ("", "index.html")] {
        assert!(asset(folder, file, &HeaderMap::new()).is_none(), "{folder}/{file}");
    }
}

/// A page names the files of its version, which a browser need not ask for again; what a page from before asks for is there too.
#[test]
fn a_version_of_the_files_is_kept_for_good() {
    let index = text(&FILES[0]);
    assert_eq!(index.matches("\"/ui/").count(), index.matches("\"/ui/{version}/").count());
    let of = |version: &str| {
        asset(version, "app", "main.js", &HeaderMap::new()).expect("there").headers()[header::CACHE_CONTROL].clone()
    };
    assert_eq!(of("of-before"), ASKED);
    assert_eq!(of(&FILES_VERSION), if cfg!(debug_assertions) { ASKED } else { KEPT });
}
