//! What one provider charges for each of its models: as configured, else by its vendor's public list.

use std::collections::HashMap;

use gateway_model::catalog;
use gateway_model::kind::price::Price as Document;

use super::Price;

/// The prices of one provider.
#[derive(Debug, Default)]
pub struct PriceList {
    /// The catalogue's id of what it is.
    kind: Box<str>,
    batch_percent: Option<u64>,
    by_model: HashMap<Box<str>, Price, ahash::RandomState>,
    /// Of every model without a price of its own.
    others: Option<Price>,
}

// === impl PriceList ===

impl PriceList {
    /// `documents` are those of this provider.
    pub fn compile<'a>(kind: &str, documents: impl Iterator<Item = &'a Document>) -> Self {
        let mut list = Self {
            kind: kind.into(),
            batch_percent: catalog::row(kind).and_then(|row| row.batch_percent),
            ..Self::default()
        };
        for document in documents {
            let price = Price::compile(document);
            if document.model == "*" {
                list.others.get_or_insert(price);
            } else {
                list.by_model.insert(document.model.as_str().into(), price);
            }
        }
        list
    }

    /// As configured.
    pub fn own(&self, model: &str) -> Option<Price> {
        self.by_model.get(model).or(self.others.as_ref()).cloned()
    }

    /// As configured, else by the vendor's public list. What a provider itself tells of its prices is known to nodes only.
    pub fn known(&self, model: &str) -> Option<Price> {
        self.own(model).or_else(|| self.listed(model))
    }

    pub(crate) fn listed(&self, model: &str) -> Option<Price> {
        Price::listed(&self.kind, model)
    }

    /// For work in batches: by the configured price, else by the vendor's own list of these, else the part of the ordinary price that
    /// its row in the catalogue says.
    pub fn in_batches(&self, model: &str) -> Option<Price> {
        let own = self.own(model);
        let percent =
            own.as_ref().and_then(|own| own.batch_percent).map(u64::from).or(self.batch_percent).unwrap_or(100);
        match own {
            Some(own) => Some(own.at_percent(percent)),
            None => {
                Price::listed_in_batches(&self.kind, model).or_else(|| Some(self.listed(model)?.at_percent(percent)))
            }
        }
    }
}
