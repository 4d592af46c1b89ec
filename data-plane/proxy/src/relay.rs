//! The reply's way back to the client: bytes that pass, or events that are translated; either way one event in, one event out,
//! with a tap on usage and a typed ending.

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
use tokio_util::sync::WaitForCancellationFutureOwned;

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
}

/// Bounds on the rest of a reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) idle: Duration,
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
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    record: Record,
    /// Settled figures as trailers, for clients that announced `te: trailers`.
    trailers: Option<fn(&Record) -> http::HeaderMap>,
    done: bool,
    /// Failed without last words.
    cut: bool,
}

// === impl Translation ===

impl Translation {
    pub(crate) fn new(decoder: Box<dyn StreamDecoder>, encoder: Box<dyn StreamEncoder>) -> Self {
        let (events, out) = (Vec::with_capacity(8), BytesMut::new());
        Self { decoder, encoder, legality: Legality::default(), events, out, n_content_bytes: 0 }
    }

    /// Feeds bytes and returns what they complete. An error event of the upstream is a failure.
    fn push(&mut self, chunk: &[u8], record: &mut Record) -> Result<Bytes, Box<Failure>> {
        self.decoder.push(chunk, &mut self.events)?;
        self.encode(record)
    }

    fn finish(&mut self, record: &mut Record) -> Result<Bytes, Box<Failure>> {
        self.decoder.finish(&mut self.events)?;
        let written = self.encode(record)?;
        // A reply that said why it stopped is whole even where the terminal mark is missing.
        if !self.legality.is_finished() {
            return Err(cut());
        }
        self.out.extend_from_slice(&written);
        self.encoder.end(&mut self.out);
        Ok(self.out.split().freeze())
    }

    fn encode(&mut self, record: &mut Record) -> Result<Bytes, Box<Failure>> {
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
            match &event {
                Event::Usage(usage) => record.used(*usage),
                Event::Error(failure) => return Err(failure.clone()),
                Event::Text { text, .. } | Event::Reasoning { text, .. } | Event::Refusal { text, .. } => {
                    self.n_content_bytes += text.len() as u64;
                }
                Event::ToolCallArguments { json, .. } => self.n_content_bytes += json.len() as u64,
                _ => {}
            }
            self.encoder.push(&event, &mut self.out);
        }
        Ok(self.out.split().freeze())
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

    fn fail(&mut self, failure: &Failure) -> Bytes {
        match self {
            Self::Pass(tap) => tap.fail(failure),
            Self::Translate(translation) => {
                translation.out.clear();
                translation.encoder.fail(failure, &mut translation.out);
                translation.out.split().freeze()
            }
        }
    }
}

// === impl Relay ===

impl Relay {
    pub(crate) fn new(
        upstream: UpstreamBody,
        mode: Mode,
        bounds: Bounds,
        shutdown: WaitForCancellationFutureOwned,
        mut record: Record,
    ) -> Self {
        record.streams();
        let now = Instant::now();
        let alarm = Box::pin(tokio::time::sleep_until((now + bounds.idle).min(bounds.deadline)));
        let shutdown = Box::pin(shutdown);
        Self {
            upstream: Some(upstream),
            mode,
            bounds,
            alarm,
            last_heard: now,
            shutdown,
            record,
            trailers: None,
            done: false,
            cut: false,
        }
    }

    pub(crate) fn with_trailers(mut self, trailers: fn(&Record) -> http::HeaderMap) -> Self {
        self.trailers = Some(trailers);
        self
    }

    /// The end that nobody wanted: the upstream is let go, the client gets one error event and no terminal mark.
    fn fail(&mut self, failure: &Failure) -> Bytes {
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
            let idle_end = self.last_heard + self.bounds.idle;
            if now >= idle_end {
                let message = format!("the upstream sent nothing for {:?}", self.bounds.idle);
                return Poll::Ready(Box::new(Failure::new(Code::IdleTimeout, message)));
            }
            self.alarm.as_mut().reset(idle_end.min(self.bounds.deadline));
        }
    }

    fn poll_interruption(&mut self, context: &mut Context<'_>) -> Poll<Box<Failure>> {
        if self.shutdown.as_mut().poll(context).is_ready() {
            let message = "the gateway is shutting down; please send the request again";
            return Poll::Ready(Box::new(Failure::new(Code::ShuttingDown, message)));
        }
        self.poll_bounds(context)
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
                self.mode.push(chunk, &mut self.record)
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
            let Some(upstream) = &mut this.upstream else { break };
            let out = match upstream.poll_data(context) {
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
                return Poll::Ready(Some(Ok(Chunk::Data(out))));
            }
            if this.cut {
                // The reply's syntax has no word for it, so the connection must say that this is not the end.
                this.cut = false;
                return Poll::Ready(Some(Err(Aborted)));
            }
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
