//! Deployments, prices, credentials, callbacks, the configuration as a whole: what is written there is ours, and comes back.

use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::world::World;

const BASE: &str = "/v1/management";
const KEY: &str = "sk-a-credential-0001";

/// With providers of these names.
async fn with_providers(names: &[&str]) -> World {
    let world = World::new().await;
    for name in names {
        let provider = json!({"name": name, "kind": "openai", "api_key": KEY});
        world.call("POST", "/admin/providers", provider).await.expect(201);
    }
    world
}

#[tokio::test]
async fn a_deployment_is_a_target_of_a_model() {
    let world = with_providers(&["a", "b"]).await;
    let path = format!("{BASE}/deployments");
    let first = json!({"model_alias": "smart", "provider": "a", "provider_model": "gpt-x", "weight": 3, "priority": 1,
        "routing_strategy": "least-latency", "api_key_env": null, "is_active": true});
    let made = world.call("POST", &path, first.clone()).await.expect(201);
    let id = made["id"].as_str().unwrap().to_owned();
    let ours = world.get("/admin/models/smart").await.expect(200)["spec"].clone();
    assert_eq!(ours["strategy"], "least-latency");
    assert_eq!(ours["targets"], json!([{"provider": "a", "model": "gpt-x", "weight": 3, "priority": 1}]));
    assert_eq!(world.get(&format!("{path}/{id}")).await.expect(200), made);

    // The second joins the same model, by whichever name its credential has, and nothing else of the model is touched.
    world.call("PATCH", "/admin/models/smart", json!({"description": "kept"})).await.expect(200);
    let second = json!({"model_alias": "smart", "provider": "openai", "credential_id": "b", "provider_model": "gpt-y", "is_active": false});
    let second = world.call("POST", &path, second).await.expect(201);
    assert_eq!(
        (&second["provider"], &second["routing_strategy"], &second["is_active"], &second["weight"]),
        (&json!("b"), &json!("least-latency"), &json!(false), &json!(1))
    );
    let ours = world.get("/admin/models/smart").await.expect(200)["spec"].clone();
    assert_eq!((&ours["description"], ours["targets"].as_array().unwrap().len()), (&json!("kept"), 2));

    world.call("POST", &path, first).await.refused(409, "exists");
    let other =
        json!({"model_alias": "smart", "provider": "a", "provider_model": "gpt-z", "routing_strategy": "cheapest"});
    let refused = world.call("POST", &path, other).await.refused(409, "strategy_mismatch");
    assert!(refused["message"].as_str().unwrap().contains("alias-strategy"), "{refused}");
    let all = json!({"model_alias": "smart", "routing_strategy": "cheapest"});
    let all = world.call("PUT", &format!("{path}/alias-strategy"), all).await.expect(200);
    let strategies: Vec<&Value> = all["data"].as_array().unwrap().iter().map(|one| &one["routing_strategy"]).collect();
    assert_eq!(strategies, ["cheapest", "cheapest"]);

    // The last one takes its model along.
    world.call("DELETE", &format!("{path}/{id}"), Value::Null).await.expect(204);
    world.call("DELETE", &format!("{path}/{id}"), Value::Null).await.refused(404, "not_found");
    assert_eq!(world.get("/admin/models/smart").await.expect(200)["spec"]["targets"].as_array().unwrap().len(), 1);
    let id = second["id"].as_str().unwrap();
    world.call("DELETE", &format!("{path}/{id}"), Value::Null).await.expect(204);
    world.get("/admin/models/smart").await.refused(404, "not_found");
    let newest = world.get(&format!("{BASE}/audit?limit=1")).await.expect(200)["data"][0].clone();
    assert_eq!(
        (&newest["action"], &newest["kind"], &newest["name"]),
        (&json!("delete"), &json!("model"), &json!("smart"))
    );
}

#[tokio::test]
async fn a_deployment_that_we_cannot_honour_is_refused_by_its_field() {
    let world = with_providers(&["a"]).await;
    let path = format!("{BASE}/deployments");
    for (field, value, named) in [
        ("api_key_env", json!("OPENAI_API_KEY"), "api_key_env"),
        ("api_base", json!("https://a.example"), "api_base"),
        ("org_id", json!("o"), "org_id"),
        ("routing_strategy", json!("smart"), "smart"),
        ("provider", json!("nobody"), "nobody"),
        ("credential_id", json!("nobody"), "nobody"),
        ("provider_model", Value::Null, "provider_model"),
    ] {
        let mut wanted = json!({"model_alias": "smart", "provider": "a", "provider_model": "gpt-x"});
        wanted[field] = value;
        let answer = world.call("POST", &path, wanted).await;
        assert!([400, 404, 422].contains(&answer.status.as_u16()), "{field}: {}", answer.text);
        assert!(answer.text.contains(named), "{field}: {}", answer.text);
    }
    let other = json!({"model_alias": "m", "provider": "anthropic", "credential_id": "a", "provider_model": "x"});
    world.call("POST", &path, other).await.refused(400, "malformed");
    assert_eq!(world.get("/admin/models").await.expect(200)["data"], json!([]));
    let unknown = json!({"model_alias": "none", "routing_strategy": "priority"});
    world.call("PUT", &format!("{path}/alias-strategy"), unknown).await.refused(404, "not_found");
    world.get(&format!("{path}/dpl_none")).await.refused(404, "not_found");
}

#[tokio::test]
async fn how_a_model_routes_is_its_policy() {
    let world = with_providers(&["a"]).await;
    for name in ["org/one", "two"] {
        let model = json!({"name": name, "targets": [{"provider": "a", "model": "m"}]});
        world.call("POST", "/admin/models", model).await.expect(201);
    }
    let path = format!("{BASE}/routing-policy/org%2Fone");
    let changed = json!({"routing_strategy": "priority", "fallbacks": ["two"]});
    let changed = world.call("PUT", &path, changed).await.expect(200);
    assert_eq!(changed, json!({"model_alias": "org/one", "routing_strategy": "priority", "fallbacks": ["two"]}));
    assert_eq!(world.get(&path).await.expect(200), changed);
    let cleared = world.call("PUT", &path, json!({"fallbacks": []})).await.expect(200);
    assert_eq!((&cleared["routing_strategy"], &cleared["fallbacks"]), (&json!("priority"), &json!([])));
    assert_eq!(world.get(&format!("{BASE}/routing-policy")).await.expect(200)["data"].as_array().unwrap().len(), 2);
    world.call("PUT", &path, json!({"fallbacks": ["nobody"]})).await.refused(422, "invalid");
    world.call("PUT", &path, json!({"max_cost": 1})).await.refused(400, "malformed");
    world.get(&format!("{BASE}/routing-policy/none")).await.refused(404, "not_found");
}

#[tokio::test]
async fn prices_are_under_their_provider_and_model() {
    let world = with_providers(&["a"]).await;
    let made = json!({"provider": "a", "model": "org/m", "input_cost_per_token": 1.5e-7, "output_per_1m": "0.6"});
    let made = world.call("POST", &format!("{BASE}/pricing"), made).await.expect(201);
    assert_eq!((&made["provider"], &made["input_cost_per_1m"]), (&json!("a"), &json!(0.15)));
    let path = format!("{BASE}/pricing/a/org%2Fm");
    let one = world.get(&path).await.expect(200);
    assert_eq!(
        (&one["model"], &one["output_cost_per_1m"], &one["name"]),
        (&json!("org/m"), &json!(0.6), &json!("a/org/m"))
    );
    world
        .call("POST", &format!("{BASE}/pricing"), json!({"provider": "a", "model": "org/m", "input_per_1m": 1}))
        .await
        .refused(409, "exists");

    let put = world.call("PUT", &path, json!({"input_per_1m": "2"})).await.expect(200);
    assert_eq!(
        (&put["spec"]["input_per_1m"], &put["spec"]["output_per_1m"]),
        (&json!("2"), &Value::Null),
        "as a whole"
    );
    world.call("PUT", &path, json!({"model": "other", "input_per_1m": 1})).await.refused(400, "malformed");
    world.call("PUT", &path, json!({"input_cost_per_token": "dear"})).await.refused(400, "malformed");
    world.call("PUT", &path, json!({"size_pricing": {}, "input_per_1m": 1})).await.refused(422, "invalid");
    // One of another name is found, and keeps it.
    world
        .call("POST", "/admin/prices", json!({"name": "mine", "provider": "a", "model": "n", "input_per_1m": 1}))
        .await
        .expect(201);
    let kept = world.call("PUT", &format!("{BASE}/pricing/a/n"), json!({"input_per_1m": 3})).await.expect(200);
    assert_eq!((&kept["name"], &kept["input_cost_per_1m"]), (&json!("mine"), &json!(3.0)));
    let list = world.get(&format!("{BASE}/pricing")).await.expect(200);
    assert_eq!((list["data"].as_array().unwrap().len(), &list["data"][1]["model"]), (2, &json!("n")));
    world.call("DELETE", &path, Value::Null).await.expect(204);
    world.get(&path).await.refused(404, "not_found");
    world.call("DELETE", &path, Value::Null).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_credential_is_a_provider_whose_key_is_not_shown() {
    let (world, upstream) = (World::new().await, Upstream::start().await);
    upstream.respond_with(|_| Script::json(200, &json!({"data": [{"id": "gpt-x"}]})));
    let path = format!("{BASE}/credentials");
    let raw = json!({"provider": "openai-compatible", "api_key": KEY, "api_base": upstream.url(), "allow_private_networks": true});
    let tried = world.call("POST", &format!("{path}/test-raw"), raw.clone()).await.expect(200);
    assert_eq!((&tried["ok"], &tried["models"]), (&json!(true), &json!(["gpt-x"])), "{tried}");
    let found = world.call("POST", &format!("{BASE}/providers/discover"), raw.clone()).await.expect(200);
    assert_eq!((&found["data"], &found["result"]["status"]), (&json!([{"id": "gpt-x"}]), &json!(200)));
    assert_eq!(world.get(&path).await.expect(200)["data"], json!([]), "neither stores anything");

    let mut wanted = raw;
    wanted["name"] = json!("main");
    let made = world.call("POST", &path, wanted).await;
    assert!(!made.text.contains(KEY), "{}", made.text);
    let made = made.expect(201);
    assert_eq!(
        (&made["id"], &made["api_key"], &made["provider"]),
        (&json!("main"), &json!("…0001"), &json!("openai-compatible"))
    );
    let tried = world.call("POST", &format!("{path}/main/test"), Value::Null).await.expect(200);
    assert_eq!(tried["ok"], true, "{tried}");
    let asked = upstream.requests().pop().unwrap();
    assert_eq!(asked.header("authorization"), Some(format!("Bearer {KEY}").as_str()));

    let changed =
        world.call("PUT", &format!("{path}/main"), json!({"api_key": "sk-another-one-9999"})).await.expect(200);
    assert_eq!((&changed["api_key"], &changed["api_base"]), (&json!("…9999"), &json!(upstream.url())));
    for listed in [world.get(&path).await, world.get(&format!("{path}/main")).await] {
        assert!(listed.text.contains("…9999") && !listed.text.contains("sk-"), "{}", listed.text);
    }
    for (body, named) in [(json!({"org_id": "o"}), "org_id"), (json!({"name": "a", "id": "b"}), "name")] {
        let refused = world.call("PUT", &format!("{path}/main"), body).await.refused(400, "malformed");
        assert!(refused["message"].as_str().unwrap().contains(named), "{refused}");
    }
    world.call("DELETE", &format!("{path}/main"), Value::Null).await.expect(204);
    world.get(&format!("{path}/main")).await.refused(404, "not_found");
    world.call("POST", &format!("{path}/main/test"), Value::Null).await.refused(404, "not_found");
}

#[tokio::test]
async fn callbacks_are_exporters() {
    let (world, upstream) = (World::new().await, Upstream::start().await);
    upstream.respond_with(|_| Script::json(200, &json!({})));
    let hook = json!({"name": "hook", "type": "webhook", "url": format!("{}/x?token=hidden", upstream.url()),
        "secret": "hidden-and-for-the-webhook", "allow_private_networks": true});
    let made = world.call("POST", &format!("{BASE}/callbacks"), hook).await;
    assert!(!made.text.contains("hidden"), "{}", made.text);
    assert_eq!(made.expect(201)["name"], "hook");
    assert_eq!(world.get(&format!("{BASE}/callbacks")).await.expect(200)["data"][0]["name"], "hook");
    let tried = world.call("POST", &format!("{BASE}/callbacks/test"), json!({"callback": "hook"})).await.expect(200);
    assert_eq!((&tried["delivered"], &tried["exporter"]), (&json!(true), &json!("hook")), "{tried}");
    world.call("POST", &format!("{BASE}/callbacks/test"), json!({"name": "none"})).await.refused(404, "not_found");
    world
        .call("POST", &format!("{BASE}/callbacks"), json!({"name": "x", "type": "pigeon"}))
        .await
        .refused(422, "invalid");
}

#[tokio::test]
async fn of_the_configuration_only_what_is_a_setting_can_be_changed() {
    let world = with_providers(&["a"]).await;
    let shown = world.get("/api/config").await;
    assert!(!shown.text.contains(KEY), "{}", shown.text);
    let shown = shown.expect(200);
    assert_eq!((&shown["retries"], &shown["settings"], &shown["providers"]), (&json!(2), &json!({}), &json!(1)));
    let changed = world.call("PUT", "/api/config", json!({"retries": 4, "fallbacks": null})).await.expect(200);
    assert_eq!((&changed["retries"], &changed["settings"]), (&json!(4), &json!({"retry": {"max_attempts": 5}})));
    assert_eq!(world.get("/admin/settings").await.expect(200)["spec"]["retry"]["max_attempts"], 5);
    for (body, status, code) in [
        (json!({"retries": 3, "log_level": "debug"}), 400, "malformed"),
        (json!({"routing_strategy": "cheapest"}), 400, "malformed"),
        (json!({"retries": 50}), 422, "invalid"),
        (json!({"retries": "many"}), 400, "malformed"),
        (json!({}), 400, "malformed"),
    ] {
        world.call("PUT", "/api/config", body).await.refused(status, code);
    }
    assert_eq!(world.get("/api/config").await.expect(200)["retries"], 4, "what was refused has changed nothing");
}
