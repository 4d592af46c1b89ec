//! From items to what serves: decode, compile, swap. The one place that writes [`Live`].
//!
//! Topology goes in whole or not at all. Identity goes in item by item: one that cannot be read denies its own key and never
//! holds back a revocation.

mod problems;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use gateway_engine::compile::compile;
use gateway_engine::identity::{Digest, KeyEntry, Peppers};
use gateway_engine::limits::Spec;
use gateway_engine::snapshot::Snapshot;
use gateway_model::document::{self, Resource};
use gateway_model::kind::Kind;
use gateway_model::kind::settings::{Server, Settings};
use gateway_model::problem::Problem;
use gateway_model::secret::Secret;
use gateway_model::set::Set;
use gateway_wire::v1::item::Body;
use gateway_wire::v1::{ConfigError, Item, ItemId, Key};
use gateway_wire::{KEY_KIND, PEPPER_KIND};
use tokio::sync::watch;

use super::state::Target;
use crate::state::{Config, Live};

pub(crate) struct Applier {
    live: Arc<Live>,
    peppers: BTreeMap<u32, Vec<u8>>,
    has_topology: bool,
    has_identity: bool,
    settings: watch::Sender<Option<Settings>>,
    /// What the listener was started with, once it was.
    served_with: Arc<OnceLock<Option<Server>>>,
}

// === impl Applier ===

impl Applier {
    pub(crate) fn new(live: Arc<Live>) -> Self {
        Self {
            live,
            peppers: BTreeMap::new(),
            has_topology: false,
            has_identity: false,
            settings: watch::Sender::new(None),
            served_with: Arc::default(),
        }
    }

    /// The settings of the newest topology that serves; `None` before the first.
    pub(crate) fn settings(&self) -> watch::Receiver<Option<Settings>> {
        self.settings.subscribe()
    }

    /// To be set when the listener starts; from then on, other settings of the listener are warned about.
    pub(crate) fn served_with(&self) -> Arc<OnceLock<Option<Server>>> {
        Arc::clone(&self.served_with)
    }

    /// All items of a topology.
    pub(crate) fn topology(&mut self, items: &[Item], revision: u64) -> Result<(), Vec<ConfigError>> {
        let (mut resources, mut errors) = (Vec::with_capacity(items.len()), Vec::new());
        for item in items {
            match resource(item) {
                Ok(resource) => resources.push(resource),
                Err(problems) => errors.extend(problems),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let set = Set::from_resources(resources);
        self.set(&set, revision).map_err(|problems| problems.iter().map(problems::of_set).collect())
    }

    /// A topology as people write it. Its keys are not looked at.
    pub(crate) fn set(&mut self, set: &Set, revision: u64) -> Result<(), Vec<Problem>> {
        let snapshot = compile(set, revision)?;
        self.has_topology = true;
        let peppers = Arc::clone(&self.live.load().peppers);
        self.swap(Arc::new(snapshot), peppers);
        if let Some(served_with) = self.served_with.get()
            && *served_with != set.settings.server
        {
            tracing::warn!("settings.server has changed; restart the node to listen by it");
        }
        self.settings.send_replace(Some(set.settings.clone()));
        Ok(())
    }

    /// Changes of identity. Returns what could not be read.
    pub(crate) fn identity(&mut self, upsert: &[Item], removed: &[ItemId]) -> Vec<ConfigError> {
        let mut quarantined = Vec::new();
        for id in removed.iter().filter(|id| id.kind == KEY_KIND) {
            self.live.keys.remove(&id.id);
        }
        self.change_peppers(upsert, removed, &mut quarantined);
        for item in upsert.iter().filter(|item| item.kind != PEPPER_KIND) {
            match self.key_entry(item) {
                Ok(entry) => self.live.keys.upsert(&entry, Instant::now()),
                Err(error) => {
                    self.live.keys.remove(&item.id);
                    quarantined.push(error);
                }
            }
        }
        self.has_identity = true;
        let config = self.live.pin();
        if !config.ready {
            self.swap(Arc::clone(&config.snapshot), Arc::clone(&config.peppers));
        }
        for error in &quarantined {
            tracing::error!("{} `{}` is denied: {}", error.kind, error.name, error.message);
        }
        quarantined
    }

    /// All keys, with the one pepper they were digested under.
    pub(crate) fn keys(&mut self, entries: &[KeyEntry], peppers: Arc<Peppers>) {
        let kept: HashSet<&str> = entries.iter().map(|entry| &*entry.id).collect();
        self.live.keys.retain(|id| kept.contains(id));
        let now = Instant::now();
        entries.iter().for_each(|entry| self.live.keys.upsert(entry, now));
        self.has_identity = true;
        let snapshot = Arc::clone(&self.live.load().snapshot);
        self.swap(snapshot, peppers);
    }

    fn change_peppers(&mut self, upsert: &[Item], removed: &[ItemId], quarantined: &mut Vec<ConfigError>) {
        let mut peppers = self.peppers.clone();
        for id in removed.iter().filter(|id| id.kind == PEPPER_KIND) {
            peppers.retain(|version, _| version.to_string() != id.id);
        }
        for item in upsert.iter().filter(|item| item.kind == PEPPER_KIND) {
            match &item.body {
                Some(Body::Pepper(pepper)) if !pepper.value.is_empty() => {
                    peppers.insert(pepper.version, pepper.value.clone());
                }
                _ => quarantined.push(problems::of_item(item, "", "invalid_value", "a pepper without a value")),
            }
        }
        if peppers == self.peppers {
            return;
        }
        match Peppers::new(peppers.iter().map(|(version, value)| (*version, value))) {
            Ok(compiled) => {
                self.peppers = peppers;
                let snapshot = Arc::clone(&self.live.load().snapshot);
                self.swap(snapshot, Arc::new(compiled));
            }
            // Empty ones were left out above.
            Err(error) => tracing::error!("peppers are not changed: {error}"),
        }
    }

    fn key_entry(&self, item: &Item) -> Result<KeyEntry, ConfigError> {
        let Some(Body::Key(key)) = &item.body else {
            return Err(problems::of_item(item, "", "invalid_value", "not a key"));
        };
        let digest: Digest = key.digest.as_slice().try_into().map_err(|_| {
            problems::of_item(item, "digest", "invalid_value", "a digest of a length that HMAC-SHA-256 does not have")
        })?;
        if !self.peppers.contains_key(&key.pepper_version) {
            let message = format!("digested under pepper {}, which this node does not have", key.pepper_version);
            return Err(problems::of_item(item, "pepper_version", "unknown_reference", &message));
        }
        Ok(entry(&item.id, digest, key))
    }

    fn swap(&self, snapshot: Arc<Snapshot>, peppers: Arc<Peppers>) {
        let ready = self.has_topology && self.has_identity;
        self.live.swap(Config { snapshot, peppers, ready });
    }
}

impl Target for Applier {
    fn topology(&mut self, items: &[Item], revision: u64) -> Result<(), Vec<ConfigError>> {
        Self::topology(self, items, revision)
    }

    fn identity(&mut self, upsert: &[Item], removed: &[ItemId]) -> Vec<ConfigError> {
        Self::identity(self, upsert, removed)
    }
}

fn entry(id: &str, digest: Digest, key: &Key) -> KeyEntry {
    KeyEntry {
        id: id.into(),
        name: key.name.clone(),
        digest,
        models: key.models.clone(),
        enabled: key.enabled,
        expires_at_ms: (key.expires_at_ms != 0).then_some(key.expires_at_ms),
        limits: Spec { rpm: key.limits.and_then(|limits| limits.rpm) },
        tags: key.tags.clone(),
    }
}

/// Strict: a field or a kind that this version does not know is an error, never ignored.
fn resource(item: &Item) -> Result<Resource, Vec<ConfigError>> {
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == item.kind) else {
        return Err(vec![problems::of_item(item, "", "unsupported_yet", "a kind that this version does not know")]);
    };
    let Some(Body::Document(document)) = &item.body else {
        return Err(vec![problems::of_item(item, "", "invalid_value", "an item without a document")]);
    };
    let value = serde_json::from_slice(document)
        .map_err(|error| vec![problems::of_item(item, "", "syntax", &format!("not JSON: {error}"))])?;
    let mut secrets = BTreeMap::new();
    for (path, secret) in &item.secrets {
        let secret = std::str::from_utf8(secret)
            .map_err(|_| vec![problems::of_item(item, path, "invalid_value", "a secret that is not text")])?;
        secrets.insert(path.clone(), Secret::new(secret));
    }
    let name = problems::name_in(&value);
    document::join(kind, value, &secrets).map_err(|found| {
        let name = name.as_deref().unwrap_or(&item.id);
        found.iter().map(|problem| problems::of_document(kind, name, problem)).collect()
    })
}

#[cfg(test)]
mod tests;
