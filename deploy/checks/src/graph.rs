//! What cargo says of packages and their dependencies.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// A package of the workspace.
#[derive(Clone, Debug)]
pub struct Package {
    pub name: String,
    /// Folder from the repository's root.
    pub folder: String,
    /// Names as in the manifest, renames undone.
    pub dependencies: Vec<Dependency>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    pub name: String,
    pub kind: DependencyKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DependencyKind {
    Normal,
    Dev,
    Build,
}

/// A package of ours or of others, for its licence.
#[derive(Clone, Debug)]
pub struct Licensed {
    pub name: String,
    pub licence: Option<String>,
}

/// The workspace's packages, and the licence of everything in the lock file that any target uses.
pub fn read(root: &Path) -> (Vec<Package>, Vec<Licensed>) {
    let metadata = cargo(root, &["metadata", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo prints JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let members: Vec<String> = array(&metadata["workspace_members"]).iter().map(text).collect();
    let mut packages = Vec::new();
    let mut licensed = Vec::new();
    for package in array(&metadata["packages"]) {
        licensed
            .push(Licensed { name: text(&package["name"]), licence: package["license"].as_str().map(str::to_owned) });
        if !members.contains(&text(&package["id"])) {
            continue;
        }
        let manifest = text(&package["manifest_path"]);
        let folder = Path::new(&manifest).parent().and_then(|folder| folder.strip_prefix(root).ok());
        let dependencies = array(&package["dependencies"]).iter().map(|dependency| Dependency {
            name: text(&dependency["name"]),
            kind: match dependency["kind"].as_str() {
                Some("dev") => DependencyKind::Dev,
                Some("build") => DependencyKind::Build,
                _ => DependencyKind::Normal,
            },
        });
        packages.push(Package {
            name: text(&package["name"]),
            folder: folder.expect("members are below the root").to_string_lossy().into_owned(),
            dependencies: dependencies.collect(),
        });
    }
    (packages, licensed)
}

/// Everything that is compiled into `package`, itself included, on this platform.
pub fn closure(root: &Path, package: &str) -> Vec<String> {
    let tree = cargo(root, &["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let mut names: Vec<String> = tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    names
}

fn cargo(root: &Path, args: &[&str]) -> String {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program).args(args).arg("--offline").current_dir(root).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
