//! `context`, and which gateway a command talks to.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::fake::{Fake, KEY};
use crate::support::World;

fn status() -> Fake {
    Fake::start(|_| {
        (
            200,
            json!({"version": "9.9.9", "revision": {"topology": 1, "identity": 1}, "nodes": {"connected": 0, "known": 0}}),
        )
    })
}

#[test]
fn a_saved_gateway_needs_neither_address_nor_key() {
    let fake = status();
    let world = &fake.world;
    let add = ["context", "add", "prod", "--admin-url", &fake.url];
    world.run_reading(&format!("{KEY}\n"), &add).ended(0).says(&["saved context prod", "gatewayctl context use prod"]);
    let file = world.path().join(".config/gateway/contexts.json");
    assert_eq!(file.metadata().expect("it is there").permissions().mode() & 0o777, 0o600);

    world.run(&["status"]).ended(3).says(&["no running gateway"]);
    for arguments in [&["--context", "prod", "status"][..], &["status", "--context", "prod"]] {
        world.run(arguments).ended(0).prints(&["9.9.9", &format!("prod ({})", fake.url)]);
    }
    world.run_with(&[("GATEWAY_CONTEXT", "prod")], &["status"]).ended(0);
    assert!(fake.calls().iter().all(|call| call.authorization == format!("Bearer {KEY}")));

    world.run(&["context", "use", "prod"]).ended(0);
    world.run(&["status"]).ended(0).prints(&["prod"]);
    world.run(&["context", "list"]).ended(0).prints(&["*  prod", &fake.url, "(not running)"]);
    let shown = world.run(&["context", "show", "-o", "json"]).ended(0);
    assert_eq!(shown.json()["name"], "prod");
    assert!(!shown.stdout.contains(KEY));
    world.run(&["context", "use", "local"]).ended(0);
    world.run(&["status"]).ended(3);
    world.run(&["context", "use", "prod"]).ended(0);
    world.run(&["context", "remove", "prod"]).ended(0).says(&["on this machine again"]);
    world.run(&["context", "remove", "prod"]).ended(4).says(&["no context `prod`"]);
    let text = std::fs::read_to_string(&file).expect("it is there");
    assert!(!text.contains(KEY), "{text}");
}

#[test]
fn flags_go_before_the_environment_before_the_saved_one() {
    let (one, two) = (status(), status());
    let world = World::new();
    for (name, fake) in [("one", &one), ("two", &two)] {
        world.run_reading(&format!("key-of-{name}"), &["context", "add", name, "--admin-url", &fake.url]).ended(0);
    }
    world.run(&["context", "use", "one"]).ended(0);
    let (named, key) = (("GATEWAY_ADMIN_URL", two.url.as_str()), ("GATEWAY_MASTER_KEY", "key-of-the-environment"));
    let context = ("GATEWAY_CONTEXT", "two");
    for (environment, flags, expected) in [
        (&[][..], &[][..], (&one, "key-of-one")),
        (&[key], &[], (&one, "key-of-the-environment")),
        (&[context], &[], (&two, "key-of-two")),
        (&[named], &[], (&two, "key-of-two")),
        (&[named, key], &[], (&two, "key-of-the-environment")),
        (&[context, key], &["--context", "one"], (&one, "key-of-one")),
        (&[named, key], &["--context", "one"], (&one, "key-of-one")),
        (&[context], &["--admin-url", &one.url], (&one, "key-of-one")),
    ] {
        let before = expected.0.calls().len();
        world.run_with(environment, &[&["status"], flags].concat()).ended(0);
        let calls = expected.0.calls();
        assert_eq!(calls.len(), before + 1, "{environment:?} {flags:?}");
        assert_eq!(calls[before].authorization, format!("Bearer {}", expected.1), "{environment:?} {flags:?}");
    }
    // No key for an address that none was saved with.
    world
        .run(&["status", "--admin-url", "http://127.0.0.1:1"])
        .ended(3)
        .says(&["no master key for http://127.0.0.1:1"]);
    world.run(&["status", "--context", "one", "--admin-url", "http://127.0.0.1:1"]).ended(2);
    world.run(&["--context", "one", "status", "--admin-url", "http://127.0.0.1:1"]).ended(2).says(&["already names"]);
    world.run(&["--context", "one", "version"]).ended(2).says(&["talks to no gateway"]);
    world.run(&["--context", "three", "status"]).ended(4).says(&["no context `three`", "one, two, local"]);
}

#[test]
fn what_cannot_be_a_context_is_refused_before_anything_is_saved() {
    let world = World::new();
    let virtual_key = gateway_model::token::encode(gateway_model::token::Prefix::VirtualKey, &[7; 32]);
    let mut cut = gateway_model::token::encode(gateway_model::token::Prefix::Master, &[7; 32]).expose().to_owned();
    cut.pop();
    let url = ["--admin-url", "http://127.0.0.1:1"];
    for (name, url, key, code, wanted) in [
        ("a b", &url, KEY, 2, "letters"),
        ("local", &url, KEY, 2, "on this machine"),
        ("x", &["--admin-url", "127.0.0.1:1"], KEY, 2, "write it like"),
        ("x", &["--admin-url", "https://u:p@example.com"], KEY, 2, "credentials"),
        ("x", &url, virtual_key.expose(), 1, "virtual key"),
        ("x", &url, cut.as_str(), 1, "checksum"),
        ("x", &url, "two words", 1, "one word"),
        ("x", &url, "\n", 2, "no master key was given"),
    ] {
        let outcome = world.run_reading(key, &["context", "add", name, url[0], url[1]]).ended(code).says(&[wanted]);
        assert!(!outcome.stderr.contains(key.trim()) || key.trim().is_empty(), "{outcome:#?}");
    }
    assert!(!world.path().join(".config/gateway/contexts.json").exists());
    world.write("key", KEY);
    world.run(&["context", "add", "x", url[0], url[1], "--master-key-file", "key", "--use"]).ended(0);
    world.run(&["context", "add", "x", url[0], url[1], "--master-key-file", "key"]).ended(1).says(&["--replace"]);
    world
        .run(&["context", "add", "x", url[0], "http://gw.example", "--master-key-file", "key", "--replace"])
        .ended(0)
        .says(&["https"]);
}

#[test]
fn a_file_that_others_can_read_or_that_is_damaged_is_refused() {
    let world = World::new();
    world.write("key", KEY);
    world.run(&["context", "add", "x", "--admin-url", "http://127.0.0.1:1", "--master-key-file", "key"]).ended(0);
    let file = world.path().join(".config/gateway/contexts.json");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("it is ours");
    world.run(&["--context", "x", "status"]).ended(1).says(&["other users can read it", "chmod 600"]);
    world.run(&["context", "add", "y", "--admin-url", "http://127.0.0.1:1", "--master-key-file", "key"]).ended(1);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    std::fs::write(&file, format!("{{\"current\": \"{KEY}")).expect("it is ours");
    let outcome = world.run(&["status"]).ended(1).says(&["is damaged at line 1"]);
    assert!(!outcome.stderr.contains(KEY));
}

#[cfg(feature = "server")]
#[test]
fn a_gateway_that_starts_here_says_that_commands_talk_to_another() {
    let world = World::new();
    world.write("key", KEY);
    let add = ["context", "add", "prod", "--admin-url", "http://127.0.0.1:1", "--master-key-file", "key", "--use"];
    world.run(&add).ended(0);
    let local = crate::local::Local::start(world, &[]);
    assert!(local.log().contains("other commands talk to prod; add --context local"), "{}", local.log());
    local.run(&["--context", "local", "status"]).ended(0).prints(&["local (http"]);
    local.run(&["status", "--data-dir", "gateway-data"]).ended(0);
    local.run(&["status"]).ended(3).says(&["cannot reach"]);
}

#[test]
fn contexts_added_at_once_are_all_kept() {
    let world = World::new();
    world.write("key", KEY);
    std::thread::scope(|scope| {
        for index in 0..6 {
            let world = &world;
            scope.spawn(move || {
                let name = format!("c{index}");
                world
                    .run(&["context", "add", &name, "--admin-url", "http://127.0.0.1:1", "--master-key-file", "key"])
                    .ended(0);
            });
        }
    });
    let listed = world.run(&["context", "list", "-o", "json"]).ended(0).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(7), "{listed}");
    assert_eq!(
        listed[0],
        json!({"name": "local", "admin_url": Value::Null, "current": true, "master_key_last4": Value::Null})
    );
}
