//! The rows against the router, both ways.

use super::*;
use crate::pages;

/// What routes requests, as it is written.
const ROUTERS: [&str; 1] = [include_str!("../ingress.rs")];

#[test]
fn every_row_is_served_and_no_other_method_of_its_path_is() {
    for row in ROWS {
        let sample = super::sample(row.path);
        assert!(ingress::operation(&row.method, &sample).is_ok(), "{} {}", row.method, row.path);
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let is_described = ROWS.iter().any(|other| super::sample(other.path) == sample && other.method == method);
            let is_served = ingress::operation(&method, &sample).is_ok();
            assert_eq!(is_served, is_described, "{method} {} is served, described", row.path);
        }
    }
}

/// A path that the router compares with and that no row has is one that nobody would find.
#[test]
fn every_route_of_the_router_is_described() {
    let mut n_found = 0;
    for router in ROUTERS.map(|source| source.split("#[cfg(test)]").next().unwrap_or(source)) {
        for line in router.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for literal in line.split('"').skip(1).step_by(2).filter(|literal| is_path(literal)) {
                n_found += 1;
                let is_described = ROWS.iter().any(|row| match literal.strip_suffix('/') {
                    Some(prefix) if !prefix.is_empty() => row.path.starts_with(literal) || row.path == prefix,
                    _ => row.path == literal,
                });
                assert!(is_described, "`{literal}` is served and not described in openapi.rs");
            }
        }
    }
    assert!(n_found >= 20, "the router was read");
    for page in pages::PAGES {
        assert!(ROWS.iter().any(|row| row.path == page.path), "`{}` is served and not described", page.path);
    }
}

/// Of the literals in the router, those that are paths of ours.
fn is_path(literal: &str) -> bool {
    let is_plain = literal.chars().all(|c| c.is_ascii_alphanumeric() || "/_-".contains(c));
    literal.starts_with('/') && literal.len() > 1 && is_plain && !literal.starts_with("/admin")
}

#[test]
fn every_schema_is_used_and_there() {
    let fragment = fragment();
    let text = fragment.to_string();
    let schemas = fragment["components"]["schemas"].as_object().expect("schemas");
    for name in schemas.keys() {
        assert!(text.contains(&format!("\"#/components/schemas/{name}\"")), "{name} is not used");
    }
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap_or_default();
        assert!(schemas.contains_key(name), "{name} is not there");
    }
}
