//! A request's way to an upstream and back, before the client has seen any of it: over which targets ([`course`]), what each is
//! sent ([`sending`]), what came back ([`reading`], [`beginning`]), by what was asked for ([`chat`], [`count`], [`task`]).

mod reading;
mod beginning;
mod rest;
mod sending;
mod place;
mod told;
mod count;
mod task;
mod chat;
mod course;
mod hedge;
mod sequel;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use gateway_dialects::dialect::{ClientDialect, ReplyContext, StreamDecoder};
use gateway_dialects::task::{Asked, Family};
use gateway_dialects::{repair, signed_id};
use gateway_engine::retry::Budget;
use gateway_engine::snapshot::Target;
use gateway_ir::chat::ChatRequest;
use gateway_ir::facts::Facts;
use gateway_ir::fold::Reply;
use gateway_ir::usage::Usage;
use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) use self::place::{no_place, place};
pub(crate) use self::reading::{Reading, retry_after};
use self::sending::Sent;
pub(crate) use self::sending::send;
pub(crate) use self::sequel::{Means, Sequel};
use crate::clock;
use crate::ingress::Errand;
use crate::receive::Multipart;
use crate::relay::Bounds;
use crate::tokens::Tokens;
use crate::upstream::{Client, UpstreamBody};

/// Features that a client of Anthropic's asks for; a word for Anthropic and nobody else.
pub(crate) const ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");

/// A JSON reply is held whole up to here, so that its headers are exact.
pub(crate) const MAX_HELD_REPLY: usize = 4 * 1024 * 1024;
/// A reply that must be translated is never larger than this.
pub(crate) const MAX_TRANSLATED_REPLY: usize = 32 * 1024 * 1024;

/// A request on its way to some upstream.
pub(crate) struct Outbound<'a> {
    pub(crate) client: &'a Client,
    pub(crate) tokens: &'a Tokens,
    pub(crate) retries: &'a Budget,
    pub(crate) errand: Errand,
    pub(crate) inbound: &'static dyn ClientDialect,
    pub(crate) body: &'a Bytes,
    pub(crate) facts: &'a Facts,
    /// The client gets a stream.
    pub(crate) stream: bool,
    /// Headers of the client that go on (`anthropic-beta`, `x-request-id`).
    pub(crate) forwarded: HeaderMap,
    pub(crate) terms: Terms,
    /// The body is a form of several parts, or the beginning of one.
    pub(crate) multipart: Option<Box<Multipart>>,
    decoded: OnceLock<Box<ChatRequest>>,
    /// What was said of the reply before it broke off, where the rest is asked for.
    said: Option<&'a str>,
    /// The same of a request that is no conversation.
    asked: Option<Box<dyn Asked>>,
}

/// What the client, or the configuration for it, demands of every attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// No target is asked twice; the others still are.
    pub(crate) once_each: bool,
    /// A target that cannot be told everything is not asked.
    pub(crate) strict: bool,
    /// A second target may be asked beside the first, where that is configured.
    pub(crate) may_hedge: bool,
    /// Another target may go on with a stream that breaks off, where that is configured.
    pub(crate) may_continue: bool,
    /// In place of a policy's time for all of it.
    pub(crate) total: Option<Duration>,
}

/// What came back, before the client has seen any of it.
pub(crate) enum Answer {
    /// A whole reply in the client's own dialect, byte for byte the upstream's.
    Whole { bytes: Bytes, usage: Option<Usage> },
    /// A whole reply, to be encoded for the client.
    Folded(Box<Reply>),
    /// A stream in the client's own dialect.
    Passing { body: UpstreamBody, strip_usage: bool },
    /// A whole reply, too large to hold, in the client's own dialect: what was read, and the rest.
    PassingWhole { head: Bytes, body: UpstreamBody },
    /// A stream to be translated.
    Translating { body: UpstreamBody, decoder: Box<dyn StreamDecoder> },
    /// What a task made, in the client's form, and bytes of what was read for it; no text that a model wrote.
    Made { bytes: Bytes, usage: Option<Usage>, n_read: u64 },
    /// The same where it is no JSON or too large to hold: what was read, and the rest.
    PassingMade {
        family: &'static dyn Family,
        /// Its media type.
        kind: Option<HeaderValue>,
        head: Bytes,
        body: UpstreamBody,
        n_read: u64,
    },
    /// A number of tokens, as the client expects it: the vendor's own, or our estimate.
    Counted { bytes: Bytes, is_exact: bool },
}

/// An answer and where it came from.
pub(crate) struct Answered {
    pub(crate) answer: Answer,
    pub(crate) target: Arc<Target>,
    pub(crate) status: u16,
    /// On what is left of it.
    pub(crate) bounds: Bounds,
    /// What the upstream could not be told.
    pub(crate) dropped: Vec<String>,
    /// How often others may go on with it, should it break off.
    pub(crate) n_continued: u8,
}

/// Bytes pass, or the conversation is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Pass,
    Translate,
}

// === impl Lane ===

impl Lane {
    fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Translate => "translate",
        }
    }

    /// The one place that decides. Bytes pass if both sides speak the same dialect and nothing in them, and nothing that the target
    /// declares, needs the content to be read.
    pub(crate) fn choose(
        client: &dyn ClientDialect,
        target: &Target,
        stream: bool,
        facts: &Facts,
        body: &[u8],
    ) -> Self {
        let inbound = client.id();
        let same = inbound == target.provider.dialect_for(inbound);
        let folds = target.quirks.stream_only && !stream;
        let must_read = || target.quirks.needs_content(inbound, facts.says, body);
        // Ids that carry another vendor's signature are longer than this one takes.
        let is_foreign = || signed_id::is_in(body) || client.holds_foreign(body);
        let may_pass = same && !folds && !must_read() && !is_foreign() && !repair::is_needed(inbound, facts, body);
        if may_pass { Self::Pass } else { Self::Translate }
    }
}

// === impl Outbound ===

impl<'a> Outbound<'a> {
    pub(crate) fn new(
        (client, tokens, retries): (&'a Client, &'a Tokens, &'a Budget),
        (errand, inbound): (Errand, &'static dyn ClientDialect),
        body: &'a Bytes,
        facts: &'a Facts,
        stream: bool,
        forwarded: HeaderMap,
        terms: Terms,
    ) -> Self {
        Self {
            client,
            tokens,
            retries,
            errand,
            inbound,
            body,
            facts,
            stream,
            forwarded,
            terms,
            multipart: None,
            decoded: OnceLock::new(),
            said: None,
            asked: None,
        }
    }
}

/// What a reply must say about itself where the upstream said nothing.
pub(crate) fn reply_context(request_id: &str, model: &str, include_usage: bool, functions: bool) -> ReplyContext {
    ReplyContext {
        request_id: request_id.to_owned(),
        model: model.to_owned(),
        created: clock::unix_seconds(),
        include_usage,
        functions,
        stored: false,
        previous: None,
        conversation: None,
    }
}
