//! Virtual keys.

use gateway_model::token::{self, Form, Prefix};
use gateway_store::usage::{Sender, UsageRow};
use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn a_key_is_shown_once() {
    let world = World::new().await;
    let body =
        json!({"name": "ci", "models": ["openai/*"], "limits": {"rpm": 60}, "tags": ["a"], "metadata": {"who": "x"}});
    let made = world.call("POST", "/admin/keys", body).await.expect(201);
    let key = made["key"].as_str().unwrap().to_owned();
    assert_eq!(token::check(&key), Form::Ours(Prefix::VirtualKey));
    let id = made["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("vk_") && id.len() == 29, "{id}");
    let stored = world.control.app().store.key_by_digest(&world.control.app().pepper.digest(&key)).await.unwrap();
    assert_eq!(stored.unwrap().id, id);

    let by_name = world.get("/admin/keys/ci").await.expect(200);
    let expected = json!({
        "id": id, "name": "ci", "models": ["openai/*"], "limits": {"rpm": 60}, "expires_at": null, "enabled": true,
        "passthrough": [], "roles": [], "endpoints": [], "ips": [], "team": null, "user": null,
        "budget": null, "earlier_secret_until": null, "last_used_at": null,
        "tags": ["a"], "metadata": {"who": "x"}, "revision": made["revision"], "created_at": made["created_at"],
        "updated_at": made["updated_at"], "owner": null,
    });
    assert_eq!(by_name, expected);
    assert_eq!(world.get(&format!("/admin/keys/{id}")).await.expect(200), by_name);
    for path in ["/admin/keys", "/admin/audit", "/admin/keys/ci"] {
        assert!(!world.get(path).await.text.contains(&key), "{path}");
    }
}

#[tokio::test]
async fn a_key_is_changed_by_name_or_id_and_keeps_its_secret() {
    let world = World::new().await;
    let made = world.call("POST", "/admin/keys", json!({"name": "k"})).await.expect(201);
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let revoked = world.call("PATCH", "/admin/keys/k", json!({"enabled": false})).await.expect(200);
    assert_eq!((&revoked["enabled"], revoked.get("key")), (&json!(false), None));
    let put = world
        .call("PUT", &format!("/admin/keys/{id}"), json!({"models": ["m"], "expires_at": "2030-01-01T00:00:00Z"}))
        .await
        .expect(200);
    assert_eq!((&put["name"], &put["enabled"], &put["models"]), (&json!("k"), &json!(true), &json!(["m"])));
    let app = world.control.app();
    assert!(app.store.key_by_digest(&app.pepper.digest(key)).await.unwrap().is_some(), "the secret was not touched");
    world.call("PATCH", &format!("/admin/keys/{id}"), json!({"name": "other"})).await.refused(400, "malformed");
    world.call("DELETE", &format!("/admin/keys/{id}"), Value::Null).await.expect(204);
    assert!(app.store.key_by_digest(&app.pepper.digest(key)).await.unwrap().is_none());
}

#[tokio::test]
async fn an_existing_key_is_imported() {
    let world = World::new().await;
    let secret = "sk-another-gateway-0123456789";
    let made = world.call("POST", "/admin/keys", json!({"name": "old", "secret": secret})).await;
    assert!(!made.text.contains(secret), "{}", made.text);
    assert_eq!(made.expect(201).get("key"), None, "it is known already");
    let app = world.control.app();
    assert_eq!(app.store.key_by_digest(&app.pepper.digest(secret)).await.unwrap().unwrap().name, "old");
    world.call("POST", "/admin/keys", json!({"name": "twin", "secret": secret})).await.refused(409, "exists");
    // An imported key is a virtual key on the admin API as well.
    let bearer = format!("Bearer {secret}");
    let headers = [("host", "localhost"), ("authorization", bearer.as_str())];
    world.send("GET", "/admin/status", &headers, Vec::new()).await.refused(403, "forbidden");
    let mistyped = token::encode(Prefix::VirtualKey, &[7; 32]).expose().replace("gw_virt_", "gw_virt_x");
    world.call("POST", "/admin/keys", json!({"name": "typo", "secret": mistyped})).await.refused(422, "invalid");
}

#[tokio::test]
async fn a_key_is_rotated_and_shows_its_new_secret_once() {
    let world = World::new().await;
    let made = world.call("POST", "/admin/keys", json!({"name": "k", "limits": {"rpm": 5}})).await.expect(201);
    let (id, first) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let path = format!("/admin/keys/{id}/rotate");
    let rotated = world.call("POST", &path, json!({"overlap": "24h"})).await.expect(200);
    let second = rotated["key"].as_str().unwrap();
    assert_eq!(token::check(second), Form::Ours(Prefix::VirtualKey));
    assert_ne!(first, second);
    assert_eq!((&rotated["id"], &rotated["limits"]), (&made["id"], &made["limits"]));
    assert!(rotated["earlier_secret_until"].is_string(), "{rotated}");
    let app = world.control.app();
    let holder = async |secret: &str| app.store.key_by_digest(&app.pepper.digest(secret)).await.unwrap().is_some();
    assert_eq!((holder(first).await, holder(second).await), (false, true));
    // An edit of something else leaves the overlap alone; a rotation without ends it.
    let patched = world.call("PATCH", "/admin/keys/k", json!({"tags": ["t"]})).await.expect(200);
    assert_eq!(patched["earlier_secret_until"], rotated["earlier_secret_until"]);
    for _ in 0..3 {
        world.call("POST", &path, json!({})).await.expect(200);
    }
    world.call("POST", &path, json!({"overlap": "1h"})).await.refused(422, "invalid");
    let last = world.call("POST", "/admin/keys/k/rotate", json!({"overlap": "0s"})).await.expect(200);
    assert_eq!(last["earlier_secret_until"], Value::Null);
    for text in [world.get("/admin/keys/k").await.text, world.get("/admin/audit").await.text] {
        assert!(!text.contains(second) && !text.contains(last["key"].as_str().unwrap()), "{text}");
    }
    assert_eq!(world.get("/admin/audit?limit=1").await.expect(200)["data"][0]["action"], "rotate");
    for (path, body, status, code) in [
        ("/admin/keys/none/rotate", json!({}), 404, "not_found"),
        ("/admin/keys/k/rotate", json!({"overlap": "91d"}), 400, "malformed"),
        ("/admin/keys/k/rotate", json!({"overlap": -1}), 400, "malformed"),
        ("/admin/keys/k/rotate", json!({"overlaps": "1h"}), 400, "malformed"),
    ] {
        world.call("POST", path, body).await.refused(status, code);
    }
    let dry = world.call("POST", "/admin/keys/k/rotate?dry_run=true", json!({})).await.expect(200);
    assert_eq!((dry.get("key"), holder(last["key"].as_str().unwrap()).await), (None, true));
}

#[tokio::test]
async fn a_key_shows_when_it_was_used_last_to_the_minute() {
    let world = World::new().await;
    let made = world.call("POST", "/admin/keys", json!({"name": "k"})).await.expect(201);
    let minute = 60_000;
    let now = 1_800_000_000_000_i64;
    // A clock that is ahead counts as now.
    for (number, started_ms, expected) in [
        (1, now, "2027-01-15T08:00:00.000Z"),
        (2, now + minute - 1, "2027-01-15T08:00:00.000Z"),
        (3, now - minute, "2027-01-15T08:00:00.000Z"),
        (4, now + minute, "2027-01-15T08:01:00.000Z"),
        (5, i64::MAX, "2027-01-15T08:10:00.000Z"),
    ] {
        let row = UsageRow {
            id: format!("r{number}"),
            started_ms,
            key_id: made["id"].as_str().unwrap().to_owned(),
            tags: "[]".to_owned(),
            ..UsageRow::default()
        };
        let from = Sender { node: "n", boot: "b", at_ms: now + 10 * minute };
        world.control.app().store.ingest_usage(from, 0, number, &[row]).await.unwrap();
        assert_eq!(world.get("/admin/keys/k").await.expect(200)["last_used_at"], expected, "{number}");
    }
    let listed = world.get("/admin/keys").await.expect(200);
    let used: Vec<&Value> = listed["data"].as_array().unwrap().iter().map(|key| &key["last_used_at"]).collect();
    assert_eq!(used, [&Value::Null, &json!("2027-01-15T08:10:00.000Z")]);
    // What a node made up is forgotten, what is there is kept.
    world.control.app().store.prune_usage(0).await.unwrap();
    assert_eq!(world.get("/admin/keys/k").await.expect(200)["last_used_at"], "2027-01-15T08:10:00.000Z");
}
