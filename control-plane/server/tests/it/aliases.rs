//! The API in the words of other gateways.

mod configuration;
mod people;

use gateway_model::token::{self, Form, Prefix};
use gateway_store::usage::{Sender, UsageRow};
use serde_json::{Value, json};

use crate::world::World;

/// One request of a dollar and a half, today.
async fn spend(world: &World, key_id: &str) {
    let row = UsageRow {
        id: "r1".to_owned(),
        started_ms: gateway_server::clock::unix_ms(),
        key_id: key_id.to_owned(),
        model: "m".to_owned(),
        user: "ada".to_owned(),
        cost_nano_usd: 1_500_000_000,
        priced: true,
        tags: "[]".to_owned(),
        ..UsageRow::default()
    };
    let from = Sender { node: "n", boot: "b", at_ms: gateway_server::clock::unix_ms() };
    world.control.app().store.ingest_usage(from, 0, 1, &[row]).await.unwrap();
}

#[tokio::test]
async fn litellm_control_paths() {
    let world = World::new().await;
    let team = world.call("POST", "/team/new", json!({"team_alias": "red", "rpm_limit": 100})).await.expect(200);
    assert_eq!((&team["team_id"], &team["rpm_limit"]), (&json!("red"), &json!(100)));
    let user =
        world.call("POST", "/user/new", json!({"user_id": "ada", "user_email": "ada@example.com"})).await.expect(200);
    assert_eq!(token::check(user["key"].as_str().unwrap()), Form::Ours(Prefix::VirtualKey));

    let wanted = json!({
        "key_alias": "ci", "duration": "24h", "models": ["gpt-*"], "rpm_limit": 5, "tpm_limit": 1000, "max_parallel_requests": 2,
        "team_id": "red", "user_id": "ada", "max_budget": 2.5, "budget_duration": "30d", "metadata": {"who": "x"}, "aliases": {},
    });
    let made = world.call("POST", "/key/generate", wanted).await.expect(200);
    let key = made["key"].as_str().unwrap().to_owned();
    assert_eq!(token::check(&key), Form::Ours(Prefix::VirtualKey));
    let id = made["token"].as_str().unwrap().to_owned();

    // What it became is ours.
    let ours = world.get("/admin/keys/ci").await.expect(200);
    assert_eq!(ours["limits"], json!({"rpm": 5, "tpm": 1000, "concurrency": 2}));
    assert_eq!(
        (&ours["team"], &ours["user"], &ours["models"], &ours["id"]),
        (&json!("red"), &json!("ada"), &json!(["gpt-*"]), &json!(id))
    );
    assert_eq!(ours["budget"], json!({"amount_usd": "2.5", "window": "30d"}));

    spend(&world, &id).await;
    for named in [&key, &id, "ci"] {
        let answer = world.get(&format!("/key/info?key={named}")).await;
        assert!(!answer.text.contains(&key), "the secret is shown once");
        let info = answer.expect(200)["info"].clone();
        for (field, expected) in [
            ("key_alias", json!("ci")),
            ("max_budget", json!(2.5)),
            ("spend", json!(1.5)),
            ("rpm_limit", json!(5)),
            ("max_parallel_requests", json!(2)),
            ("team_id", json!("red")),
            ("user_id", json!("ada")),
            ("blocked", json!(false)),
            ("metadata", json!({"who": "x"})),
        ] {
            assert_eq!(info[field], expected, "{field} of {info}");
        }
    }
    let changed = json!({"key": key, "rpm_limit": null, "blocked": true, "max_budget": null});
    let changed = world.call("POST", "/key/update", changed).await.expect(200);
    assert_eq!(
        (&changed["rpm_limit"], &changed["tpm_limit"], &changed["blocked"]),
        (&Value::Null, &json!(1000), &json!(true))
    );
    assert_eq!(changed["max_budget"], Value::Null);

    assert_eq!(world.get("/team/info?team_id=red").await.expect(200)["team_info"]["team_alias"], "red");
    let info = world.get("/user/info?user_id=ada").await.expect(200);
    assert_eq!(
        (&info["user_info"]["user_email"], &info["user_info"]["spend"]),
        (&json!("ada@example.com"), &json!(1.5))
    );
    let logs = world.get("/spend/logs").await.expect(200);
    assert_eq!((&logs[0]["request_id"], &logs[0]["spend"]), (&json!("r1"), &json!(1.5)));
    let days = world.get("/spend/logs?start_date=2020-01-01&end_date=2100-01-01&user_id=ada").await.expect(200);
    assert_eq!(
        (&days[0]["spend"], &days[0]["models"], days.as_array().unwrap().len()),
        (&json!(1.5), &json!({"m": 1.5}), 1)
    );
    assert_eq!(world.get("/model/info").await.expect(200), json!({"data": []}));

    let deleted = world.call("POST", "/key/delete", json!({"keys": [key]})).await.expect(200);
    assert_eq!(deleted["deleted_keys"], json!([id]));
    world.get("/admin/keys/ci").await.refused(404, "not_found");
}

#[tokio::test]
async fn what_their_words_ask_and_we_cannot_is_refused_and_changes_nothing() {
    let world = World::new().await;
    for (path, body, named) in [
        ("/key/generate", json!({"soft_budget": 5}), "soft_budget"),
        ("/key/generate", json!({"key_alias": "k", "max_budget": -1}), "amount_usd"),
        ("/key/generate", json!({"key_alias": "k", "max_budget": 5, "budget_duration": "soon"}), "window"),
        ("/key/generate", json!({"key_alias": "k", "max_budget": 5, "team_id": "nobody"}), "nobody"),
        ("/key/generate", json!([]), "object"),
        ("/key/update", json!({"rpm_limit": 5}), "key"),
        ("/key/delete", json!({"keys": []}), "keys"),
        ("/key/delete", json!({"keys": "all"}), "keys"),
        ("/key/delete", json!({"keys": ["default", "gw_virt_nobody"]}), "no such key"),
        ("/team/new", json!({"team_alias": "t", "models": ["m"]}), "models"),
        ("/user/new", json!({"user_id": "u", "user_role": "proxy_admin"}), "user_role"),
        ("/v1/management/keys", json!({"name": "k", "bogus": 1}), "bogus"),
        ("/v1/management/keys", json!({"rpm_limit": 1}), "name"),
    ] {
        let answer = world.call("POST", path, body.clone()).await;
        assert!([400, 404, 422].contains(&answer.status.as_u16()), "{path} {body}: {}", answer.text);
        assert!(answer.text.contains(named), "{path} {body}: {}", answer.text);
    }
    for plural in ["teams", "users", "budgets"] {
        assert_eq!(world.get(&format!("/admin/{plural}")).await.expect(200)["data"], json!([]), "{plural}");
    }
    assert_eq!(world.get("/admin/keys").await.expect(200)["data"].as_array().unwrap().len(), 1, "the one of the start");
    world.get("/spend/logs?api_key=x").await.refused(400, "malformed");
    world.get("/key/info").await.refused(400, "malformed");
    let secret = token::encode(Prefix::VirtualKey, &[7; 32]);
    let unknown = world.get(&format!("/key/info?key={}", secret.expose())).await;
    assert!(!unknown.text.contains(secret.expose()), "what may be somebody's secret is not told again");
    unknown.refused(404, "not_found");
}

#[tokio::test]
async fn management_paths() {
    let world = World::new().await;
    let base = "/v1/management";
    world.call("POST", &format!("{base}/organizations"), json!({"name": "org"})).await.expect(201);
    world.call("POST", &format!("{base}/teams"), json!({"name": "red", "organization_id": "org"})).await.expect(201);
    world.call("POST", &format!("{base}/users"), json!({"name": "ada", "max_budget": 5})).await.expect(201);
    let made = world
        .call(
            "POST",
            &format!("{base}/keys"),
            json!({"name": "ci", "team_id": "red", "rpm_limit": 60, "max_budget": 1}),
        )
        .await
        .expect(201);
    assert_eq!(token::check(made["key"].as_str().unwrap()), Form::Ours(Prefix::VirtualKey));
    let id = made["id"].as_str().unwrap().to_owned();
    spend(&world, &id).await;
    let one = world.get(&format!("{base}/keys/{id}")).await.expect(200);
    for (field, expected) in [
        ("rpm_limit", json!(60)),
        ("max_budget", json!(1.0)),
        ("total_spend", json!(1.5)),
        ("is_active", json!(true)),
        ("team_id", json!("red")),
    ] {
        assert_eq!(one[field], expected, "{field} of {one}");
    }
    assert_eq!(world.get(&format!("{base}/users/ada")).await.expect(200)["max_budget"], 5.0);
    let off =
        world.call("PUT", &format!("{base}/keys/{id}"), json!({"is_active": false, "rpm_limit": 5})).await.expect(200);
    assert_eq!((&off["is_active"], &off["rpm_limit"], &off["team_id"]), (&json!(false), &json!(5), &json!("red")));
    let usage = world.get(&format!("{base}/keys/{id}/usage")).await.expect(200);
    assert_eq!((&usage["requests"], &usage["total_spend"]), (&json!(1), &json!(1.5)));
    for path in [format!("{base}/keys/{id}/usage/daily"), format!("{base}/usage/daily?days=2")] {
        let daily = world.get(&path).await.expect(200);
        assert_eq!((&daily["data"][0]["requests"], &daily["group_by"]), (&json!(1), &json!(["day"])), "{path}");
    }
    assert_eq!(world.get(&format!("{base}/usage")).await.expect(200)["data"][0]["id"], "r1");
    for (plural, n_items) in [
        ("keys", 2),
        ("teams", 1),
        ("users", 1),
        ("organizations", 1),
        ("deployments", 0),
        ("pricing", 0),
        ("providers", 0),
    ] {
        let list = world.get(&format!("{base}/{plural}")).await;
        assert!(!list.text.contains("gw_virt_"), "{plural}");
        assert_eq!(list.expect(200)["data"].as_array().unwrap().len(), n_items, "{plural}");
    }
    world.call("DELETE", &format!("{base}/keys/{id}"), Value::Null).await.expect(204);
    world.get(&format!("{base}/keys/{id}")).await.refused(404, "not_found");
    world.call("PUT", &format!("{base}/deployments/none"), json!({"is_active": true})).await.refused(404, "not_found");
    world.get(&format!("{base}/usage/daily?days=366")).await.refused(400, "malformed");
}

#[tokio::test]
async fn savings_are_listed_by_request_and_by_day() {
    let world = World::new().await;
    let now_ms = gateway_server::clock::unix_ms();
    let row = |number: i64, baseline: Option<i64>| UsageRow {
        id: format!("r{number}"),
        started_ms: now_ms - 10 + number,
        model: "m".to_owned(),
        cost_nano_usd: 1_000_000_000,
        baseline_nano_usd: baseline,
        priced: true,
        tags: "[]".to_owned(),
        ..UsageRow::default()
    };
    let rows = [row(1, Some(1_500_000_000)), row(2, None), row(3, Some(800_000_000))];
    let from = Sender { node: "n", boot: "b", at_ms: now_ms };
    world.control.app().store.ingest_usage(from, 0, 1, &rows).await.unwrap();

    let page = world.get("/v1/management/savings?limit=1").await.expect(200);
    let dearer = &page["data"][0];
    assert_eq!((&dearer["id"], &dearer["saved_nano_usd"]), (&json!("r3"), &json!(-200_000_000)), "{page}");
    assert_eq!((&dearer["baseline_nano_usd"], &dearer["saved_usd"]), (&json!(800_000_000), &json!("-0.2")));
    let after = page["next"].as_str().unwrap();
    let rest = world.get(&format!("/v1/management/savings?after={after}")).await.expect(200);
    let ids: Vec<&Value> = rest["data"].as_array().unwrap().iter().map(|row| &row["id"]).collect();
    assert_eq!(
        (ids, &rest["next"]),
        (vec![&json!("r1")], &Value::Null),
        "without a baseline there is nothing to tell: {rest}"
    );

    let one = world.get("/v1/management/savings/r1").await.expect(200);
    assert_eq!((&one["saved_usd"], &one["cost_nano_usd"]), (&json!("0.5"), &json!(1_000_000_000)));
    for unknown in ["r2", "none"] {
        world.get(&format!("/v1/management/savings/{unknown}")).await.refused(404, "not_found");
    }
    let daily = world.get("/v1/management/savings/daily?days=1").await.expect(200);
    assert_eq!((&daily["total"]["saved_usd"], &daily["data"][0]["requests"]), (&json!("0.3"), &json!(3)), "{daily}");
    let usage = world.get("/admin/usage").await.expect(200);
    let baselines: Vec<&Value> =
        usage["data"].as_array().unwrap().iter().map(|row| &row["baseline_nano_usd"]).collect();
    assert_eq!(baselines, [&json!(800_000_000), &Value::Null, &json!(1_500_000_000)]);
}
