//! Streams, read and written.

use bytes::BytesMut;
use gateway_ir::event::FinishReason;
use gateway_ir::failure::Code;
use gateway_ir::fold::{Block, fold};
use gateway_ir::usage::Usage;
use serde_json::value::RawValue;

use super::*;

fn chunk(delta: &str, rest: &str) -> String {
    format!(r#"{{"id":"x","model":"m","created":1,"choices":[{{"index":0,"delta":{delta}{rest}}}]}}"#)
}

/// Tool calls that deltas amount to: id, name, arguments.
fn calls(deltas: &[&str]) -> Vec<(String, String, String)> {
    let chunks: Vec<String> = deltas.iter().map(|calls| chunk(&format!(r#"{{"tool_calls":[{calls}]}}"#), "")).collect();
    let data: Vec<&str> = chunks.iter().map(String::as_str).chain(["[DONE]"]).collect();
    let reply = fold(events(&data));
    assert!(reply.ended);
    let blocks = reply.choices.into_iter().flat_map(|choice| choice.blocks);
    let call = |block| match block {
        Block::ToolCall { id, name, arguments, .. } => (id, name, arguments),
        other => panic!("{other:?}"),
    };
    blocks.map(call).collect()
}

#[test]
fn pieces_of_calls_find_their_call() {
    let call = |id: &str, name: &str, arguments: &str| (id.to_owned(), name.to_owned(), arguments.to_owned());
    /// Deltas, and the calls they amount to.
    type Case<'c> = (&'c [&'c str], &'c [(&'c str, &'c str, &'c str)]);
    let cases: &[Case<'_>] = &[
        // As documented, two calls in parallel.
        (
            &[
                r#"{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}"#,
                r#"{"index":0,"function":{"arguments":"{\"x\""}}"#,
                r#"{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":""}}"#,
                r#"{"index":1,"function":{"arguments":"{}"}}"#,
                r#"{"index":0,"function":{"arguments":":1}"}}"#,
            ],
            &[("a", "f", "{\"x\":1}"), ("b", "g", "{}")],
        ),
        // The same index for every call; the id tells them apart.
        (
            &[
                r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}"#,
                r#"{"index":0,"function":{"arguments":"}"}}"#,
                r#"{"index":0,"id":"b","function":{"name":"f","arguments":"{"}}"#,
                r#"{"index":0,"id":"null","function":{"arguments":"}"}}"#,
            ],
            &[("a", "f", "{}"), ("b", "f", "{}")],
        ),
        // Id and name repeated with every piece.
        (
            &[
                r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}"#,
                r#"{"index":0,"id":"a","function":{"name":"f","arguments":"}"}}"#,
            ],
            &[("a", "f", "{}")],
        ),
        // No index: the id, else the last call.
        (
            &[
                r#"{"id":"a","function":{"name":"f","arguments":"{"}},{"id":"b","function":{"name":"g","arguments":"["}}"#,
                r#"{"function":{"arguments":"]"}}"#,
                r#"{"id":"a","function":{"arguments":"}"}}"#,
            ],
            &[("a", "f", "{}"), ("b", "g", "[]")],
        ),
        // The name comes after the arguments have begun.
        (
            &[
                r#"{"index":0,"id":"a","function":{"arguments":"{"}}"#,
                r#"{"index":0,"function":{"name":"f","arguments":"}"}}"#,
            ],
            &[("a", "f", "{}")],
        ),
        // Arguments as JSON; a piece that is nothing.
        (
            &[r#"{"index":0,"id":"a","function":{"name":"f","arguments":{"x":1}}},{"index":1}"#],
            &[("a", "f", "{\"x\":1}")],
        ),
    ];
    for (deltas, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|(id, name, arguments)| call(id, name, arguments)).collect();
        assert_eq!(calls(deltas), expected, "{deltas:?}");
    }
    let made = calls(&[r#"{"index":0,"function":{"name":"f"}}"#, r#"{"index":1,"function":{"name":"f"}}"#]);
    assert!(made[0].0.starts_with("call_") && made[0].0 != made[1].0, "{made:?}");
}

#[test]
fn odd_streams_are_understood() {
    // Azure: a first chunk that is nobody's, then the reply. OpenRouter: the role everywhere, two finishes. Groq: usage twice.
    let read = events(&[
        r#"{"id":"","object":"","model":"","created":0,"choices":[],"prompt_filter_results":[{"prompt_index":0}]}"#,
        &chunk(r#"{"role":"assistant","content":""}"#, r#","finish_reason":null"#),
        &chunk(r#"{"role":"assistant","content":"hi"}"#, r#","finish_reason":"""#),
        &chunk(r#"{"role":"assistant","content":""}"#, r#","finish_reason":"stop""#),
        r#"{"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x_groq":{"usage":{"prompt_tokens":1,"completion_tokens":2}}}"#,
        r#"{"id":"x","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"queue_time":0.1}}"#,
        "[DONE]",
        &chunk(r#"{"content":"after the end"}"#, ""),
    ]);
    let told: Vec<String> =
        read.iter().map(|event| format!("{event:?}").split(' ').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(told, ["Start", "Meta", "Text", "Finish", "Usage(Usage", "End"], "{read:?}");
    let Event::Start { id, created: Some(1), .. } = &read[0] else { panic!("{read:?}") };
    assert_eq!(id, "x");
}

#[test]
fn errors_inside_a_stream_are_errors() {
    let cases = [
        (r#"{"error":{"message":"busy","type":"t","code":"c"}}"#, Code::UpstreamError),
        (r#"{"error":"busy"}"#, Code::UpstreamError),
        (
            r#"{"id":"x","choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}],"error":{"code":400,"message":"busy"}}"#,
            Code::UpstreamRefused,
        ),
        (r#"{"x_groq":{"error":"busy"}}"#, Code::UpstreamError),
        (r#"{"object":"error","message":"busy","code":429}"#, Code::UpstreamRateLimited),
    ];
    for (data, code) in cases {
        let read = events(&[&chunk(r#"{"content":"a"}"#, ""), data, "[DONE]"]);
        let Some(Event::Error(failure)) = read.last() else { panic!("{data}: {read:?}") };
        assert_eq!((failure.code, failure.message.as_ref()), (code, "busy"), "{data}");
        assert!(!read.iter().any(|event| matches!(event, Event::Finish { .. })), "{data}");
    }
    let unnamed = events(&[&chunk("{}", r#","finish_reason":"error""#), "[DONE]"]);
    assert!(matches!(unnamed.as_slice(), [Event::Start { .. }, Event::Error(_)]), "{unnamed:?}");
    let mut decoder = OpenAiChat.stream_decoder();
    let refused = decoder.push(b"data: <html>\n\n", &mut Vec::new()).expect_err("no chunk");
    assert_eq!(refused.code, Code::UpstreamGarbage);
}

#[test]
fn half_an_event_at_the_end_is_a_cut() {
    let mut decoder = OpenAiChat.stream_decoder();
    let mut read = Vec::new();
    decoder
        .push(b"data: {\"id\":\"x\",\"choices\":[{\"delta\":{\"content\":\"a", &mut read)
        .expect("the start of a chunk");
    decoder.finish(&mut read).expect("a cut is the caller's to tell");
    assert!(read.is_empty(), "{read:?}");
    let mut decoder = OpenAiChat.stream_decoder();
    decoder.push(b"data: [DONE]", &mut read).expect("a mark");
    decoder.finish(&mut read).expect("a mark without its blank line");
    assert!(matches!(read.as_slice(), [Event::End]), "{read:?}");
}

fn write(events: &[Event], include_usage: bool) -> String {
    let mut encoder = OpenAiChat.stream_encoder(&context(include_usage));
    let mut out = BytesMut::new();
    events.iter().for_each(|event| encoder.push(event, &mut out));
    encoder.end(&mut out);
    String::from_utf8(out.to_vec()).expect("text")
}

#[test]
fn a_stream_is_written_as_openai_writes_it() {
    let choice = 0;
    let raw = |text: &str| RawValue::from_string(text.to_owned()).expect("JSON");
    let events = [
        Event::Start { id: "x".to_owned(), model: "m".to_owned(), created: Some(1) },
        Event::Meta { name: "system_fingerprint".to_owned(), json: raw("\"fp\"") },
        Event::Meta { name: "citations".to_owned(), json: raw("[1]") },
        Event::Logprobs { choice, json: raw("{\"content\":[]}") },
        Event::Text { choice, text: "a\"b\n".to_owned() },
        Event::ToolCallStart { choice, call: 0, id: "c".to_owned(), name: "f".to_owned() },
        Event::ToolCallArguments { choice, call: 0, json: "{\"x\":".to_owned() },
        Event::ToolCallArguments { choice, call: 0, json: "1}".to_owned() },
        Event::ToolCallStart { choice, call: 1, id: "d".to_owned(), name: "g".to_owned() },
        Event::Usage(Usage { input: 1, output: 2, ..Usage::default() }),
        Event::Finish { choice, reason: FinishReason::ToolCalls, stop_sequence: None },
        Event::Text { choice, text: "too late".to_owned() },
        Event::End,
    ];
    let head = r#"data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":"fp","choices":["#;
    let delta = |delta: &str, logprobs: &str, finish: &str, rest: &str| {
        format!(
            "{head}{{\"index\":0,\"delta\":{delta},\"logprobs\":{logprobs},\"finish_reason\":{finish}}}],\"usage\":null{rest}}}\n\n"
        )
    };
    let expected = [
        delta(r#"{"role":"assistant","content":"a\"b\n"}"#, "{\"content\":[]}", "null", ",\"citations\":[1]"),
        delta(
            r#"{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":""}}]}"#,
            "null",
            "null",
            "",
        ),
        delta(r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":"}}]}"#, "null", "null", ""),
        delta(r#"{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}"#, "null", "null", ""),
        delta(
            r#"{"tool_calls":[{"index":1,"id":"d","type":"function","function":{"name":"g","arguments":""}}]}"#,
            "null",
            "null",
            "",
        ),
        delta(r#"{"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]}"#, "null", "null", ""),
        delta("{}", "null", "\"tool_calls\"", ""),
        format!(
            "{head}],\"usage\":{{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3,\"prompt_tokens_details\":{{\"cached_tokens\":0,\"audio_tokens\":0}},\"completion_tokens_details\":{{\"reasoning_tokens\":0,\"audio_tokens\":0}}}}}}\n\n"
        ),
        "data: [DONE]\n\n".to_owned(),
    ];
    assert_eq!(write(&events, true), expected.concat());
    let without = write(&events, false);
    assert!(!without.contains("usage") && without.ends_with("data: [DONE]\n\n"), "{without}");
}

#[test]
fn a_stream_that_never_said_why_it_stopped_gets_a_finish() {
    let told = write(&[Event::Text { choice: 0, text: "a".to_owned() }, Event::End], false);
    assert!(told.contains(r#""id":"chatcmpl-r1""#) && told.contains(r#""model":"public""#), "{told}");
    assert_eq!(told.matches(r#""finish_reason":"stop""#).count(), 1, "{told}");
}

#[test]
fn a_failed_stream_ends_with_one_error() {
    let mut encoder = OpenAiChat.stream_encoder(&context(true));
    let mut out = BytesMut::new();
    encoder.push(&Event::Text { choice: 0, text: "a".to_owned() }, &mut out);
    out.clear();
    encoder.fail(&Failure::new(Code::UpstreamCut, "cut"), &mut out);
    encoder.fail(&Failure::new(Code::UpstreamCut, "again"), &mut out);
    encoder.push(&Event::Text { choice: 0, text: "b".to_owned() }, &mut out);
    encoder.end(&mut out);
    assert_eq!(
        out,
        "data: {\"error\":{\"message\":\"cut\",\"type\":\"provider_error\",\"param\":null,\"code\":\"upstream_stream_error\"},\"error_kind\":\"network_error\"}\n\n"
    );
}
