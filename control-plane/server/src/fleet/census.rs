//! How many nodes are in what state, for those who watch the fleet as a whole.

use gateway_model::kind::Class;
use gateway_store::revisions::Committed;

use super::node::{Node, Target, Verdict};
use super::view::Lag;

/// Nodes that this replica speaks with, or has spoken with not long ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Census {
    /// They serve by what is newest.
    pub(crate) n_current: usize,
    pub(crate) n_behind: usize,
    /// They would not take it, or their database is not this one.
    pub(crate) n_refusing: usize,
    pub(crate) n_away: usize,
    /// Of the connected node that is furthest behind.
    pub(crate) lag: Lag,
}

// === impl Census ===

impl Census {
    pub(super) fn of<'n>(nodes: impl Iterator<Item = &'n Node>, now_ms: i64, heads: Committed) -> Self {
        let target = Target::new(heads, &Class::ALL);
        let mut census = Self::default();
        for node in nodes {
            if !node.is_connected(now_ms) {
                census.n_away += 1;
                continue;
            }
            match node.verdict(target) {
                Verdict::Applied => census.n_current += 1,
                Verdict::Pending => census.n_behind += 1,
                Verdict::Rejected => census.n_refusing += 1,
            }
            let lag = Lag::new(&node.state, heads);
            census.lag.topology = census.lag.topology.max(lag.topology);
            census.lag.identity = census.lag.identity.max(lag.identity);
        }
        census
    }

    pub(crate) fn n_connected(&self) -> usize {
        self.n_current + self.n_behind + self.n_refusing
    }
}
