//! Anthropic messages: whole, streamed, with a tool use, as an error.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::reply::{event, prompt_tokens, words};
use crate::request::Received;
use crate::script::Script;

const ID: &str = "msg_fake";

/// Answers as the API would: streamed or whole as asked, with a use of the first tool if the last message is a user's text
/// and tools are offered. The text is `text`.
pub fn answer(received: &Received, text: &str) -> Script {
    let body: Value = serde_json::from_slice(&received.body).unwrap_or_default();
    let model = body["model"].as_str().unwrap_or("unnamed");
    let n_prompt = prompt_tokens(&body);
    let carries_result = body["messages"].to_string().contains("tool_result");
    let tool = body["tools"][0]["name"].as_str().filter(|_| !carries_result);
    match (tool, body["stream"] == true) {
        (Some(tool), false) => Script::json(200, &tool_reply(model, tool, &json!({"city": "Paris"}), n_prompt)),
        (Some(tool), true) => Script::sse(&tool_stream(model, tool, r#"{"city":"Paris"}"#, n_prompt)),
        (None, false) => Script::json(200, &reply(model, text, n_prompt)),
        (None, true) => Script::sse(&stream(model, text, n_prompt)),
    }
}

/// A whole reply; output tokens are its words.
pub fn reply(model: &str, text: &str, n_prompt: u64) -> Value {
    whole(model, json!({"type": "text", "text": text}), "end_turn", n_prompt, words(text).count())
}

/// A whole reply that uses one tool.
pub fn tool_reply(model: &str, tool: &str, input: &Value, n_prompt: u64) -> Value {
    whole(model, json!({"type": "tool_use", "id": "toolu_fake", "name": tool, "input": input}), "tool_use", n_prompt, 5)
}

/// The events of a stream: start, one text block with a delta per word, the message's delta and stop.
pub fn stream(model: &str, text: &str, n_prompt: u64) -> Vec<Bytes> {
    let deltas = words(text).map(|word| json!({"type": "text_delta", "text": word})).collect();
    events(model, &json!({"type": "text", "text": ""}), deltas, "end_turn", n_prompt, words(text).count())
}

/// The events of a stream that uses one tool, its input in pieces of three characters.
pub fn tool_stream(model: &str, tool: &str, input: &str, n_prompt: u64) -> Vec<Bytes> {
    let characters: Vec<char> = input.chars().collect();
    let pieces = characters.chunks(3).map(|piece| piece.iter().collect::<String>());
    let deltas = pieces.map(|piece| json!({"type": "input_json_delta", "partial_json": piece})).collect();
    let block = json!({"type": "tool_use", "id": "toolu_fake", "name": tool, "input": {}});
    events(model, &block, deltas, "tool_use", n_prompt, 5)
}

/// The error envelope.
pub fn error(kind: &str, message: &str) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": message}})
}

fn whole(model: &str, block: Value, stop_reason: &str, n_prompt: u64, n_output: usize) -> Value {
    json!({"id": ID, "type": "message", "role": "assistant", "model": model, "content": [block],
        "stop_reason": stop_reason, "stop_sequence": null,
        "usage": {"input_tokens": n_prompt, "output_tokens": n_output}})
}

fn events(
    model: &str,
    block: &Value,
    deltas: Vec<Value>,
    stop_reason: &str,
    n_prompt: u64,
    n_output: usize,
) -> Vec<Bytes> {
    let message = json!({"id": ID, "type": "message", "role": "assistant", "model": model, "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": n_prompt, "output_tokens": 1}});
    let mut all = vec![json!({"type": "message_start", "message": message})];
    all.push(json!({"type": "content_block_start", "index": 0, "content_block": block}));
    all.push(json!({"type": "ping"}));
    all.extend(deltas.into_iter().map(|delta| json!({"type": "content_block_delta", "index": 0, "delta": delta})));
    all.push(json!({"type": "content_block_stop", "index": 0}));
    all.push(json!({"type": "message_delta", "delta": {"stop_reason": stop_reason, "stop_sequence": null},
        "usage": {"output_tokens": n_output}}));
    all.push(json!({"type": "message_stop"}));
    all.iter().map(|data| event(data["type"].as_str(), data)).collect()
}
