//! What every input must satisfy. An input is a byte that chooses what it is fed to, a byte that says where it is split, and data.
//!
//! No panic; any split gives the same events; and whatever an upstream sends, every client is told something legal.

use bytes::{Bytes, BytesMut};
use gateway_dialects::dialect::{ReplyContext, TapOptions, Upstream};
use gateway_dialects::framing::eventstream;
use gateway_dialects::legal::{Ending, check};
use gateway_dialects::{registry, repair, signed_id};
use gateway_ir::dialect::Dialect as Id;
use gateway_ir::event::Event;
use gateway_ir::facts::{Facts, Rewrite};
use gateway_ir::failure::{Code, Failure};
use gateway_ir::fold::fold;
use gateway_ir::legal::{Legality, Verdict};
use gateway_ir::quirks::Quirks;
use serde_json::value::RawValue;

/// What the first byte chooses; `fuzz.py` knows these numbers.
const REPLY: u8 = 0;
const STREAM: u8 = 1;
const REQUEST: u8 = 2;
const PASSING: u8 = 3;
const LINES: u8 = 4;
const N_KINDS: u8 = 5;

/// One input for all that decodes a dialect.
pub fn dialect(id: Id, input: &[u8]) {
    let [kind, split, data @ ..] = input else { return };
    let at = data.len() * usize::from(*split) / 255;
    match kind % N_KINDS {
        REPLY => reply(id, data),
        STREAM => stream(id, data, at),
        REQUEST => request(id, data),
        PASSING => passing(id, data, at),
        LINES => {
            let framed = framed(id, data);
            stream(id, &framed, framed.len() * usize::from(*split) / 255);
        }
        _ => {}
    }
}

fn context() -> ReplyContext {
    ReplyContext {
        request_id: "r".to_owned(),
        model: "m".to_owned(),
        created: 7,
        include_usage: true,
        functions: false,
        stored: false,
        previous: None,
        conversation: None,
    }
}

fn clients() -> impl Iterator<Item = Id> {
    Id::ALL.into_iter().filter(|id| registry::client_dialect(*id).is_some())
}

fn reply(id: Id, data: &[u8]) {
    let upstream = registry::dialect(id);
    for status in [400, 429, 500] {
        upstream.decode_error(status, data);
    }
    let Ok(events) = upstream.decode_reply(data) else { return };
    let reply = fold(events);
    for client in clients().filter_map(registry::client_dialect) {
        let told = client.encode_reply(&reply, &context());
        serde_json::from_slice::<&RawValue>(&told).expect("what clients are told is JSON");
    }
}

/// Each line as one event, framed as the dialect wants it, so that changes reach what is behind the framing. For Bedrock a line
/// begins with the event's name.
fn framed(id: Id, data: &[u8]) -> Vec<u8> {
    let frame = |line: &[u8]| match id {
        Id::BedrockConverse => {
            let name = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
            let (name, payload) = line.split_at(name);
            eventstream::message("event", &String::from_utf8_lossy(&name[..name.len().min(64)]), payload.trim_ascii())
        }
        Id::OllamaChat => [line, b"\n"].concat(),
        _ => [b"data: ", line, b"\n\n"].concat(),
    };
    data.split(|byte| *byte == b'\n').flat_map(frame).collect()
}

fn decode(id: Id, pieces: [&[u8]; 2]) -> Result<Vec<Event>, Box<Failure>> {
    let (mut decoder, mut events) = (registry::dialect(id).stream_decoder(), Vec::new());
    for piece in pieces {
        decoder.push(piece, &mut events)?;
    }
    decoder.finish(&mut events)?;
    Ok(events)
}

fn stream(id: Id, data: &[u8], at: usize) {
    let whole = decode(id, [data, b""]);
    let split = decode(id, [&data[..at], &data[at..]]);
    assert_eq!(whole.is_ok(), split.is_ok(), "split at {at}: {whole:?} {split:?}");
    let Ok(events) = whole else { return };
    assert_eq!(format!("{events:?}"), format!("{:?}", split.ok()).trim_start_matches("Some(").trim_end_matches(')'));
    clients().for_each(|client| tell(client, &events));
}

/// As a node does it; the client's stream must be legal.
fn tell(id: Id, events: &[Event]) {
    let client = registry::client_dialect(id).expect("clients speak it");
    let (mut encoder, mut out, mut legality) =
        (client.stream_encoder(&context()), BytesMut::new(), Legality::default());
    let (mut failure, mut has_usage) = (None, false);
    for event in events {
        match (legality.judge(event), event) {
            (Verdict::Drop(_), _) => continue,
            (Verdict::Refuse(breach), _) => failure = Some(Failure::new(Code::UpstreamGarbage, breach.to_string())),
            (_, Event::Error(told)) => failure = Some((**told).clone()),
            (verdict, _) => {
                if verdict == Verdict::Open {
                    let start = Event::Start { id: String::new(), model: String::new(), created: None };
                    encoder.push(&start, &mut out);
                }
                has_usage |= matches!(event, Event::Usage(_));
                encoder.push(event, &mut out);
            }
        }
        if failure.is_some() {
            break;
        }
    }
    if !legality.is_finished() {
        failure.get_or_insert_with(|| Failure::new(Code::UpstreamCut, "cut"));
    }
    match &failure {
        Some(failure) => encoder.fail(failure, &mut out),
        None => encoder.end(&mut out),
    }
    let told = match check(id, &out, has_usage) {
        Ok(told) => told,
        // JSON, though not everybody's, passes as it came: half a character, escaped; a number beyond all floats.
        Err(why) if why.contains("hex escape") || why.contains("number out of range") => return,
        Err(why) => panic!("{id}: {why}\n{}", String::from_utf8_lossy(&out)),
    };
    assert!(failure.is_none() || told.ending == Ending::Failed, "{id}: a failure told as success");
}

fn request(id: Id, data: &[u8]) {
    signed_id::is_in(data);
    scan(id, data);
    let Some(client) = registry::client_dialect(id) else { return };
    let Ok(request) = client.decode_request(data) else { return };
    for upstream in Id::ALL.map(registry::dialect) {
        for stream in [false, true] {
            let target = Upstream { model: "m", stream, quirks: &Quirks::default() };
            let Ok(encoded) = upstream.encode_request(&request, &target) else { continue };
            serde_json::from_slice::<&RawValue>(&encoded.body).expect("what upstreams are told is JSON");
            if upstream.id() == id {
                let again = client.decode_request(&encoded.body).expect("what we write we read");
                assert!(again.repaired.is_empty(), "repaired twice: {:?}", again.repaired);
            }
        }
    }
}

/// What routing reads of a body that may pass, and the body that goes on.
fn scan(id: Id, data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    let Ok(facts) = Facts::scan(&body) else { return };
    assert_eq!(Some(facts.document.raw().get()), std::str::from_utf8(data).ok().map(str::trim_ascii));
    repair::is_needed(id, &facts, data);
    let rewrite = Rewrite { model: "other", ask_usage: true, stream: Some(true) };
    let body = facts.rewrite(&body, &rewrite).concat().into();
    let again = Facts::scan(&body).expect("a body stays a body");
    assert!(again.model == "other" && again.include_usage, "{}", String::from_utf8_lossy(&body));
}

fn passing(id: Id, data: &[u8], at: usize) {
    let Some(client) = registry::client_dialect(id) else { return };
    client.usage_of_reply(data);
    for strip_usage in [false, true] {
        let mut tap = client.stream_tap(TapOptions { strip_usage });
        let mut passed = Vec::new();
        for piece in [&data[..at], &data[at..]] {
            let Ok(out) = tap.push(Bytes::copy_from_slice(piece)) else { return };
            passed.extend_from_slice(&out);
        }
        assert!(strip_usage || data.starts_with(&passed), "bytes that pass are the upstream's");
        tap.finish().ok();
    }
}
