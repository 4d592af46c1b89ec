//! Providers with their endpoints, quirks and prices.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use gateway_ir::dialect::Dialect;
use gateway_model::catalog;
use gateway_model::kind::price::Price as PriceDocument;
use gateway_model::kind::provider::{ApiKey, OnClientGone, Provider as Document};
use gateway_model::problem::{Code, Problem};
use gateway_model::set::Set;
use gateway_providers::endpoint::Endpoint;
use gateway_providers::quirks;

use crate::gate::Gate;
use crate::glob::Glob;
use crate::health::Probe;
use crate::limits::quota::Quota;
use crate::policy::Overrides;
use crate::price::list::PriceList;
use crate::routing::weighted;
use crate::snapshot::{Keys, Provider, Snapshot, account};

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
        match with_keys(document, prices, providers.len(), of_settings, served) {
            Ok(provider) => providers.push(Arc::new(provider)),
            Err(found) => problems.extend(found),
        }
    }
    providers
}

/// A provider, which is itself once more with each of its keys where it has several.
fn with_keys(
    document: &Document,
    prices: &[&PriceDocument],
    index: usize,
    of_settings: Overrides,
    served: &Snapshot,
) -> Result<Provider, Vec<Problem>> {
    let mut usable: Vec<_> = document.api_keys.iter().filter(|key| key.enabled).collect();
    usable.sort_by_key(|key| key.weight == 0);
    // The upstream has so many places, whatever key is shown to it; and they stay taken when its configuration changes.
    let gate = document.concurrency.as_ref().map(|concurrency| {
        let same = served.provider(&document.name).filter(|served| served.written.base_url == document.base_url);
        Gate::compile(concurrency, same.and_then(|served| served.gate.as_ref()))
    });
    let own = usable.first().map_or_else(|| Cow::Borrowed(document), |first| Cow::Owned(document.with_key(first)));
    let provider = one(&own, prices, index, of_settings)?;
    let written = Arc::new(lasting(document));
    let provider = remembering(Provider { written, gate: gate.clone(), ..provider }, served);
    let keyed = |key: &&ApiKey| {
        let keyed = one(&document.with_key(key), prices, index, of_settings)?;
        let account = account(&document.name, &key.name);
        let key_quota = Quota::new(key.limits);
        let keyed = Provider { key: Some(key.name.as_str().into()), account, key_quota, gate: gate.clone(), ..keyed };
        Ok(Arc::new(Provider { quota: provider.quota.clone(), ..remembering(keyed, served) }))
    };
    let each = usable.iter().map(keyed).collect::<Result<Box<[_]>, Vec<Problem>>>()?;
    let turns = weighted::turns(&usable.iter().map(|key| key.weight).collect::<Vec<_>>());
    Ok(Provider { keys: turns.map(|turns| Keys { each, turns }), ..provider })
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
    Ok(Provider {
        name: document.name.as_str().into(),
        key: None,
        account: document.name.as_str().into(),
        keys: None,
        kind: document.kind.as_str().into(),
        dialect,
        endpoint: Endpoint::compile(document, row)?,
        row,
        quirks,
        index,
        overrides: Overrides::compile(document.retry.as_ref(), document.timeouts.as_ref())
            .continued(document.continuation.as_ref())
            .or(of_settings),
        breaker: document.breaker.clone(),
        gate: None,
        drains: document.on_client_gone == OnClientGone::Drain,
        healths: Arc::default(),
        quota: Quota::new(document.limits),
        key_quota: None,
        probe: document.probe.as_ref().and_then(Probe::compile),
        probes: Arc::default(),
        written: Arc::new(lasting(document)),
        prices: Arc::new(PriceList::compile(&document.kind, prices.iter().copied())),
        discovery: discovery.and_then(|discovery| discovery.enabled),
        discoverable: discovery.iter().flat_map(|discovery| &discovery.allowed).map(|name| Glob::new(name)).collect(),
    })
}

/// What of a document makes it the same upstream: who is asked, and with what. Its limits of time and its thresholds may change,
/// and keys may come and go beside each other, without anybody forgetting what has been seen.
fn lasting(document: &Document) -> Document {
    Document {
        api_keys: Vec::new(),
        retry: None,
        timeouts: None,
        continuation: None,
        breaker: None,
        concurrency: None,
        on_client_gone: OnClientGone::default(),
        limits: None,
        probe: None,
        discovery: None,
        ..document.clone()
    }
}

/// With what has been seen of it under another configuration in which it was the same.
fn remembering(provider: Provider, served: &Snapshot) -> Provider {
    match served.provider(&provider.account) {
        Some(known) if known.written == provider.written => {
            let quota = kept(provider.quota, known.quota.as_ref());
            let key_quota = kept(provider.key_quota, known.key_quota.as_ref());
            let (healths, probes) = (Arc::clone(&known.healths), Arc::clone(&known.probes));
            Provider { healths, probes, quota, key_quota, ..provider }
        }
        _ => provider,
    }
}

/// What has been taken of limits that are the same.
fn kept(new: Option<Arc<Quota>>, known: Option<&Arc<Quota>>) -> Option<Arc<Quota>> {
    new.map(|new| known.filter(|known| known.is_same(&new)).cloned().unwrap_or(new))
}

/// The node is older than who wrote the configuration.
pub(super) fn unknown_quirk(path: String, name: &str) -> Problem {
    Problem::error(Code::InvalidValue, path, format!("this version does not know the quirk `{name}`"))
}
