//! Receipts of a running node: streams and whole replies, one chain over a restart, and nothing where nobody wants them.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway_fake::Upstream;
use gateway_fake::reply::openai;
use serde_json::{Value, json};

use crate::gateway::{Gateway, openai_at, read};

const PUBLISHED: &str = "/.well-known/gateway-llm-receipts.json";
const PRICES: &str = "prices:\n  - {provider: up, model: dear, input_per_1m: 20, output_per_1m: 40}\n  \
    - {provider: up, model: cheap, input_per_1m: 10, output_per_1m: 20}\n";

fn hash(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn node(upstream: &Upstream, dir: &Path, settings: &str) -> Gateway {
    let models = "models:\n  - {name: m, strategy: priority, targets: [{provider: up, model: dear, enabled: true, priority: 1}, \
        {provider: up, model: cheap}]}\n";
    let (providers, _) =
        openai_at(&upstream.url()).split_once("models:").map(|(a, b)| (a.to_owned(), b.to_owned())).expect("both");
    let yaml = format!("{providers}{models}{PRICES}{settings}");
    Gateway::start_with(&yaml, |options| options.data_dir = Some(dir.to_owned())).await
}

/// The lines of a node's chain, each held against the key.
fn verified(dir: &Path, published: &Value) -> Vec<Value> {
    let public = STANDARD.decode(published["public_key"].as_str().expect("a key")).expect("base64");
    let text = std::fs::read_to_string(dir.join("receipts.jsonl")).expect("a chain");
    let (mut id, mut before) = (String::new(), String::new());
    let lines = text.lines().map(|line| {
        let (signed, signature) =
            line.strip_prefix("{\"receipt\":").and_then(|rest| rest.split_once(",\"signature\":\"")).expect("a form");
        let signature = STANDARD.decode(signature.trim_end_matches("\"}")).expect("base64");
        UnparsedPublicKey::new(&ED25519, &public).verify(signed.as_bytes(), &signature).expect("signed by the key");
        let receipt: Value = serde_json::from_str(signed).expect("JSON");
        assert_eq!((receipt["prev_receipt_id"].as_str(), receipt["prev_hash"].as_str()), (Some(&*id), Some(&*before)));
        (id, before) = (receipt["id"].as_str().expect("an id").to_owned(), hash(line.as_bytes()));
        receipt
    });
    lines.collect()
}

#[tokio::test]
async fn receipts() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello you"));
    let dir = tempfile::tempdir().expect("a directory");
    let mut published = Value::Null;
    let mut expected = Vec::new();
    for _ in 0..2 {
        let gateway = node(&upstream, dir.path(), "settings: {receipts: true}\n").await;
        let told = read(gateway.client().get(gateway.url(PUBLISHED))).await;
        assert_eq!(told.status, 200, "{}", told.text);
        assert!(published.is_null() || published == told.json(), "the key stays over a restart");
        published = told.json();
        for stream in [false, true] {
            let question = json!({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hello"}]});
            let answer = gateway.chat(&question).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            expected.push((answer.header("x-gateway-request-id").expect("an id").to_owned(), question, answer.text));
        }
        gateway.records(2).await;
        gateway.stop().await;
    }
    let receipts = verified(dir.path(), &published);
    assert_eq!(receipts.len(), 4);
    for (receipt, (id, question, reply)) in receipts.iter().zip(&expected) {
        assert_eq!(receipt["id"], **id);
        assert_eq!(receipt["req_hash"], hash(question.to_string().as_bytes()));
        assert_eq!(receipt["resp_hash"], hash(reply.as_bytes()), "{receipt}");
        assert_eq!(receipt["public_key_id"], published["keys"][0]["kid"]);
        let cost = receipt["cost_nano_usd"].as_i64().filter(|cost| *cost > 0).expect("a cost");
        // The first target is the cheap one: the dear one stands behind it.
        assert_eq!((receipt["baseline_nano_usd"].as_i64(), receipt["saved_nano_usd"].as_i64()), (Some(cost), Some(0)));
        assert!(receipt["price"].as_str().is_some_and(|price| price.starts_with("prices@")), "{receipt}");
    }
}

#[tokio::test]
async fn where_nobody_wants_receipts_there_are_none() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello you"));
    let dir = tempfile::tempdir().expect("a directory");
    let gateway = node(&upstream, dir.path(), "").await;
    let question = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
    assert_eq!(gateway.chat(&question).await.status, 200);
    assert_eq!(read(gateway.client().get(gateway.url(PUBLISHED))).await.status, 404);
    gateway.stop().await;
    for name in ["receipts.jsonl", "receipts.key"] {
        assert!(!dir.path().join(name).exists(), "{name}");
    }
}
