//! `keys`: made once, listed without the secret, revoked at once.

use crate::local::Local;

#[test]
fn a_key_is_made_used_listed_and_revoked() {
    let local = Local::fresh();
    let made = local.run(&[
        "keys",
        "create",
        "ci",
        "--model",
        "demo/*",
        "--rpm",
        "600",
        "--expires-in",
        "30d",
        "--tag",
        "build",
    ]);
    let made = made.ended(0).says(&["created key ci (vk_", "not shown again"]);
    let key = made.stdout.trim_end().to_owned();
    assert!(key.starts_with("gw_virt_") && !key.contains(char::is_whitespace), "{key}");
    assert!(!made.stderr.contains(&key));
    assert_eq!(local.chat(&key, "demo/chat", false).0, 200);

    let listed = local.run(&["keys", "list"]).ended(0).prints(&["ci", "default", "demo/*", "600", "in 30d", "active"]);
    assert!(!listed.stdout.contains(&key));
    let described = local.run(&["keys", "describe", "ci", "-o", "json"]).ended(0).json();
    assert_eq!(described["tags"][0], "build", "{described}");

    local.run(&["keys", "revoke", "ci"]).ended(0).prints(&["key ci (vk_", "revoked", "running on node_"]);
    assert_eq!(local.chat(&key, "demo/chat", false).0, 401);
    local.run(&["keys", "list"]).ended(0).prints(&["disabled"]);
    local.run(&["delete", "key", "ci"]).ended(0);
    local.run(&["keys", "revoke", "ci"]).ended(4);
}

#[test]
fn an_existing_key_can_be_imported() {
    let local = Local::fresh();
    local.world.write("old.txt", "an-old-key-of-another-gateway\n");
    let made = local.run(&["keys", "create", "old", "--secret-file", "old.txt"]).ended(0);
    assert!(!made.stdout.contains("an-old-key") && !made.stderr.contains("an-old-key"), "{made:#?}");
    assert_eq!(local.chat("an-old-key-of-another-gateway", "demo/chat", false).0, 200);
    local.world.write("short.txt", "short");
    local.run(&["keys", "create", "short", "--secret-file", "short.txt"]).ended(1).says(&["20"]);
    local.run(&["keys", "create", "old", "--secret-file", "old.txt"]).ended(1).says(&["old"]);
}

#[test]
fn a_virtual_key_is_no_master_key() {
    let local = Local::fresh();
    for (key, wanted) in
        [(local.text("virtual_key"), "virtual keys are for applications"), ("gw_master_wrong", "GATEWAY_MASTER_KEY")]
    {
        let named = [("GATEWAY_ADMIN_URL", local.text("admin_url")), ("GATEWAY_MASTER_KEY", key)];
        local.world.run_with(&named, &["keys", "list"]).ended(3).says(&[wanted]);
    }
}

#[test]
fn a_rotated_key_has_two_secrets_until_the_overlap_ends() {
    let local = Local::fresh();
    let first = local.run(&["keys", "create", "ci"]).ended(0).stdout.trim_end().to_owned();
    let rotated = local.run(&["keys", "rotate", "ci", "--overlap", "1h"]).ended(0);
    let second = rotated.says(&["rotated key ci (vk_", "works until", "not shown again"]).stdout.trim_end().to_owned();
    assert!(second.starts_with("gw_virt_") && second != first, "{second}");
    for key in [&first, &second] {
        assert_eq!(local.chat(key, "demo/chat", false).0, 200);
    }
    let third = local.run(&["keys", "rotate", "ci", "--overlap", "0s"]).ended(0).says(&["works no more"]);
    for (key, status) in [(first.as_str(), 401), (second.as_str(), 401), (third.stdout.trim_end(), 200)] {
        assert_eq!(local.chat(key, "demo/chat", false).0, status);
    }
    local.run(&["keys", "rotate", "nobody"]).ended(4);
    local.wait_until("the key's use", |local| {
        local.run(&["keys", "describe", "ci", "-o", "json"]).json()["last_used_at"].is_string()
    });
    local.run(&["keys", "list"]).ended(0).prints(&["LAST USED"]);
}
