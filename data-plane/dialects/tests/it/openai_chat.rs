//! The OpenAI chat dialect on recorded traffic and on arbitrary streams.

use bytes::{Bytes, BytesMut};
use gateway_dialects::dialect::{ClientDialect, Dialect, ReplyContext, TapOptions, Upstream};
use gateway_dialects::legal;
use gateway_dialects::openai_chat::OpenAiChat;
use gateway_ir::event::Event;
use gateway_ir::fold::{Block, Reply, fold, unfold};
use gateway_ir::quirks::Quirks;

mod properties;
mod traffic;

fn context() -> ReplyContext {
    ReplyContext {
        request_id: "r1".to_owned(),
        model: "m".to_owned(),
        created: 7,
        include_usage: true,
        functions: false,
        stored: false,
        previous: None,
        conversation: None,
    }
}

/// Ends the test where a stream is not what clients rely on.
fn check_legal(stream: &[u8], wants_usage: bool) {
    if let Err(why) = legal::check(Dialect::id(&OpenAiChat), stream, wants_usage) {
        panic!("{why}:\n{}", String::from_utf8_lossy(stream));
    }
}

/// Decodes a stream that comes in pieces cut at `cuts`.
fn decode_stream(stream: &[u8], cuts: &[usize]) -> Vec<Event> {
    let mut decoder = OpenAiChat.stream_decoder();
    let mut events = Vec::new();
    for piece in pieces(stream, cuts) {
        decoder.push(piece, &mut events).expect("a stream of this dialect");
    }
    decoder.finish(&mut events).expect("a stream of this dialect");
    events
}

fn encode_stream(events: &[Event], context: &ReplyContext) -> BytesMut {
    let mut encoder = OpenAiChat.stream_encoder(context);
    let mut out = BytesMut::new();
    events.iter().for_each(|event| encoder.push(event, &mut out));
    encoder.end(&mut out);
    out
}

/// What passes a tap, and what it saw. `None` where the tap calls the stream cut.
fn tap(stream: &[u8], cuts: &[usize], options: TapOptions) -> (Vec<u8>, bool, gateway_dialects::dialect::Seen) {
    let mut tap = OpenAiChat.stream_tap(options);
    let mut out = Vec::new();
    for piece in pieces(stream, cuts) {
        out.extend_from_slice(&tap.push(Bytes::copy_from_slice(piece)).expect("small events"));
    }
    let is_whole = match tap.finish() {
        Ok(rest) => {
            out.extend_from_slice(&rest);
            true
        }
        Err(_) => false,
    };
    (out, is_whole, tap.seen().clone())
}

fn pieces<'s>(stream: &'s [u8], cuts: &[usize]) -> Vec<&'s [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.sort_unstable();
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain(std::iter::once(stream.len()));
    starts.zip(ends).map(|(start, end)| &stream[start..end]).collect()
}

/// What a client reads out of a choice.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    text: String,
    refusal: String,
    reasoning: String,
    calls: Vec<(String, serde_json::Value)>,
}

fn told(reply: &Reply, position: usize) -> Told {
    let mut told = Told::default();
    let blocks = reply.choices.get(position).map(|choice| choice.blocks.as_slice()).unwrap_or_default();
    for block in blocks {
        match block {
            Block::Text { text, .. } => told.text.push_str(text),
            Block::Refusal { text } => told.refusal.push_str(text),
            Block::Reasoning { text, .. } => told.reasoning.push_str(text),
            Block::ToolCall { name, arguments, .. } => told.calls.push((name.clone(), arguments_of(arguments))),
            _ => {}
        }
    }
    told
}

/// Arguments as a value; a call without any has `{}`, and what is no JSON stays text.
fn arguments_of(text: &str) -> serde_json::Value {
    let text = if text.is_empty() { "{}" } else { text };
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// The reply that our own whole encoding of `reply` decodes to.
fn whole_round_trip(reply: &Reply) -> Reply {
    fold(OpenAiChat.decode_reply(&OpenAiChat.encode_reply(reply, &context())).expect("our own encoding"))
}

/// The reply that our own stream of `reply` decodes to.
fn stream_round_trip(reply: &Reply) -> Reply {
    fold(decode_stream(&encode_stream(&unfold(reply), &context()), &[]))
}

fn plain_upstream(quirks: &Quirks) -> Upstream<'_> {
    Upstream { model: "own", stream: false, quirks }
}
