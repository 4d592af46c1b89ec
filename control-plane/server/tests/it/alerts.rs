//! Whom the control plane tells of budgets: once each, signed, until it is taken.

use aws_lc_rs::hmac;
use gateway_fake::{Received, Script, Upstream};
use gateway_server::clock;
use gateway_store::alerts::Alert;
use gateway_store::ledger::Charge;
use gateway_store::usage::{Sender, UsageRow};
use serde_json::{Value, json};

use crate::people;
use crate::world::World;

const SECRET: &str = "a-secret-for-the-webhook";

/// Books so many dollars of a budget that never begins anew.
async fn spend(world: &World, number: u64, budget: &str, dollars: i64) {
    spend_at(world, number, budget, dollars, 0).await;
}

async fn spend_at(world: &World, number: u64, budget: &str, dollars: i64, start_ms: i64) {
    let charge = Charge { budget: budget.to_owned(), start_ms, nano_usd: dollars * 1_000_000_000 };
    let row = UsageRow { id: format!("r{number}"), charges: vec![charge], ..UsageRow::default() };
    let from = Sender { node: "node_1", boot: "b", at_ms: clock::unix_ms() };
    world.control.app().store.ingest_usage(from, 0, number, &[row]).await.unwrap();
}

fn webhook(name: &str, upstream: &Upstream) -> Value {
    json!({"name": name, "kind": "webhook", "url": format!("{}/{name}?token=hidden", upstream.url()), "secret": SECRET,
        "allow_private_networks": true})
}

/// What was sent there, with a signature that holds.
fn read(received: &Received) -> Value {
    let signature = received.header("x-gateway-signature").expect("it is signed");
    let (seconds, tag) = signature.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")).expect("its form");
    let tag: Vec<u8> = (0..tag.len()).step_by(2).map(|at| u8::from_str_radix(&tag[at..at + 2], 16).unwrap()).collect();
    let signed = [seconds.as_bytes(), b".", &received.body].concat();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), &signed, &tag).expect("the signature holds");
    let content = received.json();
    assert_eq!(received.header("x-gateway-alert-id"), content["id"].as_str());
    content
}

fn told(upstream: &Upstream, path: &str) -> Vec<Value> {
    let requests = upstream.requests();
    requests.iter().filter(|received| received.target.starts_with(path)).map(read).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_part_of_a_budget_is_told_once() {
    let (world, upstream) = (World::new().await, Upstream::start().await);
    // The first attempt fails, and so it is sent again.
    let n_asked = std::sync::atomic::AtomicUsize::new(0);
    upstream.respond_with(move |_| match n_asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => Script::text(503, "text/plain", "not now"),
        _ => Script::text(204, "text/plain", ""),
    });
    let slack = json!({"name": "people", "kind": "slack", "url": format!("{}/slack", upstream.url()),
        "allow_private_networks": true});
    let settings = json!({"alerts": [webhook("ops", &upstream), slack]});
    let shown = world.call("PUT", "/admin/settings", settings).await.expect(201);
    assert!(!shown.to_string().contains("hidden") && !shown.to_string().contains(SECRET), "{shown}");
    let budget = json!({"name": "all", "amount_usd": 100, "window": "once", "match": {"models": ["*"]},
        "alert_at": [50, 80, 100]});
    world.call("POST", "/admin/budgets", budget).await.expect(201);
    spend(&world, 1, "budget/all", 49).await;
    spend(&world, 2, "budget/gone", 4900).await;
    spend(&world, 3, "budget/all", 32).await;
    let health = world
        .eventually("/admin/alerts", |told| {
            let destinations = told["destinations"].as_array().expect("a list");
            destinations.iter().all(|one| (&one["delivered"], &one["waiting"]) == (&json!(2), &json!(0)))
        })
        .await;
    assert!(!health.to_string().contains("hidden") && !health.to_string().contains(SECRET), "{health}");
    assert_eq!(health["alerts"].as_array().expect("a list").len(), 2, "{health}");
    let mut sent = told(&upstream, "/ops");
    let n_sent = sent.len();
    // Whichever was refused came again under its id.
    sent.sort_by_key(|content| content["id"].to_string());
    sent.dedup();
    let mut percents: Vec<_> = sent.iter().map(|content| content["threshold_percent"].as_u64().unwrap()).collect();
    percents.sort_unstable();
    assert_eq!(percents, [50, 80]);
    assert!(
        sent.iter().all(|content| (&content["spent_usd"], &content["amount_usd"]) == (&json!("81"), &json!("100")))
    );
    let to_people: Vec<Value> =
        upstream.requests().iter().filter(|one| one.target == "/slack").map(Received::json).collect();
    assert!(to_people.iter().any(|text| text["text"] == "Budget budget all has reached 80%: $81 of $100 (once)."));
    assert_eq!(n_sent + to_people.len(), 5, "one of them twice");

    // More is told of what is new, and nothing twice; a larger amount for a while is what counts while it lasts.
    let later = clock::rfc3339(clock::unix_ms() + 3_600_000);
    let stretched = json!({"override": {"amount_usd": 1000, "expires_at": later}});
    let stretched = world.call("PATCH", "/admin/budgets/all", stretched).await.expect(200);
    assert!(stretched.to_string().contains("1000"), "{stretched}");
    let listed = world.get("/admin/usage/budgets").await.expect(200)["data"][0].clone();
    assert_eq!((&listed["amount_nano_usd"], &listed["override_until"]), (&json!(1_000_000_000_000_i64), &json!(later)));
    spend(&world, 4, "budget/all", 30).await;
    world.call("PATCH", "/admin/budgets/all", json!({"override": null})).await.expect(200);
    spend(&world, 5, "budget/all", 1).await;
    world.eventually("/admin/alerts", |told| told["destinations"][0]["delivered"] == 3).await;
    let hundred = told(&upstream, "/ops").pop().expect("one more");
    assert_eq!((&hundred["threshold_percent"], &hundred["spent_usd"]), (&json!(100), &json!("112")));
    let audit = world.get("/admin/audit").await.expect(200).to_string();
    assert!(audit.contains("override") && !audit.contains("hidden"), "{audit}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_can_be_tried() {
    let (world, upstream) = (World::new().await, Upstream::start().await);
    upstream.respond_with(|received| match received.target.as_str() {
        target if target.starts_with("/moved") => {
            Script::new().head(302, &[("location", "/ops"), ("content-length", "0")])
        }
        _ => Script::text(200, "text/plain", "ok"),
    });
    let mut inside = webhook("inside", &upstream);
    inside["allow_private_networks"] = json!(false);
    world.call("PUT", "/admin/settings", json!({"alerts": [inside]})).await.expect(422);
    let alerts = [webhook("ops", &upstream), webhook("moved", &upstream)];
    world.call("PUT", "/admin/settings", json!({"alerts": alerts})).await.expect(201);
    let tried = world.call("POST", "/admin/alerts/test", json!({})).await.expect(200);
    let outcome = |at: usize| (&tried["data"][at]["destination"], &tried["data"][at]["delivered"]);
    assert_eq!((outcome(0), outcome(1)), ((&json!("ops"), &json!(true)), (&json!("moved"), &json!(false))), "{tried}");
    assert!(tried["data"][1]["error"].as_str().is_some_and(|why| why.contains("302") && !why.contains("hidden")));
    assert_eq!(told(&upstream, "/ops")[0]["type"], "test");
    assert_eq!(upstream.requests().len(), 2, "nobody is redirected");
    world.call("POST", "/admin/alerts/test", json!({"destination": "nobody"})).await.refused(404, "not_found");
    world.call("POST", "/admin/alerts/test", json!({"url": "https://a.example"})).await.expect(400);
    // What was not said again stays as it is stored; who is taken away takes the secrets along.
    let kept = json!({"alerts": [{"name": "ops", "kind": "webhook", "allow_private_networks": true}]});
    world.call("PATCH", "/admin/settings", kept).await.expect(200);
    let tried = world.call("POST", "/admin/alerts/test", json!({"destination": "ops"})).await.expect(200);
    assert_eq!(tried["data"][0]["delivered"], true, "{tried}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_that_somebody_sees_to_is_sent_no_more() {
    let (world, upstream) = (World::new().await, Upstream::start().await);
    upstream.respond_with(|_| Script::text(503, "text/plain", "not now"));
    world.call("PUT", "/admin/settings", json!({"alerts": [webhook("ops", &upstream)]})).await.expect(201);
    let budget =
        json!({"name": "all", "amount_usd": 100, "window": "once", "match": {"models": ["*"]}, "alert_at": [50]});
    world.call("POST", "/admin/budgets", budget).await.expect(201);
    spend(&world, 1, "budget/all", 60).await;
    let waiting = world.eventually("/admin/alerts", |told| told["destinations"][0]["waiting"] == 1).await;
    let alert = &waiting["alerts"][0];
    assert_eq!((&alert["acknowledged_by"], &alert["acknowledged_at"]), (&Value::Null, &Value::Null));
    world.eventually("/admin/alerts", |told| told["destinations"][0]["error"].is_string()).await;
    assert_eq!(told(&upstream, "/ops")[0]["id"], alert["id"], "it is called as in its message");
    let path = format!("/admin/alerts/{}/acknowledge", alert["id"].as_str().expect("an id"));
    let seen = world.call("POST", &path, Value::Null).await.expect(200);
    assert_eq!((&seen["acknowledged_by"], seen["acknowledged_at"].is_string()), (&json!("master"), true));
    assert_eq!(world.call("POST", &path, Value::Null).await.expect(200), seen, "again changes nothing");
    let health = world.get("/admin/alerts").await.expect(200);
    let ops = &health["destinations"][0];
    assert_eq!((&health["alerts"][0], &ops["waiting"], &ops["lost"]), (&seen, &json!(0), &json!(0)), "{health}");
    let audit = world.get("/admin/audit").await.expect(200);
    let written: Vec<&Value> =
        audit["data"].as_array().unwrap().iter().filter(|row| row["action"] == "acknowledge").collect();
    assert_eq!((written.len(), &written[0]["kind"]), (1, &json!("alert")));
    world.call("POST", "/admin/alerts/alert_none/acknowledge", Value::Null).await.refused(404, "not_found");
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What was told of half of a budget in a window of before.
async fn told_before(world: &World, budget: &str, window_ms: i64) -> String {
    let id = format!("alert_{}", budget.replace('/', "_"));
    let alert = Alert {
        id: id.clone(),
        budget: budget.to_owned(),
        window_ms,
        percent: 50,
        at_ms: window_ms,
        acknowledged: None,
    };
    assert!(world.control.app().store.raise_alert(&alert, &[]).await.unwrap());
    id
}

/// Budgets of which half was told before and seen to: in the window just before, or in one before that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_budget_that_somebody_sees_to_is_silent_until_it_is_new() {
    let (world, upstream) = (World::new().await, Upstream::start().await);
    upstream.respond_with(|_| Script::text(204, "text/plain", ""));
    world.call("PUT", "/admin/settings", json!({"alerts": [webhook("ops", &upstream)]})).await.expect(201);
    for (name, window) in [("fresh", "30d"), ("stays", "30d"), ("was-below", "30d"), ("each-week", "weekly")] {
        let budget = json!({"name": name, "amount_usd": 100, "window": window, "match": {"models": ["*"]},
            "alert_at": [50, 80]});
        world.call("POST", "/admin/budgets", budget).await.expect(201);
    }
    for role in ["billing", "viewer"] {
        people::user(&world, role, role, &[]).await;
    }
    let (billing, viewer) = (people::sign_in(&world, "billing").await, people::sign_in(&world, "viewer").await);
    let now_ms = clock::unix_ms();
    let stretch = now_ms / (30 * DAY_MS) * 30 * DAY_MS;
    // 1970-01-05 was a Monday.
    let week = now_ms - (now_ms - 4 * DAY_MS).rem_euclid(7 * DAY_MS);
    for (budget, window_ms) in [
        ("budget/stays", stretch - 30 * DAY_MS),
        ("budget/was-below", stretch - 60 * DAY_MS),
        ("budget/each-week", week - 7 * DAY_MS),
    ] {
        let path = format!("/admin/alerts/{}/acknowledge", told_before(&world, budget, window_ms).await);
        viewer.call("POST", &path, Value::Null).await.refused(403, "forbidden");
        let seen = billing.call("POST", &path, Value::Null).await.expect(200);
        assert_eq!(seen["acknowledged_by"], "user:billing", "{seen}");
    }
    let of_now = |told: &Value, budget: &str, percent: u64| {
        let alerts = told["alerts"].as_array().expect("a list").iter();
        let mut alerts = alerts.filter(|one| one["budget"] == budget && one["percent"] == percent);
        alerts.find(|one| !one["id"].as_str().is_some_and(|id| id.starts_with("alert_budget"))).cloned()
    };
    for (number, name) in (1..).zip(["fresh", "stays", "was-below", "each-week"]) {
        spend_at(&world, number, &format!("budget/{name}"), 60, now_ms).await;
    }
    let told_now = world
        .eventually("/admin/alerts", |told| {
            let all =
                ["fresh", "stays", "was-below", "each-week"].map(|name| of_now(told, &format!("budget/{name}"), 50));
            all.iter().all(Option::is_some) && told["destinations"][0]["delivered"] == 3
        })
        .await;
    let stays = of_now(&told_now, "budget/stays", 50).expect("it is listed");
    assert_eq!(stays["acknowledged_by"], "user:billing", "it stays theirs who see to it: {stays}");
    assert_eq!(told_now["destinations"][0]["waiting"], 0, "{told_now}");
    let sent = |percent: u64| {
        let mut names: Vec<String> = told(&upstream, "/ops")
            .iter()
            .filter(|content| content["threshold_percent"] == percent)
            .map(|content| content["budget"]["name"].as_str().expect("a name").to_owned())
            .collect();
        names.sort_unstable();
        names
    };
    assert_eq!(sent(50), ["each-week", "fresh", "was-below"], "a new week, and one that nobody saw to just before");

    // Of this window it is told once; the next part of the amount is new whoever sees to the last.
    let fresh = of_now(&told_now, "budget/fresh", 50).expect("it is listed");
    let path = format!("/admin/alerts/{}/acknowledge", fresh["id"].as_str().expect("an id"));
    billing.call("POST", &path, Value::Null).await.expect(200);
    for (number, name) in (5..).zip(["fresh", "stays"]) {
        spend_at(&world, number, &format!("budget/{name}"), 25, now_ms).await;
    }
    world.eventually("/admin/alerts", |told| told["destinations"][0]["delivered"] == 5).await;
    assert_eq!((sent(50).len(), sent(80)), (3, vec!["fresh".to_owned(), "stays".to_owned()]));
    let audit = world.get("/admin/audit").await.expect(200);
    let rows = audit["data"].as_array().unwrap().iter().filter(|row| row["action"] == "acknowledge");
    assert_eq!(rows.filter(|row| row["actor"] == "user:billing").count(), 4, "nothing is written of what was refused");
}
