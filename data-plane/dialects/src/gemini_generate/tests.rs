//! What Gemini is sent, and what is made of what it says.

use gateway_ir::event::{Event, FinishReason};
use gateway_ir::fold::{Block, Reply, fold};
use gateway_ir::quirks::Quirks;
use serde_json::{Value, json};

use super::GeminiGenerate;
use crate::dialect::{ClientDialect, Dialect, Upstream};
use crate::openai_chat::OpenAiChat;

mod client;

fn check_request(openai: Value, expected: Value) {
    let request = OpenAiChat.decode_request(openai.to_string().as_bytes()).expect("a sound request");
    let upstream = Upstream { model: "gemini", stream: false, quirks: &Quirks::default() };
    let encoded = GeminiGenerate.encode_request(&request, &upstream).expect("it can be said");
    let body: Value = serde_json::from_slice(&encoded.body).expect("JSON");
    assert_eq!(body, expected, "{openai}");
}

#[test]
fn a_conversation_with_tools() {
    check_request(
        json!({
            "model": "m",
            "messages": [
                {"role": "system", "content": "be short"},
                {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}]},
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "call_1__ts__QQ", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}},
                    {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": ""}}]},
                {"role": "tool", "tool_call_id": "call_2", "content": "{\"x\":2}"},
                {"role": "tool", "tool_call_id": "call_1__ts__QQ", "content": "sunny"},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "max_tokens": 5, "temperature": 0.5, "stop": ["x"], "n": 1, "reasoning_effort": "low",
            "response_format": {"type": "json_schema", "json_schema": {"name": "r", "schema": {"type": "object"}}},
        }),
        json!({
            "systemInstruction": {"parts": [{"text": "be short"}]},
            "contents": [
                {"role": "user", "parts": [{"text": "look"}, {"fileData": {"mimeType": "image/png", "fileUri": "https://x.test/a.png"}}]},
                {"role": "model", "parts": [
                    {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "QQ=="},
                    {"functionCall": {"name": "g", "args": {}}}]},
                {"role": "user", "parts": [
                    {"functionResponse": {"name": "g", "response": {"x": 2}}},
                    {"functionResponse": {"name": "f", "response": {"output": "sunny"}}}]},
            ],
            "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}}]}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
            "generationConfig": {
                "maxOutputTokens": 5, "temperature": 0.5, "stopSequences": ["x"],
                "responseMimeType": "application/json", "responseJsonSchema": {"type": "object"},
                "thinkingConfig": {"includeThoughts": true, "thinkingBudget": 1024}},
        }),
    );
}

#[test]
fn instructions_alone_are_the_question() {
    check_request(
        json!({"model": "m", "messages": [{"role": "developer", "content": "hello"}]}),
        json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}], "generationConfig": {}}),
    );
}

/// The same events whole, and as a stream split at every byte.
fn read(chunks: &[Value]) -> Reply {
    let stream: String = chunks.iter().map(|chunk| format!("data: {chunk}\r\n\r\n")).collect();
    let mut replies = Vec::new();
    for at in 0..=stream.len() {
        let mut decoder = GeminiGenerate.stream_decoder();
        let mut events = Vec::new();
        for piece in [&stream.as_bytes()[..at], &stream.as_bytes()[at..]] {
            decoder.push(piece, &mut events).expect("sound");
        }
        decoder.finish(&mut events).expect("sound");
        replies.push(fold(events));
    }
    let reply = replies.pop().expect("at least one");
    for other in &replies {
        assert_eq!(format!("{other:?}"), format!("{reply:?}"));
    }
    reply
}

#[test]
fn thoughts_text_and_usage_come_apart() {
    let reply = read(&[
        json!({"candidates": [{"content": {"parts": [{"text": "hm", "thought": true}, {"text": "he"}]}}], "responseId": "r", "modelVersion": "g-2"}),
        json!({"candidates": [{"content": {"parts": [{"text": "llo"}]}, "finishReason": "STOP"}]}),
        json!({"usageMetadata": {"promptTokenCount": 10, "cachedContentTokenCount": 4, "toolUsePromptTokenCount": 3, "candidatesTokenCount": 5, "thoughtsTokenCount": 2}}),
    ]);
    assert_eq!((reply.id.as_str(), reply.model.as_str(), reply.text().as_str()), ("r", "g-2", "hello"));
    assert!(reply.ended && matches!(&reply.choices[0].blocks[0], Block::Reasoning { text, .. } if text == "hm"));
    assert_eq!(reply.choices[0].finish, Some(FinishReason::Stop));
    let usage = reply.usage.expect("usage");
    assert_eq!((usage.input, usage.cache_read, usage.output, usage.reasoning, usage.prompt()), (9, 4, 7, 2, 13));
}

#[test]
fn calls_get_ids_that_differ_and_carry_signatures() {
    let reply = read(&[
        json!({"candidates": [{"content": {"parts": [
            {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "QQ=="},
            {"functionCall": {"name": "f"}},
            {"functionCall": {"name": "g", "willContinue": true}},
        ]}}]}),
        json!({"candidates": [{"content": {"parts": [
            {"functionCall": {"partialArgs": [{"jsonPath": "$.q[0].b", "stringValue": "lo"}], "willContinue": true}},
            {"functionCall": {"partialArgs": [{"jsonPath": "$.q[0].b", "stringValue": "ng"}, {"jsonPath": "$['n']", "numberValue": 2}]}},
        ]}, "finishReason": "STOP"}]}),
    ]);
    let calls: Vec<(&str, &str)> = reply.choices[0]
        .blocks
        .iter()
        .filter_map(|block| {
            if let Block::ToolCall { id, arguments, .. } = block {
                Some((id.as_str(), arguments.as_str()))
            } else {
                None
            }
        })
        .collect();
    assert_eq!(
        calls.iter().map(|(_, arguments)| *arguments).collect::<Vec<_>>(),
        [r#"{"a":1}"#, "{}", r#"{"q":[{"b":"long"}],"n":2}"#]
    );
    assert!(calls[0].0.ends_with("__ts__QQ") && calls[1].0 != calls[0].0 && !calls[1].0.contains("__ts__"));
    assert_eq!(reply.choices[0].finish, Some(FinishReason::ToolCalls));
}

#[test]
fn what_is_cut_blocked_or_failed_is_told_as_that() {
    let cut = read(&[json!({"candidates": [{"content": {"parts": [{"text": "he"}]}}]})]);
    assert!(!cut.ended && cut.choices[0].finish.is_none());
    let blocked = read(&[json!({"promptFeedback": {"blockReason": "SAFETY"}})]);
    assert!(blocked.ended && blocked.choices[0].finish == Some(FinishReason::ContentFilter));
    let undeclared = |parts: Value| {
        let reply =
            read(&[json!({"candidates": [{"content": {"parts": parts}, "finishReason": "UNEXPECTED_TOOL_CALL"}]})]);
        reply.choices[0].finish.clone()
    };
    assert_eq!(undeclared(json!([{"functionCall": {"name": "f"}}])), Some(FinishReason::ToolCalls));
    assert_eq!(undeclared(json!([])), Some(FinishReason::Other("unexpected_tool_call".to_owned())));
    let failed = read(&[json!({"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}})]);
    assert_eq!(failed.error.map(|failure| failure.status), Some(429));
    let events = GeminiGenerate
        .decode_reply(br#"{"candidates":[{"content":{},"finishReason":"STOP"}]}"#)
        .expect("empty is sound");
    assert!(matches!(events.last(), Some(Event::End)));
}

#[test]
fn errors_say_how_long_to_wait_and_whose_fault_it_is() {
    let body = json!({"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]}});
    let failure = GeminiGenerate.decode_error(429, body.to_string().as_bytes());
    assert_eq!((failure.status, failure.retry_after.map(|after| after.as_millis())), (429, Some(34_500)));
    let body = json!({"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}});
    let failure = GeminiGenerate.decode_error(400, body.to_string().as_bytes());
    assert_eq!((failure.status, failure.code), (400, gateway_ir::failure::Code::UpstreamCredential));
}
