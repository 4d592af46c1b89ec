//! Where a request would go, asked of the control plane.

use serde_json::{Value, json};

use crate::world::World;

async fn world() -> World {
    let world = World::new().await;
    let resources = [
        ("providers", json!({"name": "p", "kind": "openai", "api_key": "sk-first-0123456789"})),
        (
            "models",
            json!({"name": "m", "strategy": "priority", "targets": [{"provider": "p", "model": "small-one"}],
                   "fallbacks": ["p/other"], "facts": {"context_window": 1000}}),
        ),
        ("routes", json!({"name": "search", "order": 1, "match": {"key_metadata": {"team": "search"}}, "model": "m"})),
        ("routes", json!({"name": "tools", "order": 2, "match": {"needs": ["tools"]}, "model": "p/tooled"})),
        ("keys", json!({"name": "searcher", "metadata": {"team": "search"}, "models": ["m"]})),
        ("keys", json!({"name": "off", "enabled": false})),
    ];
    for (kind, document) in resources {
        world.call("POST", &format!("/admin/{kind}"), document).await.expect(201);
    }
    world
}

/// Route, model, candidates with who is passed over, and what is refused.
fn told(answer: &Value) -> String {
    let candidates = answer["candidates"].as_array().unwrap().iter().map(|candidate| {
        let skip = candidate["skip"].as_str().map_or(String::new(), |skip| format!(" ({skip})"));
        format!("{}/{}{skip}", candidate["provider"].as_str().unwrap(), candidate["model"].as_str().unwrap())
    });
    let candidates = candidates.collect::<Vec<_>>().join(", ");
    let refused = &answer["refused"];
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    format!("{} {}: {candidates} {}", text(&answer["route"]), text(&answer["model"]), refused["status"])
}

#[tokio::test]
async fn explain_dry_run() {
    let world = world().await;
    let long = "x".repeat(20_000);
    let body = |text: &str, more: Value| {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": text}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let tools = json!({"tools": [{"type": "function", "function": {"name": "f"}}]});
    let cases = [
        (json!({"body": body("hi", json!({}))}), "- m: p/small-one, p/other null"),
        (json!({"body": body("hi", json!({})), "key": "searcher"}), "search m: p/small-one, p/other null"),
        (json!({"body": body(&long, json!({}))}), "- m: p/other, p/small-one (context_too_small) null"),
        (json!({"body": body("hi", tools)}), "tools p/tooled: p/tooled null"),
        (
            json!({"body": body("hi", json!({})), "headers": {"x-gateway-route": "tools"}, "key": "searcher"}),
            "tools -:  403",
        ),
        (json!({"body": body("hi", json!({})), "key": "off"}), "- -:  401"),
        (json!({"body": {"model": "nobody"}}), "- -:  404"),
        (json!({"body": {}}), "- -:  400"),
        (
            json!({"body": body("hi", json!({})), "headers": {"x-gateway-model": "a", "x-lunargate-model": "b"}}),
            "- -:  400",
        ),
    ];
    for (described, expected) in cases {
        let answer = world.call("POST", "/admin/explain", described.clone()).await.expect(200);
        assert_eq!(told(&answer), expected, "{described} {answer}");
        assert!(!answer["notes"].as_array().unwrap().is_empty());
    }
    let answer = world.call("POST", "/admin/explain", json!({"body": body("hi", json!({}))})).await.expect(200);
    let missed = json!({"name": "search", "matches": false, "field": "match.key_metadata", "wanted": "team: search", "given": ""});
    assert_eq!(answer["routes"][0], missed);
    world.call("POST", "/admin/explain", json!({"body": {}, "key": "nobody"})).await.expect(404);
    world.call("POST", "/admin/explain", json!({"bodi": {}})).await.expect(400);
}

#[tokio::test]
async fn what_is_chosen_for_a_client_is_told() {
    let world = world().await;
    // Whichever of them it is.
    let variants = ["a", "b"].map(|name| json!({"name": name, "weight": 1, "model": "m"}));
    let trial = json!({"name": "t", "by": "key", "variants": variants});
    let model = json!({"name": "tried", "targets": [{"provider": "p", "model": "x"}], "experiment": trial});
    world.call("POST", "/admin/models", model).await.expect(201);
    world.call("PATCH", "/admin/settings", json!({"auto": {"default_model": "tried"}})).await.expect(201);
    let asked = json!({"body": {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}});
    let answer = world.call("POST", "/admin/explain", asked).await.expect(200);
    let choice = json!({"model": "m", "bucket": "simple", "percent": 0, "tier": "0-1", "score": 0, "skill": "default",
        "signals": []});
    assert_eq!(answer["auto_choice"], choice);
    assert_eq!((&answer["experiment"]["name"], &answer["experiment"]["model"]), (&json!("t"), &json!("m")));
    assert!(["a", "b"].map(Value::from).contains(&answer["experiment"]["variant"]));
    assert_eq!(answer["model"], "m");
}

/// Somebody whose token is good, as records call them: no key of ours, and told the same as a node would tell them.
#[tokio::test]
async fn who_comes_with_a_token_of_another_system_is_explained() {
    let world = world().await;
    for (kind, document) in [
        ("teams", json!({"name": "search"})),
        ("teams", json!({"name": "shut", "enabled": false})),
        ("users", json!({"name": "ada"})),
    ] {
        world.call("POST", &format!("/admin/{kind}"), document).await.expect(201);
    }
    let issuer = json!({"name": "id", "issuer": "https://id.example.com", "audience": ["gateway"],
        "jwks_url": "https://id.example.com/keys", "claims": {"user": "sub", "team": "team", "models": "models"}});
    world.call("PATCH", "/admin/settings", json!({"jwt": [issuer]})).await.expect(201);
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    for (key, models, expected) in [
        ("jwt:id?user=ada", None, "- m: p/small-one, p/other null"),
        ("jwt:id?team=search&user=ada", Some(["m"]), "- m: p/small-one, p/other null"),
        ("jwt:id?user=ada", Some(["another"]), "- -:  403"),
        ("jwt:id?user=eve", None, "- -:  401"),
        ("jwt:id?team=shut", None, "- -:  401"),
        ("jwt:other?user=ada", None, "- -:  401"),
    ] {
        let models = models.map_or_else(Vec::new, |models: [&str; 1]| models.to_vec());
        let described = json!({"body": body, "key": key, "token_models": models});
        let answer = world.call("POST", "/admin/explain", described).await.expect(200);
        assert_eq!(told(&answer), expected, "{key} {models:?} {answer}");
    }
    let described = json!({"body": body, "key": "searcher", "token_models": ["m"]});
    world.call("POST", "/admin/explain", described).await.expect(400);
}
