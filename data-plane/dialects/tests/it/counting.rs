//! Counting tokens on recorded traffic: vendors' numbers and refusals are understood, and a client's question is asked whole.

use gateway_dialects::dialect::Upstream;
use gateway_dialects::registry;
use gateway_ir::dialect::Dialect;
use gateway_ir::quirks::Quirks;
use serde_json::Value;
use serde_json::value::to_raw_value;

use crate::recorded::fixtures;

fn dialect(provider: &str) -> Dialect {
    match provider {
        "anthropic" => Dialect::AnthropicMessages,
        "gemini" | "vertex" => Dialect::GeminiGenerate,
        "bedrock" => Dialect::BedrockConverse,
        other => panic!("no dialect for {other}"),
    }
}

#[test]
fn recorded_numbers_and_refusals_are_understood() {
    for fixture in fixtures("count-tokens") {
        let id = &fixture.id;
        let counter = registry::counter(dialect(&fixture.provider)).expect("it counts");
        if fixture.status >= 400 {
            let failure = counter.decode_error(fixture.status, fixture.reply.as_bytes());
            let told = (&fixture.expected["error"]["message"], &fixture.expected["error"]["status"]);
            assert_eq!(told, (&failure.message.as_ref().into(), &failure.status.into()), "{id}");
            continue;
        }
        let reply: Value = serde_json::from_str(&fixture.reply).expect("JSON");
        let number = ["input_tokens", "totalTokens", "inputTokens"].iter().find_map(|name| reply[name].as_u64());
        assert_eq!(counter.decode_counted(fixture.reply.as_bytes()).ok(), number, "{id}");
        assert!(counter.decode_counted(b"{}").is_err() && counter.decode_counted(b"[1]").is_err());
    }
}

#[test]
fn a_recorded_question_is_asked_whole_in_every_dialect() {
    for fixture in fixtures("count-tokens").into_iter().filter(|fixture| fixture.provider == "anthropic") {
        let client = registry::client_counter(Dialect::AnthropicMessages).expect("its clients count");
        let request = client.decode_count(&to_raw_value(&fixture.request).expect("JSON")).expect("a recorded question");
        let quirks = Quirks::default();
        let upstream = Upstream { model: "own", stream: false, quirks: &quirks };
        for counter in Dialect::ALL.into_iter().filter_map(registry::counter) {
            let encoded = counter.encode_count(&request, &upstream).expect("sayable");
            assert!(encoded.dropped.is_empty(), "{}: {:?}", fixture.id, encoded.dropped);
            let sent: Value = serde_json::from_slice(&encoded.body).expect("JSON");
            let mut texts = Vec::new();
            collect(&fixture.request, &mut texts);
            let sent = sent.to_string();
            for text in texts {
                assert!(sent.contains(&text), "{} {}: no {text} in {sent}", fixture.id, counter.id());
            }
        }
    }
}

/// What a prompt says: its texts, and the names and descriptions of tools.
fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect(value, texts)),
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if ["text", "content", "name", "description"].contains(&name.as_str()) => {
                        texts.push(Value::from(text.as_str()).to_string());
                    }
                    value => collect(value, texts),
                }
            }
        }
        _ => {}
    }
}
