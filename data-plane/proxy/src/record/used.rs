//! What a request has used and what that costs: said by the upstream, by the request itself, or estimated; and the event of it that is
//! charged.

use std::borrow::Cow;

use gateway_engine::price;
use gateway_ir::usage::{Tier, Units, Usage};
use gateway_wire::v1;

use super::written::{tokens, units};
use super::{Entry, Record};
use crate::telemetry::spool::Event;

// === impl Record ===

impl Record {
    pub(crate) fn used(&mut self, usage: Usage) {
        let units = usage.units.or(self.units);
        self.usage = Some((Usage { units, tier: self.tier_of(&usage), ..usage }, v1::SettledBy::Exact));
    }

    /// The head of the reply that has come says this.
    pub(crate) fn served_in(&mut self, tier: Tier) {
        self.tier = tier;
    }

    fn tier_of(&self, usage: &Usage) -> Tier {
        if usage.tier == Tier::default() { self.tier } else { usage.tier }
    }

    /// It is charged by something else than tokens; how much of it, as far as the request says. Said before it is admitted.
    pub(crate) fn charged_by(&mut self, units: Units) {
        self.units = units;
    }

    /// Bytes of what a model read, where that is better known than by the request's size.
    pub(crate) fn reads(&mut self, n_bytes: u64) {
        self.n_input_bytes = n_bytes;
    }

    /// Cost of what is known to be used so far; `None` without a price for all of it.
    pub(crate) fn cost(&self) -> Option<i64> {
        let (usage, _) = self.usage?;
        let price = self.target.as_ref()?.price.as_ref()?;
        let cost = price::cost(&usage, price)?;
        Some(cost.saturating_add(self.earlier.as_ref().map_or(Some(0), |earlier| earlier.cost)?))
    }

    /// Cost of what the request says by itself, before anything has come back; `None` where it says nothing or that has no price.
    pub(crate) fn cost_of_request(&self) -> Option<i64> {
        let price = self.target.as_ref()?.price.as_ref()?;
        self.units.is_measured().then(|| price::cost(&Usage::of_units(self.units), price))?
    }

    pub(crate) fn usage(&self) -> Option<Usage> {
        let usage = self.usage.map(|(usage, _)| usage);
        match &self.earlier {
            Some(earlier) => Some(earlier.usage.plus(&usage.unwrap_or_default())),
            None => usage,
        }
    }

    /// What is charged where the upstream does not say: what the request says by itself, else the prompt and what passed.
    pub(super) fn unsaid(&self, n_output_bytes: u64) -> (Usage, v1::SettledBy) {
        let settled_by = if self.units.is_measured() { v1::SettledBy::Exact } else { v1::SettledBy::Estimated };
        let usage = match self.units {
            Units::None => {
                let estimate = gateway_engine::count::estimate(self.n_input_bytes, n_output_bytes);
                Usage { input: self.n_input.unwrap_or(estimate.input), ..estimate }
            }
            units => Usage::of_units(units),
        };
        (Usage { tier: self.tier_of(&usage), ..usage }, settled_by)
    }

    /// Nothing if the upstream never answered.
    pub(super) fn settle_usage(&mut self) {
        if self.usage.is_some() {
            return;
        }
        let answered = self.log.first_byte_us > 0 && !self.is_free;
        self.usage = Some(match answered {
            true => self.unsaid(self.n_output_bytes),
            false => (Usage::default(), v1::SettledBy::Nothing),
        });
    }

    /// Charges what was used, and puts it in the log record.
    pub(super) fn settle(&mut self) {
        let event = self.event();
        let (tokens, units, settled_by) = (event.tokens, event.units, event.settled_by);
        let (cost, priced, baseline) = (event.cost_nano_usd, event.priced, event.baseline_nano_usd);
        let price = event.price.to_string();
        self.sinks.spool.settled(event);
        self.settle_bill(cost);
        self.baseline.ended(baseline);
        let Entry { log, target, usage, .. } = &mut **self;
        if let Some(target) = target {
            target.provider.name.as_ref().clone_into(&mut log.provider);
            target.model.as_ref().clone_into(&mut log.upstream_model);
        }
        (log.tokens, log.units, log.settled_by) = (tokens, units, settled_by);
        (log.cost_nano_usd, log.priced, log.price) = (cost, priced, price);
        usage.map_or("", |(usage, _)| usage.tier.word()).clone_into(&mut log.tier);
    }

    /// What is charged, as it stands.
    pub(super) fn event(&self) -> Event<'_> {
        let served = self.target.as_ref();
        let target = served.map(AsRef::as_ref);
        let (usage, settled_by) = self.usage.unwrap_or_else(|| {
            let expected = if self.is_free { Usage::default() } else { self.unsaid(0).0 };
            (expected, v1::SettledBy::Unspecified)
        });
        let price = target.and_then(|target| target.price.as_ref());
        let cost = price.and_then(|price| price::cost(&usage, price));
        let cost = cost.or(self.is_recalled().then_some(0));
        let charges = match settled_by {
            v1::SettledBy::Unspecified => self.reserved(),
            _ => self.charges(cost.unwrap_or(0)),
        };
        let row = cost.and(price).map(|price| price.row(self.log.topology_revision));
        Event {
            id: Cow::Borrowed(&self.log.id),
            started_unix_ms: self.log.started_unix_ms,
            key_id: &self.log.key_id,
            model: &self.log.model,
            provider: target.map(|target| &*target.provider.name).unwrap_or_default(),
            upstream_model: target.map(|target| &*target.model).unwrap_or_default(),
            route: &self.log.route,
            tokens: Some(tokens(&usage)),
            settled_by: settled_by.into(),
            cost_nano_usd: cost.unwrap_or_default(),
            priced: cost.is_some(),
            status: self.log.status,
            topology_revision: self.log.topology_revision,
            tags: &self.log.tags,
            units: units(usage.units),
            user: &self.log.user,
            team: &self.log.team,
            organization: &self.log.organization,
            charges: charges.into(),
            price: row.unwrap_or_default(),
            tier: usage.tier.word(),
            baseline_nano_usd: self.baseline(served, &usage, cost),
        }
    }
}
