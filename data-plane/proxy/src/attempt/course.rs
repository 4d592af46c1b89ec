//! The only loop over targets: who is asked next, and what a failure means. Nothing has gone to the client while this runs.

use std::sync::Arc;
use std::time::Duration;

use gateway_engine::gate::Slot;
use gateway_engine::health::{Seat, Skip};
use gateway_engine::resolve::Resolved;
use gateway_engine::retry::{self, Decision, Spent};
use gateway_engine::routing::{self, Choice, Plan, Shape};
use gateway_engine::snapshot::{Policy, Target};
use gateway_ir::failure::{Code, Failure};
use tokio::time::Instant;

use super::place::{no_place, place};
use super::told::{Head, Told};
use super::{Answer, Answered, Lane, Outbound};
use crate::ingress::Errand;
use crate::record::Record;
use crate::relay::Bounds;

/// How far a request has come with its targets.
pub(super) struct Course<'a> {
    resolved: &'a Resolved,
    /// Who is asked before the plan is.
    pub(super) first: Option<Choice>,
    plan: Plan<'a>,
    began: Instant,
}

/// A target that is asked, with its places there and the bounds on its answer.
pub(super) struct Asked {
    pub(super) target: Arc<Target>,
    seat: Seat,
    slot: Option<Slot>,
    pub(super) lane: Lane,
    pub(super) policy: Policy,
    pub(super) deadline: Instant,
    /// Among the attempts of the record, from 1.
    number: usize,
}

// === impl Outbound ===

impl Outbound<'_> {
    /// Tries targets until one answers, none is left, or a failure says to stop. The last failure is the one reported.
    pub(crate) async fn run(&mut self, resolved: &Resolved, record: &mut Record) -> Result<Answered, Box<Failure>> {
        self.retries.earn();
        let mut course = self.course(resolved, Instant::now());
        course.first = course.plan.next();
        self.follow(&mut course, record).await
    }

    /// The targets of a request that began then.
    pub(super) fn course<'r>(&self, resolved: &'r Resolved, began: Instant) -> Course<'r> {
        let shape = Shape::of(self.facts, self.body.len()).streaming(self.stream);
        let shape = if self.errand == Errand::Chat { shape.needing(self.facts.needs) } else { shape };
        Course { resolved, first: None, plan: routing::plan(resolved, shape, Instant::now().into_std()), began }
    }

    /// The loop, from the course's first on.
    pub(super) async fn follow(
        &mut self,
        course: &mut Course<'_>,
        record: &mut Record,
    ) -> Result<Answered, Box<Failure>> {
        // What the one that was asked last failed with.
        let mut last = None;
        let mut next = course.first.take();
        loop {
            let Some(choice) = next.take() else { return Err(course.over(last, &self.facts.model, record)) };
            let bounds = self.bounds(&choice.target, course);
            let Some(asked) = self.seated(choice, bounds, course, record).await else {
                next = course.next();
                continue;
            };
            let (mut asked, answered) = match self.hedge(&asked) {
                // On the heap: two attempts at once are large, and rare.
                Some(patience) => Box::pin(self.hedged(asked, patience, course, record)).await,
                None => {
                    let answered = self.ask(&asked, record.id()).await;
                    (asked, answered)
                }
            };
            let now = std::time::Instant::now();
            let failure = match answered {
                Ok((answer, head, dropped)) => {
                    asked.answered(head, self.stream, now, record);
                    return Ok(asked.with(answer, head.status, dropped, course, record));
                }
                Err(failure) => failure,
            };
            asked.failed(&failure, now, record);
            next = self.next(asked, &failure, (&mut *course, record.n_attempts()), now).await;
            if next.is_none() {
                record.passed_over(&course.plan.skipped);
                return Err(failure);
            }
            last = Some(failure);
        }
    }

    /// What holds towards a target, and when all of it must be over.
    pub(super) fn bounds(&self, target: &Target, course: &Course<'_>) -> (Policy, Instant) {
        let mut policy = course.resolved.policy(target, self.stream);
        policy.total = self.terms.total.unwrap_or(policy.total);
        (policy, course.began + policy.total)
    }

    /// Takes a place at the chosen target; `None` where it has none, which is noted.
    pub(super) async fn seated(
        &self,
        choice: Choice,
        (policy, deadline): (Policy, Instant),
        course: &mut Course<'_>,
        record: &mut Record,
    ) -> Option<Asked> {
        let Choice { target, seat } = choice;
        let queued_at = Instant::now();
        let slot = match place(&target.provider, policy.queue, deadline, record).await {
            Ok(slot) => slot,
            Err(skip) => {
                seat.unused();
                course.plan.skipped.push((target, skip));
                return None;
            }
        };
        let lane = match self.errand {
            Errand::Task(form) => self.task_lane(form, &target),
            Errand::Chat | Errand::CountTokens => self.lane_of(&target, policy.continuation.is_some()),
        };
        let queued = queued_at.elapsed();
        let number = record.attempt_began(&target, lane.name());
        record.attempt_funded(number, seat.bill());
        if slot.is_some() {
            record.queued(queued);
        }
        if self.said.is_some() {
            record.continues();
        }
        Some(Asked { target, seat, slot, lane, policy, deadline, number })
    }

    async fn ask(&mut self, asked: &Asked, request_id: &str) -> Told {
        let Asked { target, lane, policy, deadline, .. } = asked;
        match self.errand {
            Errand::Chat => self.chat(target, *lane, policy, *deadline, request_id).await,
            Errand::CountTokens => self.count(target, policy, *deadline).await,
            Errand::Task(form) => self.task(form, (target, *lane), policy, *deadline, request_id).await,
        }
    }

    /// Who is asked after this failure, once it is time; `None`: nobody.
    async fn next(
        &self,
        asked: Asked,
        failure: &Failure,
        (course, n_attempts): (&mut Course<'_>, usize),
        now: std::time::Instant,
    ) -> Option<Choice> {
        let Asked { target, policy, seat, slot, .. } = asked;
        drop((seat, slot));
        let spent = Spent {
            n_attempts,
            max_attempts: policy.max_attempts,
            once_each: self.terms.once_each,
            elapsed: course.began.elapsed(),
            total: policy.total,
        };
        // Without a breaker an upstream is asked whatever happens.
        let may_spend = || target.breaker.is_none() || self.retries.spend(now);
        match retry::next(failure, spent, course.plan.at(now)) {
            Decision::Next(choice) if may_spend() => Some(choice),
            Decision::Next(choice) => {
                choice.seat.unused();
                None
            }
            Decision::Again { after } if may_spend() => {
                tokio::time::sleep(after).await;
                course.plan.again(target, std::time::Instant::now()).ok()
            }
            _ => None,
        }
    }
}

// === impl Course ===

impl Course<'_> {
    /// Who is next without waiting, if anybody.
    pub(super) fn next(&mut self) -> Option<Choice> {
        self.plan.at(std::time::Instant::now()).next()
    }

    /// The failure to report where nobody is left.
    fn over(&self, last: Option<Box<Failure>>, model: &str, record: &mut Record) -> Box<Failure> {
        record.passed_over(&self.plan.skipped);
        last.unwrap_or_else(|| nobody_left(model, &self.plan.skipped, self.resolved))
    }
}

// === impl Asked ===

impl Asked {
    fn answered(&mut self, head: Head, is_stream: bool, now: std::time::Instant, record: &mut Record) {
        record.attempt_ended((self.number, &self.target), head.status, None);
        record.served_in(head.tier);
        match is_stream {
            true => self.seat.begun(now),
            false => self.seat.answered(now),
        }
        if let Some(slot) = &mut self.slot {
            slot.answered(now);
        }
    }

    /// Another one was faster; its places are free.
    pub(super) fn lost(mut self, record: &mut Record) {
        record.lost(self.number, &self.target, self.seat.take_bill());
    }

    pub(super) fn failed(&mut self, failure: &Failure, now: std::time::Instant, record: &mut Record) {
        let status = failure.upstream_status.unwrap_or_default();
        record.attempt_ended((self.number, &self.target), status, Some(failure));
        self.seat.failed(failure, now);
        if let Some(slot) = &mut self.slot {
            slot.failed(failure, now);
        }
    }

    /// Its places are the reply's from here on.
    fn with(
        self,
        answer: Answer,
        status: u16,
        dropped: Vec<String>,
        course: &Course<'_>,
        record: &mut Record,
    ) -> Answered {
        let Policy { idle, idle_reasoning, .. } = self.policy;
        record.seated(self.seat, self.slot, &course.plan.skipped);
        record.pinned(course.plan.keeps(&self.target));
        let bounds = Bounds { idle, idle_reasoning, deadline: self.deadline };
        let n_continued = self.policy.continuation.map_or(0, |continuation| continuation.max);
        Answered { answer, target: self.target, status, bounds, dropped, n_continued }
    }
}

/// Where everybody who is not at a limit has no money: as for any other budget that is spent.
fn no_money(model: &str, skipped: &[(Arc<Target>, Skip)]) -> Option<Box<Failure>> {
    let is_bound = |(_, skip): &(_, Skip)| matches!(skip, Skip::Full(_) | Skip::Spent(_) | Skip::Unfunded);
    let is_paid = |(_, skip): &(_, Skip)| !matches!(skip, Skip::Spent(_) | Skip::Unfunded);
    if !skipped.iter().all(is_bound) || skipped.iter().all(is_paid) {
        return None;
    }
    let is_known = !skipped.iter().any(|(_, skip)| *skip == Skip::Unfunded);
    let (code, message) = match is_known {
        true => (
            Code::RateLimited,
            format!(
                "every credential that could serve `{model}` has no budget left for this request, or is at its limits."
            ),
        ),
        false => (
            Code::BudgetUnavailable,
            format!(
                "what the credentials that could serve `{model}` may still spend is not known to this node, and the control plane does \
                 not answer; try again"
            ),
        ),
    };
    // Whoever is free first.
    let left = skipped.iter().filter_map(|(_, skip)| skip.left()).min();
    let left = if is_known { left } else { Some(Duration::from_secs(1)) };
    let mut failure = Failure::new(code, message).with_retry_after(left);
    failure.limit_kind = Some("budget");
    Some(Box::new(failure))
}

/// Nobody could be asked at all.
fn nobody_left(model: &str, skipped: &[(Arc<Target>, Skip)], resolved: &Resolved) -> Box<Failure> {
    let unwell = skipped.iter().filter(|(_, skip)| !matches!(skip, Skip::Unfit(_)));
    let Some((target, skip)) = unwell.min_by_key(|(_, skip)| skip.left()) else {
        if let Some(refusal) = routing::nobody_fits(model, skipped) {
            return refusal;
        }
        let message = format!("every target of `{model}` is disabled, or its selectors find none; enable one");
        return Box::new(Failure::new(Code::ModelNotFound, message).with_status(503));
    };
    if let Some(failure) = no_money(model, skipped) {
        return failure;
    }
    if skipped.iter().all(|(_, skip)| matches!(skip, Skip::Full(_))) {
        let message = format!("every target of `{model}` is at the limits that the configuration sets its provider");
        return Box::new(Failure::new(Code::UpstreamRateLimited, message).with_retry_after(skip.left()));
    }
    let name = format!("{}/{}", target.provider.account, target.model);
    if let Skip::Busy | Skip::Queued = skip {
        return no_place(&name, *skip, &target.provider, resolved.policy(target, false).queue);
    }
    let why = match skip {
        Skip::OnTrial => "is being tried by another request",
        _ => "has failed too often lately and is left alone for a while",
    };
    // The code and not the upstream's words, which were said to somebody else.
    let last = target.health.last_failure();
    let last = last.map(|last| format!("; it failed with {} ({})", last.status, last.code.name())).unwrap_or_default();
    let message = format!("no target of `{model}` can be asked now: `{name}` {why}{last}");
    // In whole seconds, of which none is too short.
    let left = skip.left().map(|left| Duration::from_secs(left.as_secs() + 1));
    Box::new(Failure::new(Code::NoTarget, message).with_retry_after(left.or(Some(Duration::from_secs(1)))))
}
