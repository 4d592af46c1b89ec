//! Whole replies and errors, both ways, where no recording has the case.

use gateway_ir::event::{CitationKind, Event, FinishReason};
use gateway_ir::failure::{Code, Failure};
use gateway_ir::fold::fold;
use gateway_ir::usage::Usage;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::support::{context, value};
use crate::anthropic_messages::AnthropicMessages;
use crate::dialect::{ClientDialect, Dialect};

fn raw(json: Value) -> Box<RawValue> {
    RawValue::from_string(json.to_string()).expect("JSON")
}

#[test]
fn odd_replies_are_taken() {
    let cases = [
        // A success with nothing in it.
        (json!({"type": "message", "content": [], "stop_reason": "end_turn"}), FinishReason::Stop, ""),
        (json!({"type": "message", "content": null, "stop_reason": null, "usage": null}), FinishReason::Stop, ""),
        (
            json!({"content": [{"type": "text", "text": null}, {"type": "text", "text": "a"}], "id": 7}),
            FinishReason::Stop,
            "a",
        ),
        (json!({"content": [{"type": "tool_use", "name": "f"}]}), FinishReason::ToolCalls, ""),
        (json!({"content": [], "stop_reason": "model_context_window_exceeded"}), FinishReason::Length, ""),
        (json!({"content": [], "stop_reason": "pause_turn"}), FinishReason::Pause, ""),
        (json!({"content": [], "stop_reason": "compaction"}), FinishReason::Pause, ""),
        (json!({"content": [], "stop_reason": "novel"}), FinishReason::Other("novel".to_owned()), ""),
        (json!({"content": [{"type": "novel_block", "x": 1}, {"type": "text", "text": "b"}]}), FinishReason::Stop, "b"),
    ];
    for (body, finish, text) in cases {
        let reply = fold(
            AnthropicMessages
                .decode_reply(body.to_string().as_bytes())
                .unwrap_or_else(|failure| panic!("{body}: {failure}")),
        );
        assert_eq!(
            (reply.choices[0].finish.as_ref(), reply.text().as_str(), reply.ended),
            (Some(&finish), text, true),
            "{body}"
        );
    }
}

#[test]
fn garbage_and_errors_are_told_apart() {
    for body in ["", "no", "[]", "{}", "{\"type\":\"message\",\"content\":[1]}", "{\"content\":{}}", "{\"content\":[]"]
    {
        let failure = AnthropicMessages.decode_reply(body.as_bytes()).expect_err(body);
        assert_eq!(failure.code, Code::UpstreamGarbage, "{body}");
    }
    let body = br#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let events = AnthropicMessages.decode_reply(body).expect("an error is a reply");
    let [Event::Error(failure)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((failure.code, failure.status), (Code::UpstreamOverloaded, 529));
}

#[test]
fn usage_classes_are_disjoint() {
    let cases = [
        (json!({"input_tokens": 5, "output_tokens": 2}), Usage { input: 5, output: 2, ..Usage::default() }),
        (
            json!({"input_tokens": 5, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 10,
                "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 6}, "output_tokens": 9,
                "output_tokens_details": {"thinking_tokens": 3}}),
            Usage {
                input: 5,
                cache_read: 7,
                cache_write: 4,
                cache_write_1h: 6,
                output: 9,
                reasoning: 3,
                ..Usage::default()
            },
        ),
        (
            json!({"cache_creation_input_tokens": 10, "cache_creation": null}),
            Usage { cache_write: 10, ..Usage::default() },
        ),
        // The split is at odds with the total, which is what is billed.
        (
            json!({"cache_creation_input_tokens": 3, "cache_creation": {"ephemeral_1h_input_tokens": 6}}),
            Usage { cache_write_1h: 3, ..Usage::default() },
        ),
    ];
    for (usage, expected) in cases {
        let body = json!({"type": "message", "content": [{"type": "text", "text": "\"usage\":{"}], "usage": usage});
        let reply = fold(AnthropicMessages.decode_reply(body.to_string().as_bytes()).expect("a message"));
        assert_eq!(reply.usage, Some(expected), "{usage}");
        assert_eq!(AnthropicMessages.usage_of_reply(body.to_string().as_bytes()), Some(expected), "{usage}");
        let written = value(&AnthropicMessages.encode_reply(&reply, &context()));
        let again = fold(AnthropicMessages.decode_reply(written.to_string().as_bytes()).expect("what we write"));
        assert_eq!(again.usage, Some(expected), "{written}");
    }
    for body in ["", "{}", "{\"usage\":1}", "{\"usage\":null}", "{\"usage\":{\"input_tokens\":1}"] {
        assert_eq!(AnthropicMessages.usage_of_reply(body.as_bytes()), None, "{body}");
    }
}

#[test]
fn a_reply_of_another_dialect_is_an_anthropic_message() {
    let events = [
        Event::Start { id: "chatcmpl-1".to_owned(), model: "gpt".to_owned(), created: Some(1) },
        Event::Meta { name: "system_fingerprint".to_owned(), json: raw(json!("fp")) },
        Event::Reasoning { choice: 0, text: "hm".to_owned() },
        Event::Text { choice: 0, text: "Hi".to_owned() },
        Event::Citation { choice: 0, kind: CitationKind::OpenAi, json: raw(json!({"type": "url_citation"})) },
        Event::ToolCallStart { choice: 0, call: 0, id: "c".to_owned(), name: "f".to_owned() },
        Event::ToolCallArguments { choice: 0, call: 0, json: " {\"a\": 1}".to_owned() },
        Event::ToolCallStart { choice: 0, call: 1, id: "d".to_owned(), name: "g".to_owned() },
        Event::ToolCallArguments { choice: 0, call: 1, json: "{\"cut".to_owned() },
        Event::Text { choice: 1, text: "another choice".to_owned() },
        Event::Usage(Usage { input: 3, cache_read: 2, output: 4, reasoning: 1, ..Usage::default() }),
        Event::Finish { choice: 0, reason: FinishReason::ToolCalls, stop_sequence: None },
        Event::End,
    ];
    let expected = json!({
        "id": "chatcmpl-1", "type": "message", "role": "assistant", "model": "gpt",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "Hi"},
            {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
            {"type": "tool_use", "id": "d", "name": "g", "input": {}}],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {"input_tokens": 3, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 2, "output_tokens": 4,
            "output_tokens_details": {"thinking_tokens": 1}},
    });
    assert_eq!(value(&AnthropicMessages.encode_reply(&fold(events), &context())), expected);
    let nothing = value(&AnthropicMessages.encode_reply(&fold([]), &context()));
    assert_eq!(
        (&nothing["id"], &nothing["model"], &nothing["content"]),
        (&json!("msg_r1"), &json!("asked"), &json!([]))
    );
    let refusal = [
        Event::Refusal { choice: 0, text: "No.".to_owned() },
        Event::Finish { choice: 0, reason: FinishReason::Stop, stop_sequence: None },
    ];
    let refusal = value(&AnthropicMessages.encode_reply(&fold(refusal), &context()));
    assert_eq!((&refusal["content"][0]["text"], &refusal["stop_reason"]), (&json!("No."), &json!("refusal")));
}

#[test]
fn side_details_come_back_to_an_anthropic_client() {
    let body = json!({
        "id": "m", "type": "message", "role": "assistant", "model": "c", "content": [], "stop_reason": "end_turn",
        "stop_sequence": null, "container": {"id": "x"},
        "usage": {"input_tokens": 1, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1,
            "service_tier": "standard", "server_tool_use": {"web_search_requests": 2}},
    });
    let reply = fold(AnthropicMessages.decode_reply(body.to_string().as_bytes()).expect("a message"));
    assert_eq!(value(&AnthropicMessages.encode_reply(&reply, &context())), body);
}

#[test]
fn errors_are_told_in_anthropic_words() {
    let failure = |code, status| Failure::new(code, "m").with_status(status);
    let cases = [
        (failure(Code::InvalidRequest, 400), "invalid_request_error"),
        (failure(Code::InvalidCredential, 401), "authentication_error"),
        (failure(Code::NotAllowed, 403), "permission_error"),
        (failure(Code::ModelNotFound, 404), "not_found_error"),
        (failure(Code::RequestTimeout, 408), "timeout_error"),
        (failure(Code::BodyTooLarge, 413), "request_too_large"),
        (failure(Code::UnsupportedMediaType, 415), "invalid_request_error"),
        (failure(Code::RateLimited, 429), "rate_limit_error"),
        (failure(Code::Internal, 500), "api_error"),
        (failure(Code::UpstreamUnreachable, 502), "api_error"),
        (failure(Code::FirstByteTimeout, 504), "timeout_error"),
        (failure(Code::UpstreamOverloaded, 529), "overloaded_error"),
        (
            AnthropicMessages.decode_error(503, br#"{"error":{"type":"overloaded_error","message":"m"}}"#),
            "overloaded_error",
        ),
        (
            AnthropicMessages.decode_error(400, br#"{"error":{"type":"openai_words","message":"m"}}"#),
            "invalid_request_error",
        ),
    ];
    for (failure, kind) in cases {
        let expected = json!({"type": "error", "error": {"type": kind, "message": "m"}, "request_id": "r"});
        assert_eq!(value(&AnthropicMessages.encode_error(&failure, "r")), expected);
    }
}

#[test]
fn reads_errors_of_compatible_servers() {
    let cases = [
        (r#"{"type":"error","error":{"type":"api_error","message":"a"}}"#, "a"),
        (r#"{"error":{"message":"b","code":404}}"#, "b"),
        (r#"{"error":"c"}"#, "c"),
        (r#"{"message":"d"}"#, "d"),
        (r#"{"detail":[{"msg":"e"}]}"#, r#"[{"msg":"e"}]"#),
        ("plain text", "plain text"),
        ("<html>", "the upstream answered with status 500 and no error message"),
        ("", "the upstream answered with status 500 and no error message"),
        ("{}", "{}"),
    ];
    for (body, message) in cases {
        let failure = AnthropicMessages.decode_error(500, body.as_bytes());
        assert_eq!((failure.message.as_ref(), failure.status), (message, 500), "{body}");
    }
}
