//! `settings.limit_store`: where limits are counted for all nodes of a fleet.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::WhenAway;
use crate::policy::Fault;
use crate::unit::Span;

/// Rates and requests at once are counted by a server that all nodes ask with each request, rather than by the nodes, each its part.
/// Budgets are not: their money is leased by the control plane, whose database forgets nothing that is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitStore {
    pub kind: StoreKind,
    /// A request waits so long for the server, and goes by `when_away` then. Default 5ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    /// What holds while the server does not answer, of limits that say nothing themselves. Default `local_share`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_away: Option<WhenAway>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// A Redis (6 or later) or Valkey: the one that nodes are told of by `--redis-url-file` or `GATEWAY_REDIS_URL`.
    Redis,
}

// === impl LimitStore ===

impl LimitStore {
    /// In milliseconds.
    const DEADLINE: std::ops::RangeInclusive<u128> = 1..=1000;

    /// What is wrong with it: field and reason.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let is_fit = self.deadline.is_none_or(|deadline| Self::DEADLINE.contains(&deadline.0.as_millis()));
        if is_fit { Vec::new() } else { vec![("limit_store.deadline", "must be from 1ms to 1s")] }
    }
}
