//! What is declared is told, what is told is declared, and all of it moves: the table of metrics against a control plane with nodes,
//! people, an audience and a database that goes away.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use gateway_fake::{Script, Upstream};
use gateway_server::meters::METRICS;
use gateway_testing::promtool;
use gateway_wire::metric::{self, Kind, Metric};
use gateway_wire::v1::control_msg::Msg;
use gateway_wire::v1::fleet_client::FleetClient;
use gateway_wire::v1::{Class, LogBatch, LogRecord, UsageBatch, UsageEvent};
use serde_json::{Value, json};

use crate::node::{Node, channel};
use crate::world::World;

async fn scrape(world: &World) -> String {
    world.get("/metrics").await.text
}

fn samples(text: &str) -> impl Iterator<Item = (&str, f64)> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        (series, value.parse().expect("a number"))
    })
}

/// The declared family that a series belongs to.
fn family(series: &str) -> &'static Metric {
    let name = series.split('{').next().unwrap_or_default();
    let of = |name: &str| METRICS.iter().find(|metric| metric.name == name);
    let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|end| of(name.strip_suffix(end)?));
    let histogram = parts.into_iter().find(|metric| metric.kind == Kind::Histogram);
    of(name).or(histogram).unwrap_or_else(|| panic!("`{name}` is told and not declared"))
}

/// Labels are those that the table has.
fn check_labels(series: &str) {
    let metric = family(series);
    let labels = series.split_once('{').map_or("", |(_, labels)| labels.trim_end_matches('}'));
    for label in labels.split("\",").filter_map(|label| label.split("=\"").next()).filter(|label| !label.is_empty()) {
        let is_declared = metric.labels.contains(&label) || label == "le" && metric.kind == Kind::Histogram;
        assert!(is_declared, "`{label}` of {series}");
    }
}

fn value(text: &str, series: &str) -> f64 {
    samples(text).find(|(name, _)| *name == series).map_or(0.0, |(_, value)| value)
}

/// All that is told once each of these series has its value.
async fn told(world: &World, expected: &[(&str, f64)]) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let text = scrape(world).await;
        let missing = expected.iter().find(|(series, expected)| value(&text, series) < *expected);
        let Some(missing) = missing else { return text };
        assert!(Instant::now() < deadline, "{missing:?}\n{text}");
        tokio::task::yield_now().await;
    }
}

fn usage(first_seq: u64, n_events: u64) -> UsageBatch {
    let event = |number: u64| UsageEvent {
        id: format!("r{number}"),
        started_unix_ms: 4_000_000_000_000,
        ..UsageEvent::default()
    };
    UsageBatch {
        node_id: "node_1".to_owned(),
        boot_id: "boot1".to_owned(),
        lane: 1,
        first_seq,
        events: (first_seq..first_seq + n_events).map(event).collect(),
    }
}

fn logs() -> LogBatch {
    let record = LogRecord {
        id: "r1".to_owned(),
        node_id: "node_1".to_owned(),
        started_unix_ms: 4_000_000_000_000,
        status: 200,
        ..LogRecord::default()
    };
    LogBatch {
        node_id: "node_1".to_owned(),
        boot_id: "boot1".to_owned(),
        first_seq: 1,
        records: vec![record],
        ..LogBatch::default()
    }
}

/// Each batch, its answer awaited.
async fn report(world: &World) {
    let mut client = FleetClient::new(channel(&world.control).await);
    for batch in [usage(1, 3), usage(1, 4)] {
        let mut acks = client.usage(tokio_stream::once(batch)).await.unwrap().into_inner();
        acks.message().await.unwrap().expect("it is stored");
    }
    let mut acks = client.usage(tokio_stream::once(usage(0, 1))).await.unwrap().into_inner();
    assert_eq!(acks.message().await.unwrap_err().code(), tonic::Code::InvalidArgument);
    for _ in 0..2 {
        let mut acks = client.logs(tokio_stream::once(logs())).await.unwrap().into_inner();
        acks.message().await.unwrap().expect("it is stored");
    }
}

async fn sign_in(world: &World, with: (&str, &str), body: Value, expected: u16) {
    let headers = [("host", "localhost"), ("x-gateway-csrf", "1"), with];
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    world.send("POST", "/admin/session", &headers, body).await.expect(expected);
}

/// One that takes records and one that does not.
async fn exporters(world: &World, upstream: &Upstream) {
    upstream.respond_with(|received| match received.target.as_str() {
        "/away" => Script::text(503, "text/plain", "not now"),
        _ => Script::text(204, "text/plain", ""),
    });
    for name in ["near", "away"] {
        let url = format!("{}/{name}", upstream.url());
        let exporter = json!({"name": name, "type": "slack", "url": url, "allow_private_networks": true});
        world.call("POST", "/admin/exporters", exporter).await.expect(201);
        world.eventually(&format!("/admin/exporters/{name}/health"), |health| health["state"] != "starting").await;
    }
}

/// Everything that can happen to one, told while it is so.
async fn scrapes() -> Vec<String> {
    let (world, upstream) = (World::with_fleet().await, Upstream::start().await);
    upstream.respond_with(|_| Script::text(204, "text/plain", ""));
    let bearer = format!("Bearer {}", world.master_key());
    sign_in(&world, ("authorization", &bearer), Value::Null, 201).await;
    sign_in(&world, ("authorization", "Bearer gw_master_wrong"), Value::Null, 401).await;
    let wrong = json!({"email": "a@example.com", "password": "not a password"});
    sign_in(&world, ("accept", "application/json"), wrong, 401).await;

    let ops = json!({"name": "ops", "kind": "webhook", "url": upstream.url(), "secret": "a-secret-for-the-webhook",
        "allow_private_networks": true});
    world.call("PUT", "/admin/settings", json!({"alerts": [ops]})).await.expect(201);
    world.call("POST", "/admin/alerts/test", json!({})).await.expect(200);

    exporters(&world, &upstream).await;
    let provider = json!({"name": "up", "kind": "openai", "api_key": "sk-upstream-0123456789"});
    world.call("POST", "/admin/providers", provider).await.expect(201);
    let (mut node, ..) = Node::synced(&world.control).await;
    let headers = [("host", "localhost"), ("authorization", bearer.as_str())];
    let followed = world.open("GET", "/admin/logs/follow", &headers, Vec::new()).await;
    report(&world).await;
    let current = told(
        &world,
        &[
            (r#"gateway_nodes{state="current"}"#, 1.0),
            (r#"gateway_config_apply_seconds_count{class="topology"}"#, 1.0),
            (r#"gateway_sign_ins_total{with="key",outcome="ok"}"#, 1.0),
            (r#"gateway_sign_ins_total{with="key",outcome="unauthorized"}"#, 1.0),
            (r#"gateway_sign_ins_total{with="password",outcome="unauthorized"}"#, 1.0),
            (r#"gateway_ingested_total{class="usage"}"#, 7.0),
            (r#"gateway_ingest_duplicates_total{class="usage"}"#, 3.0),
            (r#"gateway_ingest_duplicates_total{class="logs"}"#, 1.0),
            (r#"gateway_ingest_batches_total{class="usage",outcome="invalid"}"#, 1.0),
            (r#"gateway_alert_messages_total{outcome="taken"}"#, 1.0),
            (r#"gateway_job_runs_total{job="tidy",outcome="done"}"#, 1.0),
            (r#"gateway_config_published_total{class="topology"}"#, 1.0),
            ("gateway_audit_events_total", 3.0),
            ("gateway_log_followers", 1.0),
            (r#"gateway_exported_total{type="slack",outcome="delivered"}"#, 1.0),
            (r#"gateway_export_calls_total{type="slack",outcome="again"}"#, 1.0),
            (r#"gateway_export_behind_records{type="slack"}"#, 1.0),
            ("gateway_replicas", 1.0),
            (r#"gateway_database_connections_max{pool="write"}"#, 1.0),
        ],
    )
    .await;
    drop(followed);
    // What one that is away has not been sent goes with its age.
    world.control.app().store.prune_logs(0, Some(0)).await.unwrap();
    let pruned = told(&world, &[(r#"gateway_export_dropped_records{type="slack"}"#, 1.0)]).await;

    let model = json!({"name": "m", "targets": [{"provider": "up", "model": "x"}]});
    world.call("POST", "/admin/models", model).await.expect(201);
    let Msg::Delta(delta) = node.next().await else { panic!("no change") };
    let behind = told(
        &world,
        &[(r#"gateway_nodes{state="behind"}"#, 1.0), (r#"gateway_config_lag_revisions{class="topology"}"#, 1.0)],
    )
    .await;
    node.refuses(Class::Topology, delta.nonce, delta.to_revision, "targets").await;
    let refusing = told(
        &world,
        &[(r#"gateway_nodes{state="refusing"}"#, 1.0), (r#"gateway_config_nacks_total{class="topology"}"#, 1.0)],
    )
    .await;
    drop(node);
    let away = told(&world, &[(r#"gateway_nodes{state="away"}"#, 1.0)]).await;
    assert_eq!(value(&away, "gateway_nodes_connected"), 0.0);

    // It still tells how it is when it can tell nothing else.
    world.control.app().store.close().await;
    world.get("/admin/status").await.expect(503);
    let mut client = FleetClient::new(channel(&world.control).await);
    let mut acks = client.usage(tokio_stream::once(usage(9, 1))).await.unwrap().into_inner();
    assert_eq!(acks.message().await.unwrap_err().code(), tonic::Code::Unavailable);
    let closed = told(
        &world,
        &[
            (r#"gateway_database_errors_total{part="admin",kind="away"}"#, 1.0),
            (r#"gateway_database_errors_total{part="ingest",kind="away"}"#, 1.0),
            (r#"gateway_ingest_batches_total{class="usage",outcome="failed"}"#, 1.0),
        ],
    )
    .await;
    vec![current, pruned, behind, refusing, away, closed]
}

/// And Prometheus' own tool finds nothing to say about any of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_declared_metric_moves_and_every_one_told_is_declared() {
    let mut moved = BTreeSet::new();
    for text in scrapes().await {
        promtool::check(&text);
        for (series, value) in samples(&text) {
            check_labels(series);
            if value > 0.0 {
                moved.insert(family(series).name);
            }
        }
    }
    let still: Vec<_> = METRICS.iter().map(|metric| metric.name).filter(|name| !moved.contains(name)).collect();
    assert!(still.is_empty(), "declared, and nothing moves them: {still:?}");
}

#[test]
fn docs_list_every_metric_of_a_control_plane() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    gateway_testing::generated::section(&page, "control-planes", &metric::page(METRICS));
}

#[test]
fn the_table_is_sound() {
    let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), METRICS.len(), "a name is there twice");
    for Metric { name, kind, about, .. } in METRICS {
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert_eq!(*kind == Kind::Histogram, name.ends_with("_seconds") && !name.contains("uptime"), "{name}");
        assert!(name.starts_with("gateway_"), "{name}");
        assert!(!about.is_empty() && !about.contains('\n') && !about.contains('|'), "{name}");
    }
}
