//! What operators and their tools ask a node: statistics, profiles, metrics that a strict reader takes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use gateway_fake::reply::openai;
use gateway_fake::{Script, Upstream};
use gateway_model::secret::Secret;
use gateway_proxy::config::{Options, Source};
use gateway_proxy::meters::METRICS;
use gateway_proxy::{Node, start};
use serde_json::{Value, json};

use crate::gateway::{Gateway, client, openai_at, within};

const OPERATORS_KEY: &str = "the-key-of-the-operators";

async fn node(ops_key: Option<&str>, pprof: bool) -> (Node, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("gateway.yaml");
    std::fs::write(&path, "providers:\n  - {name: demo, kind: demo}\n").expect("write the configuration");
    let node = start(Options {
        listen: Some("127.0.0.1:0".parse().expect("an address")),
        workers: Some(1),
        ops_key: ops_key.map(Secret::new),
        pprof,
        ..Options::new(Source::File { path, watch: false })
    });
    (node.await.expect("the node starts"), dir)
}

async fn get(node: &Node, path: &str, key: Option<&str>) -> (u16, Vec<u8>) {
    let mut request = client().get(format!("http://{}{path}", node.addr()));
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let response = request.send().await.expect("the node answers");
    (response.status().as_u16(), response.bytes().await.expect("a whole body").to_vec())
}

/// A node that has served one request well and one badly, and what it says of them.
async fn told() -> (Gateway, Value) {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
    upstream.respond_with(|received| openai::answer(received, "hello"));
    assert_eq!(gateway.chat(&body).await.status, 200);
    upstream.respond_with(|_| Script::json(429, &openai::error("rate_limit_exceeded", "slow down")));
    assert_eq!(gateway.chat(&body).await.status, 429);
    let told = within("both requests in the statistics", || async {
        let told: Value = client().get(gateway.url("/statsz")).send().await.ok()?.json().await.ok()?;
        (told["models"]["m"]["requests"] == 2).then_some(told)
    });
    let told = told.await;
    (gateway, told)
}

#[tokio::test]
async fn statsz_shape() {
    let (gateway, told) = told().await;
    assert!(told["uptime_seconds"].is_u64(), "{told}");
    let model = &told["models"]["m"];
    assert_eq!(model["errors"], 1, "{told}");
    for name in ["input", "output"] {
        assert!(model[format!("{name}_tokens")].as_u64().is_some_and(|n| n > 0), "{name}: {told}");
    }
    let parts = ["cache_hit", "cache_miss", "cache_creation"].map(|name| model[format!("{name}_tokens")].as_u64());
    assert_eq!(parts.into_iter().sum::<Option<u64>>(), model["input_tokens"].as_u64(), "{told}");
    assert!(model["reasoning_tokens"].is_u64(), "{told}");
    let circuit = &told["circuit_breakers"]["circuits"]["up/own-name"];
    assert_eq!((&circuit["state"], &circuit["failure_count"]), (&json!("closed"), &json!(0)), "{told}");
    assert_eq!(
        (&circuit["passed_over"], &circuit["last_error_status"]),
        (&json!("cooling_down"), &json!(429)),
        "{told}"
    );
    assert_eq!(told["provider_health"]["up"]["ok"], 1, "{told}");
    assert_eq!((&told["in_flight"], &told["open_streams"]), (&json!(0), &json!(0)));
    gateway.stop().await;
}

#[tokio::test]
async fn statsz_latency() {
    let (gateway, told) = told().await;
    let latency = &told["latency"]["up/own-name"];
    assert_eq!(latency["count"], 2, "{told}");
    let [p50, p95, p99] = ["p50", "p95", "p99"].map(|name| latency[name].as_f64().expect("a number of seconds"));
    assert!(0.0 < p50 && p50 <= p95 && p95 <= p99 && p99 < 60.0, "{latency}");
    gateway.stop().await;
}

#[tokio::test]
async fn statsz_can_be_restricted() {
    let (node, _dir) = node(Some(OPERATORS_KEY), false).await;
    assert_eq!(get(&node, "/statsz", None).await.0, 401);
    assert_eq!(get(&node, "/statsz", Some("another key")).await.0, 401);
    assert_eq!(get(&node, "/statsz", Some(OPERATORS_KEY)).await.0, 200);
    node.shutdown().await;
}

#[tokio::test]
async fn pprof_behind_bearer_and_switch() {
    let (off, _dir) = node(Some(OPERATORS_KEY), false).await;
    for path in ["/debug/pprof/", "/debug/pprof/profile", "/debug/pprof/heap"] {
        assert_eq!(get(&off, path, Some(OPERATORS_KEY)).await.0, 404, "{path} while it is off");
    }
    off.shutdown().await;
    let (on, _dir) = node(Some(OPERATORS_KEY), true).await;
    for path in ["", "/", "/profile?seconds=1", "/goroutine", "/heap", "/block", "/mutex"] {
        let path = format!("/debug/pprof{path}");
        assert_eq!(get(&on, &path, None).await.0, 401, "{path}");
        assert_eq!(get(&on, &path, Some("another key")).await.0, 401, "{path}");
    }
    for (path, expected, says) in [
        ("/", 200, "go tool pprof"),
        ("/goroutine?debug=1", 200, "tasks of gateway-0"),
        ("/profile?seconds=0", 400, "1 to 300"),
        ("/profile?seconds=x", 400, "1 to 300"),
        ("/heap?seconds=301", 400, "1 to 300"),
        ("/block", 501, "does not record"),
        ("/mutex", 501, "do not record"),
        ("/other", 404, "other"),
    ] {
        let (status, body) = get(&on, &format!("/debug/pprof{path}"), Some(OPERATORS_KEY)).await;
        let body = String::from_utf8_lossy(&body);
        assert_eq!(status, expected, "{path}: {body}");
        assert!(body.contains(says), "{path}: {body}");
    }
    for (path, sample) in [("/goroutine", "tasks"), ("/profile?seconds=1", "nanoseconds")] {
        let (status, body) = get(&on, &format!("/debug/pprof{path}"), Some(OPERATORS_KEY)).await;
        assert_eq!(status, 200, "{path}");
        let mut profile = Vec::new();
        flate2::read::GzDecoder::new(body.as_slice()).read_to_end(&mut profile).expect("gzip");
        assert!(String::from_utf8_lossy(&profile).contains(sample), "{path} tells its units");
    }
    on.shutdown().await;
}

/// Its name is looked for in the profile.
#[inline(never)]
fn held_by_the_test() -> Vec<Vec<u8>> {
    (0..16).map(|_| vec![1; 1024 * 1024]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heap_profile_names_who_holds_what_was_allocated_meanwhile() {
    let (node, _dir) = node(Some(OPERATORS_KEY), true).await;
    let holding = async {
        // Until the profile is there, something is allocated again and again, so that no moment has to be met.
        let mut held = held_by_the_test();
        while !held.is_empty() {
            tokio::task::yield_now().await;
            held = held_by_the_test();
        }
    };
    let (status, body) = tokio::select! {
        answer = get(&node, "/debug/pprof/heap?seconds=1", Some(OPERATORS_KEY)) => answer,
        () = holding => unreachable!("it goes on for ever"),
    };
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let mut profile = Vec::new();
    flate2::read::GzDecoder::new(body.as_slice()).read_to_end(&mut profile).expect("gzip");
    let text = String::from_utf8_lossy(&profile);
    assert!(text.contains("inuse_space") && text.contains("held_by_the_test"), "{} bytes", text.len());
    // Off again: the next profile begins with nothing.
    let (status, body) = get(&node, "/debug/pprof/heap?seconds=1", Some(OPERATORS_KEY)).await;
    assert_eq!(status, 200);
    let mut profile = Vec::new();
    flate2::read::GzDecoder::new(body.as_slice()).read_to_end(&mut profile).expect("gzip");
    assert!(!String::from_utf8_lossy(&profile).contains("held_by_the_test"), "what was seen before is forgotten");
    node.shutdown().await;
}

/// What `promtool check metrics` looks at: each sample belongs to a family with HELP and TYPE told once and before it, counters end
/// in `_total`, histograms are whole; and no label takes values that clients choose.
#[tokio::test]
async fn metrics_are_taken_by_a_strict_reader() {
    let (gateway, _) = told().await;
    let text = client().get(gateway.url("/metrics")).send().await.expect("an answer").text().await.expect("text");
    let (mut types, mut helped): (BTreeMap<&str, &str>, BTreeSet<&str>) = (BTreeMap::new(), BTreeSet::new());
    let mut n_samples = 0;
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, about) = rest.split_once(' ').expect("HELP has words");
            assert!(!about.is_empty() && helped.insert(name), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("TYPE has a type");
            assert!(types.insert(name, kind).is_none(), "told twice: {line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(helped.contains(name), "without HELP: {line}");
        } else {
            n_samples += 1;
            check_sample(line, &types);
        }
    }
    assert!(n_samples > 20, "{text}");
    gateway.stop().await;
}

fn check_sample(line: &str, types: &BTreeMap<&str, &str>) {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    assert!(value.parse::<f64>().is_ok(), "{line}");
    let (name, labels) = series.split_once('{').map_or((series, ""), |(name, rest)| (name, rest.trim_end_matches('}')));
    let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    assert!(is_name && (name.starts_with("gateway_") || name.starts_with("process_")), "{line}");
    let family = ["_bucket", "_sum", "_count"]
        .iter()
        .filter_map(|end| name.strip_suffix(end))
        .find(|family| types.get(family) == Some(&"histogram"))
        .unwrap_or(name);
    assert!(types.contains_key(family), "without TYPE: {line}");
    for label in labels.split("\",").filter(|label| !label.is_empty()) {
        let (label, _) = label.split_once("=\"").expect("a quoted value");
        let declared = METRICS.iter().find(|metric| metric.name == family).expect("it is declared");
        assert!(label == "le" || declared.labels.contains(&label), "`{label}` is not declared: {line}");
    }
}
