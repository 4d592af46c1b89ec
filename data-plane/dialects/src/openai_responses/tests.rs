//! What clients see of translated replies, what upstreams are sent, and what is made of what they say.

use bytes::BytesMut;
use gateway_ir::event::{Event, FinishReason};
use gateway_ir::failure::{Code, Failure};
use gateway_ir::fold::{Block, Reply, fold};
use gateway_ir::quirks::Quirks;
use gateway_ir::usage::Usage;
use serde_json::{Value, json};

use super::OpenAiResponses;
use crate::dialect::{ClientDialect, Dialect, ReplyContext, TapOptions, Upstream};
use crate::framing::sse;
use crate::openai_chat::OpenAiChat;

fn context() -> ReplyContext {
    ReplyContext {
        request_id: "r-1".to_owned(),
        model: "asked".to_owned(),
        created: 7,
        include_usage: true,
        functions: false,
        stored: false,
        previous: None,
        conversation: None,
    }
}

fn chat_of(responses: &Value) -> Result<Value, Box<Failure>> {
    let request = OpenAiResponses.decode_request(responses.to_string().as_bytes())?;
    let upstream = Upstream { model: "m", stream: false, quirks: &Quirks::default() };
    let encoded = OpenAiChat.encode_request(&request, &upstream)?;
    Ok(serde_json::from_slice(&encoded.body).expect("JSON"))
}

#[test]
fn a_conversation_of_items_is_one_of_messages() {
    let responses = json!({
        "model": "asked", "instructions": "be short", "stream": false, "store": true, "include": ["reasoning.encrypted_content"],
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": "https://x.test/a.png", "detail": "low"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
            {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed", "content": [{"type": "output_text", "text": "I call", "annotations": []}]},
            {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "sunny"}],
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": true}],
        "tool_choice": {"type": "function", "name": "f"},
        "max_output_tokens": 5, "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_schema", "name": "r", "schema": {"type": "object"}}},
    });
    let chat = chat_of(&responses).expect("it can be said");
    let roles: Vec<_> =
        chat["messages"].as_array().expect("messages").iter().map(|message| message["role"].clone()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool"]);
    assert_eq!(chat["messages"][2]["content"], "I call");
    assert_eq!(chat["messages"][2]["tool_calls"][0]["id"], "c");
    assert_eq!(chat["messages"][3], json!({"role": "tool", "tool_call_id": "c", "content": "sunny"}));
    assert_eq!(chat["messages"][1]["content"][1]["image_url"]["detail"], "low");
    assert_eq!(chat["tools"][0]["function"]["strict"], true);
    assert_eq!((&chat["max_completion_tokens"], &chat["reasoning_effort"]), (&json!(5), &json!("low")));
    assert_eq!(chat["response_format"]["json_schema"]["name"], "r");
}

#[test]
fn what_only_the_vendor_has_is_refused_by_name() {
    for (name, value) in
        [("previous_response_id", json!("resp_1")), ("conversation", json!("conv_1")), ("background", json!(true))]
    {
        let mut body = json!({"model": "m", "input": "x"});
        body[name] = value;
        let refused = chat_of(&body).expect_err("refused");
        assert_eq!((refused.code, refused.param.as_deref()), (Code::UnsupportedParameter, Some(name)));
    }
    for (body, path) in [
        (json!({"model": "m"}), "input"),
        (json!({"model": "m", "input": [{"role": "robot", "content": "x"}]}), "input[0].role"),
        (json!({"model": "m", "input": [{"type": "function_call", "name": "f"}]}), "input[0].call_id"),
        (
            json!({"model": "m", "input": [{"role": "assistant", "content": [{"type": "function_call_output"}]}]}),
            "input[0].content[0].type",
        ),
    ] {
        assert_eq!(chat_of(&body).expect_err("refused").param.as_deref(), Some(path), "{body}");
    }
}

fn reply_events() -> Vec<Event> {
    let choice = 0;
    vec![
        Event::Start { id: "chatcmpl-1".to_owned(), model: "up".to_owned(), created: Some(9) },
        Event::Reasoning { choice, text: "hm".to_owned() },
        Event::Text { choice, text: "he".to_owned() },
        Event::Text { choice, text: "llo".to_owned() },
        Event::ToolCallStart { choice, call: 0, id: "c0".to_owned(), name: "f".to_owned() },
        Event::ToolCallArguments { choice, call: 0, json: "{\"a\":".to_owned() },
        Event::ToolCallArguments { choice, call: 0, json: "1}".to_owned() },
        Event::ToolCallStart { choice, call: 1, id: "c1".to_owned(), name: "g".to_owned() },
        Event::Usage(Usage { input: 5, cache_read: 2, output: 3, reasoning: 1, ..Usage::default() }),
        Event::Finish { choice, reason: FinishReason::ToolCalls, stop_sequence: None },
        Event::End,
    ]
}

/// The events that a client gets, each checked for its name and its number.
fn stream(events: &[Event]) -> Vec<Value> {
    let mut encoder = OpenAiResponses.stream_encoder(&context());
    let mut out = BytesMut::new();
    events.iter().for_each(|event| encoder.push(event, &mut out));
    encoder.end(&mut out);
    let mut seen = Vec::new();
    let visit = |event: sse::Event<'_>| {
        let body: Value = serde_json::from_slice(&event.data).expect("JSON");
        assert_eq!(body["type"].as_str().map(str::as_bytes), Some(event.name));
        assert_eq!(body["sequence_number"], seen.len());
        seen.push(body);
        Ok(())
    };
    sse::Parser::default().push(&out, visit).expect("small events");
    seen
}

#[test]
fn every_item_is_opened_grows_and_is_closed() {
    let seen = stream(&reply_events());
    let names: Vec<&str> = seen.iter().filter_map(|event| event["type"].as_str()?.strip_prefix("response.")).collect();
    assert_eq!(
        names,
        [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "output_item.added",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]
    );
    let whole = OpenAiResponses.encode_reply(&fold(reply_events()), &context());
    let whole: Value = serde_json::from_slice(&whole).expect("JSON");
    assert_eq!(
        seen.last().map(|event| event["response"].clone()),
        Some(whole.clone()),
        "the stream ends with the whole"
    );
    assert_eq!(whole["output"][1]["content"][0]["text"], "hello");
    assert_eq!(whole["output"][3]["arguments"], "{}");
    assert_eq!(
        whole["usage"],
        json!({"input_tokens": 7, "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 1}, "total_tokens": 10})
    );
    assert_eq!(
        (&whole["model"], &whole["created_at"], &whole["status"]),
        (&json!("up"), &json!(9), &json!("completed"))
    );
}

#[test]
fn a_reply_cut_short_says_why_and_a_broken_one_ends_with_an_error() {
    let cut = [
        Event::Text { choice: 0, text: "x".to_owned() },
        Event::Finish { choice: 0, reason: FinishReason::Length, stop_sequence: None },
    ];
    let seen = stream(&cut);
    let last = seen.last().expect("a terminal event");
    assert_eq!(
        (&last["type"], &last["response"]["incomplete_details"]["reason"]),
        (&json!("response.incomplete"), &json!("max_output_tokens"))
    );
    let mut encoder = OpenAiResponses.stream_encoder(&context());
    let mut out = BytesMut::new();
    encoder.fail(&Failure::new(Code::UpstreamCut, "cut"), &mut out);
    encoder.end(&mut out);
    let text = String::from_utf8(out.to_vec()).expect("text");
    assert!(
        text.starts_with("event: error\ndata: {\"type\":\"error\"") && text.matches("event:").count() == 1,
        "{text}"
    );
}

/// What an upstream's stream says, however it is split, and what its tap saw.
fn read(stream: &str) -> Reply {
    let bytes = stream.as_bytes();
    let mut replies = Vec::new();
    for at in 0..=bytes.len() {
        let (mut decoder, mut events) = (OpenAiResponses.stream_decoder(), Vec::new());
        for piece in [&bytes[..at], &bytes[at..]] {
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
fn what_we_write_we_read() {
    let mut encoder = OpenAiResponses.stream_encoder(&context());
    let mut out = BytesMut::new();
    reply_events().iter().for_each(|event| encoder.push(event, &mut out));
    encoder.end(&mut out);
    let stream = String::from_utf8(out.to_vec()).expect("text");
    let reply = read(&stream);
    let choice = &reply.choices[0];
    assert!(reply.ended && choice.finish == Some(FinishReason::ToolCalls));
    assert!(matches!(&choice.blocks[0], Block::Reasoning { text, .. } if text == "hm"));
    assert!(
        matches!(&choice.blocks[2], Block::ToolCall { id, arguments, .. } if id == "c0" && arguments == "{\"a\":1}")
    );
    assert_eq!(reply.usage.map(|usage| (usage.prompt(), usage.cache_read, usage.output)), Some((7, 2, 3)));

    let mut tap = OpenAiResponses.stream_tap(TapOptions::default());
    let passed = tap.push(stream.clone().into_bytes().into()).expect("whole events");
    assert_eq!(passed, stream.as_bytes());
    tap.finish().expect("it ended");
    assert!(tap.seen().ended && tap.seen().usage == reply.usage);

    let half = &stream[..stream.len() / 2];
    assert!(!read(half).ended);
    let mut tap = OpenAiResponses.stream_tap(TapOptions::default());
    tap.push(half.to_owned().into_bytes().into()).expect("whole events");
    assert!(tap.finish().is_err(), "a cut is no end");
}

#[test]
fn an_upstream_is_told_in_items() {
    let chat = json!({
        "model": "m",
        "messages": [
            {"role": "system", "content": "be short"},
            {"role": "assistant", "content": "I call", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "sunny"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "reasoning_effort": "high", "stop": "x",
    });
    let request = OpenAiChat.decode_request(chat.to_string().as_bytes()).expect("sound");
    let upstream = Upstream { model: "up", stream: true, quirks: &Quirks::default() };
    let encoded = OpenAiResponses.encode_request(&request, &upstream).expect("it can be said");
    let body: Value = serde_json::from_slice(&encoded.body).expect("JSON");
    assert_eq!(
        body["input"],
        json!([
            {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "be short"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I call"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "sunny"},
        ])
    );
    assert_eq!(
        body["tools"][0],
        json!({"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": false})
    );
    assert_eq!(encoded.dropped, ["stop"]);
}

#[test]
fn errors_inside_replies_are_found() {
    let failed = json!({"id": "r", "status": "failed", "output": [], "error": {"code": "rate_limit_exceeded", "message": "slow down"}});
    let reply = fold(OpenAiResponses.decode_reply(failed.to_string().as_bytes()).expect("an error in a success"));
    assert_eq!(reply.error.map(|failure| failure.message.into_owned()), Some("slow down".to_owned()));
    let reply = read(
        "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"broke\",\"param\":null}\n\n",
    );
    assert_eq!(reply.error.map(|failure| failure.message.into_owned()), Some("broke".to_owned()));
}
