//! Every upstream dialect to every client dialect: whatever legal stream comes, split wherever, the client's stream is legal, the same,
//! and says the same.

use bytes::BytesMut;
use gateway_ir::dialect::Dialect as Id;
use gateway_ir::event::{Event, FinishReason};
use gateway_ir::failure::{Code, Failure};
use gateway_ir::fold::{Block, fold};
use gateway_ir::legal::{Legality, Verdict};
use gateway_ir::usage::Usage;
use proptest::prelude::*;
use serde_json::Value;

use super::{Ending, check};
use crate::dialect::ReplyContext;
use crate::registry;

mod render;
mod nasty;

/// A stretch of a reply.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Text(Vec<String>),
    Reasoning(Vec<String>),
    /// A name, and an object in JSON.
    Call(String, String),
}

/// What a caller reads out of a reply.
#[derive(Debug, Default, PartialEq)]
struct Gist {
    text: String,
    reasoning: String,
    calls: Vec<(String, Value)>,
}

fn context() -> ReplyContext {
    ReplyContext { request_id: "r1".to_owned(), model: "m".to_owned(), created: 7, include_usage: true, functions: false }
}

/// Quotes, line ends, words of the framings and letters of several bytes are where framing goes wrong.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "\n\n",
        "data: ",
        "\r",
        "\"\\",
        "é漢🦀",
        "event: error",
        "{}",
        "a ",
        "\u{2028}",
        "[DONE]",
    ]);
    prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat())
}

fn any_parts() -> impl Strategy<Value = Vec<Part>> {
    let said = || prop::collection::vec(any_text(), 1..4);
    let part = prop_oneof![
        3 => said().prop_map(Part::Text),
        2 => said().prop_map(Part::Reasoning),
        2 => ("[a-z]{1,8}", any_text()).prop_map(|(name, text)| {
            Part::Call(name, serde_json::json!({"a": text, "b": [1, {}]}).to_string())
        }),
    ];
    prop::collection::vec(part, 1..6)
}

/// The parts as events, the arguments of calls in two pieces.
fn events_of(parts: &[Part]) -> Vec<Event> {
    let choice = 0;
    let mut events = vec![Event::Start { id: "x1".to_owned(), model: "m1".to_owned(), created: Some(5) }];
    let mut n_calls = 0;
    for part in parts {
        match part {
            Part::Text(pieces) => events.extend(pieces.iter().map(|text| Event::Text { choice, text: text.clone() })),
            Part::Reasoning(pieces) => {
                events.extend(pieces.iter().map(|text| Event::Reasoning { choice, text: text.clone() }));
            }
            Part::Call(name, json) => {
                let (call, id) = (n_calls, format!("c{n_calls}"));
                n_calls += 1;
                events.push(Event::ToolCallStart { choice, call, id, name: name.clone() });
                let half = (0..=json.len() / 2).rev().find(|at| json.is_char_boundary(*at)).unwrap_or(0);
                for piece in [&json[..half], &json[half..]] {
                    events.push(Event::ToolCallArguments { choice, call, json: piece.to_owned() });
                }
            }
        }
    }
    let reason = if n_calls > 0 { FinishReason::ToolCalls } else { FinishReason::Stop };
    events.push(Event::Finish { choice, reason, stop_sequence: None });
    events.push(Event::Usage(Usage { input: 11, output: 3, ..Usage::default() }));
    events.push(Event::End);
    events
}

/// The stream in pieces that end at the given places.
fn cut(stream: &[u8], places: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut ends: Vec<usize> = places.iter().map(|place| place.index(stream.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(stream.len());
    let mut from = 0;
    ends.into_iter().map(|end| stream[std::mem::replace(&mut from, end)..end].to_vec()).collect()
}

fn decode<'p>(id: Id, pieces: impl IntoIterator<Item = &'p [u8]>) -> Result<Vec<Event>, Box<Failure>> {
    let (mut decoder, mut events) = (registry::dialect(id).stream_decoder(), Vec::new());
    for piece in pieces {
        decoder.push(piece, &mut events)?;
    }
    decoder.finish(&mut events)?;
    Ok(events)
}

/// As a node does it: judged, encoded, and ended by what was seen.
fn encode(id: Id, events: Result<Vec<Event>, Box<Failure>>) -> BytesMut {
    let client = registry::client_dialect(id).expect("clients speak it");
    let (mut encoder, mut out, mut legality) =
        (client.stream_encoder(&context()), BytesMut::new(), Legality::default());
    let mut failure = None;
    let (events, cut) = match events {
        Ok(events) => (events, None),
        Err(failure) => (Vec::new(), Some(failure)),
    };
    for event in &events {
        match (legality.judge(event), event) {
            (Verdict::Refuse(breach), _) => {
                failure = Some(Box::new(Failure::new(Code::UpstreamGarbage, breach.to_string())))
            }
            (Verdict::Drop(_), _) => continue,
            (_, Event::Error(told)) => failure = Some(told.clone()),
            (Verdict::Legal | Verdict::Open, _) => encoder.push(event, &mut out),
        }
        if failure.is_some() {
            break;
        }
    }
    let cut = cut.or_else(|| (!legality.is_finished()).then(|| Box::new(Failure::new(Code::UpstreamCut, "cut"))));
    match failure.or(cut) {
        Some(failure) => encoder.fail(&failure, &mut out),
        None => encoder.end(&mut out),
    }
    out
}

fn gist(events: Vec<Event>) -> Gist {
    let mut gist = Gist::default();
    for block in fold(events).choices.iter().flat_map(|choice| &choice.blocks) {
        match block {
            Block::Text { text, .. } => gist.text.push_str(text),
            Block::Reasoning { text, .. } => gist.reasoning.push_str(text),
            Block::ToolCall { name, arguments, .. } => {
                gist.calls.push((name.clone(), serde_json::from_str(arguments).expect("whole arguments")));
            }
            _ => {}
        }
    }
    gist
}

/// What is left of it in a dialect.
fn said_in(id: Id, events: Vec<Event>) -> Gist {
    let whole = gist(events);
    match id {
        Id::OpenAiCompletions => Gist { text: whole.text, ..Gist::default() },
        _ => whole,
    }
}

fn clients() -> impl Iterator<Item = Id> {
    Id::ALL.into_iter().filter(|id| registry::client_dialect(*id).is_some())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_split_of_any_stream_says_the_same_on_every_pair(
        parts in any_parts(),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let events = events_of(&parts);
        for upstream in Id::ALL {
            let wire = render::stream(upstream, &parts, &events);
            let pieces = cut(&wire, &places);
            let whole = decode(upstream, [wire.as_slice()]).expect("a legal stream");
            let split = decode(upstream, pieces.iter().map(Vec::as_slice)).expect("a legal stream");
            prop_assert_eq!(format!("{:?}", split), format!("{:?}", whole), "{} split", upstream);
            let expected = said_in(upstream, events.clone());
            prop_assert_eq!(&gist(whole.clone()), &expected, "{} read", upstream);
            let usage = fold(whole.clone()).usage.map(|usage| (usage.prompt(), usage.output));
            prop_assert_eq!(usage, Some((11, 3)), "{} usage", upstream);
            for client in clients() {
                let out = encode(client, Ok(whole.clone()));
                let told = check(client, &out, true);
                prop_assert_eq!(told.map(|told| told.ending), Ok(Ending::Finished), "{} to {}", upstream, client);
                let again = decode(client, [out.as_ref()]).expect("what we write we read");
                prop_assert_eq!(gist(again), said_in(client, whole.clone()), "{} to {}", upstream, client);
            }
        }
    }

    /// Cut anywhere, no client is told that it is whole.
    #[test]
    fn a_cut_is_told_as_one_on_every_pair(parts in any_parts(), place in any::<prop::sample::Index>()) {
        let events = events_of(&parts);
        for upstream in Id::ALL {
            let wire = render::stream(upstream, &parts, &events);
            let kept = &wire[..place.index(render::finish(upstream, &wire))];
            for client in clients() {
                let out = encode(client, decode(upstream, [kept]));
                let told = check(client, &out, true);
                prop_assert_eq!(told.map(|told| told.ending), Ok(Ending::Failed), "{} to {}", upstream, client);
            }
        }
    }
}
