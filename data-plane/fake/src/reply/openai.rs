//! OpenAI chat completions: whole, streamed, with a tool call, as an error.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::reply::{event, prompt_tokens, words};
use crate::request::Received;
use crate::script::Script;

const ID: &str = "chatcmpl-fake";
const CREATED: u64 = 1_700_000_000;

/// Answers as the API would: streamed or whole as asked, with a call of the first tool if the last message is a user's and
/// tools are offered. The text is `text`.
pub fn answer(received: &Received, text: &str) -> Script {
    let body: Value = serde_json::from_slice(&received.body).unwrap_or_default();
    let model = body["model"].as_str().unwrap_or("unnamed");
    let n_prompt = prompt_tokens(&body);
    let last_is_user =
        body["messages"].as_array().and_then(|all| all.last()).is_some_and(|last| last["role"] == "user");
    let tool = body["tools"][0]["function"]["name"].as_str().filter(|_| last_is_user);
    match (tool, body["stream"] == true) {
        (Some(tool), false) => Script::json(200, &tool_reply(model, tool, r#"{"city":"Paris"}"#, n_prompt)),
        (Some(tool), true) => Script::sse(&tool_stream(model, tool, r#"{"city":"Paris"}"#, n_prompt)),
        (None, false) => Script::json(200, &reply(model, text, n_prompt)),
        (None, true) => Script::sse(&stream(model, text, n_prompt)),
    }
}

/// A whole reply; completion tokens are its words.
pub fn reply(model: &str, text: &str, n_prompt: u64) -> Value {
    whole(model, json!({"role": "assistant", "content": text, "refusal": null}), "stop", n_prompt, words(text).count())
}

/// A whole reply that calls one tool.
pub fn tool_reply(model: &str, tool: &str, arguments: &str, n_prompt: u64) -> Value {
    let call = json!({"id": "call_fake", "type": "function", "function": {"name": tool, "arguments": arguments}});
    whole(model, json!({"role": "assistant", "content": null, "tool_calls": [call]}), "tool_calls", n_prompt, 5)
}

/// The events of a stream: role, one per word, finish, usage, `[DONE]`.
pub fn stream(model: &str, text: &str, n_prompt: u64) -> Vec<Bytes> {
    let mut events = vec![chunk(model, json!({"role": "assistant", "content": ""}), None)];
    events.extend(words(text).map(|word| chunk(model, json!({"content": word}), None)));
    finish(events, model, "stop", n_prompt, words(text).count())
}

/// The events of a stream that calls one tool, its arguments in pieces of three characters.
pub fn tool_stream(model: &str, tool: &str, arguments: &str, n_prompt: u64) -> Vec<Bytes> {
    let call = json!({"index": 0, "id": "call_fake", "type": "function", "function": {"name": tool, "arguments": ""}});
    let mut events = vec![chunk(model, json!({"role": "assistant", "content": null, "tool_calls": [call]}), None)];
    let characters: Vec<char> = arguments.chars().collect();
    for piece in characters.chunks(3) {
        let piece: String = piece.iter().collect();
        events.push(chunk(model, json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}), None));
    }
    finish(events, model, "tool_calls", n_prompt, 5)
}

/// The error envelope.
pub fn error(kind: &str, message: &str) -> Value {
    json!({"error": {"message": message, "type": kind, "param": null, "code": null}})
}

fn whole(model: &str, message: Value, finish: &str, n_prompt: u64, n_completion: usize) -> Value {
    json!({"id": ID, "object": "chat.completion", "created": CREATED, "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish}],
        "usage": usage(n_prompt, n_completion)})
}

fn chunk(model: &str, delta: Value, finish: Option<&str>) -> Bytes {
    let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
    let chunk =
        json!({"id": ID, "object": "chat.completion.chunk", "created": CREATED, "model": model, "choices": [choice]});
    event(None, &chunk)
}

fn finish(mut events: Vec<Bytes>, model: &str, reason: &str, n_prompt: u64, n_completion: usize) -> Vec<Bytes> {
    events.push(chunk(model, json!({}), Some(reason)));
    let last = json!({"id": ID, "object": "chat.completion.chunk", "created": CREATED, "model": model, "choices": [],
        "usage": usage(n_prompt, n_completion)});
    events.push(event(None, &last));
    events.push(Bytes::from_static(b"data: [DONE]\n\n"));
    events
}

fn usage(n_prompt: u64, n_completion: usize) -> Value {
    let n_completion = n_completion as u64;
    json!({"prompt_tokens": n_prompt, "completion_tokens": n_completion, "total_tokens": n_prompt + n_completion})
}
