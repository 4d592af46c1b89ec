//! What Ollama is sent, and what is made of what it says.

use gateway_ir::event::{Event, FinishReason};
use gateway_ir::failure::Failure;
use gateway_ir::fold::{Block, Reply, fold};
use gateway_ir::quirks::Quirks;
use serde_json::{Value, json};

use super::OllamaChat;
use crate::dialect::{ClientDialect, Dialect, Upstream};
use crate::openai_chat::OpenAiChat;

fn encode(openai: &Value) -> Result<Value, Box<Failure>> {
    let request = OpenAiChat.decode_request(openai.to_string().as_bytes())?;
    let upstream = Upstream { model: "llama", stream: false, quirks: &Quirks::default() };
    let encoded = OllamaChat.encode_request(&request, &upstream)?;
    Ok(serde_json::from_slice(&encoded.body).expect("JSON"))
}

#[test]
fn a_conversation_with_tools() {
    let openai = json!({
        "model": "m",
        "messages": [
            {"role": "system", "content": "be short"},
            {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "sunny"}],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "max_tokens": 5, "temperature": 0, "stop": ["x"], "seed": 7, "reasoning_effort": "none",
        "response_format": {"type": "json_object"},
    });
    let expected = json!({
        "model": "llama",
        "messages": [
            {"role": "system", "content": "be short"},
            {"role": "user", "content": "look", "images": ["QQ=="]},
            {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
            {"role": "tool", "tool_name": "f", "content": "sunny"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
        "format": "json",
        "options": {"num_predict": 5, "temperature": 0, "stop": ["x"], "seed": 7},
        "think": false,
        "stream": false,
    });
    assert_eq!(encode(&openai).expect("it can be said"), expected);
}

#[test]
fn what_cannot_be_said_is_refused_by_name() {
    let user = json!([{"role": "user", "content": "x"}]);
    let picture =
        json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}]}]);
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    let unknown = json!({"type": "function", "function": {"name": "g"}});
    for (body, expected) in [
        (json!({"model": "m", "messages": user, "n": 2}), "n"),
        (json!({"model": "m", "messages": picture}), "messages"),
        (json!({"model": "m", "messages": user, "tools": tools, "tool_choice": unknown}), "tool_choice"),
    ] {
        assert_eq!(encode(&body).expect_err("refused").param.as_deref(), Some(expected), "{body}");
    }
}

/// The same events however the stream is split.
fn read(lines: &[Value]) -> Reply {
    let stream: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let mut replies = Vec::new();
    for at in 0..=stream.len() {
        let (mut decoder, mut events) = (OllamaChat.stream_decoder(), Vec::<Event>::new());
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
fn stop_with_calls_waits_for_their_results() {
    let reply = read(&[
        json!({"model": "llama", "created_at": "t", "message": {"role": "assistant", "thinking": "hm", "content": ""}, "done": false}),
        json!({"model": "llama", "message": {"content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": "漢"}}}, {"function": {"name": "f"}}]}, "done": false}),
        json!({"model": "llama", "message": {"content": ""}, "done": true, "done_reason": "stop", "prompt_eval_count": 11, "eval_count": 3}),
    ]);
    let choice = &reply.choices[0];
    let calls: Vec<_> = choice
        .blocks
        .iter()
        .filter_map(|block| {
            if let Block::ToolCall { id, arguments, .. } = block { Some((id, arguments.as_str())) } else { None }
        })
        .collect();
    assert_eq!((calls[0].1, calls[1].1), (r#"{"a":"漢"}"#, "{}"));
    assert_ne!(calls[0].0, calls[1].0);
    assert_eq!(choice.finish, Some(FinishReason::ToolCalls));
    assert_eq!(reply.usage.map(|usage| (usage.input, usage.output)), Some((11, 3)));
    assert!(reply.ended);
}

#[test]
fn what_is_cut_or_failed_is_told_as_that() {
    let text = json!({"model": "m", "message": {"content": "he"}, "done": false});
    assert!(!read(std::slice::from_ref(&text)).ended);
    let failed = read(&[text, json!({"error": "out of memory"})]);
    assert_eq!(failed.error.map(|failure| failure.message.into_owned()), Some("out of memory".to_owned()));
    assert!(OllamaChat.decode_reply(br#"{"message":{"content":"x"},"done":false}"#).is_err());
}
