//! What clients learn of models: the list, one of them, in the words of each API.

use std::fmt::Write as _;
use std::time::Instant;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, KEY, read};

const NARROW_KEY: &str = "sk-narrow-0123456789abcdef";

/// Providers of known kinds, models on them, a key for all and one for some.
fn config() -> String {
    format!(
        "providers:
  - {{name: openai, kind: openai, api_key: k}}
  - {{name: claude, kind: anthropic, api_key: k}}
prices:
  - {{provider: claude, model: claude-haiku-4-5, input_per_1m: \"0.1\", output_per_1m: \"12\"}}
models:
  - {{name: fast, targets: [{{provider: openai, model: gpt-4o}}]}}
  - {{name: team/a, targets: [{{provider: claude, model: claude-haiku-4-5}}], facts: {{max_tokens: 100}}, description: for all}}
  - {{name: team/b, targets: [{{provider: openai, model: not-in-any-catalogue}}]}}
keys:
  - {{name: all, secret: {KEY}}}
  - {{name: narrow, secret: {NARROW_KEY}, models: [\"team/*\"]}}
"
    )
}

async fn get(gateway: &Gateway, path: &str, key: &str, more: &[(&'static str, &str)]) -> Answer {
    let mut headers = HeaderMap::new();
    for (name, value) in more {
        headers.insert(*name, value.parse().expect("a header"));
    }
    read(gateway.client().get(gateway.url(path)).bearer_auth(key).headers(headers)).await
}

/// The texts at `member` of each element of `list`.
fn names(answer: &Value, list: &str, member: &str) -> Vec<String> {
    let elements = answer[list].as_array().unwrap_or_else(|| panic!("no `{list}` in {answer}"));
    elements.iter().map(|element| element[member].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn model_list_has_context_caps_price() {
    let gateway = Gateway::start(&config()).await;
    let list = get(&gateway, "/v1/models", KEY, &[]).await;
    assert_eq!(list.header("content-type"), Some("application/json"));
    let again = get(&gateway, "/v1/models", KEY, &[]).await;
    assert_eq!(list.text, again.text, "nothing moves, `created` neither");
    let list = list.json();
    assert_eq!(
        list["data"][0],
        json!({
            "id": "fast", "object": "model", "created": 0, "owned_by": "openai", "mode": "chat",
            "context_window": 128_000, "max_tokens": 16_384,
            "supports_vision": true, "supports_tool_calls": true, "supports_reasoning": false,
            "input_modalities": ["text", "image", "document"], "output_modalities": ["text"],
            "input_cost_per_1m": 2.5, "output_cost_per_1m": 10.0,
            "cache_read_cost_per_1m": 1.25, "cache_write_cost_per_1m": null,
        })
    );
    let second = &list["data"][1];
    for (member, expected) in [
        ("id", json!("team/a")),
        ("description", json!("for all")),
        ("context_window", json!(200_000)),
        ("max_tokens", json!(100)),
        ("input_cost_per_1m", json!(0.1)),
        ("output_cost_per_1m", json!(12.0)),
    ] {
        assert_eq!(second[member], expected, "{member}");
    }
    let unknown = &list["data"][2];
    assert_eq!((&unknown["context_window"], &unknown["input_cost_per_1m"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn model_list_filtered_by_key() {
    let gateway = Gateway::start(&config()).await;
    for (key, expected) in [(KEY, &["fast", "team/a", "team/b"][..]), (NARROW_KEY, &["team/a", "team/b"])] {
        let list = get(&gateway, "/v1/models", key, &[]).await.json();
        assert_eq!(
            (list["object"].as_str(), names(&list, "data", "id")),
            (Some("list"), expected.iter().map(|name| (*name).to_owned()).collect())
        );
    }
    for (path, key, status) in [
        ("/v1/models/team/a", NARROW_KEY, 200),
        ("/v1/models/team%2Fa", NARROW_KEY, 200),
        ("/v1/models/fast", NARROW_KEY, 404),
        // Not listed, and yet to be had: the catalogue knows it.
        ("/v1/models/openai/gpt-4o-mini", KEY, 200),
        ("/v1/models/openai/gpt-4o-mini", NARROW_KEY, 404),
        ("/v1/models/openai/none-such", KEY, 404),
        ("/v1/models/none-such", KEY, 404),
        ("/v1/models/fast", "sk-wrong-0123456789abcdef", 401),
    ] {
        assert_eq!(get(&gateway, path, key, &[]).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn anthropics_clients_get_pages_in_their_words() {
    let gateway = Gateway::start(&config()).await;
    let version = [("anthropic-version", "2023-06-01")];
    // (query, names, has_more)
    for (query, expected, has_more) in [
        ("", &["fast", "team/a", "team/b"][..], false),
        ("?limit=2", &["fast", "team/a"], true),
        ("?limit=2&after_id=team%2Fa", &["team/b"], false),
        ("?limit=1&before_id=team/b", &["team/a"], true),
        ("?after_id=gone", &[], false),
    ] {
        let page = get(&gateway, &format!("/v1/models{query}"), KEY, &version).await.json();
        assert_eq!(names(&page, "data", "id"), expected, "{query}");
        assert_eq!(page["has_more"], has_more, "{query}");
        assert_eq!(
            (page["first_id"].as_str(), page["last_id"].as_str()),
            (expected.first().copied(), expected.last().copied())
        );
    }
    let one = get(&gateway, "/v1/models/team/a", KEY, &version).await.json();
    assert_eq!(
        one,
        json!({"type": "model", "id": "team/a", "display_name": "team/a", "created_at": "1970-01-01T00:00:00Z",
               "max_input_tokens": 200_000, "max_tokens": 100, "lifecycle": "active"})
    );
    assert_eq!(get(&gateway, "/anthropic/v1/models/fast", KEY, &[]).await.json()["type"], "model");
    let refused = get(&gateway, "/v1/models?limit=none", KEY, &version).await;
    assert_eq!((refused.status, &refused.json()["type"]), (400, &json!("error")));
    let unknown = get(&gateway, "/v1/models/none-such", KEY, &version).await;
    assert_eq!((unknown.status, &unknown.json()["error"]["type"]), (404, &json!("not_found_error")));
}

#[tokio::test]
async fn googles_clients_get_pages_in_their_words() {
    let gateway = Gateway::start(&config()).await;
    let keyed = |path: &str| gateway.client().get(gateway.url(path));
    let page = read(keyed(&format!("/v1beta/models?pageSize=2&key={KEY}"))).await.json();
    assert_eq!(names(&page, "models", "name"), ["models/fast", "models/team/a"]);
    let token = page["nextPageToken"].as_str().expect("there is more");
    let last = read(keyed(&format!("/v1beta/models?pageToken={token}")).header("x-goog-api-key", KEY)).await.json();
    assert_eq!((names(&last, "models", "name"), last.get("nextPageToken")), (vec!["models/team/b".to_owned()], None));
    // Their latest clients ask on a path that OpenAI has too; the header tells them apart.
    let latest = read(keyed("/v1/models").header("x-goog-api-key", KEY)).await.json();
    assert_eq!(names(&latest, "models", "name"), ["models/fast", "models/team/a", "models/team/b"]);
    let one = get(&gateway, "/v1beta/models/team/a", KEY, &[]).await.json();
    assert_eq!((&one["inputTokenLimit"], &one["outputTokenLimit"]), (&json!(200_000), &json!(100)));
    assert_eq!(one["supportedGenerationMethods"][0], "generateContent");
    let unknown = get(&gateway, "/v1beta/models/none-such", KEY, &[]).await;
    assert_eq!((unknown.status, &unknown.json()["error"]["status"]), (404, &json!("NOT_FOUND")));
    assert_eq!(read(keyed("/v1beta/models")).await.status, 401);
}

/// The text is there already: what is left is to look at 1,500 names, and to send.
#[tokio::test]
async fn a_long_list_is_not_built_per_request() {
    let mut yaml = String::from("providers:\n  - {name: openai, kind: openai, api_key: k}\nmodels:\n");
    for n in 0..1500 {
        let _ = writeln!(yaml, "  - {{name: team{}/model-{n}, targets: [{{provider: openai, model: gpt-4o}}]}}", n % 2);
    }
    let _ = write!(
        yaml,
        "keys:\n  - {{name: all, secret: {KEY}}}\n  - {{name: narrow, secret: {NARROW_KEY}, models: [\"team1/*\"]}}\n"
    );
    let gateway = Gateway::start(&yaml).await;
    for (key, n_expected) in [(KEY, 1500), (NARROW_KEY, 750)] {
        let first = get(&gateway, "/v1/models", key, &[]).await;
        assert_eq!(first.json()["data"].as_array().map(Vec::len), Some(n_expected));
        let began = Instant::now();
        for _ in 0..20 {
            assert_eq!(get(&gateway, "/v1/models", key, &[]).await.text.len(), first.text.len());
        }
        println!(
            "{n_expected} of 1500 models, {} bytes: {:?} a request, this client included",
            first.text.len(),
            began.elapsed() / 20
        );
    }
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page =
            get(&gateway, &format!("/v1/models?limit=1000{after}"), NARROW_KEY, &[("anthropic-version", "2023-06-01")])
                .await
                .json();
        seen.extend(names(&page, "data", "id"));
        if page["has_more"] == false {
            break;
        }
        after = format!("&after_id={}", page["last_id"].as_str().expect("the last"));
    }
    assert_eq!(seen.len(), 750);
}

/// Who looks around is written down like everybody else.
#[tokio::test]
async fn lists_and_looks_leave_a_record() {
    let gateway = Gateway::start(&config()).await;
    for (at, (path, key, model, status, ending)) in [
        ("/v1/models", KEY, "", 200, "finished"),
        ("/v1/models/team/a", NARROW_KEY, "team/a", 200, "finished"),
        ("/v1/models/fast", NARROW_KEY, "fast", 404, "refused"),
        ("/anthropic/v1/models", KEY, "", 200, "finished"),
        ("/v1beta/models", "sk-nobody-0123456789abcdef", "", 401, "refused"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = get(&gateway, path, key, &[]).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        let record = &gateway.records(at + 1).await[at];
        assert_eq!(Some(record["id"].as_str().expect("an id")), answer.header("x-request-id"), "{path}");
        let found = [&record["path"], &record["model"], &record["dialect"], &record["ending"], &record["method"]];
        assert_eq!(found, [path, model, "models", ending, "GET"], "{record}");
        let key_name = match (key, status) {
            (_, 401) => "",
            (KEY, _) => "all",
            _ => "narrow",
        };
        assert_eq!((&record["key_name"], &record["status"]), (&json!(key_name), &json!(status)), "{record}");
        assert_eq!(
            (&record["tokens"], &record["attempts"]),
            (&Value::Null, &json!([])),
            "nothing is charged: {record}"
        );
        let n_bytes = if status == 200 { answer.text.len() } else { 0 };
        assert_eq!(record["response_bytes"], json!(n_bytes), "{record}");
    }
}
