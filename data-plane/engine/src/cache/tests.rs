//! The key: everything that changes an answer changes it, and nothing else does.

use std::time::Duration;

use http::HeaderMap;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::resolve::{Ask, resolve};
use crate::testing;

const CONFIG: &str = "
models:
  - {name: m, targets: [{provider: openai, model: gpt}], fallbacks: [n]}
  - {name: n, targets: [{provider: claude, model: opus}]}
  - {name: openai/gpt, targets: [{provider: claude, model: shadow}]}
settings: {cache: {enabled: true}}
";

fn question(body: &[u8]) -> Question<'_> {
    Question {
        language: "openai-chat",
        tenant: "vk_1",
        forced_provider: None,
        forced_model: None,
        forced_route: None,
        strict: false,
        features: &[],
        named_in_path: false,
        body,
    }
}

fn key_in(config: &str, model: &str, question: &Question<'_>) -> Option<Key> {
    let snapshot = testing::snapshot(&format!("{}{config}", testing::PROVIDERS));
    let headers = HeaderMap::new();
    let ask = Ask {
        forced_provider: question.forced_provider,
        forced_model: question.forced_model,
        forced_route: question.forced_route,
        ..Ask::new("/v1/chat/completions", &headers, model)
    };
    let resolved = resolve(&snapshot, &ask, &testing::caller(&["*"])).expect("a model");
    question.key(&snapshot, &resolved)
}

fn key(body: &str) -> Option<Key> {
    key_in(CONFIG, "m", &question(body.as_bytes()))
}

const PLAIN: &str = r#"{"model":"m","messages":[{"role":"user","content":"hé"}],"seed":1}"#;

#[test]
fn what_says_the_same_has_one_key() {
    let plain = key(PLAIN).expect("a key");
    for same in [
        r#"{ "seed" : 1 , "messages":[ {"content":"h\u00e9","role":"user"}],"model":"m" }"#,
        r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hé"}],"seed":1}"#,
        r#"{"model":"m","stream":null,"stream_options":null,"messages":[{"role":"user","content":"hé"}],"seed":1}"#,
        r#"{"stream_options":{"include_usage":true},"model":"m","messages":[{"role":"user","content":"hé"}],"seed":1}"#,
        r#"{"m\u006fdel":"m","messages":[{"role":"user","content":"hé"}],"seed":1,"store":false,"store":null}"#,
    ] {
        let expected = if same.contains("store") { None } else { Some(plain) };
        assert_eq!(key(same).filter(|key| *key == plain), expected, "{same}");
    }
}

#[test]
fn whatever_changes_the_answer_changes_the_key() {
    let plain = key(PLAIN);
    assert!(plain.is_some());
    for (name, value) in [
        ("response_format", json!({"type": "json_object"})),
        ("temperature", json!(0)),
        ("temperature", json!(0.0)),
        ("top_p", json!(1)),
        ("top_k", json!(1)),
        ("seed", json!(2)),
        ("seed", json!("1")),
        ("stop", json!(["a"])),
        ("stop", json!("a")),
        ("user", json!("u")),
        ("metadata", json!({"a": "b"})),
        ("n", json!(2)),
        ("tools", json!([])),
        ("tool_choice", json!("none")),
        ("reasoning_effort", json!("low")),
        ("stream_options", json!({"include_obfuscation": false})),
        ("unheard_of", Value::Null),
        ("messages", json!([{"role": "user", "content": "h"}])),
        ("messages", json!([{"role": "user", "content": "hé", "name": "n"}])),
        ("messages", json!([{"role": "user", "content": [{"type": "text", "text": "hé"}]}])),
    ] {
        let mut body: Value = serde_json::from_str(PLAIN).expect("JSON");
        body[name] = value;
        let changed = key(&body.to_string());
        assert!(changed.is_some() && changed != plain, "{body}");
    }
    let body = PLAIN.as_bytes();
    let base = question(body);
    for changed in [
        Question { tenant: "vk_2", ..base },
        Question { language: "openai-completions", ..base },
        Question { strict: true, ..base },
        Question { features: &[b"a"], ..base },
        Question { features: &[b"a", b""], ..base },
        Question { forced_provider: Some("openai"), ..base },
        Question { forced_model: Some("gpt"), ..base },
        Question { named_in_path: true, ..base },
    ] {
        let key = key_in(CONFIG, "m", &changed);
        assert!(key.is_some() && key != plain, "{changed:?}");
    }
}

#[test]
fn a_model_is_its_configuration_and_not_its_name() {
    let base = question(PLAIN.as_bytes());
    let plain = key_in(CONFIG, "m", &base);
    for (change, is_same) in [
        ("model: gpt-x}]", false),
        ("model: gpt, quirks: [no_user]}]", false),
        ("model: gpt}], description: other", true),
        ("model: gpt}], breaker: {failures: 2}", true),
        ("model: gpt}], timeouts: {total: 9s}", true),
        ("model: gpt}], retry: {max_attempts: 1}", true),
        ("model: gpt}], cache: {ttl: 5s}", true),
        ("model: gpt}, {provider: claude, model: gpt}]", false),
    ] {
        let Some(config) = CONFIG.split_once("model: gpt}]").map(|(a, b)| format!("{a}{change}{b}")) else { panic!() };
        assert_eq!(key_in(&config, "m", &base) == plain, is_same, "{change}");
    }
    assert_ne!(key_in(&CONFIG.replace("model: opus", "model: sonnet"), "m", &base), plain, "a fallback is part of it");
    // Nobody is told what a name stood for before, and no name is taken for another.
    let direct = Question { forced_provider: Some("openai"), ..base };
    assert_ne!(key_in(CONFIG, "gpt", &direct), key_in(CONFIG, "claude/gpt", &base));
    assert_ne!(key_in(CONFIG, "gpt", &direct), None);
    let named = "models:\n  - {name: openai/gpt, targets: [{provider: openai, model: x}]}\nsettings: {cache: {enabled: true}}\n";
    assert_ne!(key_in(named, "gpt", &direct), key_in(named, "openai/gpt", &direct));
}

#[test]
fn credentials_and_time_limits_of_a_provider_change_nothing_else_does() {
    let snapshot = |provider: &str| {
        testing::snapshot(&format!(
            "providers:\n  - {{name: p, kind: openai-compatible, {provider}}}\nsettings: {{cache: {{enabled: true}}}}\n"
        ))
    };
    let identity = |provider: &str| snapshot(provider).recall.as_ref().expect("it is on").providers[0];
    let plain = identity("base_url: \"https://a.example/v1\", api_key: secret-number-one");
    for (provider, is_same) in [
        ("base_url: \"https://a.example/v1\", api_key: another-secret", true),
        ("base_url: \"https://a.example/v1\", api_key: k, timeouts: {idle: 3s}, retry: {max_attempts: 2}", true),
        ("base_url: \"https://b.example/v1\", api_key: secret-number-one", false),
        ("base_url: \"https://a.example/v1\", api_key: k, headers: {x-a: b}", false),
        ("base_url: \"https://a.example/v1\", api_key: k, quirks: [no_user]", false),
    ] {
        assert_eq!(identity(provider) == plain, is_same, "{provider}");
    }
}

#[test]
fn what_depends_on_something_else_has_no_key() {
    for (member, has_key) in [
        (r#""store":true"#, false),
        (r#""store":false"#, true),
        (r#""store":null"#, true),
        (r#""background":true"#, false),
        (r#""previous_response_id":"resp_1""#, false),
        (r#""previous_response_id":null"#, true),
        (r#""conversation":"conv_1""#, false),
        (r#""container":"c""#, false),
        (r#""cachedContent":"cachedContents/1""#, false),
        (r#""audio":{"voice":"alloy"}"#, false),
        (r#""prompt":{"id":"pmpt_1"}"#, false),
        (r#""prompt":"a text""#, true),
        (r#""metadata":{"store":true}"#, true),
        (r#""x":"half \ud800""#, false),
    ] {
        let body = format!(r#"{{"model":"m",{member}}}"#);
        assert_eq!(key(&body).is_some(), has_key, "{body}");
    }
}

/// Two readers may believe different ones of them.
#[test]
fn members_of_one_name_are_all_told_in_their_order() {
    let keys = [r#"{"x":{"a":1,"a":2}}"#, r#"{"x":{"a":2,"a":1}}"#, r#"{"x":{"a":2}}"#, r#"{"x":{"a":1}}"#].map(key);
    for (at, one) in keys.iter().enumerate() {
        assert!(one.is_some() && !keys[at + 1..].contains(one));
    }
}

/// Structured answers come in the order of the schema.
#[test]
fn the_order_of_properties_counts() {
    let schema = |properties: &str| key(&format!(r#"{{"tools":[{{"properties":{properties}}}]}}"#));
    let ordered = schema(r#"{"a":{"type":"x","b":1},"b":{}}"#);
    assert_ne!(ordered, schema(r#"{"b":{},"a":{"type":"x","b":1}}"#));
    assert_eq!(ordered, schema(r#"{"a":{"b":1,"type":"x"},"b":{}}"#), "but not that of what describes one");
}

#[test]
fn the_nearest_level_wins() {
    let said = |settings: &str, model: &str, route: &str| {
        let yaml = format!(
            "{}models:\n  - {{name: m, targets: [{{provider: openai, model: x}}]{model}}}\n\
             routes:\n  - {{name: r, match: {{path: /v1/*}}{route}}}\nsettings: {{cache: {{{settings}}}}}\n",
            testing::PROVIDERS
        );
        let snapshot = testing::snapshot(&yaml);
        let headers = HeaderMap::new();
        let ask = Ask::new("/v1/messages", &headers, "m");
        let resolved = resolve(&snapshot, &ask, &testing::caller(&["*"])).expect("a model");
        Terms::of(&snapshot, &resolved).map(|terms| (terms.ttl, terms.coalesce))
    };
    let (hour, second) = (Duration::from_secs(3600), Duration::from_secs);
    for (settings, model, route, expected) in [
        ("", "", "", None),
        ("enabled: false, ttl: 5s", "", "", None),
        ("enabled: true", "", "", Some((hour, true))),
        ("enabled: true, ttl: 5s, coalesce: false", "", "", Some((second(5), false))),
        ("enabled: true", ", cache: off", "", None),
        ("enabled: true", ", cache: off", ", cache: on", Some((hour, true))),
        ("enabled: true", ", cache: {ttl: 7s}", ", cache: off", None),
        ("ttl: 5s", ", cache: on", "", Some((second(5), true))),
        ("ttl: 5s", ", cache: {ttl: 7s}", ", cache: {coalesce: false}", Some((second(7), false))),
        ("", "", ", cache: {ttl: 1s}", Some((second(1), true))),
    ] {
        assert_eq!(said(settings, model, route), expected, "{settings} | {model} | {route}");
    }
}

/// A tree of a few members, the names of which are not in order and not twice in an object.
fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("JSON", |number| serde_json::Number::from_f64(number).map(Value::Number)),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let members = vec(("[a-d\"\\\\é]{0,3}", inner.clone()), 0..4);
        prop_oneof![
            vec(inner, 0..4).prop_map(Value::from),
            members.prop_map(|members| { Value::Object(members.into_iter().collect::<Map<_, _>>()) })
        ]
    })
}

/// The same with the members of every object the other way round.
fn reversed(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            Value::Object(members.iter().rev().map(|(name, value)| (name.clone(), reversed(value))).collect())
        }
        Value::Array(elements) => elements.iter().map(reversed).collect(),
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn order_and_white_space_say_nothing(tree in tree()) {
        let body = json!({"x": tree, "a": 1});
        let spaced = serde_json::to_string_pretty(&reversed(&body)).expect("JSON");
        let (one, other) = (body.to_string(), spaced);
        prop_assert!(canonical::written(one.as_bytes(), false).is_some());
        prop_assert_eq!(canonical::written(one.as_bytes(), false), canonical::written(other.as_bytes(), false));
    }

    /// Equality of trees ignores the order of members, like keys do.
    #[test]
    fn different_bodies_have_different_keys(one in tree(), other in tree()) {
        let written = |tree: &Value| canonical::written(json!({"x": tree}).to_string().as_bytes(), false);
        prop_assert!(one == other || written(&one) != written(&other));
    }

    /// What cannot be read has no key, and harms nobody.
    #[test]
    fn any_bytes_are_taken(bytes in vec(prop_oneof![Just(b'{'), Just(b'"'), Just(b'['), Just(b','), Just(b'\\'), any::<u8>()], 0..64)) {
        let _ = canonical::written(&bytes, false);
    }
}

#[test]
fn nesting_costs_nobody_much() {
    // Each level is out of order, so that all of it is moved once for each level around it.
    let mut body = format!(r#"{{"z":1,"a":"{}"}}"#, "x".repeat(1 << 20));
    for _ in 0..100 {
        body = format!(r#"{{"z":1,"a":{body}}}"#);
    }
    assert_eq!(canonical::written(body.as_bytes(), false), None);
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    assert_eq!(canonical::written(deep.as_bytes(), false), None);
}
