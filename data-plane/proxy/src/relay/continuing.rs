//! A stream that breaks off and is gone on with by another target, where the policy says so and it is safe: one stream for the
//! client, whoever tells it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gateway_dialects::dialect::StreamDecoder;
use gateway_engine::snapshot::Target;
use gateway_ir::failure::{Code, Failure, Retry};
use gateway_ir::fold::{self, Reply};
use tokio::time::{Instant, timeout_at};

use super::lingering::Lingering;
use super::seam::Way;
use super::{Bounds, Mode, Relay};
use crate::body::{Aborted, Chunk, ReplyStream};
use crate::record::{Ending, Record};
use crate::upstream::UpstreamBody;

/// Asks for the rest of a reply.
pub(crate) trait Resume: Send + Sync {
    /// Asks others than `broken`, by the policy and while there is time. `Err` says why nobody goes on, in a word for the log.
    fn ask<'a>(
        &'a self,
        said: &'a str,
        broken: &'a Target,
        record: &'a mut Record,
    ) -> BoxFuture<'a, Result<Rest, &'static str>>;
}

/// What goes on with a reply.
pub(crate) struct Rest {
    pub(crate) told: Told,
    pub(crate) way: Way,
    /// Who, as `provider/model`.
    pub(crate) by: String,
    pub(crate) bounds: Bounds,
}

pub(crate) enum Told {
    Stream { body: UpstreamBody, decoder: Box<dyn StreamDecoder> },
    Whole(Box<Reply>),
}

/// What a stream has for the case that it breaks off.
pub(super) struct Spare {
    resume: Arc<dyn Resume>,
    /// How often.
    left: u8,
    /// It has broken off by this.
    broken: Option<Box<Failure>>,
}

/// A stream that may break off.
pub(super) struct Continuing(State);

enum State {
    Telling(Box<Relay>),
    Asking(BoxFuture<'static, (Relay, Bytes)>),
    Over,
}

// === impl Relay ===

impl Relay {
    /// Goes on with what breaks off, so many times.
    pub(crate) fn continued_by(mut self, resume: Arc<dyn Resume>, times: u8) -> Self {
        if let Mode::Translate(translation) = &mut self.mode {
            translation.sewing = Some(Box::default());
            self.spare = Some(Box::new(Spare { resume, left: times, broken: None }));
        }
        self
    }

    /// Whether this is no end, because somebody else is asked; `None`: it is. What was not sent yet comes with it.
    pub(super) fn breaks_off(&mut self, failure: &Failure) -> Option<Bytes> {
        let spare = self.spare.as_mut()?;
        let Mode::Translate(translation) = &mut self.mode else { return None };
        let bar = translation.sewing.as_ref().and_then(|sewing| sewing.said().err());
        let bar = bar.or((spare.left == 0).then_some("continued_before")).or(bar_of(failure));
        if let Some(bar) = bar {
            self.record.not_continued(bar);
            self.spare = None;
            return None;
        }
        spare.left -= 1;
        spare.broken = Some(Box::new(failure.clone()));
        self.upstream = None;
        self.record.halts(failure);
        translation.events.clear();
        Some(translation.out.split().freeze())
    }

    pub(super) fn is_broken(&self) -> bool {
        self.spare.as_ref().is_some_and(|spare| spare.broken.is_some())
    }

    /// Asks for the rest. The bytes come first: the mark of whoever goes on, or the end.
    async fn resumed(mut self) -> (Self, Bytes) {
        let Some((resume, failure)) =
            self.spare.as_mut().and_then(|spare| Some((Arc::clone(&spare.resume), spare.broken.take()?)))
        else {
            return (self, Bytes::new());
        };
        let said = match &self.mode {
            Mode::Translate(translation) => translation.sewing.as_ref().and_then(|sewing| sewing.said().ok()),
            Mode::Pass(_) => None,
        };
        let (said, broken) = (said.unwrap_or_default().to_owned(), self.record.halted());
        let asked = async {
            let broken = broken.ok_or("no_target")?;
            resume.ask(&said, &broken, &mut self.record).await
        };
        let answered = tokio::select! {
            answered = timeout_at(self.bounds.deadline, asked) => answered.unwrap_or(Err("no_time")),
            halted = self.halt.halted() => Err(bar_of(&halted).unwrap_or("shutting_down")),
        };
        let bytes = match answered {
            Ok(rest) => self.goes_on(rest).unwrap_or_else(|failure| self.fail(&failure)),
            Err(why) => {
                self.record.not_continued(why);
                self.spare = None;
                self.fail(&failure)
            }
        };
        (self, bytes)
    }

    fn goes_on(&mut self, rest: Rest) -> Result<Bytes, Box<Failure>> {
        let Rest { told, way, by, bounds } = rest;
        let Mode::Translate(translation) = &mut self.mode else { return Ok(Bytes::new()) };
        if let Some(sewing) = &mut translation.sewing {
            let (used, is_exact) = sewing.used(self.record.n_input_bytes());
            self.record.continued(&used, is_exact, sewing.n_said());
            sewing.goes_on(way, &used);
        }
        translation.legality.goes_on();
        translation.n_content_bytes = 0;
        translation.is_reasoning = false;
        translation.encoder.goes_on(&by, &mut translation.out);
        (self.last_heard, self.done) = (Instant::now(), false);
        self.bounds = bounds;
        self.alarm.as_mut().reset((self.last_heard + bounds.idle).min(bounds.deadline));
        match told {
            Told::Stream { body, decoder } => {
                (self.upstream, translation.decoder) = (Some(body), decoder);
                Ok(translation.out.split().freeze())
            }
            Told::Whole(reply) => {
                self.done = true;
                translation.events = fold::unfold(&reply);
                let out = translation.last(&mut self.record)?;
                self.record.forwarded(out.len(), translation.n_content_bytes);
                self.record.ended(Ending::Finished);
                Ok(out)
            }
        }
    }
}

/// Whether going on makes no sense after this.
fn bar_of(failure: &Failure) -> Option<&'static str> {
    match failure.code {
        Code::ShuttingDown => Some("shutting_down"),
        Code::TotalTimeout => Some("no_time"),
        _ if failure.retry == Retry::Never => Some("not_retryable"),
        _ => None,
    }
}

// === impl Continuing ===

impl Continuing {
    pub(super) fn new(relay: Relay) -> Self {
        Self(State::Telling(Box::new(relay)))
    }
}

impl ReplyStream for Continuing {
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Chunk, Aborted>>> {
        loop {
            match &mut self.0 {
                State::Telling(relay) => {
                    let next = ready!(Pin::new(&mut **relay).poll_next(context));
                    if next.is_some() || !relay.is_broken() {
                        return Poll::Ready(next);
                    }
                    if let State::Telling(relay) = std::mem::replace(&mut self.0, State::Over) {
                        self.0 = State::Asking(Box::pin(relay.resumed()));
                    }
                }
                State::Asking(asking) => {
                    let (relay, bytes) = ready!(asking.as_mut().poll(context));
                    self.0 = State::Telling(Box::new(relay));
                    if !bytes.is_empty() {
                        return Poll::Ready(Some(Ok(Chunk::Data(bytes))));
                    }
                }
                State::Over => return Poll::Ready(None),
            }
        }
    }
}

impl Drop for Continuing {
    fn drop(&mut self) {
        // Whoever reads on for the usage asks nobody for more.
        if let State::Telling(mut relay) = std::mem::replace(&mut self.0, State::Over)
            && relay.record.drains()
        {
            relay.spare = None;
            drop(Lingering::new(*relay));
        }
    }
}
