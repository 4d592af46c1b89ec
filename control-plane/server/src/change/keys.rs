//! The keys that a change touches, read from the store when they are needed: by name or id, by digest, by owner, each through
//! an index. What a change costs does not grow with the keys that it has nothing to do with.

use std::collections::{BTreeMap, HashMap};

use gateway_model::document::Resource;
use gateway_model::kind::Kind;
use gateway_store::{ItemKind, Store, StoredItem};

use super::state::Entry;
use super::{Edit, Refusal, Wish};
use crate::credential::Pepper;
use crate::vault::Vault;

const KEY: ItemKind = ItemKind::Resource(Kind::Key);

/// What a wish needs to know of the keys that are there.
#[derive(Debug, Default)]
pub(super) struct Keys {
    by_name: BTreeMap<String, Entry>,
    /// Names of the keys whose secrets the wish imports as if they were new, by digest.
    holders: HashMap<Vec<u8>, String>,
}

// === impl Keys ===

impl Keys {
    /// Reads from a moment at or after that of the heads that the caller has; a commit finds out whether that matters.
    pub(super) async fn read(wish: &Wish, store: &Store, pepper: &Pepper, vault: &Vault) -> Result<Self, Refusal> {
        let mut keys = Self::default();
        match wish {
            Wish::Edit(Edit::Create(draft) | Edit::Put(draft)) => {
                keys.of_resources(std::iter::once(&draft.resource), store, pepper, vault).await?;
            }
            Wish::Edit(Edit::Patch { kind: Kind::Key, name, patch }) => {
                keys.insert(store.item(KEY, name).await?, vault)?;
                if let Some(secret) = patch.get("secret").and_then(serde_json::Value::as_str) {
                    keys.hold(store.keys_by_digest(&[pepper.digest(secret)]).await?);
                }
            }
            Wish::Edit(Edit::Delete { kind: Kind::Key, name }) => keys.insert(store.item(KEY, name).await?, vault)?,
            Wish::Edit(Edit::Rotate { name, .. }) => keys.insert(store.item(KEY, name).await?, vault)?,
            Wish::Apply(apply) => {
                let resources = apply.resources.iter().map(|draft| &draft.resource);
                keys.of_resources(resources, store, pepper, vault).await?;
                if apply.prune {
                    keys.insert(store.items_of_owner(KEY, &apply.source).await?, vault)?;
                }
            }
            // Of other kinds, or of topology.
            Wish::Edit(Edit::Patch { .. } | Edit::Delete { .. })
            | Wish::Rollback(_)
            | Wish::Switch(_)
            | Wish::Retarget(_) => {}
        }
        Ok(keys)
    }

    async fn of_resources(
        &mut self,
        resources: impl Iterator<Item = &Resource>,
        store: &Store,
        pepper: &Pepper,
        vault: &Vault,
    ) -> Result<(), Refusal> {
        let (mut names, mut digests) = (Vec::new(), Vec::new());
        for resource in resources {
            let Resource::Key(key) = resource else { continue };
            names.push(key.name.as_str());
            digests.extend(key.secret.as_ref().map(|secret| pepper.digest(secret.expose())));
        }
        self.insert(store.items_by_name(KEY, &names).await?, vault)?;
        self.hold(store.keys_by_digest(&digests).await?);
        Ok(())
    }

    fn insert(&mut self, items: impl IntoIterator<Item = StoredItem>, vault: &Vault) -> Result<(), Refusal> {
        for item in items {
            self.by_name.insert(item.name.clone(), Entry::open(item, vault)?);
        }
        Ok(())
    }

    fn hold(&mut self, items: Vec<StoredItem>) {
        let held = items.into_iter().filter_map(|item| Some((item.digest?, item.name)));
        self.holders.extend(held);
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&Entry> {
        self.by_name.get(name)
    }

    /// The one key of an edit that names it by name or id.
    pub(super) fn by_name_or_id(&self, name_or_id: &str) -> Option<&Entry> {
        self.by_name(name_or_id).or_else(|| self.by_name.values().find(|entry| entry.item.id == name_or_id))
    }

    /// Who has this digest.
    pub(super) fn holder(&self, digest: &[u8]) -> Option<&str> {
        self.holders.get(digest).map(String::as_str)
    }

    /// By name.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.by_name.values()
    }
}
