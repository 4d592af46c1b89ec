//! Replies as upstreams send them, one small renderer for each dialect that clients do not speak, from the vendors' documentation.

use bytes::BytesMut;
use gateway_ir::dialect::Dialect as Id;
use gateway_ir::event::Event;
use serde_json::{Value, json};

use super::{Part, context};
use crate::framing::eventstream;
use crate::registry;

/// The reply as the upstream's stream.
pub(super) fn stream(id: Id, parts: &[Part], events: &[Event]) -> Vec<u8> {
    match id {
        Id::GeminiGenerate => gemini(parts),
        Id::CohereV2 => cohere(parts),
        Id::OllamaChat => ollama(parts),
        Id::BedrockConverse => bedrock(parts),
        Id::OpenAiChat | Id::OpenAiCompletions | Id::OpenAiResponses | Id::AnthropicMessages => {
            let client = registry::client_dialect(id).expect("clients speak it");
            let (mut encoder, mut out) = (client.stream_encoder(&context()), BytesMut::new());
            events.iter().for_each(|event| encoder.push(event, &mut out));
            encoder.end(&mut out);
            out.to_vec()
        }
    }
}

/// Where the event begins that says why the reply stopped.
pub(super) fn finish(id: Id, wire: &[u8]) -> usize {
    let mark: &[u8] = match id {
        Id::OpenAiChat | Id::OpenAiCompletions => b"\"finish_reason\":\"",
        Id::OpenAiResponses => b"event: response.completed",
        Id::AnthropicMessages => b"event: message_delta",
        Id::GeminiGenerate => b"\"finishReason\"",
        Id::CohereV2 => b"event: message-end",
        Id::OllamaChat => b"\"done\":true",
        Id::BedrockConverse => b"messageStop",
    };
    wire.windows(mark.len()).position(|window| window == mark).expect("a finish")
}

fn arguments(json: &str) -> Value {
    serde_json::from_str(json).expect("an object")
}

fn has_calls(parts: &[Part]) -> bool {
    parts.iter().any(|part| matches!(part, Part::Call(..)))
}

fn gemini(parts: &[Part]) -> Vec<u8> {
    let mut frames = Vec::new();
    let mut part = |part: Value| {
        frames.push(json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}}], "modelVersion": "g", "responseId": "r"}));
    };
    for each in parts {
        match each {
            Part::Text(pieces) => pieces.iter().for_each(|text| part(json!({"text": text}))),
            Part::Reasoning(pieces) => pieces.iter().for_each(|text| part(json!({"text": text, "thought": true}))),
            Part::Call(name, json) => part(json!({"functionCall": {"name": name, "args": arguments(json)}})),
        }
    }
    frames.push(json!({"candidates": [{"index": 0, "content": {"parts": []}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 11, "candidatesTokenCount": 3}}));
    frames.iter().flat_map(|frame| format!("data: {frame}\r\n\r\n").into_bytes()).collect()
}

fn cohere(parts: &[Part]) -> Vec<u8> {
    let mut frames = vec![json!({"type": "message-start", "id": "r", "delta": {"message": {"role": "assistant"}}})];
    let message = |message: Value| json!({"message": message});
    for (index, part) in parts.iter().enumerate() {
        match part {
            Part::Text(pieces) | Part::Reasoning(pieces) => {
                let (kind, field) = if let Part::Text(_) = part { ("text", "text") } else { ("thinking", "thinking") };
                frames.push(json!({"type": "content-start", "index": index, "delta": message(json!({"content": {"type": kind, field: ""}}))}));
                for text in pieces {
                    frames.push(json!({"type": "content-delta", "index": index, "delta": message(json!({"content": {field: text}}))}));
                }
                frames.push(json!({"type": "content-end", "index": index}));
            }
            Part::Call(name, json) => {
                let call = json!({"tool_calls": {"id": format!("c{index}"), "type": "function", "function": {"name": name, "arguments": ""}}});
                frames.push(json!({"type": "tool-call-start", "index": index, "delta": message(call)}));
                let more = json!({"tool_calls": {"function": {"arguments": json}}});
                frames.push(json!({"type": "tool-call-delta", "index": index, "delta": message(more)}));
                frames.push(json!({"type": "tool-call-end", "index": index}));
            }
        }
    }
    let reason = if has_calls(parts) { "TOOL_CALL" } else { "COMPLETE" };
    frames.push(json!({"type": "message-end", "delta": {"finish_reason": reason,
        "usage": {"tokens": {"input_tokens": 11, "output_tokens": 3}}}}));
    let event = |frame: &Value| format!("event: {}\ndata: {frame}\n\n", frame["type"].as_str().unwrap_or_default());
    frames.iter().flat_map(|frame| event(frame).into_bytes()).collect()
}

fn ollama(parts: &[Part]) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut say = |message: Value| lines.push(json!({"model": "l", "message": message, "done": false}));
    for part in parts {
        match part {
            Part::Text(pieces) => pieces.iter().for_each(|text| say(json!({"role": "assistant", "content": text}))),
            Part::Reasoning(pieces) => pieces.iter().for_each(|text| say(json!({"content": "", "thinking": text}))),
            Part::Call(name, json) => {
                say(json!({"content": "", "tool_calls": [{"function": {"name": name, "arguments": arguments(json)}}]}));
            }
        }
    }
    lines.push(json!({"done": true, "model": "l", "message": {"content": ""}, "done_reason": "stop",
        "prompt_eval_count": 11, "eval_count": 3}));
    lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect()
}

fn bedrock(parts: &[Part]) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut event = |name: &str, payload: Value| {
        wire.extend(eventstream::message("event", name, payload.to_string().as_bytes()));
    };
    event("messageStart", json!({"role": "assistant"}));
    for (index, part) in parts.iter().enumerate() {
        let delta = |delta: Value| json!({"contentBlockIndex": index, "delta": delta});
        match part {
            Part::Text(pieces) => {
                pieces.iter().for_each(|text| event("contentBlockDelta", delta(json!({"text": text}))));
            }
            Part::Reasoning(pieces) => {
                let more = |text: &String| delta(json!({"reasoningContent": {"text": text}}));
                pieces.iter().for_each(|text| event("contentBlockDelta", more(text)));
            }
            Part::Call(name, json) => {
                let call = json!({"toolUse": {"toolUseId": format!("c{index}"), "name": name}});
                event("contentBlockStart", json!({"contentBlockIndex": index, "start": call}));
                event("contentBlockDelta", delta(json!({"toolUse": {"input": json}})));
            }
        }
        event("contentBlockStop", json!({"contentBlockIndex": index}));
    }
    let reason = if has_calls(parts) { "tool_use" } else { "end_turn" };
    event("messageStop", json!({"stopReason": reason}));
    event("metadata", json!({"usage": {"inputTokens": 11, "outputTokens": 3}}));
    wire
}
