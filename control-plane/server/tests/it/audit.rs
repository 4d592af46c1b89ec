//! Every write leaves a row, and no secret leaves anything anywhere.

use gateway_testing::figure;
use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn every_write_is_in_the_audit_log() {
    let world = World::new().await;
    let provider = json!({"name": "p", "kind": "openai", "api_key": "sk-first-0123456789"});
    world.call("POST", "/admin/providers", provider.clone()).await.expect(201);
    world.call("PATCH", "/admin/providers/p", json!({"kind": "groq"})).await.expect(200);
    world.call("PATCH", "/admin/providers/p", json!({"kind": "groq"})).await.expect(200);
    world
        .call(
            "POST",
            "/admin/providers?dry_run=true",
            json!({"name": "q", "kind": "groq", "api_key": "gsk-0123456789"}),
        )
        .await
        .expect(201);
    world.call("DELETE", "/admin/providers/p", Value::Null).await.expect(204);
    let audit = world.get("/admin/audit").await.expect(200);
    let rows = audit["data"].as_array().unwrap();
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row["action"].as_str().unwrap(), row["kind"].as_str().unwrap(), row["actor"].as_str().unwrap()))
        .collect();
    let expected = [
        ("delete", "provider", "master"),
        ("update", "provider", "master"),
        ("create", "provider", "master"),
        ("create", "key", "startup"),
        ("create", "pepper", "startup"),
    ];
    assert_eq!(told, expected);
    assert_eq!(
        (&rows[1]["before"]["spec"]["kind"], &rows[1]["after"]["spec"]["kind"]),
        (&json!("openai"), &json!("groq"))
    );
    assert_eq!(rows[1]["after"]["secrets"]["api_key"]["last4"], "6789");
    assert_eq!((&rows[0]["after"], rows[0]["request_id"].as_str().unwrap().len()), (&Value::Null, 26));
    assert_eq!(world.control.app().store.audit_break().await.unwrap(), None);
    let page = world.get("/admin/audit?limit=2").await.expect(200);
    let rest = world.get(&format!("/admin/audit?after={}", page["next"].as_str().unwrap())).await.expect(200);
    assert_eq!(rest["data"].as_array().unwrap().len(), 3);
}

/// Writes secrets in every way there is, then looks for them in everything that is on disk or can be asked for.
#[tokio::test]
async fn secret_canary() {
    let world = World::new().await;
    let canaries = ["sk-canary-aaaaaaaaaaaa", "sk-canary-bbbbbbbbbbbb", "canary-imported-key-cccc"];
    let provider = json!({"name": "p", "kind": "openai", "api_key": canaries[0]});
    world.call("POST", "/admin/providers", provider).await.expect(201);
    world.call("PATCH", "/admin/providers/p", json!({"api_key": canaries[1]})).await.expect(200);
    world.call("POST", "/admin/keys", json!({"name": "k", "secret": canaries[2]})).await.expect(201);
    world.call("POST", "/admin/config/rollback", json!({"to": "previous"})).await.expect(200);
    // Refusals repeat what they refuse only as far as it is no secret.
    let bad = json!({"name": "q", "kind": "openai", "api_key": canaries[0], "base_url": "http://x.example", "api_kye": canaries[1]});
    let mut seen = world.call("POST", "/admin/providers", bad).await.text;
    seen += &world
        .call("POST", "/admin/providers", json!({"name": "q", "kind": "openai", "api_key": [canaries[0]]}))
        .await
        .text;
    seen += &world.call("POST", "/admin/keys", json!({"name": "l", "secret": canaries[2]})).await.text;
    for path in [
        "providers",
        "providers/p",
        "keys",
        "keys/k",
        "audit",
        "config/revisions",
        "config/diff?from=0",
        "status",
        "nodes",
    ] {
        seen += &world.get(&format!("/admin/{path}")).await.text;
    }
    seen += &world.get("/metrics").await.text;
    seen += &format!("{:?}", world.control);
    let minted = world.control.minted_key().unwrap().expose().to_owned();
    for canary in canaries.iter().copied().chain([minted.as_str()]) {
        assert!(!seen.contains(canary), "an answer shows {canary}");
    }
    let master = world.master_key();
    world.control.shutdown().await;
    let (mut n_files, mut n_seen) = (0, 0);
    for entry in std::fs::read_dir(world.directory.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        n_files += 1;
        for canary in canaries.iter().copied().chain([minted.as_str(), master.as_str()]) {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            let is_its_file = path.ends_with("master.key") && canary == master;
            n_seen += u32::from(found && !is_its_file);
            assert_eq!(found, is_its_file, "{} and {canary}", path.display());
        }
    }
    figure::note("secret_canary", "secrets seen in answers and files", f64::from(n_seen), "places", 0.0);
    figure::note_at_least("secret_canary", "files that were looked at", f64::from(n_files), "files", 3.0);
}
