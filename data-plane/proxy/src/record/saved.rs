//! What a request would have cost if nothing had been chosen for it: at the first target of the model that was asked for. What routing and
//! the cache save is told from that.

use std::sync::Arc;

use gateway_engine::price;
use gateway_engine::snapshot::Target;
use gateway_ir::usage::Usage;

use super::Record;

/// What a request is held against.
pub(super) struct Baseline {
    /// `None` where no model was asked for.
    first: Option<Arc<Target>>,
    /// Of an answer out of the cache.
    recalled: Option<i64>,
    /// Of usage events beside the request's own; `None` where one of them has none.
    beside: Option<i64>,
    /// Of the request's own usage event.
    ended: Option<i64>,
}

// === impl Record ===

impl Record {
    /// Who would serve it if nothing were chosen. Said before it is admitted.
    pub(crate) fn held_against(&mut self, first: Option<&Arc<Target>>) {
        self.baseline.first = first.cloned();
    }

    /// The reply is there, and this was used for it when it was made.
    pub(super) fn baseline_recalled(&mut self, usage: Option<&Usage>) {
        let price = self.baseline.first.as_deref().and_then(|first| first.price.as_ref());
        self.baseline.recalled = usage.zip(price).and_then(|(usage, price)| price::cost(usage, price));
    }

    /// What would have been charged in place of `cost`, which a target charges for this; `None` where either has no known price.
    pub(super) fn baseline(&self, target: Option<&Arc<Target>>, usage: &Usage, cost: Option<i64>) -> Option<i64> {
        let (cost, first) = (cost?, self.baseline.first.as_ref()?);
        if self.is_recalled() {
            return self.baseline.recalled;
        }
        match target.is_some_and(|target| Arc::ptr_eq(target, first)) {
            true => Some(cost),
            false => price::cost(usage, first.price.as_ref()?),
        }
    }

    /// What would have been charged in place of an attempt that only choosing has made: nothing. `None` where that is not asked.
    pub(super) fn baseline_of_lost(&self, cost: Option<i64>) -> Option<i64> {
        cost.and(self.baseline.first.as_ref()).map(|_| 0)
    }
}

// === impl Baseline ===

impl Baseline {
    /// That of a usage event beside the request's own.
    pub(super) fn beside(&mut self, baseline: Option<i64>) {
        self.beside = self.beside.zip(baseline).map(|(sum, more)| sum.saturating_add(more));
    }

    pub(super) fn ended(&mut self, baseline: Option<i64>) {
        self.ended = baseline;
    }

    /// Of all usage events of the request together.
    pub(super) fn whole(&self) -> Option<i64> {
        self.ended.zip(self.beside).map(|(own, beside)| own.saturating_add(beside))
    }
}

impl Default for Baseline {
    fn default() -> Self {
        Self { first: None, recalled: None, beside: Some(0), ended: None }
    }
}
