//! Which budgets a request counts in: those of its own that match it, and those of whichever credential it goes with.

use std::sync::Arc;

use gateway_model::kind::budget::BudgetRule;
use gateway_model::set::Set;

use crate::limits::purse::{Purse, Purses};
use crate::selector::{Selector, Spender};
use crate::shared::FundsAt;

/// Budgets that several share, in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Budgets(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    selector: Selector,
    purse: Arc<Purse>,
}

// === impl Budgets ===

impl Budgets {
    /// What is left of those that were there before is left.
    pub(crate) fn new(set: &Set, purses: &Arc<Purses>) -> Self {
        Self(set.budgets.iter().map(|rule| Rule::new(rule, purses)).collect())
    }

    /// All that this request counts in: its key's own, those of whom the key is for, and those that match it. Allocates only where
    /// there is one.
    pub fn of(&self, spender: Spender<'_>) -> Vec<Arc<Purse>> {
        let own = spender.standing.purses(spender.caller);
        let matching = self.matching(spender).filter(|rule| !rule.selector.is_of_credentials());
        own.chain(matching.map(|rule| &rule.purse)).map(Arc::clone).collect()
    }

    /// Those that this request counts in when it is known with which credential it goes. Allocates only where there is one.
    pub fn at_credentials(&self, spender: Spender<'_>) -> FundsAt {
        let matching = self.matching(spender).filter(|rule| rule.selector.is_of_credentials());
        matching.map(|rule| (Arc::clone(&rule.selector.credentials), Arc::clone(&rule.purse))).collect()
    }

    fn matching<'a>(&'a self, spender: Spender<'a>) -> impl Iterator<Item = &'a Rule> {
        self.0.iter().filter(move |rule| rule.selector.selects(spender))
    }
}

// === impl Rule ===

impl Rule {
    fn new(rule: &BudgetRule, purses: &Arc<Purses>) -> Self {
        let purse = purses.purse(&format!("budget/{}", rule.name), rule.budget());
        Self { selector: Selector::new(&rule.matcher), purse }
    }
}
