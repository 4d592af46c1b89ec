//! What holds for any reply and any split of its bytes.

use gateway_dialects::dialect::TapOptions;
use gateway_ir::event::{Event, FinishReason};
use gateway_ir::fold::{fold, unfold};
use gateway_ir::usage::Usage;
use proptest::prelude::*;

use super::{check_legal, context, decode_stream, encode_stream, stream_round_trip, tap, told, whole_round_trip};

fn deltas() -> impl Strategy<Value = Vec<Event>> {
    // Quotes, line ends, separators and characters of several bytes are where framing goes wrong.
    let text = "[a-z\"\\\\\n\r\u{2028}é漢🦀{}:]{1,12}";
    let choice = 0..2_u32;
    prop::collection::vec(
        prop_oneof![
            (choice.clone(), text).prop_map(|(choice, text)| Event::Text { choice, text }),
            (choice.clone(), text).prop_map(|(choice, text)| Event::Reasoning { choice, text }),
            (choice.clone(), text).prop_map(|(choice, text)| Event::Refusal { choice, text }),
            (choice, "[a-z]{1,8}", prop::collection::vec(text, 0..3)).prop_map(|(choice, name, pieces)| {
                Event::ToolCallArguments {
                    choice,
                    call: pieces.len() as u32,
                    json: format!("{name}{}", pieces.concat()),
                }
            }),
        ],
        1..20,
    )
}

prop_compose! {
    /// The events of a whole reply: arguments become calls of their own, so that calls begin before their pieces.
    fn replies()(deltas in deltas(), input in 0..1000_u64, cached in 0..100_u64, output in 0..1000_u64) -> Vec<Event> {
        let mut events = vec![Event::Start { id: "x1".to_owned(), model: "m1".to_owned(), created: Some(5) }];
        let mut n_calls = [0, 0];
        let mut seen = [false, false];
        for delta in deltas {
            let choice = match &delta {
                Event::Text { choice, .. } | Event::Reasoning { choice, .. } | Event::Refusal { choice, .. }
                | Event::ToolCallArguments { choice, .. } => *choice,
                _ => 0,
            };
            seen[choice as usize] = true;
            match delta {
                Event::ToolCallArguments { json, .. } => {
                    let call = n_calls[choice as usize];
                    n_calls[choice as usize] += 1;
                    events.push(Event::ToolCallStart { choice, call, id: format!("c{choice}{call}"), name: "f".to_owned() });
                    events.push(Event::ToolCallArguments { choice, call, json });
                }
                delta => events.push(delta),
            }
        }
        for choice in 0..2 {
            if seen[choice as usize] {
                let reason = if n_calls[choice as usize] > 0 { FinishReason::ToolCalls } else { FinishReason::Stop };
                events.push(Event::Finish { choice, reason, stop_sequence: None });
            }
        }
        events.push(Event::Usage(Usage { input, cache_read: cached, output, ..Usage::default() }));
        events.push(Event::End);
        events
    }
}

proptest! {
    #[test]
    fn the_fold_of_our_stream_is_our_whole_reply(events in replies()) {
        let reply = fold(events.clone());
        check_legal(&encode_stream(&events, &context()), true);
        let streamed = fold(decode_stream(&encode_stream(&events, &context()), &[]));
        let whole = whole_round_trip(&reply);
        for position in 0..reply.choices.len() {
            prop_assert_eq!(told(&streamed, position), told(&reply, position));
            prop_assert_eq!(told(&whole, position), told(&reply, position));
            prop_assert_eq!(&streamed.choices[position].finish, &reply.choices[position].finish);
            prop_assert_eq!(&whole.choices[position].finish, &reply.choices[position].finish);
        }
        prop_assert_eq!((streamed.usage, whole.usage), (reply.usage, reply.usage));
        prop_assert_eq!(told(&stream_round_trip(&reply), 0), told(&reply, 0));
        prop_assert_eq!(format!("{:?}", fold(unfold(&reply))), format!("{reply:?}"));
    }

    #[test]
    fn any_split_gives_the_same(events in replies(), cuts in prop::collection::vec(any::<usize>(), 0..12), ends in prop::sample::select(vec!["\n", "\r\n", "\r"])) {
        let text = String::from_utf8(encode_stream(&events, &context()).to_vec()).expect("text");
        let stream = text.replace('\n', ends);
        let bytes = stream.as_bytes();
        prop_assert_eq!(format!("{:?}", decode_stream(bytes, &cuts)), format!("{:?}", decode_stream(bytes, &[])));
        for strip_usage in [false, true] {
            let whole = tap(bytes, &[], TapOptions { strip_usage });
            let split = tap(bytes, &cuts, TapOptions { strip_usage });
            prop_assert_eq!(String::from_utf8_lossy(&split.0), String::from_utf8_lossy(&whole.0));
            prop_assert_eq!(split.1, whole.1);
            prop_assert_eq!(format!("{:?}", split.2), format!("{:?}", whole.2));
        }
        prop_assert_eq!(tap(bytes, &cuts, TapOptions::default()).0, bytes);
    }

    /// Cut anywhere, a stream never reads as whole, and what was forwarded ends with a whole event.
    #[test]
    fn a_cut_stream_is_never_whole(events in replies(), keep in 0.0..1.0_f64) {
        let stream = encode_stream(&events, &context());
        let finish = stream.windows(20).position(|window| window.starts_with(b"\"finish_reason\":\"")).expect("a finish");
        let cut = (finish as f64 * keep) as usize;
        let reply = fold(decode_stream(&stream[..cut], &[]));
        prop_assert!(!reply.ended && reply.choices.iter().all(|choice| choice.finish.is_none()));
        let (passed, is_whole, seen) = tap(&stream[..cut], &[], TapOptions::default());
        prop_assert!(!is_whole && !seen.finished && !seen.ended);
        prop_assert!(passed.is_empty() || passed.ends_with(b"\n\n"));
        prop_assert!(stream.starts_with(&passed));
    }

    /// Whatever bytes come: no panic, and nothing that looks like an end.
    #[test]
    fn garbage_is_refused_or_ignored(pieces in prop::collection::vec(prop_oneof![
        Just("data: ".to_owned()), Just("{\"choices\":[{\"delta\":".to_owned()), Just("\n\n".to_owned()), Just("}".to_owned()),
        Just("\"usage\":{\"prompt_tokens\":".to_owned()), Just("[]".to_owned()), Just("\"error\"".to_owned()), "\\PC{0,8}", Just("]".to_owned()),
    ], 0..24)) {
        let stream = pieces.concat();
        let mut decoder = gateway_dialects::dialect::Dialect::stream_decoder(&gateway_dialects::openai_chat::OpenAiChat);
        let mut events = Vec::new();
        if decoder.push(stream.as_bytes(), &mut events).is_ok() {
            decoder.finish(&mut events).ok();
        }
        prop_assert!(!events.iter().any(|event| matches!(event, Event::End)));
        let (_, _, seen) = tap(stream.as_bytes(), &[], TapOptions::default());
        prop_assert!(!seen.ended);
    }
}
