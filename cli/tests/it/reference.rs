//! docs/cli.md is what the commands say of themselves. `UPDATE_GENERATED=1 cargo test -p gatewayctl` writes it anew.

use crate::support::World;

#[cfg(feature = "server")]
#[test]
fn the_reference_is_current() {
    let generated = World::new().run(&["docs", "cli"]).ended(0).stdout;
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, &generated).expect("docs/cli.md can be written");
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(checked_in == generated, "docs/cli.md is not what the commands say; run with UPDATE_GENERATED=1");
}

#[test]
fn every_command_has_help_with_an_example() {
    let generated = World::new().run(&["docs", "cli"]).ended(0).stdout;
    let mut n_commands = 0;
    for section in generated.split("\n### ").chain(generated.split("\n#### ")).skip(1) {
        let Some(name) = section.strip_prefix("`gatewayctl ").and_then(|rest| rest.split('`').next()) else { continue };
        let own = section.split("\n###").next().unwrap_or_default();
        assert!(own.contains("xample"), "`{name}` has no example:\n{own}");
        n_commands += 1;
    }
    assert!(n_commands >= 40, "{n_commands}");
}
