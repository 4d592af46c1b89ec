//! The money of one request: from every budget that it counts in, or from none.

use std::sync::Arc;
use std::time::Duration;

use gateway_ir::failure::{Code, Failure};
use gateway_model::kind::budget::OnExhausted;

use super::purse::{Hold, Purse, Short};

/// Evidence that a request is paid for. It settles once; dropped, all of it counts as spent. Empty where nothing has a budget, which
/// costs nothing.
#[derive(Debug, Default)]
#[must_use = "a bill that is dropped is spent"]
pub struct Bill(Vec<Hold>);

/// The budget that has too little.
#[derive(Debug)]
pub struct Refused {
    purse: Arc<Purse>,
    short: Short,
}

/// A request of which nobody knows what it costs takes this, so that a budget that is spent stops it.
const LEAST: i64 = 1;
/// After which it is worth trying again where the ledger was not heard.
const A_MOMENT: Duration = Duration::from_secs(1);

// === impl Bill ===

impl Bill {
    /// Takes so much from each, or nothing.
    pub fn reserve(purses: &[Arc<Purse>], nano: i64, now_ms: i64) -> Result<Self, Refused> {
        let mut bill = Self(Vec::with_capacity(purses.len()));
        for purse in purses {
            match purse.reserve(nano.max(LEAST), now_ms) {
                Ok(hold) => bill.0.push(hold),
                Err(short) => {
                    bill.settle(0);
                    return Err(Refused { purse: Arc::clone(purse), short });
                }
            }
        }
        Ok(bill)
    }

    /// For what was admitted in an earlier request and is known to be done now: nobody is asked.
    pub fn owed(purses: &[Arc<Purse>], now_ms: i64) -> Self {
        Self(purses.iter().map(|purse| purse.owes(now_ms)).collect())
    }

    /// Each budget by its name in the ledger, the start of its window, and what is held of it.
    pub fn holds(&self) -> impl Iterator<Item = (&str, i64, i64)> {
        self.0.iter().map(|hold| (hold.purse().id(), hold.window_start_ms(), hold.nano()))
    }

    /// A reply is longer than was thought: it has cost `used` by now, and takes as much as `ahead` where there is so much, so that the
    /// ledger is asked before it is needed. What is used and not there is owed, but to a budget that cuts: that one comes back.
    pub fn grow(&mut self, used: i64, ahead: i64, now_ms: i64) -> Result<(), Refused> {
        for hold in &mut self.0 {
            let more = ahead.saturating_sub(hold.nano());
            if more <= 0 {
                continue;
            }
            let Err(short) = hold.top_up(more, now_ms) else { continue };
            let owed = used.saturating_sub(hold.nano());
            if owed <= 0 || hold.top_up(owed, now_ms).is_ok() {
                continue;
            }
            if hold.purse().terms().on_exhausted == OnExhausted::Cut {
                return Err(Refused { purse: Arc::clone(hold.purse()), short });
            }
            hold.owe(owed);
        }
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What it was in truth, for each of them.
    pub fn settle(self, used_nano: i64) {
        self.0.into_iter().for_each(|hold| hold.settle(used_nano));
    }
}

// === impl Refused ===

impl Refused {
    /// Whether it is worth waiting for more money.
    pub fn is_asked(&self) -> bool {
        self.short == Short::Asked
    }

    /// How long there will be no more, as far as that is known; a moment where only this node has too little for now.
    pub fn left(&self, now_ms: i64) -> Option<Duration> {
        match self.short {
            Short::Exhausted { until_ms } => {
                let left = until_ms.and_then(|until_ms| u64::try_from(until_ms.saturating_sub(now_ms)).ok());
                left.map(Duration::from_millis)
            }
            Short::Asked | Short::Unavailable => Some(A_MOMENT),
        }
    }

    /// Whether there is no more, and not only none that is known here.
    pub fn is_exhausted(&self) -> bool {
        matches!(self.short, Short::Exhausted { .. })
    }

    /// 429: until the window ends where the money is spent, else for a moment.
    pub fn failure(&self, now_ms: i64) -> Box<Failure> {
        let terms = self.purse.terms();
        let (owner, amount, window) = (owner(self.purse.id()), terms.amount_at(now_ms), terms.window);
        let (code, message) = match self.short {
            Short::Exhausted { .. } => {
                let message = format!("{owner} has no budget left for this request: ${amount} ({window}).");
                (Code::RateLimited, message)
            }
            Short::Asked | Short::Unavailable => {
                let message = format!(
                    "what {owner} may still spend of its budget of ${amount} ({window}) is not known to this node, and the control \
                     plane does not answer; try again"
                );
                (Code::BudgetUnavailable, message)
            }
        };
        let mut failure = Failure::new(code, message).with_retry_after(self.left(now_ms));
        failure.limit_kind = Some("budget");
        Box::new(failure)
    }
}

/// `team/search` as refusals say it: `Team search`.
fn owner(id: &str) -> String {
    let (kind, name) = id.split_once('/').unwrap_or(("", id));
    let kind = match kind {
        "key" => "Key",
        "team" => "Team",
        "user" => "User",
        "organization" => "Organization",
        _ => "Budget",
    };
    format!("{kind} {name}")
}

#[cfg(test)]
mod tests {
    use gateway_model::kind::budget::{Budget, Window};
    use gateway_model::unit::Usd;

    use super::super::purse::{Grant, Purses};
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn purse(purses: &Arc<Purses>, id: &str, granted: i64) -> Arc<Purse> {
        purse_that(OnExhausted::Refuse, purses, id, granted)
    }

    fn purse_that(on_exhausted: OnExhausted, purses: &Arc<Purses>, id: &str, granted: i64) -> Arc<Purse> {
        let terms = Budget {
            amount_usd: Usd(2_500_000_000),
            window: Window::Daily,
            on_exhausted,
            offline_allowance_usd: Usd(0),
            alert_at: None,
            exception: None,
        };
        let purse = purses.purse(id, terms);
        let window = terms.window.at(NOW);
        let grant = Grant { window, granted, refused: 1, free_at_ms: Some(window.end_ms) };
        purse.granted(&grant, NOW);
        purse
    }

    fn left(purse: &Purse) -> i64 {
        purse.accounts().last().map_or(0, |account| account.left)
    }

    #[test]
    fn all_budgets_or_none() {
        let purses = Arc::new(Purses::default());
        let both = [purse(&purses, "key/vk_1", 100), purse(&purses, "team/search", 50)];
        let bill = Bill::reserve(&both, 40, NOW).expect("money");
        assert_eq!(
            bill.holds().map(|(id, _, nano)| (id, nano)).collect::<Vec<_>>(),
            [("key/vk_1", 40), ("team/search", 40)]
        );
        let refused = Bill::reserve(&both, 40, NOW).expect_err("the team has 10");
        let failure = refused.failure(NOW);
        assert_eq!((failure.status, failure.limit_kind, refused.is_asked()), (429, Some("budget"), false));
        assert_eq!(failure.message, "Team search has no budget left for this request: $2.5 (daily).");
        let until_midnight = u64::try_from(Window::Daily.at(NOW).end_ms - NOW).expect("later");
        assert_eq!(failure.retry_after, Some(Duration::from_millis(until_midnight)));
        bill.settle(30);
        assert_eq!((left(&both[0]), left(&both[1])), (70, 20), "the refused one took nothing");
        drop(Bill::reserve(&both, 0, NOW).expect("money"));
        assert_eq!(left(&both[1]), 19, "what nobody knows the cost of takes a little");
        Bill::owed(&both, NOW).settle(100);
        assert_eq!(left(&both[1]), -81, "what is owed is owed");
        assert!(Bill::reserve(&[], 5, NOW).expect("nothing to pay").holds().next().is_none());
    }

    #[test]
    fn what_grows_takes_more_owes_it_or_is_cut() {
        let purses = Arc::new(Purses::default());
        let cases = [(OnExhausted::Refuse, true, -20), (OnExhausted::Alert, true, -40), (OnExhausted::Cut, false, 20)];
        for (at, (on_exhausted, goes_on, is_left)) in cases.into_iter().enumerate() {
            let purse = purse_that(on_exhausted, &purses, &format!("key/vk_{at}"), 100);
            let mut bill = Bill::reserve(&[Arc::clone(&purse)], 40, NOW).expect("money");
            bill.grow(50, 80, NOW).expect("there is so much");
            bill.grow(60, 80, NOW).expect("it is held already");
            assert_eq!(left(&purse), 20);
            bill.grow(70, 140, NOW).expect("what is used is held, whatever is ahead");
            let grown = bill.grow(120, 140, NOW);
            assert_eq!((grown.is_ok(), left(&purse)), (goes_on, is_left), "{on_exhausted:?}");
            if let Err(refused) = grown {
                assert_eq!(refused.failure(NOW).limit_kind, Some("budget"));
            }
            bill.settle(90);
            assert_eq!(left(&purse), 10, "settled by what it was");
        }
    }
}
