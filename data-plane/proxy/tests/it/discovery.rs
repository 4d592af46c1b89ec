//! Models that providers list: they are in the list of models and can be asked for.

use gateway_fake::reply::openai;
use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Gateway, KEY, UPSTREAM_KEY, provider_at, read, within};

/// The list, once it holds `name`.
async fn listed(gateway: &Gateway, name: &str) -> Vec<Value> {
    within("a discovered model", || async {
        let list = read(gateway.client().get(gateway.url("/v1/models")).bearer_auth(KEY)).await.json();
        let data = list["data"].as_array().expect("a list").clone();
        data.iter().any(|model| model["id"] == name).then_some(data)
    })
    .await
}

fn ids(list: &[Value]) -> Vec<&str> {
    list.iter().filter_map(|model| model["id"].as_str()).collect()
}

#[tokio::test]
async fn a_discovered_model_is_listed_and_can_be_asked_for() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| match received.target.as_str() {
        "/v1/models" => Script::json(
            200,
            &json!({"data": [{"id": "vendor/big", "created": 5, "context_length": 4096,
                              "pricing": {"prompt": "0.000001", "completion": "0.000002"}}, {"id": "vendor/none"}]}),
        ),
        _ => openai::answer(received, "hello"),
    });
    let config = provider_at(
        "openai-compatible",
        &format!("{}/v1", upstream.url()),
        "discovery: {enabled: true, allowed: [\"*/big\", own-name]}",
    );
    let gateway = Gateway::start(&config).await;
    let list = listed(&gateway, "up/vendor/big").await;
    assert_eq!(ids(&list), ["m", "up/vendor/big"]);
    let big = &list[1];
    assert_eq!((&big["owned_by"], &big["created"], &big["context_window"]), (&json!("up"), &json!(5), &json!(4096)));
    assert_eq!((&big["input_cost_per_1m"], &big["output_cost_per_1m"]), (&json!(1.0), &json!(2.0)));
    let asked = upstream.request(0).await;
    assert_eq!(
        (asked.method.as_str(), asked.header("authorization")),
        ("GET", Some(&*format!("Bearer {UPSTREAM_KEY}")))
    );
    let one = read(gateway.client().get(gateway.url("/v1/models/up/vendor/big")).bearer_auth(KEY)).await;
    assert_eq!((one.status, one.json()["context_window"].clone()), (200, json!(4096)));
    let body = json!({"model": "up/vendor/big", "messages": [{"role": "user", "content": "hi"}]});
    let answer = gateway.chat(&body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let last = upstream.requests().pop().expect("a request").json();
    assert_eq!(last["model"], "vendor/big");
    let record = within("the question's record", || async {
        gateway.records(1).await.into_iter().find(|record| record["method"] == "POST")
    })
    .await;
    assert!(record["cost_nano_usd"].as_i64().is_some_and(|cost| cost > 0), "what is told is charged: {record}");
}

#[tokio::test]
async fn nobody_is_asked_unless_configured() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|_| Script::json(200, &json!({"data": [{"id": "x"}]})));
    let url = format!("{}/v1", upstream.url());
    // The second configuration asks; had the first one asked too, that would be seen before.
    let gateway = Gateway::start(&provider_at("openai-compatible", &url, "")).await;
    let config = provider_at("openai-compatible", &url, "");
    gateway.rewrite(&format!("settings: {{discovery: {{enabled: true}}}}\n{config}"));
    listed(&gateway, "up/x").await;
    assert_eq!(upstream.requests().len(), 1);
    gateway.rewrite(&provider_at("openai-compatible", &url, "discovery: {enabled: false}"));
    within("the list without it", || async {
        let list = read(gateway.client().get(gateway.url("/v1/models")).bearer_auth(KEY)).await.json();
        (list["data"].as_array().map(Vec::len) == Some(1)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_vendors_list_is_read() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| {
        let answer = match received.target.as_str() {
            "/v1/models?limit=1000" => json!({"data": [{"type": "model", "id": "claude-new"}], "has_more": true, "last_id": "claude-new"}),
            "/v1/models?limit=1000&after_id=claude-new" => json!({"data": [{"type": "model", "id": "claude-old"}], "has_more": false}),
            "/v1beta/models?pageSize=1000" => json!({"models": [{"name": "models/gem", "inputTokenLimit": 9, "supportedGenerationMethods": ["generateContent"]}], "nextPageToken": "a b"}),
            "/v1beta/models?pageSize=1000&pageToken=a%20b" => json!({"models": [{"name": "models/ini", "inputTokenLimit": 8}]}),
            "/api/tags" => json!({"models": [{"name": "llama3:8b", "model": "llama3:8b"}]}),
            "/api/show" if received.json()["model"] == "llama3:8b" => {
                json!({"capabilities": ["completion", "vision"], "model_info": {"llama.context_length": 8192}})
            }
            "/v1/models?page_size=1000" => json!({"models": [{"name": "command", "endpoints": ["chat"], "context_length": 7}]}),
            "/openai/deployments?api-version=2023-03-15-preview" if received.header("api-key") == Some("k") => {
                json!({"data": [{"id": "mine", "model": "gpt-x", "status": "succeeded"}]})
            }
            "/foundation-models?byInferenceType=ON_DEMAND" => {
                let signed = received.header("authorization").unwrap_or_default().starts_with("AWS4-HMAC-SHA256 Credential=AKID/");
                let models = json!([{"modelId": "vendor.text-v1:0", "outputModalities": ["TEXT"]}]);
                json!({"modelSummaries": if signed { models } else { json!(null) }})
            }
            "/v1beta1/publishers/google/models?pageSize=200" => {
                json!({"publisherModels": [{"name": "publishers/google/models/gem-a"}], "nextPageToken": "2"})
            }
            "/v1beta1/publishers/google/models?pageSize=200&pageToken=2" => {
                json!({"publisherModels": [{"name": "publishers/google/models/gem-b"}]})
            }
            other => return Script::json(404, &json!({"unexpected": other})),
        };
        Script::json(200, &answer)
    });
    let url = upstream.url();
    let provider = |name: &str, kind: &str| {
        format!("  - {{name: {name}, kind: {kind}, base_url: \"{url}\", api_key: k, allow_private_networks: true}}\n")
    };
    let aws = "aws: {region: us-east-1, access_key_id: AKID, secret_access_key: s}";
    let bedrock = provider("aws", "bedrock").replace("api_key: k", aws);
    let vertex = provider("garden", "vertex").replace("api_key: k", "api_key: k, gcp: {project: p, location: l}");
    let config = format!(
        "settings: {{discovery: {{enabled: true}}}}\nproviders:\n{}{}{bedrock}{vertex}{}{}{}",
        provider("azure", "azure"),
        provider("co", "cohere"),
        provider("claude", "anthropic"),
        provider("google", "gemini"),
        provider("local", "ollama"),
    );
    let gateway = Gateway::start(&config).await;
    let mut list = listed(&gateway, "local/llama3:8b").await;
    let others = ["aws/vendor.text-v1:0", "azure/mine", "co/command", "garden/gem-a", "garden/gem-b"];
    assert!(others.iter().all(|id| ids(&list).contains(id)), "{:?}", ids(&list));
    list.retain(|model| others.iter().all(|id| model["id"] != *id));
    assert_eq!(ids(&list), ["claude/claude-new", "claude/claude-old", "google/gem", "google/ini", "local/llama3:8b"]);
    assert_eq!((&list[2]["context_window"], &list[3]["context_window"]), (&json!(9), &json!(8)));
    let llama = &list[4];
    assert_eq!(
        (&llama["context_window"], &llama["supports_vision"], &llama["supports_tool_calls"]),
        (&json!(8192), &json!(true), &json!(false))
    );
}

#[tokio::test]
async fn auto_agents() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| match received.target.as_str() {
        "/v1/models" => Script::json(
            200,
            &json!({"data": [{"id": "small", "context_window": 8192, "max_completion_tokens": 1024},
            {"id": "seer", "context_window": 65_536, "architecture": {"input_modalities": ["text", "image"]}}]}),
        ),
        _ => openai::answer(received, "hello"),
    });
    let config = provider_at("openai-compatible", &format!("{}/v1", upstream.url()), "");
    let gateway =
        Gateway::start(&format!("settings: {{discovery: {{enabled: true, auto_agents: true}}}}\n{config}")).await;
    let list = listed(&gateway, "auto_fast").await;
    assert_eq!(ids(&list), ["m", "auto_fast", "auto_vision", "auto_balanced", "up/seer", "up/small"]);
    assert_eq!((&list[1]["owned_by"], &list[1]["context_window"]), (&json!("gateway"), &json!(8192)));
    for (agent, target) in [("auto_fast", "small"), ("auto_vision", "seer"), ("auto_balanced", "seer")] {
        let answer = gateway.chat(&json!({"model": agent, "messages": [{"role": "user", "content": "hi"}]})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(upstream.requests().pop().expect("a request").json()["model"], target, "{agent}");
    }
    let unmade = gateway.chat(&json!({"model": "auto_large", "messages": [{"role": "user", "content": "hi"}]})).await;
    assert_eq!(unmade.status, 404, "there is nothing to make it of");
}

#[tokio::test]
async fn selectors_follow_what_is_listed() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| match received.target.as_str() {
        "/v1/models" => Script::json(200, &json!({"data": [{"id": "small-1"}, {"id": "big-1"}, {"id": "big-2"}]})),
        _ => openai::answer(received, "hello"),
    });
    let config = provider_at("openai-compatible", &format!("{}/v1", upstream.url()), "discovery: {enabled: true}");
    let config = config.replace(
        "models:\n",
        "models:\n  - {name: large, strategy: priority, selectors: [{provider: up, model_regex: '^big-'}]}\n",
    );
    let gateway = Gateway::start(&config).await;
    listed(&gateway, "up/big-1").await;
    let answer = gateway.chat(&json!({"model": "large", "messages": [{"role": "user", "content": "hi"}]})).await;
    assert_eq!((answer.status, answer.header("x-gateway-decision")), (200, Some("up/big-1")), "{}", answer.text);
}
