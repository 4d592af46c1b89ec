//! Limits that several share: of everything that they select together, or of each of many.

mod parts;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_model::kind::limit::{LimitRule, Per};
use gateway_model::set::Set;

use crate::glob::Glob;
use crate::limits::bill::{self, Bill};
use crate::limits::purse::Purse;
use crate::limits::{Asked, Limits, Owner};
use crate::price::{self, Price, Usage};
use crate::selector::{Selector, Spender};
use parts::Parts;

/// What refusals call a rule.
const OWNER: &str = "Limit";

/// In the order of the configuration.
#[derive(Clone, Debug, Default)]
pub struct SharedLimits(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    name: Arc<str>,
    selector: Selector,
    limits: Shared,
}

#[derive(Clone, Debug)]
enum Shared {
    Together(Arc<Limits>),
    Apart(Arc<Parts>),
}

/// The budgets of credentials, and which credentials those are.
pub type FundsAt = Vec<(Arc<[Glob]>, Arc<Purse>)>;

/// Limits and budgets of credentials that a request takes of whichever is picked for it.
#[derive(Clone, Debug, Default)]
pub struct AtCredentials {
    each: Vec<(Arc<[Glob]>, Arc<Limits>)>,
    pub(crate) asked: Asked,
    purses: FundsAt,
    /// What is set aside is the price of this.
    expected: Usage,
    /// By this machine's clock, when the request was admitted: that is the window of a budget which it counts in.
    now_ms: i64,
}

/// What a rule with `per` tells apart, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apart {
    pub rule: Arc<str>,
    pub per: Per,
    pub n_parts: usize,
    /// Requests that found no room for a part of their own, and shared one.
    pub n_beyond: u64,
}

// === impl SharedLimits ===

impl SharedLimits {
    /// What was used of those that were there before stays used, unless they changed.
    pub(crate) fn new(set: &Set, served: &Self) -> Self {
        let before: HashMap<&str, &Rule> = served.0.iter().map(|rule| (&*rule.name, rule)).collect();
        let rule = |rule: &LimitRule| {
            let before = before.get(rule.name.as_str()).filter(|before| before.limits.are(rule));
            Rule {
                name: rule.name.as_str().into(),
                selector: Selector::new(&rule.matcher),
                limits: before.map_or_else(|| Shared::new(rule), |before| before.limits.clone()),
            }
        };
        Self(set.limits.iter().map(rule).collect())
    }

    /// Those that this request takes. Allocates only where there is one; the time is looked at only where parts run out.
    pub fn of(&self, spender: Spender<'_>, now: impl Fn() -> Instant) -> Vec<Arc<Limits>> {
        let mut found = Vec::new();
        let rules = self.0.iter().filter(|rule| !rule.selector.is_of_credentials());
        for rule in rules.filter(|rule| rule.selector.selects(spender)) {
            rule.limits.of((&rule.selector, spender), &mut found, &now);
        }
        found
    }

    /// Those that this request takes when it is known with which credential it goes. Nothing is allocated where there are none.
    pub fn at_credentials(&self, spender: Spender<'_>, asked: Asked, now: impl Fn() -> Instant) -> AtCredentials {
        // Each node has its part: nothing waits for a loan while a credential is picked.
        let mut at = AtCredentials { asked: Asked { yields: false, ..asked }, ..AtCredentials::default() };
        let rules = self.0.iter().filter(|rule| rule.selector.is_of_credentials());
        for Rule { selector, limits, .. } in rules.filter(|rule| rule.selector.selects(spender)) {
            let mut found = Vec::new();
            limits.of((selector, spender), &mut found, &now);
            at.each.extend(found.into_iter().map(|limits| (Arc::clone(&selector.credentials), limits)));
        }
        at
    }

    pub fn apart(&self) -> impl Iterator<Item = Apart> {
        self.0.iter().filter_map(|rule| match &rule.limits {
            Shared::Together(_) => None,
            Shared::Apart(parts) => Some(parts.told(&rule.name)),
        })
    }
}

// === impl AtCredentials ===

impl AtCredentials {
    /// These budgets as well, of which the price of so much is set aside.
    #[must_use]
    pub fn paying(self, purses: FundsAt, expected: Usage, now_ms: i64) -> Self {
        Self { purses, expected, now_ms, ..self }
    }

    /// Those of this credential.
    pub fn of(&self, account: &str) -> impl Iterator<Item = Arc<Limits>> {
        self.each.iter().filter(move |(globs, _)| is_of(globs, account)).map(|(_, limits)| Arc::clone(limits))
    }

    /// Whether any credential has a budget that the request counts in.
    pub fn has_budgets(&self) -> bool {
        !self.purses.is_empty()
    }

    /// How long what was refused will be, as far as that is known.
    pub(crate) fn left(&self, refused: &bill::Refused) -> Option<Duration> {
        refused.left(self.now_ms)
    }

    /// Money for the request from all budgets of this credential, or from none. Nothing is waited for.
    pub fn pay(&self, account: &str, price: Option<&Price>) -> Result<Bill, bill::Refused> {
        if self.purses.is_empty() {
            return Ok(Bill::default());
        }
        let purses = purses_of(&self.purses, account);
        // Of what nobody knows the price of a little is taken, as of other budgets.
        let nano = price.and_then(|price| price::cost(&self.expected, price)).unwrap_or(0);
        Bill::reserve(&purses, nano, self.now_ms)
    }
}

/// Those of this credential, of what was found for any.
pub fn purses_of(purses: &[(Arc<[Glob]>, Arc<Purse>)], account: &str) -> Vec<Arc<Purse>> {
    let of = purses.iter().filter(|(globs, _)| is_of(globs, account));
    of.map(|(_, purse)| Arc::clone(purse)).collect()
}

fn is_of(globs: &[Glob], account: &str) -> bool {
    globs.iter().any(|glob| glob.matches(account))
}

// === impl Shared ===

impl Shared {
    fn new(LimitRule { name, per, limits, .. }: &LimitRule) -> Self {
        match per {
            None => Self::Together(Arc::new(Limits::new(Owner { kind: OWNER, name: name.as_str().into() }, limits))),
            Some(per) => Self::Apart(Arc::new(Parts::new(name, *per, limits))),
        }
    }

    fn of(&self, spends: (&Selector, Spender<'_>), found: &mut Vec<Arc<Limits>>, now: &impl Fn() -> Instant) {
        match self {
            Self::Together(limits) => found.push(Arc::clone(limits)),
            Self::Apart(parts) => parts.of(spends, found, now),
        }
    }

    fn are(&self, rule: &LimitRule) -> bool {
        match (self, rule.per) {
            (Self::Together(limits), None) => limits.are(&rule.limits),
            (Self::Apart(parts), Some(per)) => parts.are(per, &rule.limits),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
