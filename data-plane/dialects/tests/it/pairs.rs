//! What holds on every pair of dialects, upstream and client, of the registry: a legal stream becomes a legal stream that says the
//! same, however it was split, and a cut one never looks whole.

use bytes::BytesMut;
use gateway_dialects::dialect::{ClientDialect, ReplyContext};
use gateway_dialects::legal::{self, Ending};
use gateway_dialects::registry;
use gateway_ir::dialect::Dialect as Id;
use gateway_ir::event::Event;
use gateway_ir::failure::{Code, Failure};
use gateway_ir::fold::{Fold, Reply, fold};
use gateway_ir::legal::{Legality, Verdict};
use proptest::prelude::*;

use self::plan::{Plan, Said, Shape, plans, shapes};

mod plan;
mod render;
mod requests;
mod nasty;

/// Every dialect that clients speak.
pub(crate) fn clients() -> impl Iterator<Item = &'static dyn ClientDialect> {
    Id::ALL.into_iter().filter_map(registry::client_dialect)
}

fn context(include_usage: bool) -> ReplyContext {
    ReplyContext {
        request_id: "r1".to_owned(),
        model: "asked".to_owned(),
        created: 7,
        include_usage,
        functions: false,
        stored: false,
        previous: None,
        conversation: None,
    }
}

/// The events of an upstream's stream that comes in pieces, and whether all that came was understood.
fn decode<'p>(upstream: Id, pieces: impl IntoIterator<Item = &'p [u8]>) -> (Vec<Event>, Result<(), Box<Failure>>) {
    let (mut decoder, mut events) = (registry::dialect(upstream).stream_decoder(), Vec::new());
    for piece in pieces {
        if let Err(failure) = decoder.push(piece, &mut events) {
            return (events, Err(failure));
        }
    }
    let finished = decoder.finish(&mut events);
    (events, finished)
}

/// What a client gets for events, whole or, where the upstream did not finish, with an error last.
fn encode(client: &dyn ClientDialect, events: &[Event], include_usage: bool, is_whole: bool) -> Vec<u8> {
    let (mut encoder, mut out) = (client.stream_encoder(&context(include_usage)), BytesMut::new());
    events.iter().for_each(|event| encoder.push(event, &mut out));
    match is_whole {
        true => encoder.end(&mut out),
        false => encoder.fail(&Failure::new(Code::UpstreamCut, "cut"), &mut out),
    }
    out.to_vec()
}

/// What a node makes of events, `read` to their end or not: what the client gets as a stream, how that ends, and whether a caller of
/// whole replies gets one.
fn told_by_a_node(client: &dyn ClientDialect, events: &[Event], read: bool) -> (Vec<u8>, Result<Ending, String>, bool) {
    let (mut legality, mut kept, mut failed) = (Legality::default(), Vec::new(), !read);
    for event in events {
        match legality.judge(event) {
            Verdict::Drop(_) => continue,
            Verdict::Refuse(_) => failed = true,
            Verdict::Legal | Verdict::Open => failed |= matches!(event, Event::Error(_)),
        }
        if failed {
            break;
        }
        kept.push(event.clone());
    }
    let is_whole = !failed && legality.is_finished();
    let told = encode(client, &kept, true, is_whole);
    let ending = legal::check(client.id(), &told, true).map(|told| told.ending);
    let reply = fold(kept);
    (told, ending, !failed && (reply.ended || reply.choices.iter().any(|choice| choice.finish.is_some())))
}

/// What a client understands of a stream.
fn understood(client: Id, stream: &[u8]) -> Reply {
    let (events, finished) = decode(client, [stream]);
    finished.expect("what we write can be read");
    fold(events)
}

fn pieces<'s>(stream: &'s [u8], cuts: &[prop::sample::Index]) -> Vec<&'s [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    at.sort_unstable();
    let starts = std::iter::once(0).chain(at.iter().copied());
    starts.zip(at.iter().copied().chain([stream.len()])).map(|(from, to)| &stream[from..to]).collect()
}

/// The events of a stream, proven legal.
fn legal_events(upstream: Id, stream: &[u8]) -> Vec<Event> {
    let (events, finished) = decode(upstream, [stream]);
    assert!(finished.is_ok(), "{upstream}: {finished:?}");
    let mut legality = Legality::default();
    for event in &events {
        assert_eq!(legality.judge(event), Verdict::Legal, "{upstream}: {event:?} in {events:?}");
    }
    assert!(legality.is_finished() && matches!(events.last(), Some(Event::End)), "{upstream}: {events:?}");
    events
}

fn check_pairs(plan: &Plan, shape: &Shape, include_usage: bool) {
    for upstream in Id::ALL {
        let plan = plan.sayable_in(upstream);
        let stream = render::stream(upstream, &plan, shape);
        let events = legal_events(upstream, &stream);
        let reply = fold(events.clone());
        for client in clients() {
            let id = client.id();
            let mut expected = plan.said(upstream, id, shape);
            let has_ids = expected.calls.iter().all(|call| call.0.is_some());
            let told = encode(client, &events, include_usage, true);
            let text = || {
                format!("{upstream} to {id}\n{}\n{}", String::from_utf8_lossy(&stream), String::from_utf8_lossy(&told))
            };
            match legal::check(id, &told, include_usage) {
                Ok(checked) => assert_eq!(checked.ending, Ending::Finished, "{}", text()),
                Err(rule) => panic!("{rule}\n{}", text()),
            }
            let whole = fold(client.decode_reply(&client.encode_reply(&reply, &context(true))).expect("our own reply"));
            let whole = Said::of(&whole, has_ids);
            assert_eq!(
                (&whole.thought, &whole.calls, whole.finish, whole.tokens),
                (&expected.thought, &expected.calls, expected.finish, expected.tokens),
                "{}",
                text()
            );
            let understood = understood(id, &told);
            assert!(understood.ended, "{}", text());
            let usage_is_asked = matches!(id, Id::OpenAiChat | Id::OpenAiCompletions);
            if usage_is_asked && !include_usage {
                expected.tokens = (0, 0);
            }
            assert_eq!(Said::of(&understood, has_ids), expected, "{}", text());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_legal_stream_becomes_a_legal_stream_that_says_the_same(plan in plans(), shape in shapes(), include_usage in any::<bool>()) {
        check_pairs(&plan, &shape, include_usage);
    }

    /// Encoders see events and never pieces, so that equal events are an equal stream for every client.
    #[test]
    fn any_split_gives_the_same_stream(
        plan in plans(), shape in shapes(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)
    ) {
        for upstream in Id::ALL {
            let stream = render::stream(upstream, &plan.sayable_in(upstream), &shape);
            let events = legal_events(upstream, &stream);
            for pieces in [pieces(&stream, &cuts), stream.chunks(1).collect()] {
                let (split, finished) = decode(upstream, pieces);
                prop_assert!(finished.is_ok(), "{}: {:?}", upstream, finished);
                prop_assert_eq!(format!("{:?}", &split), format!("{:?}", &events));
            }
        }
    }

    /// Cut anywhere, a stream ends with an error for the client, unless all that was to be said had been said.
    #[test]
    fn a_cut_stream_is_never_whole(plan in plans(), shape in shapes(), cut in any::<prop::sample::Index>()) {
        for upstream in Id::ALL {
            let plan = plan.sayable_in(upstream);
            let stream = render::stream(upstream, &plan, &shape);
            let (events, finished) = decode(upstream, [&stream[..cut.index(stream.len())]]);
            let (mut legality, mut seen) = (Legality::default(), Fold::default());
            for event in &events {
                prop_assert_eq!(legality.judge(event), Verdict::Legal, "{}: {:?}", upstream, events);
                seen.push(event.clone());
            }
            let is_whole = finished.is_ok() && legality.is_finished();
            if is_whole {
                let (mut told, mut all) = (Said::of(&seen.finish(), false), Said::of(&fold(legal_events(upstream, &stream)), false));
                (told.tokens, all.tokens) = ((0, 0), (0, 0));
                prop_assert_eq!(told, all, "{}", upstream);
                continue;
            }
            for client in clients() {
                let told = encode(client, &events, false, false);
                let checked = legal::check(client.id(), &told, false);
                prop_assert!(checked.as_ref().is_ok_and(|told| told.ending == Ending::Failed),
                    "{} to {}: {:?}\n{}", upstream, client.id(), checked.err(), String::from_utf8_lossy(&told));
            }
        }
    }
}
