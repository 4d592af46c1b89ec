//! What happened to one request: filled by the stages, finished exactly once, on drop, whatever the exit was.
//!
//! Its one consumer chain is here: usage to the spool, the log record to its ring, numbers to the metrics. Finishing never
//! waits; the spool's append is the only system call.

mod ending;
mod written;
mod billed;
mod beside;
mod cached;
mod saved;
mod receipted;
mod kept;
mod traced;
mod used;
mod continued;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_engine::choice::Chosen;
use gateway_engine::gate::Slot;
use gateway_engine::health::{Seat, Skip};
use gateway_engine::identity::Caller;
use gateway_engine::limits::bill::Bill;
use gateway_engine::limits::{Permit, Settlement};
use gateway_engine::snapshot::Target;
use gateway_engine::tenants::{Standing, Tenant};
use gateway_ir::failure::{Code, Failure};
use gateway_ir::legal::Breach;
use gateway_ir::usage::{Tier, Units, Usage};
use gateway_model::access::RevokeMode;
use gateway_wire::v1;

use self::billed::{Growing, SetAside};
use self::continued::Earlier;
pub(crate) use self::ending::Ending;
use self::kept::Kept;
use self::receipted::Receipted;
use self::saved::Baseline;
use self::written::{auto_choice, experiment, truncated};
use crate::account::Account;
use crate::cache::Fill;
use crate::sinks::Sinks;
use crate::spans::Span;
use crate::telemetry::logs::Draft;

/// One request. Dropping it settles, logs and counts. A pointer, for it goes through every stage of a request's state.
pub(crate) struct Record(Box<Entry>);

/// What is known of it.
pub(crate) struct Entry {
    sinks: Arc<Sinks>,
    started: Instant,
    permit: Option<Permit>,
    bill: Bill,
    /// Of the budgets of the credential that it goes with, at the target that answers.
    bill_there: Bill,
    /// At so many bytes of content it is time to look whether the bill is still enough.
    due: u64,
    growing: Option<Box<Growing>>,
    /// What credentials are charged for attempts that have not answered; on the disk with all else that is reserved.
    set_aside: SetAside,
    /// Charged by events of their own.
    charged_beside: i64,
    /// What it would have cost otherwise.
    baseline: Baseline,
    admitted: bool,
    /// Nothing is charged, whatever is answered.
    is_free: bool,
    /// Its reply says so where nobody knows what it costs.
    flags_unpriced: bool,
    /// Of the key.
    revoke_mode: Option<RevokeMode>,
    streaming: bool,
    target: Option<Arc<Target>>,
    /// At the target that answers, until its reply has ended.
    seat: Option<Seat>,
    /// At its provider, where that has only so many.
    slot: Option<Slot>,
    usage: Option<(Usage, v1::SettledBy)>,
    /// What the head of the reply says of where it was served, for usage that says nothing of it.
    tier: Tier,
    /// What the request says by itself of what is charged by something else than tokens.
    units: Units,
    /// For an estimate where the upstream said nothing.
    n_input_bytes: u64,
    /// Tokens of the prompt, where they have been counted for a limit.
    n_input: Option<u64>,
    n_output_bytes: u64,
    ending: Ending,
    dialect: &'static str,
    upstream_wait_us: u64,
    waiting_since: Option<Instant>,
    /// Copies the reply for whoever asks the same next.
    fill: Option<Box<Fill>>,
    /// Where receipts are wanted.
    receipted: Option<Box<Receipted>>,
    /// Where bodies are kept.
    kept: Option<Box<Kept>>,
    /// Its client records the trace that it belongs to.
    is_traced: bool,
    /// Where traces are collected, and its client does not forbid it.
    span: Option<Span>,
    /// What came before whoever is telling the reply.
    earlier: Option<Box<Earlier>>,
    /// The client has left, and the upstream is read on: what comes reaches nobody.
    has_left: bool,
    log: Draft,
}

// === impl Record ===

impl Record {
    pub(crate) fn begin(sinks: Arc<Sinks>, started: Instant, id: &str, method: &str, path: &str) -> Self {
        sinks.meters.request_began();
        let mut log = sinks.logs.draft();
        log.started_unix_ms = crate::clock::unix_ms();
        id.clone_into(&mut log.id);
        method.clone_into(&mut log.method);
        path.clone_into(&mut log.path);
        Self(Box::new(Entry {
            sinks,
            started,
            permit: None,
            bill: Bill::default(),
            bill_there: Bill::default(),
            due: u64::MAX,
            growing: None,
            set_aside: SetAside::default(),
            charged_beside: 0,
            baseline: Baseline::default(),
            admitted: false,
            is_free: false,
            flags_unpriced: false,
            revoke_mode: None,
            streaming: false,
            target: None,
            seat: None,
            slot: None,
            has_left: false,
            is_traced: false,
            span: None,
            earlier: None,
            usage: None,
            tier: Tier::default(),
            units: Units::None,
            n_input_bytes: 0,
            n_input: None,
            n_output_bytes: 0,
            ending: Ending::ClientGone,
            dialect: "",
            upstream_wait_us: 0,
            waiting_since: None,
            fill: None,
            receipted: None,
            kept: None,
            log,
        }))
    }

    pub(crate) fn id(&self) -> &str {
        &self.log.id
    }

    pub(crate) fn dialect(&mut self, name: &'static str) {
        self.dialect = name;
        name.clone_into(&mut self.log.dialect);
    }

    pub(crate) fn session(&mut self, session: Option<&str>) {
        session.unwrap_or_default().clone_into(&mut self.log.session_id);
    }

    pub(crate) fn caller(&mut self, account: &Account) {
        let caller: &Caller = account;
        let Standing { user, team, organization } = &account.standing;
        self.revoke_mode = caller.revoke_mode();
        let log = &mut *self.log;
        let name = |tenant: &Option<Arc<Tenant>>, field: &mut String| {
            tenant.as_ref().map_or("", |tenant| &tenant.name).clone_into(field);
        };
        name(user, &mut log.user);
        name(team, &mut log.team);
        name(organization, &mut log.organization);
        caller.id.as_ref().clone_into(&mut log.key_id);
        caller.name.as_ref().clone_into(&mut log.key_name);
        log.tags = caller.tags.iter().map(|tag| tag.as_ref().to_owned()).collect();
    }

    pub(crate) fn flags_unpriced(&mut self, flags: bool) {
        self.flags_unpriced = flags;
    }

    pub(crate) fn is_unpriced_flagged(&self) -> bool {
        self.flags_unpriced
    }

    /// Whose it is, and what becomes of its stream with that.
    pub(crate) fn revocable(&self) -> (&str, Option<RevokeMode>) {
        (&self.log.key_id, self.revoke_mode)
    }

    /// Whose it is, where the key is gone.
    pub(crate) fn key(&mut self, id: &str) {
        id.clone_into(&mut self.log.key_id);
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
        model.clone_into(&mut self.log.model);
        self.log.stream = stream;
        self.log.topology_revision = revision;
        self.log.request_bytes = n_bytes as u64;
        self.n_input_bytes = n_bytes as u64;
    }

    pub(crate) fn route(&mut self, route: Option<&str>) {
        route.unwrap_or_default().clone_into(&mut self.log.route);
    }

    /// What was chosen for it, and the public model that serves by that.
    pub(crate) fn chosen(&mut self, chosen: &Chosen, model: &str) {
        self.log.auto_choice = chosen.judged.as_ref().map(|judgement| auto_choice(judgement, model));
        self.log.experiment = chosen.arm.as_ref().map(|arm| experiment(arm, model));
    }

    /// It is asked behind the request of this id, whose client knows nothing of it.
    pub(crate) fn shadows(&mut self, id: &str) {
        self.log.shadow_of = id.to_owned();
    }

    /// It counts towards nobody's limits, and its usage is no key's.
    pub(crate) fn charged_to_nobody(&mut self) {
        self.admitted = true;
        self.sinks.spool.started(self.event());
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
        self.sinks.spool.started(self.event());
    }

    pub(crate) fn attempt_began(&mut self, target: &Arc<Target>, lane: &'static str) -> usize {
        let now = Instant::now();
        self.waiting_since.get_or_insert(now);
        let now = self.micros_at(now);
        lane.clone_into(&mut self.log.lane);
        self.target = Some(Arc::clone(target));
        self.log.attempts.push(v1::Attempt {
            provider: target.provider.name.as_ref().to_owned(),
            model: target.model.as_ref().to_owned(),
            provider_key: target.provider.key.as_deref().unwrap_or_default().to_owned(),
            started_us: now,
            ..v1::Attempt::default()
        });
        self.log.attempts.len()
    }

    /// A place at a provider that has only so many, without a choice of targets.
    pub(crate) fn placed(&mut self, slot: Option<Slot>) {
        self.slot = slot;
    }

    /// The upstream's reply, or what stood in its place; of the attempt of this number.
    pub(crate) fn attempt_ended(
        &mut self,
        (number, target): (usize, &Arc<Target>),
        status: u16,
        failure: Option<&Failure>,
    ) {
        let now = Instant::now();
        self.heard_at(now);
        let now = self.micros_at(now);
        if let Some(attempt) = self.log.attempts.get_mut(number.saturating_sub(1)) {
            attempt.status = u32::from(status);
            attempt.ended_us = now;
            attempt.error_code = failure.map(|failure| failure.code.name().to_owned()).unwrap_or_default();
        }
        self.sinks.meters.attempt(target, status, failure);
        match failure {
            None => {
                self.target = Some(Arc::clone(target));
                self.log.first_byte_us = now;
            }
            Some(_) => self.attempt_unfunded(number),
        }
    }

    /// The places at the target that answers, and who was passed over before.
    pub(crate) fn seated(&mut self, mut seat: Seat, slot: Option<Slot>, skipped: &[(Arc<Target>, Skip)]) {
        self.pays_there(seat.take_bill());
        self.set_aside.clear();
        self.seat = Some(seat);
        self.slot = slot;
        self.passed_over(skipped);
    }

    /// Whether it went where requests that belong with it always go; `None` where there is no such place.
    pub(crate) fn pinned(&mut self, is_kept: Option<bool>) {
        let Some(is_kept) = is_kept else { return };
        if is_kept { "kept" } else { "failover" }.clone_into(&mut self.log.pin);
    }

    /// Targets that were better left alone.
    pub(crate) fn passed_over(&mut self, skipped: &[(Arc<Target>, Skip)]) {
        self.log.passed_over.extend(skipped.iter().map(|(target, skip)| v1::PassedOver {
            provider: target.provider.name.as_ref().to_owned(),
            model: target.model.as_ref().to_owned(),
            provider_key: target.provider.key.as_deref().unwrap_or_default().to_owned(),
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
        if self.waiting_since.is_some() {
            self.heard_at(Instant::now());
        }
    }

    fn heard_at(&mut self, now: Instant) {
        if let Some(since) = self.waiting_since.take() {
            self.upstream_wait_us += micros(now.saturating_duration_since(since));
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

    /// Whether the upstream is read to the end though the client leaves before.
    pub(crate) fn drains(&self) -> bool {
        self.target.as_ref().is_some_and(|target| target.provider.drains)
    }

    /// The client has left; what else happens is for the usage only.
    pub(crate) fn client_left(&mut self) {
        self.ending = Ending::ClientGone;
        self.has_left = true;
    }

    /// So much more has gone to the client; of content so much in all.
    pub(crate) fn forwarded(&mut self, n_bytes: usize, n_content_bytes: u64) {
        if !self.has_left {
            self.log.response_bytes += n_bytes as u64;
        }
        self.n_output_bytes = self.n_output_bytes.max(n_content_bytes);
        if n_content_bytes > 0 && self.log.first_token_us == 0 && self.streaming {
            self.log.first_token_us = self.elapsed_us();
        }
    }

    pub(crate) fn status(&mut self, status: u16) {
        self.log.status = u32::from(status);
    }

    pub(crate) fn ended(&mut self, ending: Ending) {
        if !self.has_left {
            self.ending = ending;
        }
    }

    pub(crate) fn failed(&mut self, failure: &Failure) {
        if let Some(seat) = &mut self.seat {
            seat.failed(failure, Instant::now());
        }
        if self.has_left {
            return;
        }
        self.ending = Ending::of(failure, !self.log.attempts.is_empty());
        self.log.error_code = failure.code.name().to_owned();
        self.log.error_message = truncated(&failure.message, 512);
    }

    pub(crate) fn elapsed_us(&self) -> u64 {
        self.micros_at(Instant::now())
    }

    /// In all, and without what was spent waiting for upstreams.
    pub(crate) fn spent_us(&self) -> (u64, u64) {
        let total_us = self.elapsed_us();
        (total_us, total_us.saturating_sub(self.upstream_wait_us))
    }

    /// Since it began.
    fn micros_at(&self, now: Instant) -> u64 {
        micros(now.saturating_duration_since(self.started))
    }
}

impl Deref for Record {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.0
    }
}

impl DerefMut for Record {
    fn deref_mut(&mut self) -> &mut Entry {
        &mut self.0
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.log.status == 0 {
            // Nothing was answered: the client left first.
            self.log.status = u32::from(Code::ClientGone.row().status);
        }
        let now = Instant::now();
        self.heard_at(now);
        self.keep();
        if self.streaming {
            self.sinks.meters.stream_closed();
        }
        let total_us = self.micros_at(now);
        self.log.total_us = total_us;
        self.log.overhead_us = total_us.saturating_sub(self.upstream_wait_us);
        self.ending.name().clone_into(&mut self.log.ending);
        if self.admitted {
            self.settle_usage();
            self.settle_halted();
            self.settle();
        }
        let usage = self.usage;
        if let (Some(seat), Some((usage, _))) = (&mut self.seat, usage) {
            seat.used(usage.total());
            seat.spent(usage);
        }
        if let Some(permit) = self.permit.take() {
            let usage = self.usage().unwrap_or_default();
            permit.settle(Settlement { usage });
        }
        self.write_receipt();
        self.log_bodies();
        let ending = (self.dialect, self.ending.name());
        self.sinks.meters.request_ended(&self.log, ending, self.target.as_deref(), self.is_traced);
        let log = self.log.finish();
        let is_of_a_stranger = log.status == u32::from(Code::InvalidCredential.row().status) && log.key_name.is_empty();
        if is_of_a_stranger && !self.sinks.strangers.has_room() {
            return self.sinks.logs.leave_out();
        }
        if let (Some(tracer), Some(span)) = (&self.sinks.tracer, self.span) {
            tracer.ended(span, &log);
        }
        self.sinks.logs.push(log);
    }
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}
