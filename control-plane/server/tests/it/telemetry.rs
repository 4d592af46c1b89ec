//! Logs and usage as they are asked for.

use gateway_store::logs::LogRow;
use gateway_store::usage::{Sender, Tokens, Units, UsageRow};
use gateway_testing::ClickHouse;
use gateway_wire::v1::fleet_client::FleetClient;
use gateway_wire::v1::{CacheUse, LogBatch, LogRecord, TokenUsage};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::node::channel;
use crate::world::World;

fn record(number: u32) -> LogRow {
    LogRow {
        id: format!("r{number}"),
        started_ms: 1_800_000_000_000 + i64::from(number),
        key_id: "vk_1".to_owned(),
        key_name: "demo".to_owned(),
        model: "m".to_owned(),
        provider: "p".to_owned(),
        status: if number == 2 { 429 } else { 200 },
        record: json!({"id": format!("r{number}"), "started_unix_ms": 1_800_000_000_000_i64 + i64::from(number)})
            .to_string(),
        ..LogRow::default()
    }
}

fn sender() -> Sender<'static> {
    Sender { node: "node_1", boot: "b", at_ms: 1_800_000_000_000 }
}

fn ids(answer: &Value) -> Vec<String> {
    answer["data"].as_array().unwrap().iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_in_a_clickhouse_are_found_and_its_absence_is_told() {
    // Starting a server blocks.
    let url = tokio::task::block_in_place(|| ClickHouse::shared().map(ClickHouse::database));
    if let Some(url) = url {
        let world = World::with_logs_in(&url).await;
        let rows: Vec<LogRow> = (1..=3).map(record).collect();
        world.control.app().store.ingest_logs(sender(), 1, &rows, 0).await.unwrap();
        assert_eq!(ids(&world.get("/admin/logs?search=status:%3C400+key:demo").await.expect(200)), ["r3", "r1"]);
        assert_eq!(world.get("/admin/logs/r2").await.expect(200)["id"], "r2");
        let status = world.get("/admin/status").await.expect(200);
        assert_eq!(status["logs"], json!({"engine": "clickhouse", "trouble": null}));
    }
    let nobody = format!("http://u:hush@127.0.0.1:{}/logs", gateway_testing::free_port());
    let world = World::with_logs_in(&nobody).await;
    world.get("/ready").await.expect(200);
    let refused = world.get("/admin/logs").await;
    assert_eq!(refused.status, 503, "{}", refused.text);
    let status = world.get("/admin/status").await.expect(200);
    let trouble = status["logs"]["trouble"].as_str().unwrap();
    assert!(trouble.contains("does not answer"), "{trouble}");
    assert!(!format!("{}{status}", refused.text).contains("hush"), "{status}");
    let rows = [record(1)];
    let refused = world.control.app().store.ingest_logs(sender(), 1, &rows, 0).await.unwrap_err();
    assert!(refused.is_transient(), "{refused:?}");
}

#[tokio::test]
async fn logs_are_listed_filtered_and_found() {
    let world = World::new().await;
    let rows: Vec<LogRow> = (1..=3).map(record).collect();
    world.control.app().store.ingest_logs(sender(), 1, &rows, 0).await.unwrap();
    for (query, expected) in [
        ("", vec!["r3", "r2", "r1"]),
        ("?status=429", vec!["r2"]),
        ("?key=demo&model=m&provider=p&since=1800000000002", vec!["r3", "r2"]),
        ("?since=2027-01-15T08:00:00.003Z", vec!["r3"]),
        ("?key=nobody", vec![]),
        ("?status=4xx", vec!["r2"]),
        ("?status=%3E%3D400", vec!["r2"]),
        ("?search=status:%3C400+key:demo", vec!["r3", "r1"]),
        ("?search=r2-nothing", vec![]),
        ("?id=r2&until=1800000000003", vec!["r2"]),
        ("?until=1800000000002", vec!["r1"]),
    ] {
        assert_eq!(ids(&world.get(&format!("/admin/logs{query}")).await.expect(200)), expected, "{query}");
    }
    let page = world.get("/admin/logs?limit=2").await.expect(200);
    let rest = world.get(&format!("/admin/logs?after={}", page["next"].as_str().unwrap())).await.expect(200);
    assert_eq!((ids(&page), ids(&rest)), (vec!["r3".to_owned(), "r2".to_owned()], vec!["r1".to_owned()]));
    assert_eq!(world.get("/admin/logs/r2").await.expect(200)["id"], "r2");
    world.get("/admin/logs/none").await.refused(404, "not_found");
}

/// What a node sends, as it is found: by each field, in a list and as it arrives.
#[tokio::test]
async fn what_a_node_sends_is_found_by_every_field() {
    let world = World::new().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let id = "0192a8c0-1111-7000-8000-0123456789ab";
    let record = LogRecord {
        id: id.to_owned(),
        started_unix_ms: 1_800_000_000_000,
        node_id: "node_1".to_owned(),
        key_id: "vk_1".to_owned(),
        key_name: "demo".to_owned(),
        path: "/v1/chat/completions".to_owned(),
        dialect: "openai_chat".to_owned(),
        model: "smart".to_owned(),
        route: "main".to_owned(),
        provider: "acme".to_owned(),
        upstream_model: "acme-large".to_owned(),
        topology_revision: 7,
        status: 504,
        ending: "timeout".to_owned(),
        error_code: "upstream_timeout".to_owned(),
        error_message: "the upstream `acme` took longer than 30s".to_owned(),
        stream: true,
        lane: "pass".to_owned(),
        cost_nano_usd: 50_000_000,
        total_us: 30_000_000,
        session_id: "s 1".to_owned(),
        tags: vec!["blue".to_owned(), "team:green".to_owned()],
        cache: Some(CacheUse { verdict: "miss".to_owned(), ..CacheUse::default() }),
        user: "ann".to_owned(),
        team: "core".to_owned(),
        organization: "org".to_owned(),
        tier: "flex".to_owned(),
        trace_id: trace.to_owned(),
        ..LogRecord::default()
    };
    let batch = LogBatch {
        node_id: "node_1".to_owned(),
        boot_id: "b".to_owned(),
        first_seq: 1,
        records: vec![record],
        ..LogBatch::default()
    };
    let mut client = FleetClient::new(channel(&world.control).await);
    let mut acks = client.logs(tokio_stream::iter([batch])).await.unwrap().into_inner();
    assert_eq!(acks.message().await.unwrap().unwrap().up_to_seq, 1);
    for (search, is_found) in [
        ("key:demo key:vk_1", None),
        ("key:vk_1 model:smart provider:acme status:504 upstream_model:acme-large route:main", Some(true)),
        ("team:core user:ann organization:org ending:timeout error_code:upstream_timeout tier:flex", Some(true)),
        ("stream:true lane:pass cache:miss revision:7 dialect:openai_chat", Some(true)),
        (r#"session:"s 1" tag:blue tag:team:green"#, Some(true)),
        ("min_duration:30s min_cost:0.05", Some(true)),
        ("min_duration:30001ms", Some(false)),
        ("min_cost:0.050000001", Some(false)),
        ("cache:hit", Some(false)),
        ("tag:blu", Some(false)),
        ("tag:blue tag:red", Some(false)),
        (r#""took longer" upstream"#, Some(true)),
        ("30s chat compl", Some(true)),
        ("onger", Some(false)),
        ("%", Some(false)),
        (trace, Some(true)),
        (id, Some(true)),
        ("colour:red", None),
    ] {
        let query =
            format!("/admin/logs?search={}", search.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>());
        let answer = world.get(&query).await;
        match is_found {
            Some(is_found) => assert_eq!(ids(&answer.expect(200)) == [id], is_found, "{search}"),
            None => drop(answer.refused(400, "malformed")),
        }
    }
    let answer = world.get("/admin/logs?team=core").await.expect(200);
    assert_eq!(
        (answer["searched_since"].is_string(), &answer["stopped_early"], &answer["next"]),
        (true, &json!(false), &Value::Null)
    );
    // Whoever has an id in hand does not know from when it is: all there is was looked at.
    let answer = world.get(&format!("/admin/logs?id={id}")).await.expect(200);
    assert_eq!((ids(&answer), &answer["searched_since"]), (vec![id.to_owned()], &json!("1970-01-01T00:00:00.000Z")));
    world.get(&format!("/admin/logs?since={}", i64::MIN)).await.refused(400, "malformed");
}

/// Whatever clients call their sessions, they are told as sums, and their requests are found by what they are told as.
#[tokio::test]
async fn requests_of_a_session_are_summed_up() {
    let world = World::new().await;
    let hostile = "<script>alert(1)</script>".repeat(400);
    let named = |number: i64, session: &str, status| LogRecord {
        id: format!("r{number}"),
        started_unix_ms: 1_700_000_000_000 + number,
        key_id: "vk_1".to_owned(),
        key_name: "demo".to_owned(),
        user: "ann".to_owned(),
        model: format!("m{number}"),
        status,
        ending: "finished".to_owned(),
        session_id: session.to_owned(),
        cost_nano_usd: if number == 2 { 0 } else { 5 },
        priced: number != 2,
        // A refused request was never let in: it has no price, and needs none.
        tokens: (status != 429).then(|| TokenUsage { input: 10, output: 2, ..TokenUsage::default() }),
        ..LogRecord::default()
    };
    let records = vec![
        named(1, "chat", 200),
        named(2, "chat", 503),
        named(3, &hostile, 200),
        named(4, "", 200),
        LogRecord { cost_nano_usd: 0, priced: false, ..named(5, "chat", 429) },
    ];
    let batch = LogBatch {
        node_id: "node_1".to_owned(),
        boot_id: "b".to_owned(),
        first_seq: 1,
        records,
        ..LogBatch::default()
    };
    let mut client = FleetClient::new(channel(&world.control).await);
    // It comes twice, as after an answer that was lost.
    let mut acks = client.logs(tokio_stream::iter([batch.clone(), batch])).await.unwrap().into_inner();
    for _ in 0..2 {
        assert_eq!(acks.message().await.unwrap().unwrap().up_to_seq, 5);
    }
    let told = world.get("/admin/logs/sessions").await.expect(200);
    assert_eq!((told["data"].as_array().map(Vec::len), &told["next"]), (Some(2), &Value::Null));
    let chat = json!({
        "session": "chat",
        "first_request_at": "2023-11-14T22:13:20.001Z", "last_request_at": "2023-11-14T22:13:20.005Z",
        "requests": 3, "failed": 1, "refused": 1, "input_tokens": 20, "output_tokens": 4, "cost_nano_usd": 5, "unpriced_requests": 1,
        "models": {"total": 3, "most": [{"name": "m1", "requests": 1}, {"name": "m2", "requests": 1}, {"name": "m5", "requests": 1}]},
        "keys": {"total": 1, "most": [{"name": "demo", "requests": 3}]},
        "users": {"total": 1, "most": [{"name": "ann", "requests": 3}]},
    });
    assert_eq!(told["data"][0], chat);
    let shown = told["data"][1]["session"].as_str().unwrap();
    assert_eq!(shown.len(), 200);
    let percent = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    assert_eq!(ids(&world.get(&format!("/admin/logs?session={}", percent(shown))).await.expect(200)), ["r3"]);
    for (query, expected) in [
        (format!("session={}", percent(&hostile[..900])), 1),
        ("session=cha".to_owned(), 0),
        ("search=cha&user=ann&key=demo&model=m2".to_owned(), 1),
        ("model=m4".to_owned(), 0),
        ("since=2023-11-14T22:13:20.004Z".to_owned(), 1),
        ("until=1700000000004".to_owned(), 1),
    ] {
        let told = world.get(&format!("/admin/logs/sessions?{query}")).await.expect(200);
        assert_eq!(told["data"].as_array().map(Vec::len), Some(expected), "{query}");
    }
    let page = world.get("/admin/logs/sessions?limit=1").await.expect(200);
    let rest = world.get(&format!("/admin/logs/sessions?after={}", page["next"].as_str().unwrap())).await.expect(200);
    assert_eq!((&page["data"][0]["session"], &rest["data"][0]["session"]), (&json!("chat"), &json!(shown)));
    for query in ["since=soon", "limit=0", "after=x", "colour=red", &format!("search={}", "x".repeat(1001))] {
        world.get(&format!("/admin/logs/sessions?{query}")).await.refused(400, "malformed");
    }
}

/// Reads events until `n_events` have come.
async fn events(body: &mut axum::body::Body, n_events: usize) -> Vec<(String, Value)> {
    let mut text = String::new();
    while text.matches("\n\n").count() < n_events {
        let frame = body.frame().await.unwrap().unwrap();
        text += std::str::from_utf8(frame.data_ref().unwrap()).unwrap();
    }
    let field = |event: &str, name: &str| {
        event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
    };
    let parse = |event: &str| (field(event, "id:"), serde_json::from_str(&field(event, "data:")).unwrap());
    text.split_terminator("\n\n").map(parse).collect()
}

#[tokio::test]
async fn logs_are_followed_without_a_gap() {
    let world = World::new().await;
    let app = world.control.app();
    let rows: Vec<LogRow> = (1..=3).map(record).collect();
    app.store.ingest_logs(sender(), 1, &rows, 0).await.unwrap();
    let bearer = format!("Bearer {}", world.master_key());
    let headers = [("host", "localhost"), ("authorization", bearer.as_str()), ("last-event-id", "1800000000001_r1")];
    let response = world.open("GET", "/admin/logs/follow?key=demo", &headers, Vec::new()).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let missed = events(&mut body, 2).await;
    assert_eq!(
        missed[0],
        ("1800000000002_r2".to_owned(), json!({"id": "r2", "started_unix_ms": 1_800_000_000_002_i64}))
    );
    assert_eq!(missed[1].0, "1800000000003_r3");
    // What was read from the past does not come again; what does not match does not come at all.
    let foreign = LogRow { key_id: "vk_2".to_owned(), key_name: "other".to_owned(), ..record(4) };
    for row in [record(3), foreign, record(5)] {
        app.tail.send(row.into());
    }
    assert_eq!(events(&mut body, 1).await[0].1["id"], "r5");
    app.stop.cancel();
    assert!(body.frame().await.is_none(), "the list ends when the process stops");
}

#[tokio::test]
async fn usage_is_listed_and_summed_up() {
    let world = World::new().await;
    let app = world.control.app();
    let key = world.call("POST", "/admin/keys", json!({"name": "demo"})).await.expect(201);
    let key_id = key["id"].as_str().unwrap();
    let event = |number: u64, key_id: &str| UsageRow {
        id: format!("r{number}"),
        started_ms: 1_800_000_000_000,
        key_id: key_id.to_owned(),
        model: "m".to_owned(),
        provider: "p".to_owned(),
        tokens: Tokens { input: number, output: 1, ..Tokens::default() },
        units: Units { searches: number, ..Units::default() },
        settled_by: "exact".to_owned(),
        cost_nano_usd: 5,
        baseline_nano_usd: (number != 2).then_some(7),
        priced: number != 3,
        status: 200,
        tags: r#"["a"]"#.to_owned(),
        ..UsageRow::default()
    };
    let rows = [event(1, key_id), event(2, key_id), event(3, "vk_gone")];
    app.store.ingest_usage(sender(), 0, 1, &rows).await.unwrap();

    let list = world.get("/admin/usage?limit=1").await.expect(200);
    let expected = json!({
        "id": "r3", "node_id": "node_1", "started_unix_ms": 1_800_000_000_000_i64, "key_id": "vk_gone", "model": "m", "provider": "p",
        "upstream_model": "", "route": "", "settled_by": "exact", "cost_nano_usd": 5, "baseline_nano_usd": 7, "priced": false, "price": "", "tier": "", "status": 200,
        "topology_revision": 0, "tags": ["a"], "user": "", "team": "", "organization": "",
        "tokens": {"input": 3, "cache_read": 0, "cache_write": 0, "cache_write_1h": 0, "output": 1, "reasoning": 0, "input_audio": 0, "output_audio": 0,
            "input_image": 0, "output_image": 0},
        "units": {"pictures_made": 0, "pictures_read": 0, "audio_ms": 0, "characters": 0, "searches": 3},
    });
    assert_eq!(list["data"][0], expected);
    let rest = world.get(&format!("/admin/usage?after={}", list["next"].as_str().unwrap())).await.expect(200);
    assert_eq!(ids(&rest), ["r2", "r1"]);

    let by_key = world.get("/admin/usage/summary?group_by=key").await.expect(200);
    let rows: Vec<_> = by_key["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (&row["key"], &row["requests"], &row["tokens"]["input"]))
        .collect();
    assert!(rows.contains(&(&json!("demo"), &json!(2), &json!(3))), "{by_key}");
    assert!(rows.contains(&(&json!("vk_gone"), &json!(1), &json!(3))), "{by_key}");
    let by_day = world.get("/admin/usage/summary?group_by=day").await.expect(200);
    let day = &by_day["data"][0];
    assert_eq!(
        (&day["day"], &day["cost_nano_usd"], &day["unpriced_requests"], &day["units"]["searches"]),
        (&json!("2027-01-15"), &json!(10), &json!(1), &json!(6))
    );
}

#[tokio::test]
async fn status_and_nodes_answer_without_any() {
    let world = World::new().await;
    let status = world.get("/admin/status").await.expect(200);
    assert_eq!(
        (&status["revision"], &status["nodes"]),
        (&json!({"topology": 0, "identity": 2}), &json!({"connected": 0, "known": 0}))
    );
    assert_eq!(status["logs"], json!({"engine": "sqlite", "trouble": null}));
    assert_eq!(status["epoch"].as_str().unwrap().len(), 36);
    assert_eq!(world.get("/admin/nodes").await.expect(200), json!({"data": [], "next": null}));
    world.get("/admin/nodes/node_x").await.refused(404, "not_found");
}
