//! Topology at head, opened, as changes are made from it; it follows the change log. Keys are not held: there may be a million
//! of them, and a change reads those that it touches (`keys`).

use std::collections::BTreeMap;

use gateway_model::document::{self, Resource};
use gateway_model::kind::exporter::Exporter;
use gateway_model::kind::provider::Provider;
use gateway_model::kind::{Class, Kind};
use gateway_model::problem::Problem;
use gateway_model::set::Set;
use gateway_store::revisions::{Change, Op};
use gateway_store::{Heads, ItemKind, Store, StoredItem};

use super::Refusal;
use crate::vault::{self, Vault};

/// Revisions read from the change log at a time.
const PAGE: u64 = 1000;

/// One item, as it is stored and as it is meant. The resource holds its secrets, but for the secret of a key: of that only the
/// digest is known.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) item: StoredItem,
    pub(super) resource: Resource,
}

/// Everything of topology, and the heads it was read at.
#[derive(Debug)]
pub(super) struct State {
    pub(super) heads: Heads,
    entries: BTreeMap<(Kind, String), Entry>,
    /// What the validator has to say about it.
    problems: Vec<Problem>,
}

// === impl State ===

impl State {
    pub(super) async fn load(store: &Store, vault: &Vault) -> Result<Self, Refusal> {
        let topology = store.snapshot(Class::Topology).await?;
        let heads = store.heads().await?;
        // The two may be of different moments; the commit checks the heads under their lock.
        let heads = Heads { epoch: topology.epoch, topology: topology.revision, identity: heads.identity };
        let mut state = Self { heads, entries: BTreeMap::new(), problems: Vec::new() };
        for item in topology.items {
            state.insert(Entry::open(item, vault)?);
        }
        state.problems = state.set().validate();
        Ok(state)
    }

    /// As of these heads, by what the change log has since. `None` where it does not reach back so far, or this is another
    /// database's: then everything has to be read again.
    pub(super) async fn follow(mut self, heads: Heads, store: &Store, vault: &Vault) -> Result<Option<Self>, Refusal> {
        if self.heads.epoch != heads.epoch || self.heads.topology > heads.topology {
            return Ok(None);
        }
        if self.heads.topology < heads.topology {
            if self.heads.topology < store.min_resumable(Class::Topology).await? {
                return Ok(None);
            }
            // From one before: the revision that we are at must be the one that the log means. It is not if the database was
            // put back to an older copy and went another way from there.
            let mut after = self.heads.topology.saturating_sub(1);
            while after < heads.topology {
                let limit = PAGE.min(heads.topology - after);
                for change in store.changes(Class::Topology, after, limit).await? {
                    if change.revision > self.heads.topology {
                        self.replay(change, vault)?;
                    } else if !self.has_made(&change) {
                        return Ok(None);
                    }
                }
                after += limit;
            }
            self.problems = self.set().validate();
        }
        self.heads = heads;
        Ok(Some(self))
    }

    /// Whether what is held has come of this change.
    fn has_made(&self, change: &Change) -> bool {
        let ItemKind::Resource(kind) = change.item.kind else { return true };
        let held = self.find(kind, &change.item.name).map(|entry| &entry.item);
        match change.op {
            Op::Upsert => held == Some(&change.item),
            Op::Delete => held.is_none_or(|held| held.id != change.item.id),
        }
    }

    fn replay(&mut self, change: Change, vault: &Vault) -> Result<(), Refusal> {
        let ItemKind::Resource(kind) = change.item.kind else { return Ok(()) };
        match change.op {
            Op::Upsert => self.insert(Entry::open(change.item, vault)?),
            Op::Delete => {
                let name = (kind, change.item.name);
                // Its name may have gone to another item in the same revision.
                if self.entries.get(&name).is_some_and(|entry| entry.item.id == change.item.id) {
                    self.entries.remove(&name);
                }
            }
        }
        Ok(())
    }

    /// Takes over what a commit has made of topology: each item as it is now, or only its name where it is gone.
    pub(super) fn take_over(
        &mut self,
        heads: Heads,
        items: impl IntoIterator<Item = (Kind, String, Option<Entry>)>,
        problems: Vec<Problem>,
    ) {
        for (kind, name, after) in items.into_iter().filter(|(kind, ..)| kind.class() == Class::Topology) {
            match after {
                Some(entry) => self.entries.insert((kind, name), entry),
                None => self.entries.remove(&(kind, name)),
            };
        }
        self.heads = heads;
        self.problems = problems;
    }

    pub(super) fn find(&self, kind: Kind, name: &str) -> Option<&Entry> {
        self.entries.get(&(kind, name.to_owned()))
    }

    pub(super) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Entry> {
        self.entries.range((kind, String::new())..).take_while(move |((of, _), _)| *of == kind).map(|(_, entry)| entry)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// As people write it, secrets included, without keys.
    pub(super) fn set(&self) -> Set {
        Set::from_resources(self.entries().map(|entry| entry.resource.clone()))
    }

    pub(super) fn exporters(&self) -> Vec<Exporter> {
        let exporter = |entry: &Entry| match &entry.resource {
            Resource::Exporter(exporter) => Some(Exporter::clone(exporter)),
            _ => None,
        };
        self.entries().filter_map(exporter).collect()
    }

    pub(super) fn provider(&self, name: &str) -> Option<Provider> {
        match &self.find(Kind::Provider, name)?.resource {
            Resource::Provider(provider) => Some(Provider::clone(provider)),
            _ => None,
        }
    }

    /// What the validator says about it: warnings, or errors if an older version has let them in.
    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    fn insert(&mut self, entry: Entry) {
        self.entries.insert((entry.resource.kind(), entry.item.name.clone()), entry);
    }
}

// === impl Entry ===

impl Entry {
    /// Opens the item's secrets and decodes it. An item that this version cannot read stops the change, named.
    pub(super) fn open(item: StoredItem, vault: &Vault) -> Result<Self, Refusal> {
        let ItemKind::Resource(kind) = item.kind else { return Err(Refusal::unreadable(&item)) };
        let secrets = match &item.sealed {
            Some(sealed) => vault.open(&vault::aad(item.kind, &item.id), sealed)?,
            None => BTreeMap::new(),
        };
        let document = serde_json::from_str(&item.document).map_err(|_| Refusal::unreadable(&item))?;
        let resource = document::join(kind, document, &secrets).map_err(|_| Refusal::unreadable(&item))?;
        Ok(Self { item, resource })
    }
}
