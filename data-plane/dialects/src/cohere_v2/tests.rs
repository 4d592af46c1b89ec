//! What Cohere is sent, and what is made of what it says.

use gateway_ir::event::{Event, FinishReason};
use gateway_ir::fold::{Block, Reply, fold};
use gateway_ir::quirks::Quirks;
use serde_json::{Value, json};

use super::CohereV2;
use crate::dialect::{ClientDialect, Dialect, Upstream};
use crate::openai_chat::OpenAiChat;

#[test]
fn a_conversation_with_tools() {
    let openai = json!({
        "model": "m",
        "messages": [
            {"role": "developer", "content": "be short"},
            {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "sunny"}],
        "tools": [{"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"name": "g", "parameters": {"type": "object"}}}],
        "tool_choice": {"type": "function", "function": {"name": "g"}},
        "max_tokens": 5, "top_p": 0.5, "stop": "x", "user": "u",
        "response_format": {"type": "json_schema", "json_schema": {"name": "r", "schema": {"type": "object"}}},
    });
    let request = OpenAiChat.decode_request(openai.to_string().as_bytes()).expect("a sound request");
    let upstream = Upstream { model: "command", stream: true, quirks: &Quirks::default() };
    let encoded = CohereV2.encode_request(&request, &upstream).expect("it can be said");
    let body: Value = serde_json::from_slice(&encoded.body).expect("JSON");
    let expected = json!({
        "model": "command",
        "messages": [
            {"role": "system", "content": "be short"},
            {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}]},
            {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "sunny"}],
        "tools": [{"type": "function", "function": {"name": "g", "parameters": {"type": "object"}}}],
        "tool_choice": "REQUIRED",
        "max_tokens": 5, "stop_sequences": ["x"], "p": 0.5,
        "response_format": {"type": "json_object", "json_schema": {"type": "object"}},
        "stream": true,
    });
    assert_eq!(body, expected);
    assert_eq!(encoded.dropped, ["user"]);
}

#[test]
fn several_choices_are_refused() {
    let request =
        OpenAiChat.decode_request(br#"{"model":"m","messages":[{"role":"user","content":"x"}],"n":2}"#).expect("sound");
    let upstream = Upstream { model: "m", stream: false, quirks: &Quirks::default() };
    assert_eq!(CohereV2.encode_request(&request, &upstream).expect_err("refused").param.as_deref(), Some("n"));
}

fn check_usage(usage: Value, expected: (u64, u64, u64)) {
    let body = json!({"id": "r", "finish_reason": "COMPLETE", "message": {"content": [{"type": "text", "text": "x"}]}, "usage": usage});
    let reply = fold(CohereV2.decode_reply(body.to_string().as_bytes()).expect("sound"));
    let usage = reply.usage.unwrap_or_default();
    assert_eq!((usage.prompt(), usage.cache_read, usage.output), expected, "{body}");
}

#[test]
fn tokens_count_and_billed_units_stand_in() {
    let billed = json!({"input_tokens": 3, "output_tokens": 2});
    check_usage(
        json!({"billed_units": billed, "tokens": {"input_tokens": 70, "output_tokens": 4}, "cached_tokens": 60}),
        (70, 60, 4),
    );
    check_usage(json!({"billed_units": billed}), (3, 0, 2));
}

/// The same events however the stream is split.
fn read(frames: &[Value]) -> Reply {
    let stream: String = frames
        .iter()
        .map(|frame| format!("event: {}\ndata: {frame}\n\n", frame["type"].as_str().unwrap_or_default()))
        .collect();
    let mut replies = Vec::new();
    for at in 0..=stream.len() {
        let (mut decoder, mut events) = (CohereV2.stream_decoder(), Vec::<Event>::new());
        for piece in [&stream.as_bytes()[..at], &stream.as_bytes()[at..]] {
            decoder.push(piece, &mut events).expect("sound");
        }
        decoder.finish(&mut events).expect("sound");
        replies.push(fold(events));
    }
    let reply = replies.pop().expect("at least one");
    assert!(replies.iter().all(|other| format!("{other:?}") == format!("{reply:?}")));
    reply
}

#[test]
fn a_stream_with_plan_thoughts_and_calls() {
    let message = |message: Value| json!({"message": message});
    let reply = read(&[
        json!({"type": "message-start", "id": "r1", "delta": message(json!({"role": "assistant"}))}),
        json!({"type": "tool-plan-delta", "delta": message(json!({"tool_plan": "I will look"}))}),
        json!({"type": "tool-call-start", "index": 0, "delta": message(json!({"tool_calls": {"id": "c1", "function": {"name": "f", "arguments": ""}}}))}),
        json!({"type": "tool-call-delta", "index": 0, "delta": message(json!({"tool_calls": {"function": {"arguments": "{\"a\":"}}}))}),
        json!({"type": "tool-call-delta", "index": 0, "delta": message(json!({"tool_calls": {"function": {"arguments": "1}"}}}))}),
        json!({"type": "tool-call-end", "index": 0}),
        json!({"type": "message-end", "delta": {"finish_reason": "TOOL_CALL", "usage": {"tokens": {"input_tokens": 9, "output_tokens": 4}}}}),
    ]);
    assert!(reply.ended && reply.id == "r1");
    let choice = &reply.choices[0];
    assert!(matches!(&choice.blocks[0], Block::Reasoning { text, .. } if text == "I will look"));
    assert!(
        matches!(&choice.blocks[1], Block::ToolCall { id, name, arguments, .. } if id == "c1" && name == "f" && arguments == "{\"a\":1}")
    );
    assert_eq!(choice.finish, Some(FinishReason::ToolCalls));
}

#[test]
fn what_is_cut_or_failed_is_told_as_that() {
    let start = json!({"type": "message-start", "id": "r", "delta": {"message": {}}});
    let text = json!({"type": "content-delta", "delta": {"message": {"content": {"text": "he"}}}});
    let cut = read(&[start.clone(), text.clone()]);
    assert!(!cut.ended && cut.choices[0].finish.is_none());
    let failed =
        read(&[start, text, json!({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "broke"}})]);
    assert!(!failed.ended && failed.error.is_some_and(|failure| failure.message == "broke"));
    let body = json!({"id": "r", "message": "invalid request", "error_type": "x"});
    let refused = fold(CohereV2.decode_reply(body.to_string().as_bytes()).expect("an error in a success"));
    assert!(refused.error.is_some());
}
