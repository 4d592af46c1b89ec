//! A provider that is tried: what it is asked and shown, what is told of its answer, and whom nobody calls.

use gateway_fake::{Dead, Script, Upstream};
use serde_json::{Value, json};

use crate::world::World;

const KEY: &str = "sk-a-key-of-the-provider-0001";
const OTHER: &str = "sk-another-key-of-it-0002";

fn provider(kind: &str, url: &str) -> Value {
    json!({"name": "up", "kind": kind, "base_url": url, "api_key": KEY, "allow_private_networks": true})
}

fn models(names: &[&str]) -> Script {
    let data: Vec<Value> = names.iter().map(|name| json!({"id": name})).collect();
    Script::json(200, &json!({"object": "list", "data": data}))
}

async fn test(world: &World, path: &str, body: Value) -> Value {
    let answer = world.call("POST", path, body).await;
    assert!(!answer.text.contains(KEY) && !answer.text.contains(OTHER), "{}", answer.text);
    answer.expect(200)
}

#[tokio::test]
async fn a_stored_provider_is_asked_for_its_models_with_its_own_key() {
    let (world, upstream) = (World::new().await, Upstream::start().await);
    upstream.push(models(&["gpt-x", "gpt-y"]));
    let stored = provider("openai-compatible", &format!("{}/v1", upstream.url()));
    world.call("POST", "/admin/providers", stored).await.expect(201);

    let tried = test(&world, "/admin/providers/up/test", Value::Null).await;
    assert_eq!((&tried["ok"], &tried["status"], &tried["error"]), (&json!(true), &json!(200), &Value::Null), "{tried}");
    assert_eq!((&tried["models"], &tried["n_models"]), (&json!(["gpt-x", "gpt-y"]), &json!(2)));
    assert_eq!((&tried["address"], &tried["key"]), (&json!(upstream.url()), &Value::Null));
    let asked = &upstream.requests()[0];
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("GET", "/v1/models"));
    assert_eq!(asked.header("authorization"), Some(format!("Bearer {KEY}").as_str()));

    // Who asked is in the audit log, and the key is not.
    let audit = world.get("/admin/audit").await;
    assert!(!audit.text.contains(KEY));
    let newest = audit.expect(200)["data"][0].clone();
    assert_eq!(
        (&newest["action"], &newest["kind"], &newest["name"], &newest["after"]["address"]),
        (&json!("test"), &json!("provider"), &json!("up"), &json!(upstream.url()))
    );
    world.call("POST", "/admin/providers/nobody/test", Value::Null).await.refused(404, "not_found");
}

#[tokio::test]
async fn each_kind_is_asked_where_it_lists_and_shown_the_key_as_it_wants() {
    let world = World::new().await;
    let gemini = json!({"models": [{"name": "models/gemini-x", "supportedGenerationMethods": ["generateContent"]}]});
    let bedrock = json!({"modelSummaries": [{"modelId": "a.claude", "inputModalities": ["TEXT"], "outputModalities": ["TEXT"],
        "responseStreamingSupported": true, "inferenceTypesSupported": ["ON_DEMAND"], "modelLifecycle": {"status": "ACTIVE"}}]});
    for (kind, more, answer, target, header, value, model) in [
        ("anthropic", json!({}), json!({"data": [{"id": "claude-x"}]}), "/v1/models", "x-api-key", KEY, "claude-x"),
        ("gemini", json!({}), gemini, "/v1beta/models", "x-goog-api-key", KEY, "gemini-x"),
        (
            "ollama",
            json!({}),
            json!({"models": [{"model": "llama"}]}),
            "/api/tags",
            "authorization",
            "Bearer sk-",
            "llama",
        ),
        (
            "bedrock",
            json!({"api_key": null, "aws": {"region": "us-east-1", "access_key_id": "AKIDEXAMPLE", "secret_access_key": KEY}}),
            bedrock,
            "/foundation-models",
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/",
            "a.claude",
        ),
    ] {
        let upstream = Upstream::start().await;
        upstream.push(Script::json(200, &answer));
        let mut document = provider(kind, &upstream.url());
        for (field, value) in more.as_object().unwrap() {
            document[field] = value.clone();
        }
        let tried = test(&world, "/admin/catalog/test", document).await;
        assert_eq!((&tried["ok"], &tried["models"]), (&json!(true), &json!([model])), "{kind}: {tried}");
        let asked = &upstream.requests()[0];
        assert!(asked.target.starts_with(target), "{kind}: {}", asked.target);
        assert!(
            asked.header(header).is_some_and(|shown| shown.starts_with(value)),
            "{kind}: {:?}",
            asked.header(header)
        );
    }
    assert_eq!(world.get("/admin/providers").await.expect(200)["data"], json!([]), "nothing is stored by it");
}

#[tokio::test]
async fn of_several_keys_one_can_be_chosen() {
    let (world, upstream) = (World::new().await, Upstream::start().await);
    upstream.respond_with(|_| models(&["m"]));
    let keys = json!([{"name": "off", "key": "sk-off-off-off", "enabled": false}, {"name": "main", "key": KEY}, {"name": "spare", "key": OTHER}]);
    let mut document = provider("openai-compatible", &upstream.url());
    document["api_key"] = Value::Null;
    document["api_keys"] = keys;
    world.call("POST", "/admin/providers", document).await.expect(201);
    for (query, name, key) in [("", "main", KEY), ("?key=spare", "spare", OTHER), ("?key=off", "off", "sk-off-off-off")]
    {
        let tried = test(&world, &format!("/admin/providers/up/test{query}"), Value::Null).await;
        assert_eq!((&tried["ok"], &tried["key"]), (&json!(true), &json!(name)), "{tried}");
        let asked = upstream.requests().pop().unwrap();
        assert_eq!(asked.header("authorization"), Some(format!("Bearer {key}").as_str()));
    }
    world.call("POST", "/admin/providers/up/test?key=none", Value::Null).await.refused(404, "not_found");
    world.call("POST", "/admin/providers/up/test?kee=main", Value::Null).await.refused(400, "malformed");
}

#[tokio::test]
async fn what_goes_wrong_there_is_told_as_text_without_the_key() {
    let world = World::new().await;
    let long = "x".repeat(5000);
    let many: Vec<String> = (0..700).map(|number| format!("m{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (script, status, said) in [
        (
            Script::json(401, &json!({"error": {"message": format!("Incorrect API key provided: {KEY}")}})),
            401,
            "Incorrect API key provided: …",
        ),
        (
            Script::text(500, "text/html", format!("<script>alert(1)</script>\u{7}{long}")),
            500,
            "<script>alert(1)</script>x",
        ),
        (
            Script::new().head(302, &[("location", "http://127.0.0.1:1/"), ("content-length", "0")]),
            302,
            "redirections are not followed",
        ),
        (Script::json(200, &json!({"hello": KEY})), 200, "no list of models"),
        (Script::text(200, "application/json", vec![b' '; 5 << 20]), 200, "longer than 4 MiB"),
    ] {
        let upstream = Upstream::start().await;
        upstream.push(script);
        let tried = test(&world, "/admin/catalog/test", provider("openai-compatible", &upstream.url())).await;
        assert_eq!((&tried["ok"], &tried["status"]), (&json!(false), &json!(status)), "{tried}");
        let error = tried["error"].as_str().unwrap();
        assert!(error.contains(said) && error.len() < 500 && !error.contains('\u{7}'), "{error}");
        assert_eq!((&tried["models"], &tried["n_models"]), (&json!([]), &json!(0)));
    }
    let dead = Dead::refusing();
    let tried = test(&world, "/admin/catalog/test", provider("openai-compatible", &dead.url())).await;
    assert_eq!((&tried["ok"], &tried["status"]), (&json!(false), &Value::Null));
    assert!(tried["error"].as_str().is_some_and(|error| !error.is_empty()), "{tried}");

    let upstream = Upstream::start().await;
    upstream.push(models(&many));
    let tried = test(&world, "/admin/catalog/test", provider("openai-compatible", &upstream.url())).await;
    assert_eq!((&tried["n_models"], tried["models"].as_array().unwrap().len()), (&json!(700), 500));
}

#[tokio::test]
async fn nobody_is_called_who_may_not_be() {
    let (world, upstream) = (World::new().await, Upstream::start().await);
    // Not without being allowed to, by its address or by a name.
    for url in [upstream.url().replace("http:", "https:"), "https://localhost:1".to_owned()] {
        let mut document = provider("openai-compatible", &url);
        document["allow_private_networks"] = json!(false);
        let answer = world.call("POST", "/admin/catalog/test", document).await;
        // The validator says it of an address, the connector of a name.
        assert!([200, 422].contains(&answer.status.as_u16()), "{}", answer.text);
        assert!(answer.text.contains("allow_private_networks"), "{}", answer.text);
    }
    assert_eq!(upstream.requests().len(), 0);

    let account = json!({"client_email": "a@b.example", "private_key": "none", "token_uri": "https://oauth2.googleapis.com/token"});
    let vertex = json!({"kind": "vertex", "gcp": {"project": "p"}});
    for (document, status, code, named) in [
        (vertex, 409, "conflict", "token"),
        (
            json!({"kind": "vertex", "gcp": {"project": "p", "service_account_json": account.to_string()}}),
            422,
            "invalid",
            "",
        ),
        (json!({"kind": "demo"}), 409, "conflict", "no list of models"),
        (json!({"kind": "nothing-known"}), 422, "invalid", ""),
        (json!({"kind": "openai", "api_kee": KEY}), 422, "invalid", ""),
        (json!([KEY]), 400, "malformed", ""),
    ] {
        let answer = world.call("POST", "/admin/catalog/test", document).await;
        assert!(!answer.text.contains(KEY), "{}", answer.text);
        let error = answer.refused(status, code);
        assert!(error["message"].as_str().unwrap().contains(named), "{error}");
    }
}
