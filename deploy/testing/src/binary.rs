//! The program that tests of the whole start.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The built `gatewayctl`: what the variable `GATEWAYCTL` names, else the workspace's own, built once.
pub fn gatewayctl() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("GATEWAYCTL") {
            return PathBuf::from(path);
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let build = Command::new(cargo).args(["build", "--package", "gatewayctl"]).status();
        assert!(build.expect("cargo runs").success(), "gatewayctl does not build");
        // This test is <target>/<profile>/deps/<name>-<hash>.
        let own = std::env::current_exe().expect("a test knows where it is");
        own.ancestors().nth(2).expect("below deps").join("gatewayctl")
    })
}
