//! What attempts have beside their outcome: the wait for a place, and the price of those that another one was faster than, which are
//! charged for though nobody reads what they answer.

use std::sync::Arc;
use std::time::Duration;

use gateway_engine::limits::bill::Bill;
use gateway_engine::price;
use gateway_engine::snapshot::Target;

use super::billed::charges;
use super::written::{tokens, units};
use super::{Record, micros};
use crate::telemetry::spool::Event;

/// In the log, of the one that was late.
const LOST: &str = "hedge_lost";

// === impl Record ===

impl Record {
    /// What the latest attempt has waited for its place.
    pub(crate) fn queued(&mut self, waited: Duration) {
        if let Some(attempt) = self.log.attempts.last_mut() {
            attempt.queued_us = micros(waited);
        }
    }

    /// The latest attempt was begun beside another one.
    pub(crate) fn beside(&mut self) {
        if let Some(attempt) = self.log.attempts.last_mut() {
            attempt.hedge = true;
        }
    }

    /// Another attempt has answered before this one, which is let go. The prompt has been read and is charged, as a usage event of its
    /// own: by its tokens where they were counted for a limit or a budget, else by its bytes.
    pub(crate) fn lost(&mut self, number: usize, target: &Arc<Target>, bill: Bill) {
        let (usage, settled_by) = self.unsaid(0);
        let cost = target.price.as_ref().and_then(|price| price::cost(&usage, price));
        let now = self.elapsed_us();
        if let Some(attempt) = self.log.attempts.get_mut(number.saturating_sub(1)) {
            attempt.ended_us = now;
            attempt.error_code = LOST.to_owned();
            attempt.tokens = Some(tokens(&usage));
            attempt.cost_nano_usd = cost.unwrap_or_default();
        }
        if !self.admitted || self.is_free {
            return bill.settle(0);
        }
        let baseline = self.baseline_of_lost(cost);
        let event = Event {
            id: format!("{}-{number}", self.log.id).into(),
            provider: &target.provider.name,
            upstream_model: &target.model,
            tokens: Some(tokens(&usage)),
            units: units(usage.units),
            settled_by: settled_by.into(),
            cost_nano_usd: cost.unwrap_or_default(),
            priced: cost.is_some(),
            price: cost
                .and(target.price.as_ref())
                .map(|price| price.row(self.log.topology_revision))
                .unwrap_or_default(),
            tier: "",
            baseline_nano_usd: baseline,
            // Nobody was answered.
            status: 0,
            charges: charges(&[&self.bill, &bill], cost.unwrap_or(0)).into(),
            ..self.event()
        };
        self.sinks.spool.started(event.clone());
        self.sinks.spool.settled(event);
        let cost = cost.unwrap_or_default();
        bill.settle(cost);
        self.charged_beside(cost);
        self.baseline.beside(baseline);
        self.attempt_unfunded(number);
    }
}
