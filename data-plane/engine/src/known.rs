//! Where facts on models come from: the configuration over what providers list over the catalogue.

use std::collections::HashMap;
use std::sync::Arc;

use gateway_ir::offer::{Known, Modalities, Offer, Rates};
use gateway_model::catalog::models;
use gateway_model::kind::model::Facts;
use gateway_model::unit::UsdPerMillion;

/// What providers say that they have. Made whole and swapped whole.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// By provider; each list by name.
    lists: HashMap<String, Arc<[Offer]>>,
}

// === impl Discovered ===

impl Discovered {
    /// Lists by provider, each in the order of its models' names.
    pub fn new(lists: HashMap<String, Arc<[Offer]>>) -> Self {
        debug_assert!(lists.values().all(|list| list.is_sorted_by(|a, b| a.model < b.model)));
        Self { lists }
    }

    pub fn of(&self, provider: &str) -> &[Offer] {
        self.lists.get(provider).map_or(&[], |list| list)
    }

    /// One binary search.
    pub(crate) fn known(&self, provider: &str, model: &str) -> Option<&Known> {
        let list = self.of(provider);
        let at = list.binary_search_by(|offer| offer.model.as_str().cmp(model)).ok()?;
        Some(&list[at].known)
    }
}

/// What the catalogue knows of a model; nothing where it does not have it.
pub(crate) fn catalogued(kind: &str, model: &str) -> Known {
    let Some(found) = models::model(kind, model) else { return Known::default() };
    let (reads, makes) = found.modalities();
    // Of a model without any letter nobody has looked it up: that it can do nothing is not known.
    let able: Vec<&str> = found.capabilities().collect();
    let can = |word: &str| (!able.is_empty()).then(|| able.contains(&word));
    let prices = found.prices.as_ref().map(|prices| &prices.base);
    let reads = Modalities::from_words(reads);
    Known {
        mode: Some(found.mode),
        context_window: found.context,
        max_tokens: found.output,
        reads: Some(reads),
        makes: Some(Modalities::from_words(makes)),
        vision: Some(reads.has("image")),
        tool_calls: can("tools"),
        reasoning: can("reasoning"),
        rates: prices.and_then(|rates| {
            rates.input.or(rates.output)?;
            Some(Rates {
                input: rates.input.map_or(0, nano),
                output: rates.output.map_or(0, nano),
                cache_read: rates.cache_read.map(nano),
                cache_write: rates.cache_write.map(nano),
            })
        }),
        created: None,
    }
}

pub(crate) fn configured(facts: &Facts) -> Known {
    Known {
        context_window: facts.context_window,
        max_tokens: facts.max_tokens,
        vision: facts.supports_vision,
        tool_calls: facts.supports_tool_calls,
        reasoning: facts.supports_reasoning,
        ..Known::default()
    }
}

fn nano(price: UsdPerMillion) -> u64 {
    u64::try_from(price.0).unwrap_or_default()
}
