//! The reply's way back to the client: bytes that pass, or events that are translated; either way one event in, one event out,
//! with a tap on usage and a typed ending.

mod lingering;
mod seam;
mod sewing;
mod continuing;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gateway_dialects::dialect::{StreamDecoder, StreamEncoder, StreamTap};
use gateway_ir::event::Event;
use gateway_ir::failure::{Code, Failure};
use gateway_ir::legal::{Breach, Legality, Verdict};
use tokio::time::{Instant, Sleep};

use self::continuing::{Continuing, Spare};
pub(crate) use self::continuing::{Rest, Resume, Told};
use self::lingering::Lingering;
pub(crate) use self::seam::Way;
use self::sewing::Sewing;
use crate::aborts::Halt;
use crate::body::{Aborted, Chunk, ReplyStream};
use crate::record::{Ending, Record};
use crate::upstream::UpstreamBody;

/// How upstream bytes become client bytes.
pub(crate) enum Mode {
    Pass(Box<dyn StreamTap>),
    Translate(Box<Translation>),
}

pub(crate) struct Translation {
    pub(crate) decoder: Box<dyn StreamDecoder>,
    pub(crate) encoder: Box<dyn StreamEncoder>,
    legality: Legality,
    events: Vec<Event>,
    out: BytesMut,
    n_content_bytes: u64,
    is_reasoning: bool,
    /// For streams that are gone on with where they break off.
    sewing: Option<Box<Sewing>>,
}

/// Bounds on the rest of a reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) idle: Duration,
    /// The same while the model is reasoning.
    pub(crate) idle_reasoning: Duration,
    pub(crate) deadline: Instant,
}

/// A streamed reply. Dropped before its end, it aborts the upstream and settles by what has passed.
pub(crate) struct Relay {
    upstream: Option<UpstreamBody>,
    mode: Mode,
    bounds: Bounds,
    /// Wakes at the earliest moment at which a bound could be reached; moved only when it fires.
    alarm: Pin<Box<Sleep>>,
    last_heard: Instant,
    halt: Halt,
    record: Record,
    spare: Option<Box<Spare>>,
    /// Settled figures as trailers, for clients that announced `te: trailers`.
    trailers: Option<fn(&Record) -> http::HeaderMap>,
    done: bool,
    /// Failed without last words.
    cut: bool,
}

// === impl Bounds ===

impl Bounds {
    fn idle(&self, is_reasoning: bool) -> Duration {
        if is_reasoning { self.idle_reasoning } else { self.idle }
    }
}

// === impl Translation ===

impl Translation {
    pub(crate) fn new(decoder: Box<dyn StreamDecoder>, encoder: Box<dyn StreamEncoder>) -> Self {
        let (events, out) = (Vec::with_capacity(8), BytesMut::new());
        Self {
            decoder,
            encoder,
            legality: Legality::default(),
            events,
            out,
            n_content_bytes: 0,
            is_reasoning: false,
            sewing: None,
        }
    }

    /// Feeds bytes and returns what they complete. An error event of the upstream is a failure.
    fn push(&mut self, chunk: &[u8], record: &mut Record) -> Result<Bytes, Box<Failure>> {
        self.decoder.push(chunk, &mut self.events)?;
        if let Some(sewing) = &mut self.sewing {
            sewing.sew(&mut self.events);
        }
        self.encode(record)?;
        Ok(self.out.split().freeze())
    }

    fn finish(&mut self, record: &mut Record) -> Result<Bytes, Box<Failure>> {
        self.decoder.finish(&mut self.events)?;
        self.last(record)
    }

    /// Tells the last events, and the end.
    fn last(&mut self, record: &mut Record) -> Result<Bytes, Box<Failure>> {
        if let Some(sewing) = &mut self.sewing {
            sewing.sew_end(&mut self.events);
        }
        self.encode(record)?;
        // A reply that said why it stopped is whole even where the terminal mark is missing.
        if !self.legality.is_finished() {
            return Err(cut());
        }
        self.encoder.end(&mut self.out);
        Ok(self.out.split().freeze())
    }

    /// On failure what was told before it is written.
    fn encode(&mut self, record: &mut Record) -> Result<(), Box<Failure>> {
        for event in self.events.drain(..) {
            match self.legality.judge(&event) {
                Verdict::Legal => {}
                Verdict::Open => self.encoder.push(&nameless_start(), &mut self.out),
                Verdict::Drop(breach) => {
                    record.breached(breach);
                    continue;
                }
                Verdict::Refuse(breach) => {
                    record.breached(breach);
                    return Err(senseless(breach));
                }
            }
            if let Some(is_reasoning) = event.is_reasoning() {
                self.is_reasoning = is_reasoning;
            }
            match &event {
                Event::Usage(usage) => record.used(*usage),
                Event::Error(failure) => return Err(failure.clone()),
                Event::Text { text, .. } | Event::Reasoning { text, .. } | Event::Refusal { text, .. } => {
                    self.n_content_bytes += text.len() as u64;
                }
                Event::ToolCallArguments { json, .. } => self.n_content_bytes += json.len() as u64,
                _ => {}
            }
            let Some(sewing) = &mut self.sewing else {
                self.encoder.push(&event, &mut self.out);
                continue;
            };
            sewing.hear(&event);
            match &event {
                Event::Usage(usage) => self.encoder.push(&Event::Usage(sewing.total(usage)), &mut self.out),
                event => self.encoder.push(event, &mut self.out),
            }
        }
        Ok(())
    }
}

// === impl Mode ===

impl Mode {
    fn push(&mut self, chunk: Bytes, record: &mut Record) -> Result<Bytes, Box<Failure>> {
        match self {
            Self::Pass(tap) => {
                let out = tap.push(chunk)?;
                let seen = tap.seen();
                if let Some(usage) = seen.usage {
                    record.used(usage);
                }
                record.forwarded(out.len(), seen.content_bytes);
                Ok(out)
            }
            Self::Translate(translation) => {
                let out = translation.push(&chunk, record)?;
                record.forwarded(out.len(), translation.n_content_bytes);
                Ok(out)
            }
        }
    }

    fn finish(&mut self, record: &mut Record) -> Result<Bytes, Box<Failure>> {
        match self {
            Self::Pass(tap) => {
                let out = tap.finish()?;
                if let Some(usage) = tap.seen().usage {
                    record.used(usage);
                }
                // The upstream's own error event has passed; it was the end.
                if let Some(failure) = &tap.seen().error {
                    record.failed(failure);
                } else {
                    record.ended(Ending::Finished);
                }
                Ok(out)
            }
            Self::Translate(translation) => {
                let out = translation.finish(record)?;
                record.ended(Ending::Finished);
                Ok(out)
            }
        }
    }

    /// Whether the last that came was reasoning.
    fn is_reasoning(&self) -> bool {
        match self {
            Self::Pass(tap) => tap.seen().is_reasoning,
            Self::Translate(translation) => translation.is_reasoning,
        }
    }

    /// Whether the reply has said why it ends.
    fn is_finished(&self) -> bool {
        match self {
            Self::Pass(tap) => tap.seen().finished || tap.seen().ended,
            Self::Translate(translation) => translation.legality.is_finished(),
        }
    }

    fn fail(&mut self, failure: &Failure) -> Bytes {
        match self {
            Self::Pass(tap) => tap.fail(failure),
            Self::Translate(translation) => {
                translation.encoder.fail(failure, &mut translation.out);
                translation.out.split().freeze()
            }
        }
    }
}

// === impl Relay ===

impl Relay {
    pub(crate) fn new(upstream: UpstreamBody, mode: Mode, bounds: Bounds, halt: Halt, mut record: Record) -> Self {
        record.streams();
        let now = Instant::now();
        let alarm = Box::pin(tokio::time::sleep_until((now + bounds.idle).min(bounds.deadline)));
        Self {
            upstream: Some(upstream),
            mode,
            bounds,
            alarm,
            last_heard: now,
            halt,
            record,
            spare: None,
            trailers: None,
            done: false,
            cut: false,
        }
    }

    pub(crate) fn with_trailers(mut self, trailers: fn(&Record) -> http::HeaderMap) -> Self {
        self.trailers = Some(trailers);
        self
    }

    /// In which form the client is answered.
    pub(crate) fn shows_as(&mut self, headers: &http::HeaderMap) {
        self.record.shows_as(headers);
    }

    /// As a reply's body.
    pub(crate) fn boxed(self) -> Pin<Box<dyn ReplyStream>> {
        match (&self.spare, self.record.drains()) {
            (Some(_), _) => Box::pin(Continuing::new(self)),
            (None, true) => Box::pin(Lingering::new(self)),
            (None, false) => Box::pin(self),
        }
    }

    /// Whether more is to come.
    fn is_under_way(&self) -> bool {
        !self.done && self.upstream.is_some()
    }

    /// The end that nobody wanted: the upstream is let go, the client gets one error event and no terminal mark.
    fn fail(&mut self, failure: &Failure) -> Bytes {
        if let Some(out) = self.breaks_off(failure) {
            return out;
        }
        self.upstream = None;
        self.done = true;
        self.trailers = None;
        self.record.failed(failure);
        let last_words = self.mode.fail(failure);
        self.cut = last_words.is_empty();
        self.record.forwarded(last_words.len(), 0);
        last_words
    }

    /// Which bound has been reached, if any; otherwise sets the alarm anew.
    fn poll_bounds(&mut self, context: &mut Context<'_>) -> Poll<Box<Failure>> {
        loop {
            std::task::ready!(self.alarm.as_mut().poll(context));
            let now = Instant::now();
            if now >= self.bounds.deadline {
                let message = "the reply took longer than the total time allowed";
                return Poll::Ready(Box::new(Failure::new(Code::TotalTimeout, message)));
            }
            let is_reasoning = self.mode.is_reasoning();
            let idle = self.bounds.idle(is_reasoning);
            let idle_end = self.last_heard + idle;
            if now >= idle_end {
                let meanwhile = if is_reasoning { " while it was reasoning" } else { "" };
                let message = format!("the upstream sent nothing for {idle:?}{meanwhile}");
                return Poll::Ready(Box::new(Failure::new(Code::IdleTimeout, message)));
            }
            self.alarm.as_mut().reset(idle_end.min(self.bounds.deadline));
        }
    }

    fn poll_interruption(&mut self, context: &mut Context<'_>) -> Poll<Box<Failure>> {
        if let Poll::Ready(failure) = self.halt.poll(context) {
            return Poll::Ready(failure);
        }
        self.poll_bounds(context)
    }

    /// By which budget it ends before its end, if any. The upstream is not read while the ledger is asked.
    fn poll_budget(&mut self, context: &mut Context<'_>) -> Poll<Option<Box<Failure>>> {
        if !self.record.is_due() || self.mode.is_finished() {
            return Poll::Ready(None);
        }
        self.record.poll_top_up(context)
    }

    /// The last bytes of all, and what the end adds to them.
    fn with_end(&mut self, out: Bytes) -> Bytes {
        let end = self.advance(None);
        if end.is_empty() { out } else { [out, end].concat().into() }
    }

    /// What the upstream's next move means for the client; empty bytes where nothing can be sent yet.
    fn advance(&mut self, heard: Option<Result<Bytes, String>>) -> Bytes {
        let outcome = match heard {
            Some(Ok(chunk)) => {
                self.last_heard = Instant::now();
                let had_reasoned = self.mode.is_reasoning();
                let pushed = self.mode.push(chunk, &mut self.record);
                // An alarm that is too early is set anew when it rings; one that is too late must not stand.
                if had_reasoned && !self.mode.is_reasoning() {
                    self.alarm.as_mut().reset((self.last_heard + self.bounds.idle).min(self.bounds.deadline));
                }
                pushed
            }
            Some(Err(reason)) => {
                Err(Box::new(Failure::new(Code::UpstreamCut, format!("the upstream cut its reply: {reason}"))))
            }
            None => {
                self.upstream = None;
                self.done = true;
                self.mode.finish(&mut self.record)
            }
        };
        outcome.unwrap_or_else(|failure| self.fail(&failure))
    }
}

impl ReplyStream for Relay {
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Chunk, Aborted>>> {
        let this = &mut *self;
        while !this.done {
            let overspent = std::task::ready!(this.poll_budget(context));
            let Some(upstream) = &mut this.upstream else { break };
            let polled = if overspent.is_some() { Poll::Pending } else { upstream.poll_data(context) };
            let out = match polled {
                Poll::Pending if let Some(failure) = &overspent => this.fail(failure),
                Poll::Ready(heard) => {
                    this.record.heard_from_upstream();
                    let out = this.advance(heard);
                    // Nobody asks for more than was announced, so that this is the time to end.
                    let is_over = this.upstream.as_mut().is_some_and(UpstreamBody::is_over);
                    if is_over { this.with_end(out) } else { out }
                }
                Poll::Pending => match this.poll_interruption(context) {
                    Poll::Ready(failure) => this.fail(&failure),
                    Poll::Pending => {
                        this.record.waits_for_upstream();
                        return Poll::Pending;
                    }
                },
            };
            if !out.is_empty() {
                this.record.shows(&out);
                return Poll::Ready(Some(Ok(Chunk::Data(out))));
            }
            if this.cut {
                // The reply's syntax has no word for it, so the connection must say that this is not the end.
                this.cut = false;
                return Poll::Ready(Some(Err(Aborted)));
            }
        }
        if this.is_broken() {
            return Poll::Ready(None);
        }
        let trailers = this.trailers.take().map(|trailers| trailers(&this.record));
        Poll::Ready(trailers.map(|trailers| Ok(Chunk::Trailers(trailers))))
    }
}

/// For a stream whose upstream did not say who answers.
fn nameless_start() -> Event {
    Event::Start { id: String::new(), model: String::new(), created: None }
}

pub(crate) fn senseless(breach: Breach) -> Box<Failure> {
    Box::new(Failure::new(Code::UpstreamGarbage, format!("the upstream's reply makes no sense: {breach}")))
}

pub(crate) fn cut() -> Box<Failure> {
    let message = "the upstream ended its reply before it had finished";
    Box::new(Failure::new(Code::UpstreamCut, message))
}
