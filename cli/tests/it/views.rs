//! `sessions`, `exporters`, `providers` and `alerts`, against a stand-in: what is in trouble is made up easily.

use serde_json::{Value, json};

use crate::fake::Fake;

#[test]
fn sessions_are_listed_and_looked_for() {
    let fake = Fake::start(|call| match call.path.as_str() {
        "/admin/logs/sessions" if call.query.contains("user=nobody") => (200, json!({"data": [], "next": null})),
        "/admin/logs/sessions" => {
            let names = json!({"total": 2, "most": [{"name": "gpt-4o", "requests": 2}, {"name": "b", "requests": 1}]});
            let none = json!({"total": 0, "most": []});
            let session = json!({"session": "chat\u{1b}[31m-1", "last_request_at": "2026-01-15T08:00:00.000Z", "requests": 3, "failed": 1,
                "refused": 0, "input_tokens": 30, "output_tokens": 6, "cost_nano_usd": 2_500_000, "unpriced_requests": 1, "models": names,
                "keys": none, "users": none});
            (200, json!({"data": [session], "next": null}))
        }
        _ => (404, Value::Null),
    });
    let listed = fake.run(&["sessions", "chat", "--user", "ada", "--since", "1d"]).ended(0);
    let listed = listed.prints(&["SESSION", "$0.0025+", "30+6", "gpt-4o (+1)"]);
    assert!(!listed.stdout.contains('\u{1b}'), "a terminal obeys nobody's session: {listed:#?}");
    let query = fake.calls().pop().expect("a call").query;
    assert!(["search=chat", "user=ada", "since="].iter().all(|part| query.contains(part)), "{query}");
    fake.run(&["sessions", "--user", "nobody"]).ended(0).says(&["x-gateway-sessionid"]);
}

#[test]
fn exporters_are_listed_with_their_health_and_tried() {
    let fake = Fake::start(|call| match (call.method.as_str(), call.path.as_str()) {
        ("GET", "/admin/exporters") => (200, json!({"data": [{"name": "hook"}], "next": null})),
        ("GET", "/admin/exporters/hook/health") => (
            200,
            json!({"name": "hook", "type": "webhook", "destination": "https://a.example", "state": "failing", "delivered": 7,
                "failed": 1, "dropped": 2, "behind_records": 30, "behind_seconds": 12.4, "last_error": "it answers 503",
                "last_success_at": null}),
        ),
        ("POST", "/admin/exporters/hook/test") => (
            200,
            json!({"exporter": "hook", "delivered": false, "status": 503, "error": "it answers 503", "took_ms": 4}),
        ),
        ("POST", "/admin/exporters/good/test") => {
            (200, json!({"exporter": "good", "delivered": true, "status": 200, "error": null, "took_ms": 4}))
        }
        _ => (404, json!({"error": {"code": "not_found", "message": "there is no exporter of this name"}})),
    });
    fake.run(&["exporters"]).ended(0).prints(&["EXPORTER", "hook", "failing", "30 (12s)", "it answers 503"]);
    fake.run(&["exporters", "test", "hook"]).ended(1).prints(&["hook: it answers 503"]);
    fake.run(&["exporters", "test", "good"]).ended(0).prints(&["good: taken after 4 ms"]);
    fake.run(&["exporters", "test", "none"]).ended(4).says(&["there is no exporter"]);
}

#[test]
fn a_provider_is_tried_with_the_key_that_is_named() {
    let fake = Fake::start(|call| match (call.method.as_str(), call.path.as_str(), call.query.as_str()) {
        ("POST", "/admin/providers/up/test", "") => (
            200,
            json!({"provider": "up", "ok": true, "status": 200, "error": null, "took_ms": 4, "n_models": 2, "models": ["a", "b"],
                "more": false}),
        ),
        ("POST", "/admin/providers/up/test", "key=spare") => (
            200,
            json!({"provider": "up", "ok": false, "status": 401, "error": "it answers 401 Unauthorized", "took_ms": 4}),
        ),
        _ => (404, json!({"error": {"code": "not_found", "message": "there is no provider of this name"}})),
    });
    fake.run(&["providers", "test", "up"]).ended(0).prints(&["up: 2 models after 4 ms: a, b"]);
    fake.run(&["providers", "test", "up", "--key", "spare"]).ended(1).prints(&["up: it answers 401 Unauthorized"]);
    fake.run(&["providers", "test", "none"]).ended(4).says(&["there is no provider"]);
}

#[test]
fn an_alert_is_acknowledged_by_its_id() {
    let fake = Fake::start(|call| match (call.method.as_str(), call.path.as_str()) {
        ("POST", "/admin/alerts/alert_1/acknowledge") => {
            (200, json!({"id": "alert_1", "budget": "team/search", "percent": 80, "acknowledged_by": "master"}))
        }
        _ => (404, json!({"error": {"code": "not_found", "message": "there is no alert of this id"}})),
    });
    fake.run(&["alerts", "acknowledge", "alert_1"]).ended(0).prints(&["team/search at 80%: seen to by master"]);
    fake.run(&["alerts", "acknowledge", "alert_2"]).ended(4).says(&["there is no alert"]);
}

#[test]
fn what_routing_saved_shows_only_where_there_is_something() {
    let fake = Fake::start(|call| {
        let saved = if call.query.contains("group_by=team") { -1_500_000_000_i64 } else { 0 };
        let row = |name: &str, saved: i64| {
            json!({"model": name, "team": name, "requests": 2, "unpriced_requests": 0,
                "cost_nano_usd": 2_500_000_000_i64, "saved_nano_usd": saved, "tokens": {"input": 5, "output": 7}})
        };
        (200, json!({"data": [row("one", 0), row("two", saved)], "next": null}))
    });
    let told = fake.run(&["spend"]).ended(0).prints(&["REQUESTS", "$2.50"]);
    assert!(!told.stdout.contains("SAVED"), "{told:#?}");
    fake.run(&["spend", "--by", "team"]).ended(0).prints(&["SAVED", "-$1.50", "$0.00"]);
}
