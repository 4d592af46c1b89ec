//! Browsers that sign in: what the cookie may, what a page of somebody else may not, and when it is over.

use std::time::{Duration, Instant};

use gateway_server::{Options, admin, start};
use gateway_testing::figure;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::world::{World, options};

const HOST: (&str, &str) = ("host", "localhost:8081");
const OWN: (&str, &str) = ("origin", "http://localhost:8081");
const CSRF: (&str, &str) = ("x-gateway-csrf", "1");

/// Signs in and returns what the browser sends from then on.
async fn sign_in(world: &World) -> String {
    let bearer = format!("Bearer {}", world.master_key());
    let headers = [HOST, OWN, CSRF, ("authorization", bearer.as_str())];
    let response = world.open("POST", "/admin/session", &headers, Vec::new()).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let cookie = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    for part in ["; HttpOnly", "; SameSite=Strict", "; Path=/", "; Max-Age=43200"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn csp_csrf_cookies() {
    const TEST: &str = "csp_csrf_cookies";
    let world = World::new().await;
    let cookie = sign_in(&world).await;
    let signed_in = ("cookie", cookie.as_str());
    world.send("GET", "/admin/status", &[HOST, signed_in], Vec::new()).await.expect(200);
    let body = json!({"name": "made-by-a-page"}).to_string().into_bytes();
    let (mut n_foreign, mut n_accepted) = (0, 0);
    for (headers, expected) in [
        // A form of another site: the browser would send the cookie were it not SameSite, and never the header.
        (vec![HOST, signed_in], 403),
        (vec![HOST, signed_in, OWN], 403),
        (vec![HOST, signed_in, CSRF, ("origin", "https://evil.example.com")], 403),
        (vec![HOST, signed_in, CSRF, ("origin", "null")], 403),
        (vec![HOST, signed_in, CSRF, ("origin", "http://localhost:8080")], 403),
        (vec![HOST, signed_in, CSRF, ("sec-fetch-site", "cross-site")], 403),
        (vec![HOST, signed_in, CSRF, OWN, ("sec-fetch-site", "same-site")], 403),
        (vec![HOST, CSRF, OWN], 401),
        (vec![HOST, signed_in, CSRF, OWN, ("sec-fetch-site", "same-origin")], 201),
    ] {
        let answer = world.send("POST", "/admin/keys", &headers, body.clone()).await;
        n_foreign += u32::from(expected != 201);
        n_accepted += u32::from(expected != 201 && answer.status.is_success());
        assert_eq!(answer.status.as_u16(), expected, "{headers:?}: {}", answer.text);
    }
    figure::note(TEST, "requests of other sites' pages that were accepted", f64::from(n_accepted), "requests", 0.0);
    figure::note_at_least(TEST, "such requests, one for each way to send them", f64::from(n_foreign), "requests", 8.0);
    // The master key in a page's hands is no better.
    let bearer = format!("Bearer {}", world.master_key());
    let headers = [HOST, ("authorization", bearer.as_str()), ("origin", "https://evil.example.com")];
    world.send("POST", "/admin/session", &headers, Vec::new()).await.refused(403, "forbidden");
    // Over TLS, be it that of a proxy, the cookie is bound to it.
    let headers = [
        ("host", "gateway.example.com"),
        ("origin", "https://gateway.example.com"),
        ("authorization", bearer.as_str()),
    ];
    let response = world.open("POST", "/admin/session", &headers, Vec::new()).await;
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-") && cookie.ends_with("; Secure"), "{cookie}");
    world.control.set_public_url("http://0.0.0.0:8080".to_owned());
    for (host, reached) in
        [("gateway.example.com", "gateway.example.com"), ("evil.example.com", "127.0.0.1"), ("a;b", "127.0.0.1")]
    {
        let page = world.open("GET", "/", &[("host", host)], Vec::new()).await;
        let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains(&format!("connect-src 'self' http://{reached}:8080;")), "{host}: {policy}");
    }
    let page = world.open("GET", "/", &[HOST], Vec::new()).await;
    for (name, part) in [
        ("content-security-policy", "default-src 'none'; script-src 'self'; style-src 'self'"),
        ("content-security-policy", "frame-ancestors 'none'"),
        ("content-security-policy", "require-trusted-types-for 'script'"),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert!(page.headers()[name].to_str().unwrap().contains(part), "{name}: {part}");
    }
}

#[tokio::test]
async fn session_lifecycle() {
    let world = World::new().await;
    // Another replica on the same database, with the same keys.
    let url = format!("sqlite://{}", world.directory.path().join("gateway.db").display());
    let replica = |name: &str, master: &str| {
        let directory = world.directory.path().join(name);
        std::fs::create_dir(&directory).unwrap();
        let key_file = directory.join("its-master.key");
        std::fs::write(&key_file, master).unwrap();
        set_private(&key_file);
        Options {
            database_url: Some(url.clone()),
            kek_file: Some(world.directory.path().join("kek.key")),
            master_key_file: Some(key_file),
            ..options(&directory)
        }
    };
    let second = start(replica("second", &world.master_key())).await.unwrap();
    let other_key = start(replica("third", "another-master-key-of-good-length")).await.unwrap();
    let ask = async |control: &gateway_server::ControlPlane, cookie: &str| {
        let request = Request::get("/admin/session").header("host", "localhost").header("cookie", cookie);
        let answer = admin::router(control.app()).oneshot(request.body(axum::body::Body::empty()).unwrap()).await;
        answer.unwrap().status().as_u16()
    };

    let cookie = sign_in(&world).await;
    let again = sign_in(&world).await;
    assert_ne!(cookie, again, "each sign-in has a secret of its own");
    assert_eq!(ask(&second, &cookie).await, 200, "any replica knows it");
    assert_eq!(ask(&other_key, &cookie).await, 401, "where the master key is another one, it is nobody's");
    let mut guessed = cookie.clone();
    guessed.replace_range(guessed.len() - 1.., if cookie.ends_with('A') { "B" } else { "A" });
    assert_eq!(ask(&second, &guessed).await, 401);

    let headers = [HOST, OWN, CSRF, ("cookie", cookie.as_str())];
    let tail = world.open("GET", "/admin/logs/follow", &headers, Vec::new()).await;
    assert_eq!(tail.status(), StatusCode::OK);
    let answer = world.open("DELETE", "/admin/session", &headers, Vec::new()).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert!(answer.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    let ended = Instant::now();
    assert_eq!(ask(&second, &cookie).await, 401, "dead on the other replica");
    assert_eq!(ask(&world.control, &cookie).await, 401);
    assert!(ended.elapsed() < Duration::from_secs(1));
    let over = tokio::time::timeout(Duration::from_secs(20), tail.into_body().collect()).await;
    assert!(over.is_ok(), "what was followed with it ends, too");
    assert_eq!(ask(&second, &again).await, 200, "another browser's lives on");

    let entries = world.get("/admin/audit").await.expect(200);
    let told: Vec<&Value> = entries["data"].as_array().unwrap().iter().filter(|row| row["kind"] == "session").collect();
    let actions: Vec<&str> = told.iter().filter_map(|row| row["action"].as_str()).collect();
    assert_eq!(actions, ["sign_out", "sign_in", "sign_in"]);
    assert_eq!(told[0]["name"], told[2]["name"], "what ended is what began");
    let secret = cookie.split('=').nth(1).unwrap();
    assert!(!entries.to_string().contains(secret), "the secret stands nowhere");
}

fn set_private(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
