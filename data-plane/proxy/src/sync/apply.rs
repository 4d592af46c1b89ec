//! From items to what serves: decode, compile, swap. The one place that writes [`Live`].
//!
//! Topology goes in whole or not at all. Identity goes in item by item: one that cannot be read denies its own key and never
//! holds back a revocation.

mod problems;
mod keys;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, OnceLock};

use gateway_engine::compile::compile_over;
use gateway_engine::identity::{KeyEntry, Peppers};
use gateway_engine::snapshot::Snapshot;
use gateway_model::document::{self, Resource};
use gateway_model::kind::Kind;
use gateway_model::kind::settings::{Server, Settings};
use gateway_model::problem::Problem;
use gateway_model::secret::Secret;
use gateway_model::set::Set;
use gateway_wire::v1::item::Body;
use gateway_wire::v1::{ConfigError, Item, ItemId};
use gateway_wire::{KEY_KIND, PEPPER_KIND};
use tokio::sync::watch;

use super::state::Target;
use crate::state::Live;
use crate::state::standing::Standing;

pub(crate) struct Applier {
    live: Arc<Live>,
    peppers: BTreeMap<u32, Vec<u8>>,
    /// Identity items, by kind and id, that cannot be read back from what serves: denied, or displaced by a key with the same
    /// secret, or written in a way of their own.
    aside: BTreeMap<(String, String), Item>,
    has_topology: bool,
    has_identity: bool,
    settings: watch::Sender<Option<Settings>>,
    /// What the listener was started with, once it was.
    served_with: Arc<OnceLock<Option<Server>>>,
}

/// A topology that can serve.
pub(crate) struct Checked {
    snapshot: Arc<Snapshot>,
    settings: Settings,
}

// === impl Applier ===

impl Applier {
    pub(crate) fn new(live: Arc<Live>) -> Self {
        Self {
            live,
            peppers: BTreeMap::new(),
            aside: BTreeMap::new(),
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

    /// All items of a topology, made ready to serve.
    pub(crate) fn checked(&self, items: &[Item], revision: u64) -> Result<Checked, Vec<ConfigError>> {
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
        Checked::new(&set, revision, &self.live.load().snapshot)
            .map_err(|problems| problems.iter().map(problems::of_set).collect())
    }

    /// A topology as people write it. Its keys are not looked at.
    pub(crate) fn set(&mut self, set: &Set, revision: u64) -> Result<(), Vec<Problem>> {
        let checked = Checked::new(set, revision, &self.live.load().snapshot)?;
        self.serve(checked);
        Ok(())
    }

    /// From now on requests see this topology.
    pub(crate) fn serve(&mut self, Checked { snapshot, settings }: Checked) {
        self.has_topology = true;
        let peppers = Arc::clone(&self.live.load().peppers);
        self.swap(snapshot, peppers);
        if let Some(served_with) = self.served_with.get()
            && *served_with != settings.server
        {
            tracing::warn!("settings.server has changed; restart the node to listen by it");
        }
        self.settings.send_replace(Some(settings));
    }

    /// Changes of identity. Returns what could not be read.
    pub(crate) fn identity(&mut self, upsert: &[Item], removed: &[ItemId]) -> Vec<ConfigError> {
        let mut quarantined = Vec::new();
        for id in removed {
            if id.kind == KEY_KIND {
                self.live.keys.remove(&id.id);
            }
            self.aside.remove(&(id.kind.clone(), id.id.clone()));
        }
        self.change_peppers(upsert, removed, &mut quarantined);
        self.live.keys.reserve(upsert.len().saturating_sub(self.live.keys.len()));
        for item in upsert.iter().filter(|item| item.kind != PEPPER_KIND) {
            match keys::entry(item, |version| self.peppers.contains_key(&version)) {
                Ok(entry) => self.key(item, &entry),
                Err(error) => {
                    self.live.keys.remove(&item.id);
                    self.aside.insert(aside_key(item), item.clone());
                    quarantined.push(error);
                }
            }
        }
        self.live.standing.quarantined(quarantined.len() as u64);
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
        for entry in entries {
            self.live.keys.upsert(entry);
        }
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
            match keys::pepper(item) {
                Ok((version, value)) => {
                    peppers.insert(version, value.to_vec());
                    self.aside.remove(&aside_key(item));
                }
                Err(error) => {
                    self.aside.insert(aside_key(item), item.clone());
                    quarantined.push(error);
                }
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

    fn key(&mut self, item: &Item, entry: &KeyEntry) {
        if keys::is_plain(item, entry) {
            // Of a hundred thousand keys hardly one is there.
            if !self.aside.is_empty() {
                self.aside.remove(&aside_key(item));
            }
        } else {
            self.aside.insert(aside_key(item), item.clone());
        }
        if let Some(displaced) = self.live.keys.upsert(entry) {
            let displaced = keys::item(displaced);
            self.aside.entry(aside_key(&displaced)).or_insert(displaced);
        }
    }

    fn swap(&self, snapshot: Arc<Snapshot>, peppers: Arc<Peppers>) {
        let ready = self.has_topology && self.has_identity;
        self.live.swap(snapshot, peppers, ready);
    }
}

impl Target for Applier {
    type Checked = Checked;

    fn check(&mut self, items: &[Item], revision: u64) -> Result<Checked, Vec<ConfigError>> {
        Self::checked(self, items, revision)
    }

    fn topology(&mut self, checked: Checked) {
        self.serve(checked);
    }

    fn identity(&mut self, upsert: &[Item], removed: &[ItemId]) -> Vec<ConfigError> {
        Self::identity(self, upsert, removed)
    }

    /// Keys come from the live table, in the form in which they came.
    fn stock(&self) -> Option<Box<dyn FnOnce() -> Vec<Item> + Send>> {
        let (live, peppers, aside) = (Arc::clone(&self.live), self.peppers.clone(), self.aside.clone());
        Some(Box::new(move || {
            let mut items: Vec<Item> = live.keys.entries().into_iter().map(keys::item).collect();
            if !aside.is_empty() {
                items.retain(|item| !aside.contains_key(&aside_key(item)));
            }
            items.extend(keys::pepper_items(&peppers));
            items.extend(aside.into_values());
            items
        }))
    }

    fn standing(&self) -> Option<&Standing> {
        Some(&self.live.standing)
    }
}

// === impl Checked ===

impl Checked {
    /// What has been seen of upstreams that stay as they are in `served` is kept.
    fn new(set: &Set, revision: u64, served: &Snapshot) -> Result<Self, Vec<Problem>> {
        Ok(Self { snapshot: Arc::new(compile_over(set, revision, served)?), settings: set.settings.clone() })
    }
}

fn aside_key(item: &Item) -> (String, String) {
    (item.kind.clone(), item.id.clone())
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
