//! Who may import whom among our own crates. A new edge is a diff of this table, so that it is seen in review.

use crate::graph::{DependencyKind, Package};

/// Crate, and all that it may depend on. Lowest level first.
pub const ALLOWED: &[(&str, &[&str])] = &[
    ("gateway-wire", &[]),
    ("gateway-model", &[]),
    ("gateway-tls", &[]),
    ("gateway-ir", &[]),
    ("gateway-dialects", &["gateway-ir"]),
    ("gateway-providers", &["gateway-ir", "gateway-model"]),
    ("gateway-engine", &["gateway-ir", "gateway-model", "gateway-providers"]),
    ("gateway-store", &["gateway-model"]),
    // The engine decides and does nothing else: `admin/explain.rs` asks it where a request would go. A provider that is tried is asked
    // by the address and the headers that nodes have, and its list of models is read by what reads it there: `upstreams.rs`.
    (
        "gateway-server",
        &[
            "gateway-store",
            "gateway-model",
            "gateway-tls",
            "gateway-wire",
            "gateway-engine",
            "gateway-providers",
            "gateway-dialects",
        ],
    ),
    (
        "gateway-proxy",
        &[
            "gateway-dialects",
            "gateway-providers",
            "gateway-engine",
            "gateway-ir",
            "gateway-model",
            "gateway-tls",
            "gateway-wire",
        ],
    ),
    ("gateway-standalone", &["gateway-server", "gateway-proxy", "gateway-model"]),
    ("gatewayctl", &["gateway-model", "gateway-standalone", "gateway-server", "gateway-proxy"]),
    ("gateway-fake", &[]),
    ("gateway-testing", &[]),
    (
        "gateway-sim",
        &["gateway-server", "gateway-proxy", "gateway-store", "gateway-engine", "gateway-model", "gateway-wire"],
    ),
    (
        "gateway-fleet-tests",
        &["gateway-server", "gateway-proxy", "gateway-store", "gateway-engine", "gateway-model", "gateway-wire"],
    ),
    ("gateway-checks", &[]),
    ("gateway-bench", &[]),
];

/// What tests may use beside the above.
pub const ALLOWED_IN_TESTS: &[(&str, &[&str])] = &[
    ("gateway-store", &["gateway-testing"]),
    ("gateway-proxy", &["gateway-fake", "gateway-testing"]),
    ("gateway-server", &["gateway-fake", "gateway-testing"]),
    ("gateway-standalone", &["gateway-fake", "gateway-testing"]),
    ("gatewayctl", &["gateway-fake", "gateway-testing"]),
    ("gateway-sim", &["gateway-testing"]),
    ("gateway-fleet-tests", &["gateway-fake", "gateway-testing"]),
    ("gateway-checks", &["gateway-fake", "gateway-testing"]),
];

/// The two planes meet in `wire` and `model` only; these crates compose them.
const BOTH_PLANES: [&str; 4] = ["gateway-standalone", "gatewayctl", "gateway-sim", "gateway-fleet-tests"];

/// Edges between our crates that the tables do not have, and crates that they do not know.
pub fn check(packages: &[Package]) -> Vec<String> {
    let mut findings = Vec::new();
    for package in packages {
        let Some(allowed) = row(ALLOWED, &package.name) else {
            findings.push(format!("`{}` is not in the table of allowed edges", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let is_ours = row(ALLOWED, &dependency.name).is_some();
            let in_tests = row(ALLOWED_IN_TESTS, &package.name).unwrap_or_default();
            let is_allowed = allowed.contains(&dependency.name.as_str())
                || dependency.kind == DependencyKind::Dev && in_tests.contains(&dependency.name.as_str());
            if is_ours && !is_allowed {
                findings.push(format!("`{}` may not depend on `{}`", package.name, dependency.name));
            }
        }
        let names = |name: &str| package.dependencies.iter().any(|dependency| dependency.name == name);
        if names("gateway-server") && names("gateway-proxy") && !BOTH_PLANES.contains(&package.name.as_str()) {
            findings.push(format!("`{}` names both planes", package.name));
        }
    }
    findings
}

fn row<'t>(table: &'t [(&str, &'t [&'t str])], name: &str) -> Option<&'t [&'t str]> {
    table.iter().find(|(package, _)| *package == name).map(|(_, allowed)| *allowed)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::graph::Dependency;

    pub(crate) fn package(name: &str, dependencies: &[(&str, DependencyKind)]) -> Package {
        let dependencies = dependencies.iter().map(|(name, kind)| Dependency { name: (*name).to_owned(), kind: *kind });
        Package { name: name.to_owned(), folder: String::new(), dependencies: dependencies.collect() }
    }

    #[test]
    fn forbidden_edges_are_found() {
        use DependencyKind::{Dev, Normal};
        for (package, expected) in [
            (package("gateway-dialects", &[("gateway-ir", Normal), ("bytes", Normal)]), 0),
            (package("gateway-dialects", &[("gateway-model", Normal)]), 1),
            (package("gateway-proxy", &[("gateway-fake", Dev)]), 0),
            (package("gateway-proxy", &[("gateway-fake", Normal)]), 1),
            (package("gateway-server", &[("gateway-proxy", Dev)]), 1),
            (package("gateway-bench", &[("gateway-proxy", Normal), ("gateway-server", Normal)]), 3),
            (package("gateway-new", &[]), 1),
        ] {
            assert_eq!(check(std::slice::from_ref(&package)).len(), expected, "{package:?}");
        }
    }
}
