//! Limits that several share: of everything that they select together.

use std::collections::HashMap;
use std::sync::Arc;

use gateway_model::kind::limit::LimitRule;
use gateway_model::set::Set;

use crate::limits::{Limits, Owner};
use crate::selector::{Selector, Spender};

/// In the order of the configuration.
#[derive(Clone, Debug, Default)]
pub struct SharedLimits(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    selector: Selector,
    limits: Arc<Limits>,
}

// === impl SharedLimits ===

impl SharedLimits {
    /// What was used of those that were there before stays used, unless they changed.
    pub(crate) fn new(set: &Set, served: &Self) -> Self {
        let before: HashMap<&str, &Arc<Limits>> =
            served.0.iter().map(|rule| (&*rule.limits.owner().name, &rule.limits)).collect();
        let rule = |LimitRule { name, matcher, limits }: &LimitRule| {
            let before = before.get(name.as_str()).filter(|before| before.are(limits));
            let new = || Arc::new(Limits::new(Owner { kind: "Limit", name: name.as_str().into() }, limits));
            Rule { selector: Selector::new(matcher), limits: before.map_or_else(new, |before| Arc::clone(before)) }
        };
        Self(set.limits.iter().map(rule).collect())
    }

    /// Those that this request takes. Allocates only where there is one.
    pub fn of(&self, spender: Spender<'_>) -> Vec<Arc<Limits>> {
        let selecting = self.0.iter().filter(|rule| rule.selector.selects(spender));
        selecting.map(|rule| Arc::clone(&rule.limits)).collect()
    }
}
