//! Properties: any events make a legal stream that reads back as the same reply; any split of a stream is the same stream.

use std::ops::Range;

use gateway_ir::dialect::Dialect as Id;
use gateway_ir::event::{CitationKind, Event, FinishReason};
use gateway_ir::usage::Usage;
use proptest::prelude::*;
use serde_json::value::RawValue;

use super::support::{decode_pieces, encode_stream, gist_of, legal, tap_pieces};

fn raw(json: String) -> Box<RawValue> {
    RawValue::from_string(json).expect("JSON")
}

/// A text with what is hard: quotes, line ends, SSE words, several bytes per letter.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n\n"),
        Just("data: "),
        Just("\r"),
        Just("\"\\"),
        Just("é漢🦀"),
        Just("event: error"),
        Just("{}"),
        Just("a ")
    ];
    prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

/// Events of one turn that are no calls.
fn any_speech() -> impl Strategy<Value = Vec<Event>> {
    let choice = 0;
    prop_oneof![
        4 => any_text().prop_map(move |text| vec![Event::Text { choice, text }]),
        1 => any_text().prop_map(move |text| vec![Event::Refusal { choice, text }]),
        2 => (any_text(), any_text()).prop_map(move |(text, signature)| {
            vec![Event::Reasoning { choice, text }, Event::ReasoningSignature { choice, signature }]
        }),
        1 => any_text().prop_map(move |data| vec![Event::RedactedReasoning { choice, data }]),
        1 => any_text().prop_map(move |text| {
            let json = raw(format!("{{\"type\":\"char_location\",\"cited_text\":{}}}", serde_json::json!(text)));
            vec![Event::Text { choice, text }, Event::Citation { choice, kind: CitationKind::Anthropic, json }]
        }),
        1 => any_text().prop_map(move |text| {
            let json = raw(format!("{{\"type\":\"server_tool_use\",\"input\":{{\"q\":{}}}}}", serde_json::json!(text)));
            vec![Event::Opaque { choice, kind: "server_tool_use".to_owned(), json, dialect: Id::AnthropicMessages }]
        }),
    ]
}

/// Calls whose pieces are interleaved at random, each call's own pieces in order.
fn any_calls(numbers: Range<u32>) -> impl Strategy<Value = Vec<Event>> {
    let call = |call: u32| {
        any_text().prop_map(move |text| {
            let arguments = serde_json::json!({"a": text, "b": [1, {}]}).to_string();
            let middle = (0..=arguments.len() / 2).rev().find(|at| arguments.is_char_boundary(*at)).unwrap_or(0);
            let piece = |json: &str| Event::ToolCallArguments { choice: 0, call, json: json.to_owned() };
            let start = Event::ToolCallStart { choice: 0, call, id: format!("call_{call}"), name: "f".to_owned() };
            vec![start, piece(&arguments[..middle]), piece(&arguments[middle..])]
        })
    };
    let each: Vec<_> = numbers.map(call).collect();
    (each, prop::collection::vec(any::<prop::sample::Index>(), 9)).prop_map(|(mut each, picks)| {
        let mut mixed = Vec::new();
        for pick in picks {
            each.retain(|events| !events.is_empty());
            if !each.is_empty() {
                let at = pick.index(each.len());
                mixed.push(each[at].remove(0));
            }
        }
        mixed.extend(each.into_iter().flatten());
        mixed
    })
}

fn any_reply() -> impl Strategy<Value = Vec<Event>> {
    let reason = prop_oneof![
        Just(FinishReason::Stop),
        Just(FinishReason::Length),
        Just(FinishReason::ToolCalls),
        Just(FinishReason::Pause)
    ];
    let speech = || prop::collection::vec(any_speech(), 0..4).prop_map(|speech| speech.concat());
    (speech(), any_calls(0..3), speech(), any_calls(3..4), reason, any::<[u16; 6]>()).prop_map(
        |(a, b, c, d, reason, n)| {
            let start = Event::Start { id: "m".to_owned(), model: "c".to_owned(), created: None };
            let [input, cache_read, cache_write, cache_write_1h, output, reasoning] = n.map(u64::from);
            let usage = Usage { input, cache_read, cache_write, cache_write_1h, output, reasoning, ..Usage::default() };
            let end = [Event::Finish { choice: 0, reason, stop_sequence: None }, Event::Usage(usage), Event::End];
            [vec![start], a, b, c, d, end.to_vec()].concat()
        },
    )
}

/// The stream cut into pieces at the given places.
fn cut(stream: &[u8], places: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut at: Vec<usize> = places.iter().map(|place| place.index(stream.len() + 1)).collect();
    at.sort_unstable();
    at.push(stream.len());
    let mut from = 0;
    at.into_iter().map(|to| stream[std::mem::replace(&mut from, to)..to].to_vec()).collect()
}

proptest! {
    #[test]
    fn any_events_make_a_legal_stream_that_reads_back(events in any_reply()) {
        let stream = encode_stream(&events);
        let told = legal(&stream);
        prop_assert!(told.is_ok(), "{told:?}");
        let again = decode_pieces([stream.as_ref()]).expect("what we write");
        let (mut read, wanted) = (gist_of(&again), gist_of(&events));
        if events.iter().any(|event| matches!(event, Event::Refusal { .. })) && wanted["finish"] == "Some(Stop)" {
            prop_assert_eq!(read["finish"].take(), "Some(Refusal)");
            read["finish"] = wanted["finish"].clone();
        }
        prop_assert_eq!(read, wanted);
    }

    #[test]
    fn any_split_is_the_same_stream(events in any_reply(), places in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let stream = encode_stream(&events);
        for stream in [stream.to_vec(), String::from_utf8(stream.to_vec()).expect("text").replace('\n', "\r\n").into_bytes()] {
            let pieces = cut(&stream, &places);
            let split = decode_pieces(pieces.iter().map(Vec::as_slice)).expect("what we write");
            let whole = decode_pieces([stream.as_slice()]).expect("what we write");
            prop_assert_eq!(format!("{:?}", split), format!("{:?}", whole));
            let tapped = tap_pieces(pieces.iter().map(Vec::as_slice));
            prop_assert!(tapped.ended && tapped.seen.ended);
            prop_assert!(tapped.passed == stream, "the bytes that pass");
            let straight = tap_pieces([stream.as_slice()]);
            prop_assert_eq!(format!("{:?}", tapped.seen), format!("{:?}", straight.seen));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
        use crate::anthropic_messages::AnthropicMessages;
        use crate::dialect::{ClientDialect, Dialect};
        let half = at.index(bytes.len() + 1);
        decode_pieces([&bytes[..half], &bytes[half..]]).ok();
        tap_pieces([&bytes[..half], &bytes[half..]]);
        AnthropicMessages.decode_request(&bytes).ok();
        AnthropicMessages.decode_reply(&bytes).ok();
        AnthropicMessages.usage_of_reply(&bytes);
        AnthropicMessages.decode_error(500, &bytes);
    }
}
