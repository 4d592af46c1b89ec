//! What a dialect is: bytes ⇄ canonical values, both directions, without I/O.
//!
//! Every dialect is spoken to upstreams ([`Dialect`]); some are spoken by clients too ([`ClientDialect`]), and only these can
//! have the same dialect on both sides, so that bytes pass. Streams are push parsers: bytes in, events out, whatever the chunk
//! boundaries.

use bytes::{BufMut as _, Bytes, BytesMut};
use gateway_ir::chat::ChatRequest;
use gateway_ir::dialect::Dialect as Id;
use gateway_ir::event::Event;
use gateway_ir::failure::Failure;
use gateway_ir::fold::Reply;
use gateway_ir::quirks::Quirks;
use gateway_ir::usage::Usage;
use serde_json::value::RawValue;

use crate::fields;

/// A wire language, as we speak it to upstreams. One `static` value per dialect, listed in [`crate::registry`].
pub trait Dialect: Send + Sync {
    fn id(&self) -> Id;

    /// The upstream's request. What the upstream cannot be told is named in `dropped`, or refused.
    fn encode_request(&self, request: &ChatRequest, upstream: &Upstream<'_>) -> Result<Encoded, Box<Failure>>;
    /// A whole reply as events (fold them). Ends with `Event::End`, or holds `Event::Error`.
    fn decode_reply(&self, body: &[u8]) -> Result<Vec<Event>, Box<Failure>>;
    fn stream_decoder(&self) -> Box<dyn StreamDecoder>;
    /// An error answer of the upstream. `body` is capped by the caller.
    fn decode_error(&self, status: u16, body: &[u8]) -> Failure;

    /// The media type of its streams.
    fn stream_media_type(&self) -> &'static str {
        "text/event-stream"
    }
}

/// A wire language that clients speak as well.
pub trait ClientDialect: Dialect {
    /// Reads a client's request. Errors name the field.
    fn decode_document(&self, document: &RawValue) -> Result<ChatRequest, Box<Failure>>;
    /// The same, of a body that nobody has looked at.
    fn decode_request(&self, body: &[u8]) -> Result<ChatRequest, Box<Failure>> {
        self.decode_document(fields::document(body)?)
    }
    /// A whole reply, as the client expects it.
    fn encode_reply(&self, reply: &Reply, context: &ReplyContext) -> Bytes;
    fn stream_encoder(&self, context: &ReplyContext) -> Box<dyn StreamEncoder>;
    /// Body of an error answer (status and headers are the caller's business).
    fn encode_error(&self, failure: &Failure, request_id: &str) -> Bytes;

    // ---- same dialect on both sides: the bytes pass

    /// Whether a request holds words of another vendor in fields that are this one's own, so that its bytes may not just pass.
    /// One scan; beside [`crate::signed_id::is_in`], which concerns every dialect.
    fn holds_foreign(&self, _body: &[u8]) -> bool {
        false
    }
    /// Watches a passing stream (usage, finish, end) and edits only what must differ.
    fn stream_tap(&self, options: TapOptions) -> Box<dyn StreamTap>;
    /// Usage in the tail of a passing whole reply, without building it.
    fn usage_of_reply(&self, body: &[u8]) -> Option<Usage>;
}

/// A dialect whose upstreams can say how many tokens a request is, without answering it.
pub trait Counter: Dialect {
    /// The request of that operation. What the upstream cannot be told is named in `dropped`, or refused.
    fn encode_count(&self, request: &ChatRequest, upstream: &Upstream<'_>) -> Result<Encoded, Box<Failure>>;
    /// The number in the upstream's answer.
    fn decode_counted(&self, body: &[u8]) -> Result<u64, Box<Failure>>;
}

/// A dialect whose clients ask how many tokens a request is.
pub trait ClientCounter: ClientDialect {
    /// Reads a client's question: a request without what only a reply needs. Errors name the field.
    fn decode_count(&self, document: &RawValue) -> Result<ChatRequest, Box<Failure>> {
        self.decode_document(document)
    }

    /// Whether a question may go on as it stands to an upstream of the same dialect, but for the member `model`.
    fn may_pass(&self, _body: &[u8]) -> bool {
        true
    }

    /// The answer, as the client expects it.
    fn encode_counted(&self, n_tokens: u64) -> Bytes;
}

/// What a reply must say about itself where the upstream said nothing.
#[derive(Clone, Debug)]
pub struct ReplyContext {
    /// Used where the upstream gave no id. Unique per request, without the dialect's prefix.
    pub request_id: String,
    /// Model name the client is told if the upstream named none.
    pub model: String,
    /// Unix seconds, used where the upstream gave no time.
    pub created: i64,
    /// The client asked for usage in the stream.
    pub include_usage: bool,
    /// The client asked in OpenAI's form before tools: its call is told as `function_call`.
    pub functions: bool,
    /// The reply will be kept for its client to ask for again.
    pub stored: bool,
    /// The response that the request goes on from.
    pub previous: Option<String>,
    /// The conversation that the reply becomes a part of.
    pub conversation: Option<String>,
}

/// What the encoder must know of the target. Quirks are declared in the provider catalogue, never guessed from names.
#[derive(Clone, Debug)]
pub struct Upstream<'a> {
    /// The target's own model name, opaque.
    pub model: &'a str,
    /// Call the upstream with streaming (may differ from what the client asked).
    pub stream: bool,
    pub quirks: &'a Quirks,
}

/// A request ready to be sent.
#[derive(Clone, Debug)]
pub struct Encoded {
    pub body: Bytes,
    /// Names of what could not be said to this upstream, in the client's words.
    pub dropped: Vec<String>,
    /// Headers that belong to the body (`anthropic-beta`). Never credentials.
    pub headers: Vec<(&'static str, String)>,
}

/// Upstream bytes → events. Any split of the same bytes gives the same events.
pub trait StreamDecoder: Send {
    /// Feeds a chunk; appends what it completes. After an `Err` the stream is garbage and must be dropped.
    fn push(&mut self, chunk: &[u8], events: &mut Vec<Event>) -> Result<(), Box<Failure>>;
    /// The upstream closed. Appends what the end itself completes; says nothing if the stream was cut.
    fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), Box<Failure>>;
}

/// Events → client bytes. What it writes for an event can be sent at once: nothing is held back for a later event, except
/// what the client's dialect puts in one place (a finish and its usage).
pub trait StreamEncoder: Send {
    fn push(&mut self, event: &Event, out: &mut BytesMut);
    /// The upstream finished properly: writes what is still owed (usage, terminal mark).
    fn end(&mut self, out: &mut BytesMut);
    /// Another upstream, named `by`, goes on with the reply. Marked by what every reader of event streams skips, a comment; not where
    /// a vendor's own clients stumble over these.
    fn goes_on(&mut self, by: &str, out: &mut BytesMut) {
        out.put_slice(b": x-gateway-continued-by: ");
        out.put_slice(by.replace(['\r', '\n'], " ").as_bytes());
        out.put_slice(b"\n\n");
    }
    /// The reply cannot be finished: one error event in the client's dialect, and no terminal mark.
    fn fail(&mut self, failure: &Failure, out: &mut BytesMut);
}

/// What a passing stream needs beyond watching.
#[derive(Clone, Copy, Debug, Default)]
pub struct TapOptions {
    /// We asked the upstream for usage, the client did not: take the usage event out.
    pub strip_usage: bool,
}

/// Watches a stream whose bytes pass through unchanged, event by event.
pub trait StreamTap: Send {
    /// Takes a chunk as it came; returns the bytes to forward now (most often the same chunk, without a copy). Bytes of an
    /// incomplete event may be held until it is whole; a held event is bounded.
    fn push(&mut self, chunk: Bytes) -> Result<Bytes, Box<Failure>>;
    /// The upstream closed cleanly. Returns the last bytes to forward: what was held, plus the terminal mark if the stream
    /// finished without saying it. `Err` if the stream never finished: the caller then writes `fail`.
    fn finish(&mut self) -> Result<Bytes, Box<Failure>>;
    /// One error event, no terminal mark; for a stream that was cut.
    fn fail(&mut self, failure: &Failure) -> Bytes;
    fn seen(&self) -> &Seen;
}

/// What a tap learned.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub usage: Option<Usage>,
    /// A finish reason (every choice's, as far as known) was seen.
    pub finished: bool,
    /// The dialect's terminal mark was seen.
    pub ended: bool,
    /// The upstream sent an error event inside the stream.
    pub error: Option<Box<Failure>>,
    /// Events that carried content (for counting where no usage came).
    pub content_events: u64,
    /// Bytes of content seen (same purpose).
    pub content_bytes: u64,
    /// What came last was reasoning: the model may think on for long before it says the next thing.
    pub is_reasoning: bool,
}
