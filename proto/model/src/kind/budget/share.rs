//! How much of a budget's money is handed out at a time, by whoever owns its ledger. Pure.

/// A lease lasts so many seconds by what is spent lately.
const LASTS_S: i64 = 30;
/// Of whom nothing is known yet, so many requests' worth.
const FIRST: i64 = 8;
/// A share that is smaller than this part of what is of use is not worth a message.
const CRUMB: i64 = 8;

/// What somebody wants of a budget's money, in nano-dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// For one request that waits; 0 where none does.
    pub needs: i64,
    /// For all that wait.
    pub waiting: i64,
    /// Spent in a second, lately.
    pub burn: i64,
}

// === impl Wish ===

impl Wish {
    /// What remains is shared by `n_nodes`: each gets less and less of it, so that all find some, and near the end what one request
    /// needs. 0 where that is not there, or nobody waits and it is not worth it.
    pub fn share(self, remaining: i64, n_nodes: u32) -> i64 {
        let wants = self.burn.saturating_mul(LASTS_S).max(self.waiting).max(self.needs.saturating_mul(FIRST));
        let share = remaining / (2 * i64::from(n_nodes.max(1)));
        let share = if self.needs == 0 && share < wants / CRUMB { 0 } else { share };
        let share = share.min(wants).max(self.needs);
        if share <= remaining { share.max(0) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_shrink_towards_the_end() {
        let waiting = |needs, waiting| Wish { needs, waiting, burn: 0 };
        let burning = |burn| Wish { needs: 0, waiting: 0, burn };
        let cases = [
            (waiting(10, 5000), 1000, 1, 500, "half of it"),
            (waiting(10, 5000), 1000, 10, 50, "fairly"),
            (waiting(10, 0), 1000, 1, 80, "a few requests' worth"),
            (waiting(10, 30), 100, 1, 50, "half of it"),
            (waiting(10, 5000), 15, 10, 10, "at least one request's"),
            (waiting(10, 5000), 9, 1, 0, "or nothing"),
            (burning(2), 1000, 1, 60, "thirty seconds' worth"),
            (burning(200), 1000, 1, 0, "no crumbs where nobody waits"),
            (burning(0), 1000, 1, 0, "nothing for nothing"),
            (burning(i64::MAX), 1000, 1, 0, "whatever is told"),
            (waiting(10, 10), -5, 1, 0, "nothing of a debt"),
            (waiting(0, 0), -5, 1, 0, "nothing of a debt"),
        ];
        for (wish, remaining, n_nodes, expected, why) in cases {
            assert_eq!(wish.share(remaining, n_nodes), expected, "{wish:?} of {remaining}: {why}");
        }
    }
}
