//! A reply that broke off and was gone on with: who told how much of it, and what each is charged for.

use std::sync::Arc;
use std::time::Instant;

use gateway_engine::limits::bill::Bill;
use gateway_engine::price;
use gateway_engine::snapshot::Target;
use gateway_ir::failure::Failure;
use gateway_ir::usage::Usage;
use gateway_wire::v1;

use super::Record;
use super::billed::{STEP, charges};
use super::written::tokens;
use crate::telemetry::spool::Event;

/// What came before whoever tells the reply now.
#[derive(Default)]
pub(super) struct Earlier {
    /// Who broke off, while others are asked; its number among the attempts, and when its reply had begun.
    halted: Option<(Arc<Target>, usize, u64)>,
    /// What was set aside for them of their credential's budgets.
    bill_there: Bill,
    pub(super) usage: Usage,
    /// `None` where something of it has no price.
    pub(super) cost: Option<i64>,
    /// Somebody has gone on.
    is_continued: bool,
}

// === impl Record ===

impl Record {
    /// The one that was telling has broken off by this, and others will be asked. Its places are free.
    pub(crate) fn halts(&mut self, failure: &Failure) {
        if let Some(mut seat) = self.seat.take() {
            seat.failed(failure, Instant::now());
        }
        self.slot = None;
        // Half of it is another model's.
        self.fill = None;
        let number = self.log.attempts.iter().rposition(is_telling).unwrap_or_default();
        if let Some(attempt) = self.log.attempts.get_mut(number) {
            failure.code.name().clone_into(&mut attempt.error_code);
        }
        let halted = self.target.clone().map(|target| (target, number, self.log.first_byte_us));
        let bill_there = std::mem::take(&mut self.bill_there);
        let earlier = self.earlier.get_or_insert_with(|| Box::new(Earlier { cost: Some(0), ..Earlier::default() }));
        earlier.halted = halted;
        // Nobody was charged for one that never told anything.
        std::mem::replace(&mut earlier.bill_there, bill_there).settle(0);
    }

    /// Who has broken off.
    pub(crate) fn halted(&self) -> Option<Arc<Target>> {
        let (target, ..) = self.earlier.as_ref()?.halted.as_ref()?;
        Some(Arc::clone(target))
    }

    /// What is set aside for them.
    pub(super) fn halted_bill(&self) -> Option<&Bill> {
        self.earlier.as_ref().map(|earlier| &earlier.bill_there)
    }

    /// The latest attempt was made to go on with the reply.
    pub(crate) fn continues(&mut self) {
        if let Some(attempt) = self.log.attempts.last_mut() {
            attempt.continuation = true;
        }
    }

    /// What went to the upstream that has broken off, in bytes.
    pub(crate) fn n_input_bytes(&self) -> u64 {
        self.n_input_bytes
    }

    /// The latest attempt goes on, and has read so many bytes of what was said. The one before is charged for what it has used, as a
    /// usage event of its own.
    pub(crate) fn continued(&mut self, used: &Usage, is_exact: bool, n_said: u64) {
        let Some((target, number, first_byte_us)) = self.earlier.as_mut().and_then(|earlier| earlier.halted.take())
        else {
            return;
        };
        let bill_there =
            self.earlier.as_mut().map(|earlier| std::mem::take(&mut earlier.bill_there)).unwrap_or_default();
        let cost = target.price.as_ref().and_then(|price| price::cost(used, price));
        if let Some(attempt) = self.log.attempts.get_mut(number) {
            attempt.tokens = Some(tokens(used));
            attempt.cost_nano_usd = cost.unwrap_or_default();
        }
        (self.usage, self.n_output_bytes, self.due) = (None, 0, self.due.min(STEP));
        self.n_input_bytes += n_said;
        self.log.first_byte_us = first_byte_us;
        let settled_by = if is_exact { v1::SettledBy::Exact } else { v1::SettledBy::Estimated };
        if self.admitted && !self.is_free {
            let baseline = self.baseline(Some(&target), used, cost);
            let event = Event {
                id: format!("{}-{}", self.log.id, number + 1).into(),
                provider: &target.provider.name,
                upstream_model: &target.model,
                tokens: Some(tokens(used)),
                settled_by: settled_by.into(),
                cost_nano_usd: cost.unwrap_or_default(),
                priced: cost.is_some(),
                price: cost
                    .and(target.price.as_ref())
                    .map(|price| price.row(self.log.topology_revision))
                    .unwrap_or_default(),
                tier: used.tier.word(),
                baseline_nano_usd: baseline,
                // The request is counted once, with whoever ends it.
                status: 0,
                units: None,
                charges: charges(&[&self.bill, &bill_there], cost.unwrap_or(0)).into(),
                ..self.event()
            };
            self.sinks.spool.started(event.clone());
            self.sinks.spool.settled(event);
            let is_there = !bill_there.is_empty();
            bill_there.settle(cost.unwrap_or_default());
            self.charged_beside(cost.unwrap_or_default());
            self.baseline.beside(baseline);
            if is_there {
                // It has been charged, and is not once more if the process dies.
                self.tell_reserved();
            }
        } else {
            bill_there.settle(0);
        }
        if let Some(earlier) = &mut self.earlier {
            earlier.usage = earlier.usage.plus(used);
            earlier.cost = earlier.cost.zip(cost).map(|(before, cost)| before.saturating_add(cost));
            earlier.is_continued = true;
        }
        self.sinks.meters.continuation("continued");
    }

    /// A stream broke off that might have been gone on with, in a word why it was not.
    pub(crate) fn not_continued(&mut self, why: &'static str) {
        why.clone_into(&mut self.log.not_continued);
        self.sinks.meters.continuation(why);
    }

    /// Nobody has gone on: what was told is the last one's that told something.
    pub(super) fn settle_halted(&mut self) {
        let entry = &mut *self.0;
        let Some(earlier) = &mut entry.earlier else { return };
        let mut told = entry.log.attempts.iter().rposition(is_telling);
        if let Some((target, number, first_byte_us)) = earlier.halted.take() {
            told = Some(number);
            entry.target = Some(target);
            std::mem::replace(&mut entry.bill_there, std::mem::take(&mut earlier.bill_there)).settle(0);
            entry.log.first_byte_us = first_byte_us;
        }
        if earlier.is_continued
            && let Some((usage, _)) = &self.usage
        {
            let (usage, cost) =
                (*usage, self.target.as_ref().and_then(|target| price::cost(usage, target.price.as_ref()?)));
            if let Some(attempt) = told.and_then(|number| self.log.attempts.get_mut(number)) {
                attempt.tokens = Some(tokens(&usage));
                attempt.cost_nano_usd = cost.unwrap_or_default();
            }
        }
    }
}

/// Its reply has begun and has not broken off.
fn is_telling(attempt: &v1::Attempt) -> bool {
    (200..300).contains(&attempt.status) && attempt.error_code.is_empty()
}
