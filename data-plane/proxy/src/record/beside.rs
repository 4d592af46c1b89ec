//! What attempts have beside their outcome: the wait for a place, and the price of those that another one was faster than, which are
//! charged for though nobody reads what they answer.

use std::sync::Arc;
use std::time::Duration;

use gateway_engine::limits::bill::Bill;
use gateway_engine::price;
use gateway_engine::snapshot::Target;
use gateway_wire::v1;

use super::billed::charges;
use super::written::{tokens, units};
use super::{Record, micros};

/// In the log, of the one that was late.
const LOST: &str = "hedge_lost";

// === impl Record ===

impl Record {
    /// What the latest attempt has waited for its place.
    pub(crate) fn queued(&mut self, waited: Duration) {
        if let Some(attempt) = self.log.attempts.last_mut() {
            attempt.queued_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
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
        let now = micros(self.started);
        if let Some(attempt) = self.log.attempts.get_mut(number.saturating_sub(1)) {
            attempt.ended_us = now;
            attempt.error_code = LOST.to_owned();
            attempt.tokens = Some(tokens(&usage));
            attempt.cost_nano_usd = cost.unwrap_or_default();
        }
        if !self.admitted || self.is_free {
            return bill.settle(0);
        }
        let event = v1::UsageEvent {
            id: format!("{}-{number}", self.log.id),
            provider: target.provider.name.as_ref().to_owned(),
            upstream_model: target.model.as_ref().to_owned(),
            tokens: Some(tokens(&usage)),
            units: units(usage.units),
            settled_by: settled_by.into(),
            cost_nano_usd: cost.unwrap_or_default(),
            priced: cost.is_some(),
            price: cost
                .and(target.price.as_ref())
                .map(|price| price.row(self.log.topology_revision))
                .unwrap_or_default(),
            tier: String::new(),
            baseline_nano_usd: self.baseline_of_lost(cost),
            // Nobody was answered.
            status: 0,
            charges: charges(&[&self.bill, &bill], cost.unwrap_or(0)),
            ..self.usage_event()
        };
        self.sinks.spool.started(&event);
        self.sinks.spool.settled(&event);
        bill.settle(event.cost_nano_usd);
        self.charged_beside(event.cost_nano_usd);
        self.baseline.beside(event.baseline_nano_usd);
        self.attempt_unfunded(number);
    }
}
