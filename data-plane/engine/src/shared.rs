//! Limits that several share: of everything that they select together, or of each of many.

mod parts;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use gateway_model::kind::limit::{LimitRule, Per};
use gateway_model::set::Set;

use crate::limits::{Limits, Owner};
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
        for Rule { selector, limits, .. } in self.0.iter().filter(|rule| rule.selector.selects(spender)) {
            match limits {
                Shared::Together(limits) => found.push(Arc::clone(limits)),
                Shared::Apart(parts) => parts.of((selector, spender), &mut found, &now),
            }
        }
        found
    }

    pub fn apart(&self) -> impl Iterator<Item = Apart> {
        self.0.iter().filter_map(|rule| match &rule.limits {
            Shared::Together(_) => None,
            Shared::Apart(parts) => Some(parts.told(&rule.name)),
        })
    }
}

// === impl Shared ===

impl Shared {
    fn new(LimitRule { name, per, limits, .. }: &LimitRule) -> Self {
        match per {
            None => Self::Together(Arc::new(Limits::new(Owner { kind: OWNER, name: name.as_str().into() }, limits))),
            Some(per) => Self::Apart(Arc::new(Parts::new(name, *per, limits))),
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
