//! The legacy completions dialect on recorded traffic: what was said comes back, plain, streamed and passing.

use bytes::{Bytes, BytesMut};
use gateway_dialects::dialect::{ClientDialect, Dialect, ReplyContext, TapOptions};
use gateway_dialects::openai_completions::OpenAiCompletions;
use gateway_ir::fold::{Reply, fold};
use serde_json::Value;

use crate::recorded::{Fixture, fixtures};

/// Text, finish reason and number of logprobs by choice.
type Told = Vec<(u64, String, Option<String>, usize)>;

fn in_objects(objects: &[Value]) -> Told {
    let mut told: Told = Vec::new();
    for choice in objects.iter().flat_map(|object| object["choices"].as_array().into_iter().flatten()) {
        let index = choice["index"].as_u64().expect("an index");
        let at = told.iter().position(|known| known.0 == index).unwrap_or_else(|| {
            told.push((index, String::new(), None, 0));
            told.len() - 1
        });
        told[at].1.push_str(choice["text"].as_str().unwrap_or_default());
        told[at].2 = choice["finish_reason"].as_str().map(str::to_owned).or(told[at].2.take());
        told[at].3 += choice["logprobs"]["tokens"].as_array().map_or(0, Vec::len);
    }
    told.sort();
    told
}

fn objects(text: &str) -> Vec<Value> {
    match text.starts_with('{') {
        true => vec![serde_json::from_str(text).expect("JSON")],
        false => {
            text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?.trim()).ok()).collect()
        }
    }
}

fn decoded(fixture: &Fixture) -> Reply {
    if !fixture.stream {
        return fold(OpenAiCompletions.decode_reply(fixture.reply.as_bytes()).expect("a reply"));
    }
    let (mut decoder, mut events) = (OpenAiCompletions.stream_decoder(), Vec::new());
    for piece in fixture.reply.as_bytes().chunks(7) {
        decoder.push(piece, &mut events).expect("a stream");
    }
    decoder.finish(&mut events).expect("a stream");
    fold(events)
}

#[test]
fn recorded_replies_are_told_again() {
    for fixture in fixtures("openai-completions") {
        if fixture.status >= 400 {
            let failure = OpenAiCompletions.decode_error(fixture.status, fixture.reply.as_bytes());
            assert_eq!(fixture.expected["error"]["message"], failure.message.as_ref(), "{}", fixture.id);
            assert_eq!(fixture.expected["error"]["status"], failure.status, "{}", fixture.id);
            continue;
        }
        let recorded = in_objects(&objects(&fixture.reply));
        let reply = decoded(&fixture);
        let context = ReplyContext {
            request_id: "r".to_owned(),
            model: "m".to_owned(),
            created: 7,
            include_usage: true,
            functions: false,
            stored: false,
            previous: None,
            conversation: None,
        };
        let whole = OpenAiCompletions.encode_reply(&reply, &context);
        let whole = std::str::from_utf8(&whole).expect("text");
        assert_eq!(in_objects(&objects(whole)), recorded, "{} whole", fixture.id);
        let mut stream = BytesMut::new();
        let mut encoder = OpenAiCompletions.stream_encoder(&context);
        gateway_ir::fold::unfold(&reply).iter().for_each(|event| encoder.push(event, &mut stream));
        encoder.end(&mut stream);
        let stream = std::str::from_utf8(&stream).expect("text");
        assert_eq!(in_objects(&objects(stream)), recorded, "{} streamed", fixture.id);
        assert_eq!(OpenAiCompletions.usage_of_reply(fixture.reply.as_bytes()), reply.usage, "{}", fixture.id);
    }
}

#[test]
fn recorded_streams_pass_as_they_are() {
    for fixture in fixtures("openai-completions").into_iter().filter(|fixture| fixture.stream) {
        let mut tap = OpenAiCompletions.stream_tap(TapOptions { strip_usage: true });
        let mut out = Vec::new();
        for piece in fixture.reply.as_bytes().chunks(11) {
            out.extend_from_slice(&tap.push(Bytes::copy_from_slice(piece)).expect("small events"));
        }
        out.extend_from_slice(&tap.finish().expect("a whole stream"));
        assert_eq!(String::from_utf8(out).expect("text"), fixture.reply, "{}", fixture.id);
    }
}
