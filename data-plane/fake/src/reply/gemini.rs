//! Gemini's `generateContent`: whole, streamed, with a function call, as an error.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::reply::words;
use crate::request::Received;
use crate::script::Script;

/// On the call of [`answer`]; a client that gives the call back must give this back with it.
pub const SIGNATURE: &str = "c2lnbmVkIGJ5IHRoZSBzY3JpcHQ=";

/// Answers as the API would: streamed, whole or counted as the path asks, with a signed call of the first function if functions
/// are offered and no result is there. The text is `text`.
pub fn answer(received: &Received, text: &str) -> Script {
    let body: Value = serde_json::from_slice(&received.body).unwrap_or_default();
    if received.target.ends_with(":countTokens") {
        return Script::json(200, &json!({"totalTokens": 31}));
    }
    let n_prompt = body["contents"].to_string().len().div_ceil(4) as u64;
    let has_result = body["contents"].to_string().contains("functionResponse");
    let functions = ["functionDeclarations", "function_declarations"].map(|name| &body["tools"][0][name][0]["name"]);
    let call = functions.iter().find_map(|name| name.as_str()).filter(|_| !has_result);
    let parts = match call {
        Some(name) => {
            vec![json!({"functionCall": {"name": name, "args": {"city": "Paris"}}, "thoughtSignature": SIGNATURE})]
        }
        None => words(text).map(|word| json!({"text": word})).collect(),
    };
    if received.target.contains(":streamGenerateContent") {
        return Script::sse(&stream(parts, n_prompt));
    }
    let n_output = parts.len();
    Script::json(200, &chunk(&parts, Some(usage(n_prompt, n_output))))
}

/// One event per part, the last with the end and the usage.
pub fn stream(parts: Vec<Value>, n_prompt: u64) -> Vec<Bytes> {
    let n_parts = parts.len();
    let events = parts.into_iter().enumerate().map(|(at, part)| {
        let usage = (at + 1 == n_parts).then(|| usage(n_prompt, n_parts));
        Bytes::from(format!("data: {}\r\n\r\n", chunk(&[part], usage)))
    });
    events.collect()
}

/// The error envelope.
pub fn error(code: u16, status: &str, message: &str) -> Value {
    json!({"error": {"code": code, "message": message, "status": status}})
}

/// Usage comes with the end.
fn chunk(parts: &[Value], usage: Option<Value>) -> Value {
    let mut chunk = json!({
        "candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0}],
        "modelVersion": "gemini-fake", "responseId": "fake-response",
    });
    if let Some(usage) = usage {
        chunk["candidates"][0]["finishReason"] = "STOP".into();
        chunk["usageMetadata"] = usage;
    }
    chunk
}

fn usage(n_prompt: u64, n_output: usize) -> Value {
    json!({"promptTokenCount": n_prompt, "candidatesTokenCount": n_output, "totalTokenCount": n_prompt + n_output as u64})
}
