//! Virtual keys.

use gateway_model::token::{self, Form, Prefix};
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
