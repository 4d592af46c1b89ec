//! The wire as common programs see it: `curl` on every version of HTTP, with TLS and without, and files that are larger than
//! what the process may hold.

use std::path::Path;
use std::process::Stdio;

use gateway_fake::reply::openai;
use gateway_fake::{Gate, Script, Upstream};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::PATIENCE;
use crate::gateway::{Gateway, Place};

const WORDS: &str = "alpha beta gamma";

/// A certificate for loopback that is its own authority: `tls.pem` and `tls.key`.
pub(crate) fn certificate(place: &Place) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    place.write("tls.pem", &made.cert.pem());
    place.write("tls.key", &made.signing_key.serialize_pem());
}

fn config(upstream: &Upstream) -> String {
    format!(
        "providers:\n  - {{name: o, kind: openai, base_url: \"{}/v1\", api_key: k, allow_private_networks: true}}\n\
         models:\n  - {{name: m, targets: [{{provider: o, model: x}}]}}\n",
        upstream.url()
    )
}

/// Reads until `mark` has come.
async fn read_until(output: &mut (impl tokio::io::AsyncRead + Unpin), mark: &str) -> String {
    let mut got = Vec::new();
    while !String::from_utf8_lossy(&got).contains(mark) {
        let read = tokio::time::timeout(PATIENCE, output.read_buf(&mut got)).await;
        let n_read = read.unwrap_or_else(|_| panic!("{mark} does not come")).expect("curl's output");
        assert!(n_read > 0, "curl ended before {mark}: {}", String::from_utf8_lossy(&got));
    }
    String::from_utf8_lossy(&got).into_owned()
}

async fn curl(gateway: &Gateway, upstream: &Upstream, flag: &str, authority: &Path, version: &str) {
    let (gate, events) = (Gate::new(), openai::stream("x", WORDS, 3));
    upstream.push(Script::sse_gated(&events, &gate));
    let n_before = events.iter().position(|event| String::from_utf8_lossy(event).contains("alpha")).expect("a word");
    gate.release(n_before);
    let body = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let url = format!("{}/v1/chat/completions", gateway.ready["base_url"].as_str().expect("a URL"));
    let mut curl = Command::new("curl");
    curl.args(["-N", "-sS", flag, "--noproxy", "*", "-w", "\nversion %{http_version}\n", "--cacert"]).arg(authority);
    curl.args(["-H", &format!("authorization: Bearer {}", gateway.key), "-H", "content-type: application/json"]);
    curl.args(["-d", &body, &url]).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut curl = curl.spawn().expect("curl is there");
    let mut output = curl.stdout.take().expect("it is piped");
    for (word, next) in [("alpha", "beta"), ("beta", "gamma"), ("gamma", "[DONE]")] {
        gate.release(1);
        let got = read_until(&mut output, word).await;
        assert!(!got.contains(next), "{flag}: more than {word}: {got}");
    }
    gate.open();
    let rest = read_until(&mut output, "\nversion ").await;
    assert!(rest.contains("data: [DONE]"), "{flag}: {rest}");
    let mut told = rest.rsplit("version ").next().unwrap_or_default().to_owned();
    output.read_to_string(&mut told).await.expect("curl's output");
    assert_eq!(told.trim(), version, "{flag}");
    assert!(curl.wait().await.expect("curl ends").success(), "{flag}");
}

#[tokio::test]
async fn curl_streams_on_every_version_of_http() {
    let upstream = Upstream::start().await;
    let place = Place::new();
    certificate(&place);
    place.write("gateway.yaml", &config(&upstream));
    let authority = place.path("tls.pem");
    let plain = place.up(&["-f", "gateway.yaml"]).await;
    curl(&plain, &upstream, "--http1.1", &authority, "1.1").await;
    curl(&plain, &upstream, "--http2-prior-knowledge", &authority, "2").await;
    let key = plain.key.clone();
    plain.stop().await;
    let with_tls = ["-f", "gateway.yaml", "--tls-cert", "tls.pem", "--tls-key", "tls.key"];
    let admin = ["--admin-tls-cert", "tls.pem", "--admin-tls-key", "tls.key"];
    let mut tls = place.up(&[with_tls.as_slice(), &admin].concat()).await;
    // Shown once, at the first start.
    tls.key = key;
    curl(&tls, &upstream, "--http1.1", &authority, "1.1").await;
    curl(&tls, &upstream, "--http2", &authority, "2").await;
    let status = place.command(&["status"]).env("SSL_CERT_FILE", &authority).output().await.expect("it runs");
    assert!(status.status.success(), "the admin API over TLS: {}", String::from_utf8_lossy(&status.stderr));
    tls.stop().await;
}

/// Kibibytes of a line of `/proc/<pid>/status`.
fn memory(gateway: &Gateway, line: &str) -> u64 {
    let pid = gateway.ready["pid"].as_u64().expect("a pid");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let found = status.lines().find_map(|found| found.strip_prefix(line)).expect("a line");
    found.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}

/// A form with one file of so many bytes, written as it goes.
async fn upload(gateway: &Gateway, path: &str, fields: &str, file: &str, n_bytes: usize) -> String {
    let disposition = "content-disposition: form-data; name=";
    let first = format!("{fields}--x\r\n{disposition}\"{file}\"; filename=\"a.wav\"\r\n\r\n");
    let last = "\r\n--x--\r\n";
    let mut stream = TcpStream::connect(gateway.addr).await.expect("a connection");
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nconnection: close\r\n\
         content-type: multipart/form-data; boundary=x\r\ncontent-length: {}\r\n\r\n",
        gateway.key,
        first.len() + n_bytes + last.len()
    );
    stream.write_all(format!("{head}{first}").as_bytes()).await.expect("written");
    let piece = vec![7; 64 * 1024];
    let written = async {
        for _ in 0..n_bytes / piece.len() {
            stream.write_all(&piece).await?;
        }
        stream.write_all(last.as_bytes()).await
    };
    let written = written.await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(written.is_ok() && read.is_ok(), "{path}: {written:?} {read:?} {answer}");
    answer
}

/// What passes is not held: not in the worst moment either.
#[tokio::test]
async fn files_of_any_size_pass_in_bounded_memory() {
    const SIZE: usize = 60 * 1024 * 1024;
    const BOUND: u64 = 8 * 1024;
    let model = "--x\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nm\r\n";
    let purpose = "--x\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n";
    for (path, fields, file) in [
        ("/v1/audio/transcriptions", model, "file"),
        ("/v1/audio/translations", model, "file"),
        ("/v1/images/edits", model, "image"),
        ("/v1/images/variations", model, "image"),
        ("/v1/files", purpose, "file"),
    ] {
        let upstream = Upstream::start().await;
        upstream.respond_with(|_| Script::json(200, &json!({"id": "file-1", "text": "hello"})));
        let place = Place::new();
        place.write("gateway.yaml", &format!("{}settings: {{server: {{max_body: 1MiB}}}}\n", config(&upstream)));
        let gateway = place.up(&["-f", "gateway.yaml", "--workers", "1"]).await;
        let warm = upload(&gateway, path, fields, file, 2 * 1024 * 1024).await;
        assert!(warm.starts_with("HTTP/1.1 200"), "{path}: {warm}");
        let before = memory(&gateway, "VmHWM:");
        let answer = upload(&gateway, path, fields, file, SIZE).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        let grown = memory(&gateway, "VmHWM:") - before;
        assert!(upstream.request(1).await.body.len() > SIZE, "{path}: all of it has passed");
        assert!(grown < BOUND, "{path}: {grown} KiB more for {} KiB", SIZE / 1024);
    }
}
