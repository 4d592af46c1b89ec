//! Objects in a real store of the S3 language: moto's server, of the Python environment that `make test` makes.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use gateway_server::clock::date;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::*;

/// A server that is ended with the test; `None` where moto is not installed, which has been said then.
async fn moto() -> Option<(Child, u16)> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/moto_server");
    if !program.exists() {
        let what = "no moto server is installed (`make test` does it): no object is put";
        assert!(std::env::var_os("CI").is_none(), "{what}");
        // Straight to the terminal: the test runner would swallow it.
        let _ = std::io::stderr().write_all(format!("SKIPPED: {what}\n").as_bytes());
        return None;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(program);
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).kill_on_drop(true);
    let server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = std::time::Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(began.elapsed().as_secs() < 60, "moto does not start");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Some((server, port))
}

/// Asks it with a signature that it does not look at; the answer with its head.
async fn ask(port: u16, method: &str, target: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let credential = "Credential=AKIATEST/20270115/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00";
    let head = format!(
        "{method} {target} HTTP/1.0\r\nhost: 127.0.0.1:{port}\r\nauthorization: AWS4-HMAC-SHA256 {credential}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.") && &answer[9..11] == b"20", "{}", String::from_utf8_lossy(&answer));
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_store_is_given_compressed_lines_by_date() {
    let Some((_server, port)) = moto().await else { return };
    ask(port, "PUT", "/logs").await;
    let world = World::new().await;
    let s3 = json!({"bucket": "logs", "region": "us-east-1", "prefix": "gateway/requests", "access_key_id": "AKIATEST",
        "secret_access_key": "hidden", "gather": "0s"});
    make(
        &world,
        json!({"name": "lake", "type": "s3", "url": format!("http://127.0.0.1:{port}"), "s3": s3,
            "allow_private_networks": true}),
    )
    .await;
    store(&world.control, &[record(1), record(2)]).await;
    health(&world, "lake", |health| health["delivered"] == 2).await;
    let listed = String::from_utf8(ask(port, "GET", "/logs?list-type=2").await).unwrap();
    let keys: Vec<&str> = listed.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()).collect();
    let day = date(clock::unix_ms() / 86_400_000).replace('-', "/");
    assert_eq!(keys.len(), 1, "{listed}");
    let beginning = format!("gateway/requests/{}/", &day[..8]);
    assert!(keys[0].starts_with(beginning.trim_end_matches('/')) && keys[0].ends_with("-r0001.ndjson.gz"), "{keys:?}");
    let answer = ask(port, "GET", &format!("/logs/{}", keys[0])).await;
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    let text = gunzip(&answer[body..]);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[1]["id"]), (2, &json!("r0002")), "{text}");
    assert!(!text.contains("nobody may see"));
    let tried = world.call("POST", "/admin/exporters/lake/test", Value::Null).await.expect(200);
    assert_eq!(tried["delivered"], true, "{tried}");
}
