//! What must hold of a fleet, and what does not.

use std::collections::BTreeMap;

use gateway_engine::limits::lending::{LASTS, YIELDS};

use super::{Step, World};

const MINUTE_MS: u64 = 60_000;

// === impl World ===

impl World<'_> {
    /// Of each window.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut counted = self.spent.clone();
        for charge in self.nodes.iter().flat_map(|node| &node.open).flat_map(|open| &open.charges) {
            *counted.entry((charge.budget.clone(), charge.window_start_ms)).or_default() += charge.nano_usd;
        }
        for ((budget, start_ms), spent) in counted {
            let most = self.most[&budget] + self.beyond.get(&budget).copied().unwrap_or(0);
            if spent > most {
                return Err(format!("{spent} of {budget} is spent or set aside in {start_ms}, of {most}"));
            }
        }
        Ok(())
    }

    /// In any stretch: what is let pass, less what fills up meanwhile, is the difference of two of these.
    pub(super) fn check_rates(&self) -> Result<(), String> {
        let (rpm, tpm) = (self.case.rpm, self.case.tpm);
        for client in 0..self.case.n_clients {
            for (name, limit, beyond) in [("rpm", rpm, 0), ("tpm", tpm, self.n_overrun)] {
                let of_killed =
                    (MINUTE_MS + YIELDS.as_millis() as u64) * limit * self.n_killed / self.case.n_nodes as u64;
                let most = limit * (MINUTE_MS + LASTS.as_millis() as u64) + of_killed + beyond * MINUTE_MS;
                let (mut sum, mut least) = (0, i128::MAX);
                for passed in self.passed.iter().filter(|passed| passed.client == client) {
                    let filled = i128::from(limit * passed.at_ms);
                    least = least.min(sum - filled);
                    sum += i128::from(if name == "rpm" { 1 } else { passed.tokens } * MINUTE_MS);
                    let stretch = sum - filled - least;
                    if stretch > i128::from(most) {
                        let at = passed.at_ms;
                        return Err(format!("{name} {limit} of client {client}: {stretch} of {most} at {at} ms"));
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) async fn check_end(&self) -> Result<(), String> {
        if let Some(node) = self.nodes.iter().find(|node| !node.is_quiet()) {
            return Err(format!("{} has something left: {:?}", node.id, node.purses.totals()));
        }
        let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
        for (budget, nano) in self.control.events.values().flatten() {
            *sums.entry(budget).or_default() += nano;
        }
        for budget in self.most.keys() {
            let balance = self.control.store.balance(budget, 0).await.expect("the ledger answers");
            let told = sums.get(budget.as_str()).copied().unwrap_or(0);
            if (balance.spent, balance.leased) != (told, 0) {
                return Err(format!("{budget}: {balance:?}, and {told} is the sum of the events"));
            }
        }
        if self.case.is_capped && self.n_overrun > 0 {
            return Err(format!("{} tokens beyond what was asked for", self.n_overrun));
        }
        let truth: i64 = self.spent.values().sum();
        let told: i64 = sums.values().sum();
        let n_killed = self.n_killed;
        if self.case.steps.iter().any(|step| matches!(step, Step::Expel { .. })) || truth == told {
            return Ok(());
        }
        Err(format!("{truth} was spent, and {told} told, with {n_killed} killed"))
    }
}
