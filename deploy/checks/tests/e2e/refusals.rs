//! Bad input of every kind: one clear error, the right status, and the gateway serves on.

use std::process::Stdio;

use gateway_fake::reply::openai;
use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::gateway::{Gateway, Place, config};
use crate::http;

const GOOD: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

async fn gateway(place: &Place, upstream: &Upstream) -> Gateway {
    upstream.respond_with(|received| openai::answer(received, "well"));
    place.write("gateway.yaml", &config(&upstream.url()));
    place.up(&["-f", "gateway.yaml"]).await
}

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong() {
    let (place, upstream) = (Place::new(), Upstream::start().await);
    let gateway = gateway(&place, &upstream).await;
    let bearer = format!("Bearer {}", gateway.key);
    let with_key = [("authorization", bearer.as_str())];
    let unknown = [("authorization", "Bearer gw_virt_nobody-knows-this-one-0123456789abcdef")];
    let conflicting = [("authorization", bearer.as_str()), ("x-api-key", "another-key-0123456789")];
    let packed = [("authorization", bearer.as_str()), ("content-encoding", "gzip")];
    let chat = "/v1/chat/completions";
    let text = |body: &str| body.as_bytes().to_vec();
    type Case<'c> = (&'c str, &'c str, &'c str, &'c [(&'c str, &'c str)], Vec<u8>, u16);
    let cases: Vec<Case<'_>> = vec![
        ("no key", "POST", chat, &[], text(GOOD), 401),
        ("unknown key", "POST", chat, &unknown, text(GOOD), 401),
        ("conflicting keys", "POST", chat, &conflicting, text(GOOD), 400),
        ("malformed JSON", "POST", chat, &with_key, text("{\"model\":"), 400),
        ("trailing garbage", "POST", chat, &with_key, text(&format!("{GOOD} x")), 400),
        ("not an object", "POST", chat, &with_key, text("[]"), 400),
        ("empty body", "POST", chat, &with_key, text(""), 400),
        ("no model", "POST", chat, &with_key, text("{\"messages\":[]}"), 400),
        ("model of the wrong type", "POST", chat, &with_key, text("{\"model\":7,\"messages\":[]}"), 400),
        ("bad UTF-8", "POST", chat, &with_key, b"{\"model\":\"m\",\"messages\":\"\xff\"}".to_vec(), 400),
        ("unknown model", "POST", chat, &with_key, text(&GOOD.replace("\"m\"", "\"nothing\"")), 404),
        ("unknown provider", "POST", chat, &with_key, text(&GOOD.replace("\"m\"", "\"no/thing\"")), 404),
        ("packed body", "POST", chat, &packed, text(GOOD), 415),
        ("wrong method", "GET", chat, &with_key, text(""), 405),
        ("unknown path", "POST", "/nothing", &with_key, text("{}"), 404),
        ("a path that passes, to nobody", "POST", "/v1/nothing", &with_key, text("{}"), 400),
        ("admin on the public listener", "GET", "/admin/providers", &with_key, text(""), 404),
    ];
    for (name, method, path, headers, body, status) in cases {
        let reply = http::send(gateway.addr, method, path, headers, body).await;
        assert_eq!(reply.status, status, "{name}: {}", reply.text());
        let message = reply.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.len() > 8, "{name} has no message: {}", reply.text());
        let next = gateway.chat("m").await;
        assert_eq!(next.status, 200, "after {name}: {}", next.text());
    }
}

#[tokio::test]
async fn broken_http_is_refused_and_serving_goes_on() {
    let (place, upstream) = (Place::new(), Upstream::start().await);
    let gateway = gateway(&place, &upstream).await;
    let long_header = format!("GET /v1/models HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(100 << 10));
    let key = &gateway.key;
    let long_body = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: 99999999\r\n\r\n"
    );
    let many_headers = format!("GET /v1/models HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(500));
    for (name, bytes, status) in [
        ("oversized header", long_header.as_str(), "431"),
        ("too many headers", &many_headers, "431"),
        ("oversized body", &long_body, "413"),
        ("not HTTP", "hello\r\n\r\n", "400"),
        ("two lengths", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", "400"),
    ] {
        let got = http::raw(gateway.addr, bytes.as_bytes()).await;
        assert!(got.starts_with(&format!("HTTP/1.1 {status}")), "{name}: {got:?}");
        assert_eq!(gateway.chat("m").await.status, 200, "after {name}");
    }
}

#[tokio::test]
async fn a_broken_upstream_gives_one_clear_error() {
    let (place, upstream) = (Place::new(), Upstream::start().await);
    upstream.respond_with(|received| openai::answer(received, "well"));
    // Each is to be asked, whatever the ones before have done.
    let asked_always = config(&upstream.url()).replace("    base_url:", "    breaker: {enabled: false}\n    base_url:");
    place.write("gateway.yaml", &asked_always);
    let gateway = place.up(&["-f", "gateway.yaml"]).await;
    for (name, script) in [
        ("reset", Script::new().reset()),
        ("closed", Script::new().close()),
        ("not HTTP", Script::new().write("what?\r\n\r\n").close()),
        ("not JSON", Script::text(200, "application/json", "<html>")),
        ("cut within the body", Script::new().head(200, &[("content-length", "999")]).write("{\"id\":").close()),
    ] {
        upstream.push(script);
        let reply = gateway.chat("m").await;
        assert_eq!(reply.status, 502, "{name}: {}", reply.text());
        assert!(reply.json()["error"]["message"].is_string(), "{name}: {}", reply.text());
    }
    upstream.push(Script::json(529, &openai::error("overloaded", "come back later")));
    let reply = gateway.chat("m").await;
    assert!([503, 529].contains(&reply.status) && reply.text().contains("come back later"), "{}", reply.text());
    drop(upstream);
    let reply = gateway.chat("m").await;
    assert_eq!(reply.status, 502, "connection refused: {}", reply.text());
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once() {
    let (place, upstream) = (Place::new(), Upstream::start().await);
    let mut gateway = gateway(&place, &upstream).await;
    let made = gateway.admin("POST", "/admin/keys?wait=applied", json!({"name": "short"})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["key"].as_str().expect("the key is shown once").clone_into(&mut gateway.key);
    assert_eq!(gateway.chat("m").await.status, 200);
    let gone = gateway.admin("DELETE", "/admin/keys/short?wait=applied", Value::Null).await;
    assert!([200, 204].contains(&gone.status), "{}", gone.text());
    assert_eq!(gateway.chat("m").await.status, 401);
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_flag() {
    let place = Place::new();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = holder.local_addr().expect("bound").to_string();
    for flag in ["--listen", "--admin-listen"] {
        let other = if flag == "--listen" { "--admin-listen" } else { "--listen" };
        let refused = place.run(&["up", "--data-dir", "data", flag, &taken, other, "127.0.0.1:0"]).await;
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success(), "{flag}: {said}");
        assert!(said.contains(&taken) && said.contains(flag) && !said.contains("panicked"), "{flag}: {said}");
    }
}

#[tokio::test]
async fn a_locked_or_newer_database_is_refused_with_what_to_do() {
    let Some(python) = python() else { return };
    let place = Place::new();
    place.up(&[]).await.stop().await;
    let database = std::fs::read_dir(place.path("data")).expect("the data directory").find_map(|entry| {
        let path = entry.expect("an entry").path();
        path.extension().is_some_and(|extension| extension == "db" || extension == "sqlite").then_some(path)
    });
    let database = database.expect("a database in the data directory").display().to_string();

    const LOCK: &str = "import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute('BEGIN EXCLUSIVE')
print('locked', flush=True)
sys.stdin.read()";
    let mut holder = Command::new(&python);
    holder.args(["-c", LOCK, &database]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut holder = holder.spawn().expect("python starts");
    let stdout = holder.stdout.take().expect("piped");
    assert_eq!(BufReader::new(stdout).lines().next_line().await.expect("a line").as_deref(), Some("locked"));
    refused_start(&place, &["locked", "another"]).await;
    holder.kill().await.expect("it runs");

    const AGE: &str = "import sqlite3, sys
c = sqlite3.connect(sys.argv[1])
c.execute('insert into schema_version (version) values (999999)')
c.commit()";
    let aged = Command::new(&python).args(["-c", AGE, &database]).output().await.expect("python starts");
    assert!(aged.status.success(), "{}", String::from_utf8_lossy(&aged.stderr));
    refused_start(&place, &["newer"]).await;
}

async fn refused_start(place: &Place, words: &[&str]) {
    let args = ["up", "--data-dir", "data", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let refused = place.run(&args).await;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{said}");
    assert!(words.iter().any(|word| said.contains(word)) && !said.contains("panicked"), "{words:?}: {said}");
}

/// The Python that `make test` sets up, else the machine's; its standard library has SQLite.
fn python() -> Option<String> {
    let own = gateway_checks::source::root().join(".venv/bin/python");
    let python = if own.exists() { own.display().to_string() } else { "python3".to_owned() };
    let works = std::process::Command::new(&python).args(["-c", "import sqlite3"]).status().is_ok_and(|s| s.success());
    if !works {
        let message = "no Python with sqlite3: the locked and newer database are not tried";
        assert!(std::env::var_os("CI").is_none(), "{message}");
        // Straight to the terminal: the test runner would swallow it.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("SKIPPED: {message}\n").as_bytes());
    }
    works.then_some(python)
}
