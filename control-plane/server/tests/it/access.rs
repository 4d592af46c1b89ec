//! Who may call what.

use gateway_server::admin::{Need, ROUTES};
use serde_json::Value;

use crate::world::World;

/// All that strangers may ask.
const OPEN: [&str; 9] = [
    "/",
    "/ui/{version}/{folder}/{file}",
    "/docs",
    "/docs/style.css",
    "/docs/openapi.yaml",
    "/openapi.json",
    "/health",
    "/ready",
    "/metrics",
];

/// Walks the table of routes: without the master key none of the guarded ones answers, with it all of them do.
#[tokio::test]
async fn every_admin_route_declares_permission() {
    let world = World::new().await;
    let virtual_key = format!("Bearer {}", world.control.minted_key().unwrap().expose());
    let master_key = format!("Bearer {}", world.master_key());
    let mut n_guarded = 0;
    for route in ROUTES {
        let path = route.path.replace("{kind}", "providers").replace("{name}", "nobody").replace("{id}", "nobody");
        let path = path.replace("{version}/{folder}/{file}", "0/app/main.js");
        let (method, is_admin) = (route.method.as_str(), !OPEN.contains(&route.path));
        assert_eq!(is_admin, route.need != Need::Nothing, "{method} {path}: only health and the like are open");
        n_guarded += usize::from(is_admin);
        let is_door = route.need == Need::Greeting;
        for (credential, expected) in [
            (None, 401),
            (Some("Bearer gw_master_wrong"), 401),
            (Some("Basic Z3c6Z3c="), 401),
            (Some("Bearer "), 401),
            (Some(virtual_key.as_str()), 403),
        ] {
            let mut headers = vec![("host", "localhost")];
            headers.extend(credential.map(|value| ("authorization", value)));
            let status = world.open(method, &path, &headers, Vec::new()).await.status().as_u16();
            // A stranger may show there who they are; without anything to show that is a bad request at most.
            let expected =
                if is_door && credential.is_none() && [400, 404].contains(&status) { status } else { expected };
            assert_eq!(status, if is_admin { expected } else { 200 }, "{method} {path} with {credential:?}");
        }
        let headers = [("host", "localhost"), ("authorization", master_key.as_str())];
        let status = world.open(method, &path, &headers, Vec::new()).await.status().as_u16();
        assert!(![401, 403, 405, 421].contains(&status), "{method} {path}: {status}");
    }
    assert!(n_guarded > 20, "the table was walked");
}

#[tokio::test]
async fn what_is_not_in_the_table_is_not_there() {
    let world = World::new().await;
    for path in
        ["/admin", "/admin/providers/a/b", "/v1/chat/completions", "/admin/settings/x", "/admin/nodes/a/b", "/nothing"]
    {
        world.send("GET", path, &[("host", "localhost")], Vec::new()).await.refused(401, "unauthorized");
        world.get(path).await.refused(404, "not_found");
    }
    world.get("/admin/guardrails").await.refused(404, "not_found");
    world.call("POST", "/admin/status", Value::Null).await.refused(405, "method_not_allowed");
    world.call("POST", "/admin/settings", Value::Null).await.refused(405, "method_not_allowed");
}

#[tokio::test]
async fn host_header_and_rebinding() {
    let world = World::new().await;
    let bearer = format!("Bearer {}", world.master_key());
    for (host, expected) in [
        (Some("localhost:8081"), 200),
        (Some("127.0.0.1"), 200),
        (Some("[::1]:8081"), 200),
        (Some("Gateway.Example.com:443"), 200),
        (Some("evil.example.com"), 421),
        (Some("127.0.0.1.evil.example.com"), 421),
        (Some("user@127.0.0.1@evil.example.com"), 421),
        (Some(""), 421),
        (None, 421),
    ] {
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(host.map(|host| ("host", host)));
        let answer = world.send("GET", "/admin/status", &headers, Vec::new()).await;
        assert_eq!(answer.status.as_u16(), expected, "{host:?}: {}", answer.text);
        // Probes come under any name.
        assert_eq!(world.send("GET", "/health", &headers, Vec::new()).await.status.as_u16(), 200);
    }
    let twice = [("authorization", bearer.as_str()), ("host", "localhost"), ("host", "evil.example.com")];
    world.send("GET", "/admin/status", &twice, Vec::new()).await.refused(421, "misdirected");
}

#[tokio::test]
async fn answers_are_not_for_caches_and_carry_an_id() {
    let world = World::new().await;
    let response = world.open("GET", "/admin/status", &[("host", "localhost")], Vec::new()).await;
    for (name, value) in
        [("cache-control", "no-store"), ("x-content-type-options", "nosniff"), ("www-authenticate", "Bearer")]
    {
        assert_eq!(response.headers()[name], value);
    }
    assert_eq!(response.headers()["x-gateway-request-id"].len(), 26);
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let world = World::new().await;
    world.get("/admin/status").await.expect(200);
    world.get("/admin/models/none").await.expect(404);
    let metrics = world.get("/metrics").await.text;
    for line in [
        r#"gateway_admin_requests_total{method="GET",status="200"} 1"#,
        r#"gateway_admin_requests_total{method="GET",status="404"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}
