//! The whole configuration at head, opened, as changes are made from it.

use std::collections::BTreeMap;

use gateway_model::document::{self, Resource};
use gateway_model::kind::{Class, Kind};
use gateway_store::{Heads, ItemKind, Store, StoredItem};

use super::Refusal;
use crate::vault::{self, Vault};

/// One item, as it is stored and as it is meant. The resource holds its secrets.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) item: StoredItem,
    pub(super) resource: Resource,
}

/// Everything that is configured, and the heads it was read at.
#[derive(Debug)]
pub(super) struct State {
    pub(super) heads: Heads,
    pub(super) entries: BTreeMap<(Kind, String), Entry>,
}

// === impl State ===

impl State {
    pub(super) async fn load(store: &Store, vault: &Vault) -> Result<Self, Refusal> {
        let topology = store.snapshot(Class::Topology).await?;
        let identity = store.snapshot(Class::Identity).await?;
        // The two may be of different moments; the commit checks both heads under their lock.
        let heads = Heads { epoch: topology.epoch, topology: topology.revision, identity: identity.revision };
        let mut entries = BTreeMap::new();
        for item in topology.items.into_iter().chain(identity.items) {
            if let ItemKind::Resource(kind) = item.kind {
                let entry = Entry::open(item, vault)?;
                entries.insert((kind, entry.item.name.clone()), entry);
            }
        }
        Ok(Self { heads, entries })
    }

    /// Takes over one item of a commit; `None` where it was deleted.
    pub(super) fn take_over(&mut self, kind: Kind, name: String, after: Option<Entry>) {
        match after {
            Some(entry) => self.entries.insert((kind, name), entry),
            None => self.entries.remove(&(kind, name)),
        };
    }

    /// By name; keys also by id.
    pub(super) fn find(&self, kind: Kind, name: &str) -> Option<&Entry> {
        self.entries.get(&(kind, name.to_owned())).or_else(|| match kind {
            Kind::Key => self.of_kind(kind).find(|entry| entry.item.id == name),
            _ => None,
        })
    }

    pub(super) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Entry> {
        self.entries.range((kind, String::new())..).take_while(move |((of, _), _)| *of == kind).map(|(_, entry)| entry)
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
