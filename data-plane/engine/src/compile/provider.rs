//! Providers with their endpoints, quirks and prices.

use std::collections::HashMap;
use std::sync::Arc;

use gateway_ir::dialect::Dialect;
use gateway_model::catalog;
use gateway_model::kind::price::Price as PriceDocument;
use gateway_model::kind::provider::Provider as Document;
use gateway_model::problem::{Code, Problem};
use gateway_model::set::Set;
use gateway_providers::endpoint::Endpoint;
use gateway_providers::quirks;

use crate::glob::Glob;
use crate::policy::Overrides;
use crate::price::Price;
use crate::snapshot::{Provider, Snapshot};

pub(super) fn compile(
    set: &Set,
    of_settings: Overrides,
    served: &Snapshot,
    problems: &mut Vec<Problem>,
) -> Vec<Arc<Provider>> {
    let mut prices: HashMap<&str, Vec<&PriceDocument>> = HashMap::new();
    for price in &set.prices {
        prices.entry(&price.provider).or_default().push(price);
    }
    let mut providers = Vec::with_capacity(set.providers.len());
    for document in &set.providers {
        let prices = prices.get(document.name.as_str()).map_or(&[][..], Vec::as_slice);
        match one(document, prices, providers.len(), of_settings) {
            Ok(provider) => providers.push(Arc::new(remembering(provider, served))),
            Err(found) => problems.extend(found),
        }
    }
    providers
}

fn one(
    document: &Document,
    prices: &[&PriceDocument],
    index: usize,
    of_settings: Overrides,
) -> Result<Provider, Vec<Problem>> {
    let at = |field: &str| format!("providers[{}].{field}", document.name);
    let known = catalog::row(&document.kind).and_then(|row| Some((row, Dialect::parse(&row.dialect)?)));
    let Some((row, dialect)) = known else {
        let message = format!("this version does not know the kind `{}`", document.kind);
        return Err(vec![Problem::error(Code::InvalidValue, at("kind"), message)]);
    };
    let of_kind = quirks::declared(&row.quirks, row.max_stops);
    let quirks = of_kind.and_then(|of_kind| Ok(of_kind.and(quirks::declared(&document.quirks, None)?)));
    let quirks = quirks.map_err(|name| vec![unknown_quirk(at("quirks"), name)])?;
    let discovery = document.discovery.as_ref();
    let of_models = prices.iter().filter(|price| price.model != "*");
    let of_others = prices.iter().find(|price| price.model == "*");
    Ok(Provider {
        name: document.name.as_str().into(),
        kind: document.kind.as_str().into(),
        dialect,
        endpoint: Endpoint::compile(document, row)?,
        row,
        quirks,
        index,
        overrides: Overrides::compile(document.retry.as_ref(), document.timeouts.as_ref()).or(of_settings),
        breaker: document.breaker.clone(),
        healths: Arc::default(),
        written: Arc::new(document.clone()),
        prices: of_models.map(|price| (price.model.as_str().into(), Price::compile(price))).collect(),
        other_price: of_others.map(|price| Price::compile(price)),
        discovery: discovery.and_then(|discovery| discovery.enabled),
        discoverable: discovery.iter().flat_map(|discovery| &discovery.allowed).map(|name| Glob::new(name)).collect(),
    })
}

/// With what has been seen of it under another configuration in which it was the same.
fn remembering(provider: Provider, served: &Snapshot) -> Provider {
    match served.provider(&provider.name) {
        Some(known) if known.written == provider.written => {
            Provider { healths: Arc::clone(&known.healths), ..provider }
        }
        _ => provider,
    }
}

/// The node is older than who wrote the configuration.
pub(super) fn unknown_quirk(path: String, name: &str) -> Problem {
    Problem::error(Code::InvalidValue, path, format!("this version does not know the quirk `{name}`"))
}
