//! Whole replies, read and written.

use gateway_ir::event::{CitationKind, FinishReason};
use gateway_ir::failure::Code;
use gateway_ir::fold::fold;
use serde_json::value::RawValue;

use super::*;

/// A reply of an upstream as our client gets it.
fn check(upstream: &str, expected: &str) {
    let events = OpenAiChat.decode_reply(upstream.as_bytes()).expect("a reply");
    let encoded = OpenAiChat.encode_reply(&fold(events), &context(false));
    assert_eq!(String::from_utf8_lossy(&encoded), expected, "{upstream}");
}

#[test]
fn a_reply_says_what_openai_says() {
    check(
        r#"{"id":"x","object":"chat.completion","created":1,"model":"gpt","choices":[{"index":0,"message":{"role":"assistant","content":"hi","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5},"system_fingerprint":"fp","service_tier":null}"#,
        r#"{"id":"x","object":"chat.completion","created":1,"model":"gpt","choices":[{"index":0,"message":{"role":"assistant","content":"hi","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0}},"system_fingerprint":"fp"}"#,
    );
}

#[test]
fn odd_replies_are_made_whole() {
    // Nothing but an answer: no id, no model, no time, no index, no usage, a foreign finish.
    check(
        r#"{"choices":[{"message":{"content":"hi","reasoning":"hm"},"finish_reason":"eos"}]}"#,
        r#"{"id":"chatcmpl-r1","object":"chat.completion","created":7,"model":"public","choices":[{"index":0,"message":{"role":"assistant","content":"hi","refusal":null,"reasoning_content":"hm","annotations":[]},"logprobs":null,"finish_reason":"stop"}]}"#,
    );
    // Arguments as an object, no id, empty members that mean nothing, and an empty finish.
    let events = OpenAiChat.decode_reply(br#"{"id":"x","choices":[{"message":{"content":"","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}],"function_call":{"name":"","arguments":""},"audio":{"data":"","expires_at":0}},"finish_reason":""}]}"#).expect("a reply");
    let encoded = OpenAiChat.encode_reply(&fold(events), &context(false));
    let value: serde_json::Value = serde_json::from_slice(&encoded).expect("JSON");
    let choice = &value["choices"][0];
    assert_eq!(choice["message"]["content"], serde_json::Value::Null);
    assert_eq!(choice["message"]["tool_calls"][0]["function"], serde_json::json!({"name":"f","arguments":"{\"a\":1}"}));
    assert!(choice["message"]["tool_calls"][0]["id"].as_str().is_some_and(|id| id.starts_with("call_")), "{value}");
    assert_eq!(
        (choice["message"]["tool_calls"].as_array().map(Vec::len), choice["message"].get("audio")),
        (Some(1), None)
    );
    assert_eq!(choice["finish_reason"], "tool_calls");
    // Mistral's lists, a filtered choice without a message, details only this dialect has.
    check(
        r#"{"id":"x","model":"m","created":1,"choices":[{"index":0,"message":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"hi"}],"reasoning_details":[{"a":1}]},"finish_reason":"model_length"},{"index":1,"finish_reason":"content_filter"}],"citations":["u"]}"#,
        r#"{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi","refusal":null,"reasoning_content":"hm","annotations":[],"reasoning_details":[{"a":1}]},"logprobs":null,"finish_reason":"length"}],"citations":["u"]}"#
            .replace("}],\"citations\"", r#"},{"index":1,"message":{"role":"assistant","content":"","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"content_filter"}],"citations""#)
            .as_str(),
    );
}

#[test]
fn what_is_no_reply_is_garbage_or_an_error() {
    for garbage in ["", "<html>", "[]", "{}", r#"{"choices":null}"#, r#"{"choices":[]"#] {
        let failure = OpenAiChat.decode_reply(garbage.as_bytes()).expect_err(garbage);
        assert_eq!(failure.code, Code::UpstreamGarbage, "{garbage}");
    }
    let events = OpenAiChat.decode_reply(br#"{"error":{"message":"busy","code":429}}"#).expect("an error is a reply");
    let Some(Event::Error(failure)) = events.last() else { panic!("{events:?}") };
    assert_eq!((failure.code, failure.status), (Code::UpstreamRateLimited, 429));
    assert!(!events.iter().any(|event| matches!(event, Event::End)));
}

#[test]
fn foreign_blocks_are_told_where_there_is_a_word() {
    let raw = |text: &str| RawValue::from_string(text.to_owned()).expect("JSON");
    let choice = 0;
    let reply = fold([
        Event::Reasoning { choice, text: "hm".to_owned() },
        Event::ReasoningSignature { choice, signature: "s".to_owned() },
        Event::RedactedReasoning { choice, data: "d".to_owned() },
        Event::Text { choice, text: "né".to_owned() },
        Event::Citation {
            choice,
            kind: CitationKind::Anthropic,
            json: raw(r#"{"type":"web_search_result_location","url":"https://x","title":"t"}"#),
        },
        Event::Text { choice, text: "ab".to_owned() },
        Event::Citation { choice, kind: CitationKind::Anthropic, json: raw(r#"{"type":"char_location"}"#) },
        Event::Finish { choice, reason: FinishReason::Pause, stop_sequence: None },
    ]);
    let value: serde_json::Value =
        serde_json::from_slice(&OpenAiChat.encode_reply(&reply, &context(false))).expect("JSON");
    let message = &value["choices"][0]["message"];
    assert_eq!((&message["content"], &message["reasoning_content"]), (&"néab".into(), &"hm".into()));
    assert_eq!(
        message["annotations"],
        serde_json::json!([{"type":"url_citation","url_citation":{"start_index":0,"end_index":2,"url":"https://x","title":"t"}}])
    );
    assert_eq!(
        message["reasoning_details"][0],
        serde_json::json!({"type":"reasoning.text","text":"hm","signature":"s","format":"anthropic-claude-v1","index":0})
    );
    assert_eq!(message["reasoning_details"][1]["data"], "d");
    assert_eq!(value["choices"][0]["finish_reason"], "stop");
}
