//! What Bedrock is sent, and what is made of what it says.

use gateway_ir::event::{Event, FinishReason};
use gateway_ir::failure::Failure;
use gateway_ir::fold::{Block, Reply, fold};
use gateway_ir::quirks::Quirks;
use serde_json::{Value, json};

use super::BedrockConverse;
use crate::dialect::{ClientDialect, Dialect, Upstream};
use crate::framing::eventstream;
use crate::openai_chat::OpenAiChat;

fn encode(openai: &Value) -> Result<Value, Box<Failure>> {
    let request = OpenAiChat.decode_request(openai.to_string().as_bytes())?;
    let upstream = Upstream { model: "us.anthropic.claude-x", stream: false, quirks: &Quirks::default() };
    let encoded = BedrockConverse.encode_request(&request, &upstream)?;
    Ok(serde_json::from_slice(&encoded.body).expect("JSON"))
}

#[test]
fn a_conversation_with_tools() {
    let openai = json!({
        "model": "m",
        "messages": [
            {"role": "system", "content": "be short"},
            {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}]},
            {"role": "assistant", "content": "", "tool_calls": [{"id": "c__ts__QQ", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]},
            {"role": "tool", "tool_call_id": "c__ts__QQ", "content": "sunny"},
            {"role": "user", "content": "and?"}],
        "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
        "tool_choice": "required",
        "max_tokens": 5, "temperature": 0.5, "stop": ["x", " "], "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "r", "schema": {"type": "object"}}},
    });
    let expected = json!({
        "messages": [
            {"role": "user", "content": [{"text": "look"}, {"image": {"format": "png", "source": {"bytes": "QQ=="}}}]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "c", "name": "f", "input": {"a": 1}}}]},
            {"role": "user", "content": [{"toolResult": {"toolUseId": "c", "content": [{"text": "sunny"}]}}, {"text": "and?"}]}],
        "system": [{"text": "be short"}],
        "inferenceConfig": {"maxTokens": 5, "temperature": 0.5, "stopSequences": ["x"]},
        "toolConfig": {
            "tools": [{"toolSpec": {"name": "f", "description": "d", "inputSchema": {"json": {"type": "object"}}}}],
            "toolChoice": {"any": {}}},
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        "outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "{\"type\":\"object\"}", "name": "r"}}}},
    });
    assert_eq!(encode(&openai).expect("it can be said"), expected);
}

#[test]
fn what_cannot_be_said_is_refused_by_name() {
    let picture =
        json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}]}]);
    for (body, expected) in [
        (json!({"model": "m", "messages": [{"role": "user", "content": "x"}], "n": 2}), "n"),
        (json!({"model": "m", "messages": picture}), "messages[0].content"),
        (json!({"model": "m", "messages": [{"role": "user", "content": " "}]}), "messages"),
    ] {
        assert_eq!(encode(&body).expect_err("refused").param.as_deref(), Some(expected), "{body}");
    }
}

/// The same events however the stream is split.
fn read(events: &[(&str, Value)]) -> Reply {
    let message = |(name, payload): &(&str, Value)| {
        let kind = if name.ends_with("Exception") { "exception" } else { "event" };
        eventstream::message(kind, name, payload.to_string().as_bytes())
    };
    let stream: Vec<u8> = events.iter().flat_map(message).collect();
    let mut replies = Vec::new();
    for at in 0..=stream.len() {
        let (mut decoder, mut events) = (BedrockConverse.stream_decoder(), Vec::<Event>::new());
        for piece in [&stream[..at], &stream[at..]] {
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
fn a_stream_with_thoughts_text_calls_and_usage_behind_the_end() {
    let delta = |index: u64, delta: Value| {
        ("contentBlockDelta", json!({"contentBlockIndex": index, "delta": delta, "p": "abc"}))
    };
    let reply = read(&[
        ("messageStart", json!({"role": "assistant"})),
        delta(0, json!({"reasoningContent": {"text": "hm"}})),
        delta(0, json!({"reasoningContent": {"signature": "sig"}})),
        delta(1, json!({"text": "he"})),
        delta(1, json!({"text": "llo"})),
        (
            "contentBlockStart",
            json!({"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "s", "name": "own", "type": "server_tool_use"}}}),
        ),
        delta(2, json!({"toolUse": {"input": "{}"}})),
        ("contentBlockStart", json!({"contentBlockIndex": 3, "start": {"toolUse": {"toolUseId": "c", "name": "f"}}})),
        delta(3, json!({"toolUse": {"input": "{\"a\":"}})),
        delta(3, json!({"toolUse": {"input": "1}"}})),
        ("contentBlockStop", json!({"contentBlockIndex": 3})),
        ("messageStop", json!({"stopReason": "tool_use"})),
        (
            "metadata",
            json!({"usage": {"inputTokens": 9, "outputTokens": 4, "cacheReadInputTokens": 2, "cacheWriteInputTokens": 5,
            "cacheDetails": [{"ttl": "1h", "inputTokens": 3}]}}),
        ),
    ]);
    assert!(reply.ended);
    assert_eq!(reply.text(), "hello");
    let choice = &reply.choices[0];
    assert!(
        matches!(&choice.blocks[0], Block::Reasoning { text, signature } if text == "hm" && signature.as_deref() == Some("sig"))
    );
    let is_call =
        |block: &Block| matches!(block, Block::ToolCall { id, arguments, .. } if id == "c" && arguments == "{\"a\":1}");
    assert_eq!(choice.blocks.iter().filter(|block| matches!(block, Block::ToolCall { .. })).count(), 1);
    assert!(choice.blocks.iter().any(is_call));
    assert_eq!(choice.finish, Some(FinishReason::ToolCalls));
    let usage = reply.usage.expect("usage");
    assert_eq!(
        (usage.prompt(), usage.cache_read, usage.cache_write, usage.cache_write_1h, usage.output),
        (16, 2, 2, 3, 4)
    );
}

#[test]
fn what_is_cut_or_failed_is_told_as_that() {
    let text = ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": "he"}}));
    assert!(!read(std::slice::from_ref(&text)).ended);
    let failed = read(&[text, ("throttlingException", json!({"message": "slow down"}))]);
    assert_eq!(
        failed.error.map(|failure| (failure.status, failure.message.into_owned())),
        Some((429, "slow down".to_owned()))
    );
    let whole = json!({"output": {"message": {"content": [{"citationsContent": {"content": [{"text": "x"}], "citations": []}}]}}, "stopReason": "end_turn"});
    let reply = fold(BedrockConverse.decode_reply(whole.to_string().as_bytes()).expect("sound"));
    assert!(reply.ended && reply.text() == "x");
}
