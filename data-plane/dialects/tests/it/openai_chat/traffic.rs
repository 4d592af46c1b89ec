//! Recorded replies of many servers: decoded, told again, passed.

use gateway_dialects::dialect::{ClientDialect, Dialect, TapOptions};
use gateway_dialects::openai_chat::OpenAiChat;
use gateway_ir::event::FinishReason;
use gateway_ir::fold::{Reply, fold};
use gateway_ir::quirks::Quirks;
use gateway_ir::usage::Usage;
use serde_json::{Value, json};

use super::{
    Told, arguments_of, check_legal, context, decode_stream, encode_stream, plain_upstream, stream_round_trip, tap,
    told, whole_round_trip,
};
use crate::recorded::{Fixture, fixtures};

/// Cuts at which streams are taken apart; a stream's length is the modulus.
const CUTS: [&[usize]; 4] =
    [&[], &[1, 2, 3, 5, 8, 13, 21, 34, 55, 89], &[997, 1009, 1013, 4999, 10_007], &[100, 100, 200, 201, 202, 203]];

fn replies() -> impl Iterator<Item = Fixture> {
    fixtures("openai-chat").into_iter().filter(|fixture| fixture.expected["error"].is_null())
}

fn decode(fixture: &Fixture) -> Reply {
    if fixture.stream {
        return fold(decode_stream(fixture.reply.as_bytes(), &[]));
    }
    fold(
        OpenAiChat.decode_reply(fixture.reply.as_bytes()).unwrap_or_else(|failure| panic!("{}: {failure}", fixture.id)),
    )
}

fn expected(value: &Value) -> Told {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let calls = value["tool_calls"].as_array().into_iter().flatten();
    let arguments = |value: &Value| value.as_str().map_or_else(|| value.clone(), arguments_of);
    Told {
        text: text("text"),
        refusal: text("refusal"),
        reasoning: text("reasoning"),
        calls: calls
            .map(|call| (call["name"].as_str().expect("a name").to_owned(), arguments(&call["arguments"])))
            .collect(),
    }
}

fn check_usage(usage: Option<Usage>, expected: &Value, id: &str) {
    let Some(wanted) = expected.as_object().filter(|wanted| !wanted.is_empty()) else { return };
    let usage = usage.unwrap_or_else(|| panic!("{id}: no usage"));
    let told = [
        ("prompt_tokens", usage.prompt()),
        ("completion_tokens", usage.output),
        ("cached_tokens", usage.cache_read),
        ("reasoning_tokens", usage.reasoning),
    ];
    for (name, number) in told {
        let alternatives = wanted["alternatives"][name].as_array();
        // A server that says of a part that it was more than the whole is not believed.
        let believed = |wanted: u64| match name {
            "cached_tokens" => wanted.min(usage.prompt()),
            "reasoning_tokens" => wanted.min(usage.output),
            _ => wanted,
        };
        let is_expected = wanted.get(name).and_then(Value::as_u64).is_none_or(|wanted| believed(wanted) == number)
            || alternatives.is_some_and(|alternatives| alternatives.contains(&number.into()));
        assert!(is_expected, "{id}: {name} {number}, expected {expected}");
    }
}

fn word(reason: &FinishReason) -> &str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
        FinishReason::Other(word) => word,
        other => panic!("{other:?} is no reason of this dialect"),
    }
}

#[test]
fn every_reply_says_what_was_recorded() {
    for fixture in replies() {
        let (id, wanted) = (&fixture.id, &fixture.expected);
        let reply = decode(&fixture);
        if !wanted["stream_error"].is_null() {
            assert!(reply.error.is_some() && !reply.ended, "{id}: the error inside the reply is seen");
            continue;
        }
        assert_eq!(told(&reply, 0), expected(wanted), "{id}");
        for (position, choice) in wanted["choices"].as_array().into_iter().flatten().enumerate() {
            assert_eq!(told(&reply, position), expected(choice), "{id} choice {position}");
        }
        let finish = reply.choices.first().and_then(|choice| choice.finish.as_ref()).map(word);
        let finishes = wanted["finish_reason"].as_array();
        let is_expected =
            finishes.map_or(finish.is_none(), |finishes| finishes.iter().any(|wanted| wanted.as_str() == finish));
        assert!(is_expected, "{id}: {finish:?}, expected {finishes:?}");
        check_usage(reply.usage, &wanted["usage"], id);
        assert!(reply.ended || !fixture.reply.contains("[DONE]"), "{id}: the end is seen");
    }
}

#[test]
fn any_split_gives_the_same_events_and_the_same_passing_bytes() {
    for fixture in replies().filter(|fixture| fixture.stream) {
        let stream = fixture.reply.as_bytes();
        let whole = format!("{:?}", decode_stream(stream, &[]));
        let passed = tap(stream, &[], TapOptions { strip_usage: true });
        for cuts in CUTS {
            assert_eq!(format!("{:?}", decode_stream(stream, cuts)), whole, "{} {cuts:?}", fixture.id);
            assert_eq!(tap(stream, cuts, TapOptions { strip_usage: true }).0, passed.0, "{} {cuts:?}", fixture.id);
        }
    }
}

#[test]
fn a_passing_stream_is_watched_and_not_changed() {
    for fixture in replies().filter(|fixture| fixture.stream) {
        let (id, stream) = (&fixture.id, fixture.reply.as_bytes());
        let reply = decode(&fixture);
        let (passed, is_whole, seen) = tap(stream, &[], TapOptions::default());
        assert_eq!(seen.usage, reply.usage, "{id}");
        assert_eq!(seen.finished, reply.choices.iter().any(|choice| choice.finish.is_some()), "{id}");
        assert_eq!((seen.ended, seen.error.is_some()), (reply.ended, reply.error.is_some()), "{id}");
        assert!(is_whole, "{id}");
        let content: usize = (0..reply.choices.len()).map(|position| n_bytes(&told(&reply, position))).sum();
        assert!(seen.content_bytes >= content as u64, "{id}: {} bytes seen of {content}", seen.content_bytes);
        if seen.error.is_none() {
            let unchanged = passed.strip_prefix(stream).unwrap_or_else(|| panic!("{id}: bytes differ"));
            let added: &[&[u8]] =
                if seen.ended { &[b"", b"\n\n"] } else { &[b"data: [DONE]\n\n", b"\n\ndata: [DONE]\n\n"] };
            assert!(added.contains(&unchanged), "{id}: {:?} added", String::from_utf8_lossy(unchanged));
        }
    }
}

fn n_bytes(told: &Told) -> usize {
    told.text.len() + told.reasoning.len() + told.refusal.len()
}

#[test]
fn a_usage_chunk_nobody_asked_for_is_taken_out() {
    let mut n_stripped = 0;
    for fixture in replies().filter(|fixture| fixture.stream) {
        let (passed, _, seen) = tap(fixture.reply.as_bytes(), &[], TapOptions { strip_usage: true });
        let kept = decode_stream(&passed, &[]);
        assert_eq!(told(&fold(kept), 0), told(&decode(&fixture), 0), "{}", fixture.id);
        let was_there = fixture.reply.contains("\"choices\":[],") || fixture.reply.contains("\"choices\":[]}");
        if was_there && seen.usage.is_some() && passed.len() < fixture.reply.len() {
            n_stripped += 1;
            assert!(!passed.windows(17).any(|window| window == b"\"choices\":[],\"usa"), "{}", fixture.id);
        }
    }
    assert!(n_stripped > 0 || fixtures("openai-chat").is_empty(), "no recorded stream has a usage chunk");
}

#[test]
fn what_we_tell_again_is_legal_and_the_same() {
    for fixture in replies() {
        let reply = decode(&fixture);
        if reply.error.is_some() || reply.choices.is_empty() {
            continue;
        }
        let id = &fixture.id;
        for (way, again) in [("whole", whole_round_trip(&reply)), ("stream", stream_round_trip(&reply))] {
            for position in 0..reply.choices.len() {
                assert_eq!(told(&again, position), told(&reply, position), "{id} {way}");
            }
            assert_eq!(again.usage, reply.usage, "{id} {way}");
            assert!(!again.model.is_empty(), "{id} {way}");
        }
        if fixture.stream {
            let events = decode_stream(fixture.reply.as_bytes(), &[]);
            check_legal(&encode_stream(&events, &context()), reply.usage.is_some());
            let silent = gateway_dialects::dialect::ReplyContext { include_usage: false, ..context() };
            check_legal(&encode_stream(&events, &silent), false);
        }
    }
}

#[test]
fn recorded_refusals_keep_status_and_message() {
    for fixture in fixtures("openai-chat") {
        let wanted = &fixture.expected["error"];
        if wanted.is_null() {
            continue;
        }
        let failure = OpenAiChat.decode_error(fixture.status, fixture.reply.as_bytes());
        assert_eq!(json!(failure.status), wanted["status"], "{} {}", fixture.id, fixture.provider);
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let message: String = words(wanted["message"].as_str().unwrap_or_default()).chars().take(60).collect();
        assert!(words(&failure.message).contains(&message), "{}: {} for {wanted}", fixture.id, failure.message);
    }
}

#[test]
fn recorded_requests_survive_the_round_trip() {
    let quirks = Quirks::default();
    for fixture in fixtures("openai-chat").into_iter().filter(|fixture| fixture.request["messages"].is_array()) {
        let body = fixture.request.to_string();
        let mut request = match OpenAiChat.decode_request(body.as_bytes()) {
            Ok(request) => request,
            // Some were recorded because they are wrong.
            Err(failure) => {
                assert!(fixture.status == 400, "{}: {failure}", fixture.id);
                continue;
            }
        };
        let encoded =
            OpenAiChat.encode_request(&request, &plain_upstream(&quirks)).expect("sayable in its own dialect");
        assert_eq!(encoded.dropped, Vec::<String>::new(), "{}", fixture.id);
        let again = OpenAiChat.decode_request(&encoded.body).expect("our own encoding");
        request.model = "own".to_owned();
        (request.stream, request.include_usage) = (None, false);
        assert_eq!(format!("{again:?}"), format!("{request:?}"), "{}", fixture.id);
    }
}
