//! Recorded Anthropic traffic: every request keeps its meaning, every reply reads as expected, whole and streamed, in any split.

use std::path::{Path, PathBuf};

use bytes::BytesMut;
use gateway_ir::fold::{Reply, fold};
use gateway_ir::quirks::Quirks;
use serde_json::{Map, Value, json};

use super::support::{context, decode_pieces, encode_stream, gist, gist_of, legal, tap_pieces, translate, value};
use crate::anthropic_messages::AnthropicMessages;
use crate::dialect::{ClientDialect, Dialect};
use crate::openai_chat::OpenAiChat;

const OURS: &str = "anthropic-messages";

struct Recording {
    id: String,
    exchange: Value,
    expected: Value,
}

/// All recordings of a dialect, none (said aloud) where the shared folder is not there.
fn recordings(dialect: &str) -> Vec<Recording> {
    let shared = std::env::var_os("GATEWAY_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let folder = shared.join("fixtures").join(dialect);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED: no recorded traffic at {}; set GATEWAY_SHARED to the shared folder", folder.display());
        return Vec::new();
    };
    let read = |path: &Path| value(&std::fs::read(path).expect("a readable recording"));
    let mut recordings = Vec::new();
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(id) = name.strip_suffix(".json").filter(|id| !id.ends_with(".expected")) {
            let expected = path.with_file_name(format!("{id}.expected.json"));
            let expected = if expected.exists() { read(&expected) } else { Value::Null };
            recordings.push(Recording { id: id.to_owned(), exchange: read(&path), expected });
        }
    }
    assert!(recordings.len() > 100, "the recordings are there");
    recordings
}

#[test]
fn replies_read_as_expected() {
    let mut counts = (0, 0, 0);
    for recording in recordings(OURS) {
        let response = &recording.exchange["response"];
        if let Some(sse) = response["sse"].as_str() {
            counts.0 += 1;
            check_stream(&recording, sse.as_bytes());
        } else if recording.expected["error"].is_object() {
            counts.1 += 1;
            check_error(&recording, response);
        } else {
            counts.2 += 1;
            check_whole(&recording, response["body"].to_string().as_bytes());
        }
    }
    println!("{} streams, {} errors, {} whole replies", counts.0, counts.1, counts.2);
}

fn check_whole(recording: &Recording, body: &[u8]) {
    let id = &recording.id;
    let events = AnthropicMessages.decode_reply(body).unwrap_or_else(|failure| panic!("{id}: {failure}"));
    let reply = fold(events.iter().cloned());
    check_reply(recording, &reply);
    assert_eq!(AnthropicMessages.usage_of_reply(body), reply.usage, "{id}: usage of the passing bytes");
    let again = AnthropicMessages.encode_reply(&reply, &context());
    let events = AnthropicMessages.decode_reply(&again).expect("what we write");
    assert_eq!(gist_of(&events), gist(&reply), "{id}: encoded and read again");
}

fn check_stream(recording: &Recording, stream: &[u8]) {
    let id = &recording.id;
    let events = decode_pieces([stream]).unwrap_or_else(|failure| panic!("{id}: {failure}"));
    let reply = fold(events.iter().cloned());
    check_reply(recording, &reply);
    for size in [1, 7, 64] {
        let split = decode_pieces(stream.chunks(size)).unwrap_or_else(|failure| panic!("{id}: {failure}"));
        assert_eq!(format!("{split:?}"), format!("{events:?}"), "{id}: in pieces of {size}");
        let tapped = tap_pieces(stream.chunks(size));
        assert!(tapped.ended && tapped.seen.finished && tapped.seen.ended, "{id}: the tap sees the end");
        assert_eq!(tapped.passed, stream, "{id}: the bytes pass");
        assert_eq!(tapped.seen.usage, reply.usage, "{id}: the tap sees the usage");
    }
    let written = encode_stream(&events);
    legal(&written).unwrap_or_else(|why| panic!("{id}: {why}"));
    let again = decode_pieces([written.as_ref()]).expect("what we write");
    assert_eq!(gist_of(&again), gist(&reply), "{id}: encoded and read again");
}

fn check_reply(recording: &Recording, reply: &Reply) {
    let (id, expected) = (&recording.id, &recording.expected);
    let gist = gist(reply);
    assert!(reply.ended, "{id}: a whole recording ends");
    assert_eq!(gist["text"], expected["text"], "{id}: text");
    let calls: Vec<Value> = gist["calls"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|call| json!({"name": call["name"], "arguments": call["arguments"]}))
        .collect();
    assert_eq!(json!(calls), expected["tool_calls"], "{id}: tool calls");
    let finish = match gist["finish"].as_str().unwrap_or_default() {
        "Some(Stop)" | "Some(StopSequence)" | "Some(Pause)" => "stop",
        "Some(Length)" => "length",
        "Some(ToolCalls)" => "tool_calls",
        "Some(Refusal)" => "content_filter",
        other => other,
    };
    let wanted = expected["finish_reason"].as_array().cloned().unwrap_or_default();
    assert!(wanted.contains(&json!(finish)), "{id}: finish {finish}, expected {wanted:?}");
    let usage = reply.usage.unwrap_or_default();
    let wanted = &expected["usage"];
    assert_eq!(json!(usage.prompt()), wanted["prompt_tokens"], "{id}: prompt tokens");
    assert_eq!(json!(usage.output), wanted["completion_tokens"], "{id}: completion tokens");
    assert_eq!(json!(usage.cache_read), wanted["cached_tokens"], "{id}: cached tokens");
    assert_eq!(usage.reasoning, wanted["reasoning_tokens"].as_u64().unwrap_or(0), "{id}: reasoning tokens");
}

fn check_error(recording: &Recording, response: &Value) {
    let (id, expected) = (&recording.id, &recording.expected["error"]);
    let status = u16::try_from(response["status"].as_u64().unwrap_or(0)).expect("a status");
    let failure = AnthropicMessages.decode_error(status, response["body"].to_string().as_bytes());
    assert_eq!(json!(failure.status), expected["status"], "{id}");
    assert_eq!(json!(failure.message), expected["message"], "{id}");
    assert_eq!(json!(failure.upstream_type), expected["type"], "{id}");
    let written = value(&AnthropicMessages.encode_error(&failure, "r"));
    assert_eq!(written["error"], response["body"]["error"], "{id}: the client sees the same error");
}

/// Decoded and encoded again, a request that Anthropic took asks for the same.
#[test]
fn requests_keep_their_meaning() {
    let mut n_requests = 0;
    for Recording { id, exchange, expected } in recordings(OURS) {
        let body = &exchange["request"]["body"];
        // What Anthropic refused may well be put right on the way.
        if !body.is_object() || expected["error"].is_object() {
            continue;
        }
        n_requests += 1;
        let encoded =
            translate(&AnthropicMessages, body, &Quirks::default()).unwrap_or_else(|failure| panic!("{id}: {failure}"));
        assert!(encoded.dropped.is_empty(), "{id}: dropped {:?}", encoded.dropped);
        assert_eq!(plain(&value(&encoded.body)), plain(body), "{id}");
        let again = translate(&AnthropicMessages, &value(&encoded.body), &Quirks::default()).expect("what we write");
        assert_eq!(again.body, encoded.body, "{id}: byte for byte the same again");
    }
    println!("{n_requests} requests");
}

/// What any recorded upstream of the other dialect says makes a legal stream, and the same message as its whole reply.
#[test]
fn streams_of_the_other_dialect_become_legal() {
    let mut n_streams = 0;
    for Recording { id, exchange, .. } in recordings("openai-chat") {
        let Some(sse) = exchange["response"]["sse"].as_str() else { continue };
        let mut decoder = OpenAiChat.stream_decoder();
        let mut events = Vec::new();
        let taken = decoder.push(sse.as_bytes(), &mut events).and_then(|()| decoder.finish(&mut events));
        taken.unwrap_or_else(|failure| panic!("{id}: {failure}"));
        n_streams += 1;
        let written = encode_stream(&events);
        legal(&written).unwrap_or_else(|why| panic!("{id}: {why}"));
        let reply = fold(events);
        if reply.error.is_some() {
            continue;
        }
        let again = gist_of(&decode_pieces([written.as_ref()]).expect("what we write"));
        let whole = AnthropicMessages.encode_reply(&reply, &context());
        let whole = gist_of(&AnthropicMessages.decode_reply(&whole).expect("what we write"));
        assert_eq!(again["text"], whole["text"], "{id}: text");
        assert_eq!(again["calls"], whole["calls"], "{id}: calls");
        assert_eq!(again["thinking"], whole["thinking"], "{id}: thinking");
        assert_eq!(again["finish"], whole["finish"], "{id}: finish");
        assert_eq!(again["usage"], whole["usage"], "{id}: usage");
    }
    println!("{n_streams} streams");
}

/// The other way: recorded Anthropic streams, told to an OpenAI client, say the same.
#[test]
fn streams_told_to_the_other_dialect_say_the_same() {
    for Recording { id, exchange, expected } in recordings(OURS) {
        let Some(sse) = exchange["response"]["sse"].as_str() else { continue };
        let events = decode_pieces([sse.as_bytes()]).unwrap_or_else(|failure| panic!("{id}: {failure}"));
        let mut encoder = OpenAiChat.stream_encoder(&context());
        let mut out = BytesMut::new();
        for event in &events {
            encoder.push(event, &mut out);
        }
        encoder.end(&mut out);
        assert!(out.ends_with(b"data: [DONE]\n\n"), "{id}");
        let mut decoder = OpenAiChat.stream_decoder();
        let mut again = Vec::new();
        decoder.push(&out, &mut again).unwrap_or_else(|failure| panic!("{id}: {failure}"));
        let (again, told) = (gist_of(&again), gist_of(&events));
        assert_eq!(again["text"], expected["text"], "{id}: text");
        assert_eq!(again["calls"], told["calls"], "{id}: calls");
    }
}

/// A request with the ways of saying the same thing made one: strings are text blocks, null is nothing, neighbours are joined.
fn plain(body: &Value) -> Value {
    let mut body: Map<String, Value> = body.as_object().cloned().unwrap_or_default();
    body.retain(|name, value| !value.is_null() && name != "stream" && name != "model");
    if let Some(format) = body.remove("output_format") {
        body.insert("output_config".to_owned(), json!({"format": format}));
    }
    if let Some(system) = body.get_mut("system") {
        *system = blocks(system);
    }
    let mut turns: Vec<Value> = Vec::new();
    for turn in body.get("messages").and_then(Value::as_array).into_iter().flatten() {
        let content = blocks(&turn["content"]);
        match turns.last_mut() {
            Some(last) if last["role"] == turn["role"] => {
                let more = content.as_array().cloned().unwrap_or_default();
                last["content"].as_array_mut().expect("blocks").extend(more);
            }
            _ => turns.push(json!({"role": turn["role"], "content": content})),
        }
    }
    body.insert("messages".to_owned(), json!(turns));
    for tool in body.get_mut("tools").and_then(Value::as_array_mut).into_iter().flatten() {
        // The default, which we do not send, and the type that Anthropic demands and we add.
        let tool = tool.as_object_mut().expect("tools are objects");
        tool.retain(|name, value| !(name == "strict" && *value == json!(false)));
        if let Some(schema) = tool.get_mut("input_schema").and_then(Value::as_object_mut) {
            schema.entry("type").or_insert(json!("object"));
        }
    }
    sorted(&Value::Object(body))
}

fn blocks(content: &Value) -> Value {
    let mut content = match content {
        Value::String(text) => json!([{"type": "text", "text": text}]),
        blocks => blocks.clone(),
    };
    for block in content.as_array_mut().into_iter().flatten() {
        if block["type"] == "tool_result" && !block["content"].is_null() {
            block["content"] = blocks(&block["content"]);
        }
    }
    content
}

/// Member order does not matter for the meaning.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut names: Vec<_> = members.keys().collect();
            names.sort();
            Value::Object(names.into_iter().map(|name| (name.clone(), sorted(&members[name]))).collect())
        }
        Value::Array(elements) => Value::Array(elements.iter().map(sorted).collect()),
        other => other.clone(),
    }
}
