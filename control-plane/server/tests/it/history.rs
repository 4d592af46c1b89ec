//! Revisions: seen, compared, gone back to.

use serde_json::{Value, json};

use crate::world::World;

async fn three_revisions() -> World {
    let world = World::new().await;
    let provider = json!({"name": "p", "kind": "openai", "api_key": "sk-first-0123456789"});
    world.call("POST", "/admin/providers", provider).await.expect(201);
    world
        .call("POST", "/admin/models", json!({"name": "m", "targets": [{"provider": "p", "model": "x", "weight": 2}]}))
        .await
        .expect(201);
    world.call("PATCH", "/admin/providers/p", json!({"api_key": "sk-second-abcdefgh"})).await.expect(200);
    world
}

#[tokio::test]
async fn the_history_is_told_newest_first() {
    let world = three_revisions().await;
    let history = world.get("/admin/config/revisions?limit=2").await.expect(200);
    let line = |entry: &Value| {
        (entry["revision"].as_u64().unwrap(), entry["summary"].as_str().unwrap().to_owned(), entry["actor"].clone())
    };
    let lines: Vec<_> = history["data"].as_array().unwrap().iter().map(line).collect();
    assert_eq!(
        lines,
        [(3, "update provider p".to_owned(), json!("master")), (2, "create model m".to_owned(), json!("master"))]
    );
    let rest =
        world.get(&format!("/admin/config/revisions?after={}", history["next"].as_str().unwrap())).await.expect(200);
    assert_eq!((rest["data"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    let identity = world.get("/admin/config/revisions?class=identity").await.expect(200);
    assert_eq!(identity["data"][0]["summary"], "create key default");
}

#[tokio::test]
async fn revisions_are_compared_without_showing_secrets() {
    let world = three_revisions().await;
    let answer = world.get("/admin/config/diff?from=1").await;
    assert!(!answer.text.contains("sk-"), "{}", answer.text);
    let answer = answer.expect(200);
    assert_eq!(answer["to"], 3);
    let changes = answer["changes"].as_array().unwrap();
    assert_eq!(
        (&changes[0]["op"], &changes[0]["name"], &changes[0]["diff"][0]["path"]),
        (&json!("update"), &json!("p"), &json!("api_key"))
    );
    assert_eq!((&changes[1]["op"], &changes[1]["name"]), (&json!("create"), &json!("m")));
    let back = world.get("/admin/config/diff?from=2&to=1").await.expect(200);
    assert_eq!(back["changes"], json!([{"op": "delete", "kind": "model", "name": "m", "diff": []}]));
    world.get("/admin/config/diff?from=1&to=99").await.refused(404, "not_found");
}

#[tokio::test]
async fn a_rollback_is_a_new_revision_with_old_content() {
    let world = three_revisions().await;
    let key = world.call("POST", "/admin/keys", json!({"name": "k"})).await.expect(201);
    world.call("PATCH", "/admin/keys/k", json!({"enabled": false})).await.expect(200);
    let back = world.call("POST", "/admin/config/rollback", json!({"to": 1})).await.expect(200);
    assert_eq!(back["revision"]["topology"], 4);
    world.get("/admin/models/m").await.expect(404);
    assert_eq!(world.get("/admin/providers/p").await.expect(200)["secrets"]["api_key"]["last4"], "6789");
    let key = world.get(&format!("/admin/keys/{}", key["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(key["enabled"], false, "a revoked key stays revoked");

    let forth = world.call("POST", "/admin/config/rollback", json!({"to": "previous"})).await.expect(200);
    assert_eq!(forth["revision"]["topology"], 5);
    assert_eq!(world.get("/admin/models/m").await.expect(200)["spec"]["targets"][0]["weight"], 2);
    assert_eq!(world.get("/admin/providers/p").await.expect(200)["secrets"]["api_key"]["last4"], "efgh");
    let same = world.call("POST", "/admin/config/rollback", json!({"to": 3})).await.expect(200);
    assert_eq!(same["revision"]["topology"], 5, "nothing to change makes no revision");
    // A change right after still works on what the rollback restored.
    world.call("PATCH", "/admin/models/m", json!({"description": "d"})).await.expect(200);
}

#[tokio::test]
async fn what_was_deleted_and_made_again_comes_back_as_it_was() {
    let world = three_revisions().await;
    let old = world.get("/admin/models/m").await.expect(200);
    world.call("DELETE", "/admin/models/m", Value::Null).await.expect(204);
    let made = world
        .call("POST", "/admin/models", json!({"name": "m", "targets": [{"provider": "p", "model": "y"}]}))
        .await
        .expect(201);
    assert_ne!(made["id"], old["id"]);
    world.call("POST", "/admin/config/rollback", json!({"to": 3})).await.expect(200);
    let back = world.get("/admin/models/m").await.expect(200);
    assert_eq!((&back["id"], &back["spec"]), (&old["id"], &old["spec"]));
}

#[tokio::test]
async fn a_rollback_to_nowhere_is_refused() {
    let world = World::new().await;
    for to in [json!("previous"), json!(7)] {
        world.call("POST", "/admin/config/rollback", json!({"to": to})).await.refused(404, "not_found");
    }
    for to in [json!("yesterday"), json!(-1), json!(1.5), Value::Null] {
        world.call("POST", "/admin/config/rollback", json!({"to": to})).await.refused(400, "malformed");
    }
}
