//! Requests that make no sense get one clear answer.

use serde_json::{Value, json};

use crate::world::World;

#[tokio::test]
async fn bodies_that_are_no_json_are_refused() {
    let world = World::new().await;
    let bearer = format!("Bearer {}", world.master_key());
    let headers = [("host", "localhost"), ("authorization", bearer.as_str())];
    let deep = "[".repeat(100_000);
    for body in ["", "{", "{\"name\":", "[1]", "null", "7", "\u{1}", deep.as_str(), "{\"a\":1} x"] {
        for (method, path) in [("POST", "/admin/providers"), ("PATCH", "/admin/settings"), ("POST", "/admin/apply")] {
            world.send(method, path, &headers, body.as_bytes().to_vec()).await.refused(400, "malformed");
        }
    }
    world.send("POST", "/admin/providers", &headers, b"{\"name\": \"\xff\"}".to_vec()).await.refused(400, "malformed");
    world.send("POST", "/admin/providers", &headers, vec![b' '; (16 << 20) + 1]).await.refused(413, "too_large");
}

#[tokio::test]
async fn queries_that_are_not_understood_are_refused() {
    let world = World::new().await;
    let provider = json!({"name": "p", "kind": "openai", "api_key": "sk-first-0123456789"});
    for query in ["dryrun=true", "dry_run=maybe", "wait=forever", "timeout=soon", "timeout=1h", "expected_revision=x"] {
        world.call("POST", &format!("/admin/providers?{query}"), provider.clone()).await.refused(400, "malformed");
    }
    world.get("/admin/providers/p").await.expect(404);
    for path in [
        "providers?limit=0",
        "providers?limit=501",
        "providers?limit=-1",
        "logs?status=ok",
        "logs?since=soon",
        "logs?colour=red",
        "logs?search=colour:red",
        "logs?search=team:",
        "logs?team=",
        "logs?stream=perhaps",
        "logs?min_duration=5",
        "logs?min_cost=much",
        "logs?status=4xx&search=status:5xx",
        &format!("logs?q={}", "x".repeat(1001)),
        &format!("logs?search={}", "x+".repeat(21)),
        "logs/follow?search=colour:red",
        "logs?after=nonsense",
        "usage?after=x",
        "usage/summary",
        "usage/summary?group_by=colour",
        "config/diff",
        "config/revisions?class=all",
        "audit?after=x",
    ] {
        world.get(&format!("/admin/{path}")).await.refused(400, "malformed");
    }
}

#[tokio::test]
async fn names_that_do_not_agree_are_refused() {
    let world = World::new().await;
    let body = json!({"name": "q", "kind": "openai", "api_key": "sk-first-0123456789"});
    world.call("PUT", "/admin/providers/p", body.clone()).await.refused(400, "malformed");
    world.call("POST", "/admin/providers", body).await.expect(201);
    world.call("PATCH", "/admin/providers/q", json!({"name": "r"})).await.refused(400, "malformed");
    for source in ["", &"x".repeat(300)] {
        world.call("POST", "/admin/apply", json!({"source": source, "resources": []})).await.refused(400, "malformed");
    }
    let guardrails = json!({"source": "f", "resources": [{"kind": "guardrail", "spec": {}}]});
    world.call("POST", "/admin/apply", guardrails).await.refused(400, "malformed");
    for path in ["/admin/providers/%ff", "/admin/providers/%00"] {
        let answer = world.call("GET", path, Value::Null).await;
        assert!([400, 404].contains(&answer.status.as_u16()), "{}", answer.text);
    }
}
