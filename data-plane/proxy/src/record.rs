//! What happened to one request: filled by the stages, finished exactly once, on drop, whatever the exit was.
//!
//! Its one consumer chain is here: usage to the spool, the log record to its ring, numbers to the metrics. Finishing never
//! waits; the spool's append is the only system call.

use std::sync::Arc;
use std::time::Instant;

use gateway_engine::health::{Seat, Skip};
use gateway_engine::identity::Caller;
use gateway_engine::limits::{Permit, Settlement};
use gateway_engine::price;
use gateway_engine::snapshot::Target;
use gateway_ir::failure::{Code, Failure};
use gateway_ir::legal::Breach;
use gateway_ir::usage::{Units, Usage};
use gateway_wire::v1;

use crate::sinks::Sinks;

/// How a reply ended; a word per way, in logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Finished,
    ClientGone,
    UpstreamCut,
    /// Refused by us before any upstream was asked.
    Refused,
    /// Every attempt failed.
    Failed,
    Timeout,
    /// The node's drain ran out of time.
    Shutdown,
}

/// One request. Dropping it settles, logs and counts.
pub(crate) struct Record {
    sinks: Arc<Sinks>,
    started: Instant,
    permit: Option<Permit>,
    admitted: bool,
    /// Nothing is charged, whatever is answered.
    is_free: bool,
    streaming: bool,
    target: Option<Arc<Target>>,
    /// At the target that answers, until its reply has ended.
    seat: Option<Seat>,
    usage: Option<(Usage, v1::SettledBy)>,
    /// What the request says by itself of what is charged by something else than tokens.
    units: Units,
    /// For an estimate where the upstream said nothing.
    n_input_bytes: u64,
    n_output_bytes: u64,
    ending: Ending,
    dialect: &'static str,
    upstream_wait_us: u64,
    waiting_since: Option<Instant>,
    log: Box<v1::LogRecord>,
}

// === impl Ending ===

impl Ending {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::ClientGone => "client_gone",
            Self::UpstreamCut => "upstream_cut",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Shutdown => "shutdown",
        }
    }

    /// How a reply ended that this failure ended.
    pub(crate) fn of(failure: &Failure, asked_upstream: bool) -> Self {
        match failure.code {
            Code::ClientGone => Self::ClientGone,
            Code::UpstreamCut => Self::UpstreamCut,
            Code::FirstByteTimeout | Code::IdleTimeout | Code::TotalTimeout | Code::ConnectTimeout => Self::Timeout,
            Code::ShuttingDown => Self::Shutdown,
            _ if asked_upstream => Self::Failed,
            _ => Self::Refused,
        }
    }
}

// === impl Record ===

impl Record {
    pub(crate) fn begin(sinks: Arc<Sinks>, started: Instant, id: String, method: &str, path: &str) -> Self {
        sinks.meters.request_began();
        let log = v1::LogRecord {
            id,
            started_unix_ms: crate::clock::unix_ms(),
            method: method.to_owned(),
            path: path.to_owned(),
            ..v1::LogRecord::default()
        };
        Self {
            sinks,
            started,
            permit: None,
            admitted: false,
            is_free: false,
            streaming: false,
            target: None,
            seat: None,
            usage: None,
            units: Units::None,
            n_input_bytes: 0,
            n_output_bytes: 0,
            ending: Ending::ClientGone,
            dialect: "",
            upstream_wait_us: 0,
            waiting_since: None,
            log: Box::new(log),
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.log.id
    }

    pub(crate) fn dialect(&mut self, name: &'static str) {
        self.dialect = name;
        self.log.dialect = self.dialect.to_owned();
    }

    pub(crate) fn session(&mut self, session: Option<&str>) {
        self.log.session_id = session.unwrap_or_default().to_owned();
    }

    pub(crate) fn caller(&mut self, caller: &Caller) {
        self.log.key_id = caller.id.as_ref().to_owned();
        self.log.key_name = caller.name.as_ref().to_owned();
        self.log.tags = caller.tags.iter().map(|tag| tag.as_ref().to_owned()).collect();
    }

    /// Whose it is, where the key is gone.
    pub(crate) fn key(&mut self, id: &str) {
        self.log.key_id = id.to_owned();
    }

    /// What is recorded began earlier, and who records it again does so under the same time.
    pub(crate) fn since(&mut self, unix_ms: i64) {
        self.log.started_unix_ms = unix_ms;
    }

    /// Who has served it, without an attempt of ours.
    pub(crate) fn served_by(&mut self, target: Arc<Target>) {
        self.target = Some(target);
    }

    pub(crate) fn asked(&mut self, model: &str, stream: bool, revision: u64, n_bytes: usize) {
        self.log.model = model.to_owned();
        self.log.stream = stream;
        self.log.topology_revision = revision;
        self.log.request_bytes = n_bytes as u64;
        self.n_input_bytes = n_bytes as u64;
    }

    pub(crate) fn route(&mut self, route: Option<&str>) {
        self.log.route = route.unwrap_or_default().to_owned();
    }

    /// Nothing is charged for it. Said before it is admitted.
    pub(crate) fn costs_nothing(&mut self) {
        self.is_free = true;
    }

    /// From here on the request is accounted: a `started` record is in the spool before any upstream is asked.
    pub(crate) fn admitted(&mut self, permit: Permit) {
        self.permit = Some(permit);
        self.admitted = true;
        self.log.admitted_us = self.elapsed_us();
        self.sinks.spool.started(&self.usage_event());
    }

    pub(crate) fn attempt_began(&mut self, target: &Arc<Target>, lane: &'static str) -> usize {
        let now = self.elapsed_us();
        self.waiting_since = Some(Instant::now());
        self.log.lane = lane.to_owned();
        self.target = Some(Arc::clone(target));
        self.log.attempts.push(v1::Attempt {
            provider: target.provider.name.as_ref().to_owned(),
            model: target.model.as_ref().to_owned(),
            started_us: now,
            ..v1::Attempt::default()
        });
        self.log.attempts.len()
    }

    /// The upstream's reply, or what stood in its place.
    pub(crate) fn attempt_ended(&mut self, status: u16, failure: Option<&Failure>) {
        let now = self.elapsed_us();
        self.heard_from_upstream();
        if let Some(attempt) = self.log.attempts.last_mut() {
            attempt.status = u32::from(status);
            attempt.ended_us = now;
            attempt.error_code = failure.map(|failure| failure.code.name().to_owned()).unwrap_or_default();
        }
        if let Some(target) = &self.target {
            self.sinks.meters.attempt(target, status, failure);
        }
        if failure.is_none() {
            self.log.first_byte_us = now;
        }
    }

    /// The place at the target that answers, and who was passed over before.
    pub(crate) fn seated(&mut self, seat: Seat, skipped: &[(Arc<Target>, Skip)]) {
        self.seat = Some(seat);
        self.passed_over(skipped);
    }

    /// Targets that were better left alone.
    pub(crate) fn passed_over(&mut self, skipped: &[(Arc<Target>, Skip)]) {
        self.log.passed_over.extend(skipped.iter().map(|(target, skip)| v1::PassedOver {
            provider: target.provider.name.as_ref().to_owned(),
            model: target.model.as_ref().to_owned(),
            reason: skip.name().to_owned(),
            left_ms: skip.left().map_or(0, |left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        }));
    }

    /// The upstream's reply broke a rule; whether that could be repaired is the caller's business.
    pub(crate) fn breached(&self, breach: Breach) {
        if let Some(target) = &self.target {
            tracing::debug!("the reply of `{}` breaks a rule: {breach}", target.provider.name);
            self.sinks.meters.breached(target, breach);
        }
    }

    /// Time spent waiting on the upstream for the rest of its reply is not our overhead.
    pub(crate) fn waits_for_upstream(&mut self) {
        if self.waiting_since.is_none() {
            self.waiting_since = Some(Instant::now());
        }
    }

    pub(crate) fn heard_from_upstream(&mut self) {
        if let Some(since) = self.waiting_since.take() {
            self.upstream_wait_us += micros(since);
        }
    }

    /// The reply is a stream, open from now until the record is dropped.
    pub(crate) fn streams(&mut self) {
        self.streaming = true;
        self.sinks.meters.stream_opened();
    }

    pub(crate) fn n_attempts(&self) -> usize {
        self.log.attempts.len()
    }

    pub(crate) fn used(&mut self, usage: Usage) {
        let units = usage.units.or(self.units);
        self.usage = Some((Usage { units, ..usage }, v1::SettledBy::Exact));
    }

    /// It is charged by something else than tokens; how much of it, as far as the request says. Said before it is admitted.
    pub(crate) fn charged_by(&mut self, units: Units) {
        self.units = units;
    }

    /// Bytes of what a model read, where that is better known than by the request's size.
    pub(crate) fn reads(&mut self, n_bytes: u64) {
        self.n_input_bytes = n_bytes;
    }

    pub(crate) fn forwarded(&mut self, n_bytes: usize, n_content_bytes: u64) {
        self.log.response_bytes += n_bytes as u64;
        self.n_output_bytes = n_content_bytes;
    }

    pub(crate) fn status(&mut self, status: u16) {
        self.log.status = u32::from(status);
    }

    pub(crate) fn ended(&mut self, ending: Ending) {
        self.ending = ending;
    }

    pub(crate) fn failed(&mut self, failure: &Failure) {
        if let Some(seat) = &mut self.seat {
            seat.failed(failure, Instant::now());
        }
        self.ending = Ending::of(failure, !self.log.attempts.is_empty());
        self.log.error_code = failure.code.name().to_owned();
        self.log.error_message = truncated(&failure.message, 512);
    }

    pub(crate) fn elapsed_us(&self) -> u64 {
        micros(self.started)
    }

    pub(crate) fn overhead_us(&self) -> u64 {
        self.elapsed_us().saturating_sub(self.upstream_wait_us)
    }

    /// Cost of what is known to be used so far; `None` without a price for all of it.
    pub(crate) fn cost(&self) -> Option<i64> {
        let (usage, _) = self.usage?;
        let price = self.target.as_ref()?.price.as_ref()?;
        price::cost(&usage, price)
    }

    /// Cost of what the request says by itself, before anything has come back; `None` where it says nothing or that has no price.
    pub(crate) fn cost_of_request(&self) -> Option<i64> {
        let price = self.target.as_ref()?.price.as_ref()?;
        self.units.is_measured().then(|| price::cost(&Usage::of_units(self.units), price))?
    }

    pub(crate) fn usage(&self) -> Option<Usage> {
        self.usage.map(|(usage, _)| usage)
    }

    /// What is charged where the upstream does not say: what the request says by itself, else the prompt and what passed.
    fn unsaid(&self, n_output_bytes: u64) -> (Usage, v1::SettledBy) {
        let settled_by = if self.units.is_measured() { v1::SettledBy::Exact } else { v1::SettledBy::Estimated };
        let usage = match self.units {
            Units::None => gateway_engine::count::estimate(self.n_input_bytes, n_output_bytes),
            units => Usage::of_units(units),
        };
        (usage, settled_by)
    }

    /// Nothing if the upstream never answered.
    fn settle_usage(&mut self) {
        if self.usage.is_some() {
            return;
        }
        let answered = self.log.first_byte_us > 0 && !self.is_free;
        self.usage = Some(match answered {
            true => self.unsaid(self.n_output_bytes),
            false => (Usage::default(), v1::SettledBy::Nothing),
        });
    }

    fn usage_event(&self) -> v1::UsageEvent {
        let target = self.target.as_deref();
        let (usage, settled_by) = self.usage.unwrap_or_else(|| {
            let expected = if self.is_free { Usage::default() } else { self.unsaid(0).0 };
            (expected, v1::SettledBy::Unspecified)
        });
        let cost = target.and_then(|target| target.price.as_ref()).and_then(|price| price::cost(&usage, price));
        v1::UsageEvent {
            id: self.log.id.clone(),
            started_unix_ms: self.log.started_unix_ms,
            key_id: self.log.key_id.clone(),
            model: self.log.model.clone(),
            provider: target.map(|target| target.provider.name.as_ref().to_owned()).unwrap_or_default(),
            upstream_model: target.map(|target| target.model.as_ref().to_owned()).unwrap_or_default(),
            route: self.log.route.clone(),
            tokens: Some(tokens(&usage)),
            settled_by: settled_by.into(),
            cost_nano_usd: cost.unwrap_or_default(),
            priced: cost.is_some(),
            status: self.log.status,
            topology_revision: self.log.topology_revision,
            tags: self.log.tags.clone(),
            units: units(usage.units),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.log.status == 0 {
            // Nothing was answered: the client left first.
            self.log.status = u32::from(Code::ClientGone.row().status);
        }
        self.heard_from_upstream();
        if self.streaming {
            self.sinks.meters.stream_closed();
        }
        let total_us = self.elapsed_us();
        self.log.total_us = total_us;
        self.log.overhead_us = total_us.saturating_sub(self.upstream_wait_us);
        self.log.ending = self.ending.name().to_owned();
        if self.admitted {
            self.settle_usage();
            let event = self.usage_event();
            self.sinks.spool.settled(&event);
            self.log.provider = event.provider;
            self.log.upstream_model = event.upstream_model;
            self.log.tokens = event.tokens;
            self.log.units = event.units;
            self.log.settled_by = event.settled_by;
            self.log.cost_nano_usd = event.cost_nano_usd;
            self.log.priced = event.priced;
        }
        if let Some(permit) = self.permit.take() {
            let usage = self.usage().unwrap_or_default();
            permit.settle(Settlement { usage });
        }
        self.sinks.meters.request_ended(&self.log, self.dialect, self.ending.name(), self.target.as_deref());
        self.sinks.logs.push(std::mem::take(&mut *self.log));
    }
}

fn tokens(usage: &Usage) -> v1::TokenUsage {
    v1::TokenUsage {
        input: usage.input,
        cache_read: usage.cache_read,
        cache_write: usage.cache_write,
        cache_write_1h: usage.cache_write_1h,
        output: usage.output,
        reasoning: usage.reasoning,
        input_audio: usage.input_audio,
        output_audio: usage.output_audio,
        input_image: usage.input_image,
        output_image: usage.output_image,
    }
}

fn units(units: Units) -> Option<v1::Units> {
    let none = v1::Units::default();
    match units {
        Units::None | Units::Unmeasured => None,
        Units::PicturesMade(pictures_made) => Some(v1::Units { pictures_made, ..none }),
        Units::PicturesRead(pictures_read) => Some(v1::Units { pictures_read, ..none }),
        Units::AudioMs(audio_ms) => Some(v1::Units { audio_ms, ..none }),
        Units::Characters(characters) => Some(v1::Units { characters, ..none }),
        Units::Searches(searches) => Some(v1::Units { searches, ..none }),
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// At a character's boundary.
fn truncated(text: &str, n_bytes: usize) -> String {
    text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= n_bytes).map(|(_, c)| c).collect()
}
