//! Which of other people's crates may be used where.

use crate::graph::{DependencyKind, Package};

/// Crates that decide and translate: nothing that does I/O may be compiled into them, not even through others.
pub const PURE: &[&str] = &["gateway-model", "gateway-ir", "gateway-dialects", "gateway-providers", "gateway-engine"];
const IO: &[&str] = &["tokio", "hyper", "hyper-util", "axum", "tonic", "reqwest", "sqlx", "sqlx-core"];

/// Crates that only these may name.
const ONLY: &[(&str, &[&str])] = &[
    ("sqlx", &["gateway-store"]),
    ("axum", &["gateway-server"]),
    ("tonic", &["gateway-wire", "gateway-server", "gateway-proxy"]),
    ("tonic-prost", &["gateway-wire"]),
    ("prost", &["gateway-wire", "gateway-server", "gateway-proxy", "gateway-fleet-tests"]),
    ("clap", &["gatewayctl", "gateway-server", "gateway-proxy", "gateway-bench", "gateway-fleet-tests"]),
    ("reqwest", &["gatewayctl", "gateway-standalone", "gateway-server", "gateway-store"]),
];

/// Code that needs a program or the network while building.
const NO_BUILD_STEPS: &[&str] = &["prost-build", "tonic-build", "tonic-prost-build", "protox"];

/// A second TLS or crypto provider beside the one in the tree.
const FOREIGN_CRYPTO: &[&str] = &["ring", "openssl-sys", "native-tls"];

/// Direct dependencies that break the table.
pub fn check_direct(packages: &[Package]) -> Vec<String> {
    let mut findings = Vec::new();
    for package in packages {
        for dependency in package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Dev) {
            let name = dependency.name.as_str();
            let holders = ONLY.iter().find(|(only, _)| *only == name).map(|(_, holders)| *holders);
            if holders.is_some_and(|holders| !holders.contains(&package.name.as_str())) {
                findings.push(format!("`{}` may not use `{name}`: only {holders:?} may", package.name));
            }
            if NO_BUILD_STEPS.contains(&name) {
                findings.push(format!("`{}` uses `{name}` outside tests: generated code is checked in", package.name));
            }
            if dependency.kind == DependencyKind::Build {
                findings
                    .push(format!("`{}` has the build dependency `{name}`: we have no build scripts", package.name));
            }
        }
    }
    findings
}

/// What is compiled into a package and must not be.
pub fn check_closure(package: &str, closure: &[String]) -> Vec<String> {
    let has = |name: &&&str| closure.iter().any(|compiled| compiled == **name);
    let io = IO.iter().filter(|_| PURE.contains(&package)).filter(has);
    let io = io.map(|name| format!("`{package}` decides and must not do I/O, yet `{name}` is compiled into it"));
    let crypto = FOREIGN_CRYPTO.iter().filter(has);
    let crypto =
        crypto.map(|name| format!("`{name}` is compiled into `{package}`: one crypto provider, aws-lc-rs, is enough"));
    io.chain(crypto).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edges::tests::package;

    #[test]
    fn misplaced_crates_are_found() {
        use DependencyKind::{Build, Dev, Normal};
        for (package, expected) in [
            (package("gateway-store", &[("sqlx", Normal)]), 0),
            (package("gateway-server", &[("sqlx", Normal)]), 1),
            (package("gateway-server", &[("sqlx", Dev)]), 0),
            (package("gateway-wire", &[("protox", Dev)]), 0),
            (package("gateway-wire", &[("protox", Normal)]), 1),
            (package("gateway-wire", &[("cc", Build)]), 1),
        ] {
            assert_eq!(check_direct(std::slice::from_ref(&package)).len(), expected, "{package:?}");
        }
    }

    #[test]
    fn what_must_not_be_compiled_in_is_found() {
        for (package, closure, expected) in [
            ("gateway-engine", ["gateway-engine", "serde"], 0),
            ("gateway-engine", ["tokio", "hyper"], 2),
            ("gateway-proxy", ["tokio", "hyper"], 0),
            ("gateway-proxy", ["tokio", "ring"], 1),
        ] {
            let closure = closure.map(str::to_owned);
            assert_eq!(check_closure(package, &closure).len(), expected, "{package} {closure:?}");
        }
    }
}
