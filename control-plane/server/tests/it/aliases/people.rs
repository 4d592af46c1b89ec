//! Signing in and choosing a password under the names of other gateways, budgets that are said back, and who is let in nowhere.

use gateway_server::admin::{answer_beside, router};
use http::Request;
use serde_json::{Value, json};

use crate::world::World;

const BASE: &str = "/v1/management";
const PASSWORD: &str = "correct horse battery";

#[tokio::test]
async fn somebody_who_is_invited_registers_and_signs_in() {
    let world = World::new().await;
    let ada = json!({"name": "ada", "email": "ada@example.com", "role": "viewer"});
    world.call("POST", "/admin/users", ada).await.expect(201);
    let invited = world.call("POST", "/admin/users/ada/invitation", Value::Null).await.expect(201);
    let host = [("host", "localhost")];
    let register = json!({"token": invited["token"], "password": PASSWORD}).to_string().into_bytes();
    let path = format!("{BASE}/users/register");
    world.send("POST", &path, &host, register.clone()).await.expect(204);
    world.send("POST", &path, &host, register).await.refused(404, "not_found");
    // Nobody registers who was not invited.
    let stranger = json!({"email": "eve@example.com", "password": PASSWORD}).to_string().into_bytes();
    world.send("POST", &path, &host, stranger).await.refused(400, "malformed");

    let path = format!("{BASE}/users/login");
    for (password, status) in [("wrong horse battery", 401), (PASSWORD, 201)] {
        let body = json!({"email": "ada@example.com", "password": password}).to_string().into_bytes();
        let answer = world.open("POST", &path, &host, body).await;
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.headers().contains_key("set-cookie"), status == 201);
    }

    // Passwords are for the admin listener alone.
    let body = json!({"email": "ada@example.com", "password": PASSWORD}).to_string();
    let request = Request::builder().method("POST").uri(&path).header("host", "localhost").body(body).unwrap();
    let beside = answer_beside(router(world.control.app()), request, "127.0.0.1:9".parse().unwrap()).await;
    assert_eq!(beside.status().as_u16(), 404);
}

#[tokio::test]
async fn a_budget_of_its_own_is_said_back_and_not_stored() {
    let world = World::new().await;
    let said = world.call("POST", "/budget/new", json!({"budget_id": "b", "max_budget": 10})).await.expect(200);
    assert_eq!((&said["budget_id"], &said["max_budget"], &said["stored"]), (&json!("b"), &json!(10), &json!(false)));
    assert!(said["message"].as_str().unwrap().contains("nothing was stored"), "{said}");
    assert_eq!(world.get("/admin/budgets").await.expect(200)["data"], json!([]));
    world.call("POST", "/budget/new", json!([])).await.refused(400, "malformed");

    world.call("POST", "/team/new", json!({"team_alias": "red"})).await.expect(200);
    let by_path = world.get("/team/info/red").await.expect(200);
    assert_eq!(by_path, world.get("/team/info?team_id=red").await.expect(200));
    world.get("/team/info/blue").await.refused(404, "not_found");
    assert_eq!(world.get("/v1/audit?limit=1").await.expect(200)["data"][0]["name"], "red");
}

/// Whatever they are called, they take what ours take.
#[tokio::test]
async fn neither_a_virtual_key_nor_a_viewer_changes_anything() {
    let world = World::new().await;
    let virtual_key = format!("Bearer {}", world.control.minted_key().unwrap().expose());
    let writes = [
        ("POST", "/admin/providers/a/test"),
        ("POST", "/admin/catalog/test"),
        ("POST", "/v1/management/deployments"),
        ("DELETE", "/v1/management/deployments/x"),
        ("PUT", "/v1/management/deployments/alias-strategy"),
        ("POST", "/v1/management/pricing"),
        ("PUT", "/v1/management/pricing/a/m"),
        ("DELETE", "/v1/management/pricing/a/m"),
        ("POST", "/v1/management/credentials"),
        ("POST", "/v1/management/credentials/a/test"),
        ("POST", "/v1/management/credentials/test-raw"),
        ("POST", "/v1/management/providers/discover"),
        ("POST", "/v1/management/callbacks/test"),
        ("PUT", "/v1/management/routing-policy/m"),
        ("PUT", "/api/config"),
        ("POST", "/budget/new"),
    ];
    let ada = json!({"name": "ada", "email": "ada@example.com", "role": "viewer"});
    world.call("POST", "/admin/users", ada).await.expect(201);
    world.call("PUT", "/admin/users/ada/password", json!({"password": PASSWORD})).await.expect(204);
    let body = json!({"email": "ada@example.com", "password": PASSWORD}).to_string().into_bytes();
    let signed_in = world.open("POST", "/admin/session", &[("host", "localhost")], body).await;
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let viewer = [("host", "localhost"), ("cookie", cookie.as_str()), ("x-gateway-csrf", "1")];
    for (method, path) in writes {
        world.send(method, path, &[("host", "localhost")], b"{}".to_vec()).await.refused(401, "unauthorized");
        let headers = [("host", "localhost"), ("authorization", virtual_key.as_str())];
        world.send(method, path, &headers, b"{}".to_vec()).await.refused(403, "forbidden");
        world.send(method, path, &viewer, b"{}".to_vec()).await.refused(403, "forbidden");
    }
}
