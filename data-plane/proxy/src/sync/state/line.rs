//! One class of config: what is held of it, and the rules by which it moves.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use gateway_wire::tree::{Tree, bucket};
use gateway_wire::v1::node_msg::Msg as Sent;
use gateway_wire::v1::{
    Ack, Bookmark, BucketRequest, Class, ClassState, ConfigError, Delta, Incompatible, Item, ItemId, Repair, Resync,
    SnapshotBegin, SnapshotChunk, SnapshotEnd, Status,
};

use super::assembly::Assembly;
use super::{Content, Step, Update};

/// Starting over this often without getting anywhere means that it will not help: wait, then reconnect.
const MAX_RESYNCS: u32 = 3;
const AFTER_RESYNCS: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct Line {
    pub(super) class: Class,
    epoch: String,
    revision: u64,
    /// Of this epoch, safe on disk.
    persisted: u64,
    tree: Tree,
    /// Topology is compiled as a whole, so all of it is kept. Keys live in the key table; only their hashes are kept here.
    items: BTreeMap<(String, String), Item>,
    assembly: Option<Assembly>,
    /// A revision whose content is not for this node, with its epoch where that was said.
    refused: Option<(Option<String>, u64)>,
    /// The revision held at the last bookmark, if that was behind.
    was_behind_at: Option<u64>,
    told_regressed: bool,
    n_resyncs: u32,
    /// A control plane has said so, since somebody asked.
    is_confirmed: bool,
    /// What differs was asked for and has not come.
    is_repairing: bool,
    n_drifts: u64,
}

// === impl Line ===

impl Line {
    pub(super) fn new(class: Class) -> Self {
        Self {
            class,
            epoch: String::new(),
            revision: 0,
            persisted: 0,
            tree: Tree::default(),
            items: BTreeMap::new(),
            assembly: None,
            refused: None,
            was_behind_at: None,
            told_regressed: false,
            n_resyncs: 0,
            is_confirmed: false,
            is_repairing: false,
            n_drifts: 0,
        }
    }

    pub(super) fn connected(&mut self) {
        self.assembly = None;
        self.was_behind_at = None;
        self.told_regressed = false;
        self.n_resyncs = 0;
        self.is_confirmed = false;
        self.is_repairing = false;
    }

    pub(super) fn restored(&mut self, epoch: String, revision: u64, tree: Tree, items: Vec<Item>) {
        (self.epoch, self.revision, self.tree) = (epoch, revision, tree);
        self.items = items.into_iter().map(|item| (key(&item), item)).collect();
    }

    pub(super) fn persisted(&mut self, epoch: &str, revision: u64) -> bool {
        if epoch != self.epoch || epoch.is_empty() {
            return false;
        }
        std::mem::replace(&mut self.persisted, revision) < revision
    }

    /// Highest revision that is safe on disk.
    pub(super) fn safe(&self) -> u64 {
        self.persisted
    }

    pub(super) fn held(&self) -> Option<(&str, u64)> {
        (!self.epoch.is_empty()).then_some((self.epoch.as_str(), self.revision))
    }

    pub(super) fn items(&self) -> Vec<Item> {
        self.items.values().cloned().collect()
    }

    pub(super) fn take_confirmed(&mut self) -> bool {
        std::mem::take(&mut self.is_confirmed)
    }

    pub(super) fn take_drifts(&mut self) -> u64 {
        std::mem::take(&mut self.n_drifts)
    }

    pub(super) fn recheck(&mut self, mut found: Tree) -> Option<Sent> {
        if found.root() == self.tree.root() {
            return None;
        }
        tracing::error!("{} that serves is not what revision {} says", self.class.word(), self.revision);
        // What is there in truth decides what a repair has to remove.
        self.tree = found;
        Some(self.ask_for_repair())
    }

    pub(super) fn have(&mut self) -> ClassState {
        ClassState {
            class: self.class.into(),
            epoch: self.epoch.clone(),
            revision: self.revision,
            root_hash: self.tree.root().to_vec(),
            persisted: self.persisted,
        }
    }

    pub(super) fn assembles(&self, nonce: u64) -> bool {
        self.assembly.as_ref().is_some_and(|assembly| assembly.begin.nonce == nonce)
    }

    pub(super) fn delta(&mut self, delta: Delta) -> Step {
        if delta.epoch != self.epoch {
            return self.resync("a change of another epoch");
        }
        if delta.to_revision <= self.revision {
            // Sent twice, or overtaken by a snapshot.
            return Step::Nothing;
        }
        if delta.from_revision != self.revision {
            let gap = format!("a change from revision {} where {} is held", delta.from_revision, self.revision);
            return self.resync(&gap);
        }
        match self.class {
            Class::Identity => self.identity_delta(delta),
            _ => self.topology_delta(delta),
        }
    }

    /// All or nothing: the change is tried on a copy.
    fn topology_delta(&mut self, delta: Delta) -> Step {
        let (mut tree, mut items) = (self.tree.clone(), self.items.clone());
        for id in &delta.removed {
            tree.remove(id);
            items.remove(&(id.kind.clone(), id.id.clone()));
        }
        for item in &delta.upsert {
            tree.upsert(item);
            items.insert(key(item), item.clone());
        }
        if tree.root() != delta.root_hash.as_slice() {
            return self.resync("the change does not give the hash that it should");
        }
        Step::Apply(Box::new(Update {
            class: self.class,
            revision: delta.to_revision,
            content: Content::Topology(items.into_values().collect()),
            nonce: delta.nonce,
            epoch: delta.epoch.clone(),
            tree: Some(tree),
            drifted: false,
            change: Some(delta),
        }))
    }

    /// In place: copying the hashes of a million keys for one revocation would delay it. A wrong hash does not delay it
    /// either; what else differs is repaired afterwards.
    fn identity_delta(&mut self, mut delta: Delta) -> Step {
        delta.removed.iter().for_each(|id| self.tree.remove(id));
        delta.upsert.iter().for_each(|item| self.tree.upsert(item));
        let drifted = self.tree.root() != delta.root_hash.as_slice();
        Step::Apply(Box::new(Update {
            class: self.class,
            revision: delta.to_revision,
            content: Content::Identity {
                upsert: std::mem::take(&mut delta.upsert),
                removed: std::mem::take(&mut delta.removed),
            },
            nonce: delta.nonce,
            epoch: delta.epoch.clone(),
            tree: None,
            drifted,
            change: Some(delta),
        }))
    }

    pub(super) fn begin(&mut self, begin: SnapshotBegin) -> Step {
        if begin.epoch == self.epoch && begin.revision < self.revision {
            return self.regressed(begin.revision);
        }
        match Assembly::new(begin) {
            Ok(assembly) => {
                self.assembly = Some(assembly);
                Step::Nothing
            }
            Err(reason) => self.resync(&reason),
        }
    }

    pub(super) fn chunk(&mut self, chunk: &SnapshotChunk) -> Step {
        match self.assembly.as_mut().map(|assembly| assembly.add(chunk)) {
            None | Some(Ok(())) => Step::Nothing,
            Some(Err(reason)) => self.resync(&reason),
        }
    }

    pub(super) fn end(&mut self, end: &SnapshotEnd) -> Step {
        let Some(assembly) = self.assembly.take() else { return Step::Nothing };
        let (nonce, epoch, revision) = (assembly.begin.nonce, assembly.begin.epoch.clone(), assembly.begin.revision);
        if epoch == self.epoch && revision < self.revision {
            // A change overtook it.
            return Step::Nothing;
        }
        let items = match assembly.finish() {
            Ok(items) => items,
            Err(reason) => return self.resync(&reason),
        };
        let mut tree = Tree::of(&items);
        if tree.root() != end.root_hash.as_slice() {
            return self.resync("the snapshot does not have the hash that it should");
        }
        let content = match self.class {
            Class::Identity => Content::Identity { upsert: items, removed: self.tree.without(&tree) },
            _ => Content::Topology(items),
        };
        let (class, tree) = (self.class, Some(tree));
        Step::Apply(Box::new(Update { class, revision, content, nonce, epoch, tree, drifted: false, change: None }))
    }

    pub(super) fn bookmark(&mut self, bookmark: &Bookmark) -> Step {
        if self.assembly.is_some() || self.epoch.is_empty() {
            // What we need is on its way.
            return Step::Nothing;
        }
        if self.is_refused(&bookmark.epoch, bookmark.revision) {
            return Step::Nothing;
        }
        if bookmark.epoch != self.epoch {
            return self.resync("the control plane is at another epoch");
        }
        if bookmark.revision < self.revision {
            return self.regressed(bookmark.revision);
        }
        if bookmark.revision == self.revision {
            self.was_behind_at = None;
            if self.tree.root() == bookmark.root_hash.as_slice() {
                self.is_confirmed = true;
                return Step::Nothing;
            }
            tracing::warn!("{} differs from the control plane's at revision {}", self.class.word(), self.revision);
            return Step::Reply(self.ask_for_repair());
        }
        if self.was_behind_at == Some(self.revision) {
            self.was_behind_at = None;
            return self.resync("behind since the last bookmark, and nothing came");
        }
        self.was_behind_at = Some(self.revision);
        Step::Nothing
    }

    pub(super) fn repair(&mut self, repair: Repair) -> Step {
        if repair.epoch != self.epoch || repair.revision != self.revision {
            // Overtaken; the next bookmark tells whether it is still needed.
            return Step::Nothing;
        }
        let buckets: HashSet<u8> = repair.buckets.iter().filter_map(|number| u8::try_from(*number).ok()).collect();
        if let Some(item) = repair.items.iter().find(|item| !buckets.contains(&bucket(&item.kind, &item.id))) {
            let reason = format!("a repair with a {} that is in none of its buckets", item.kind);
            return self.resync(&reason);
        }
        let mut tree = self.tree.clone();
        let held: Vec<ItemId> = buckets.iter().flat_map(|bucket| self.tree.ids(*bucket)).collect();
        held.iter().for_each(|id| tree.remove(id));
        repair.items.iter().for_each(|item| tree.upsert(item));
        if tree.root() != repair.root_hash.as_slice() {
            return self.resync("the repair does not give the hash that it should");
        }
        let content = match self.class {
            Class::Identity => {
                let removed = held.into_iter().filter(|id| !tree.contains(&id.kind, &id.id)).collect();
                Content::Identity { upsert: repair.items, removed }
            }
            _ => {
                let mut items = self.items.clone();
                items.retain(|(kind, id), _| !buckets.contains(&bucket(kind, id)));
                items.extend(repair.items.into_iter().map(|item| (key(&item), item)));
                Content::Topology(items.into_values().collect())
            }
        };
        let (class, revision, epoch, tree) = (self.class, repair.revision, repair.epoch, Some(tree));
        // Of a topology the whole is at hand; of identity the buckets are as good as the whole.
        let change = (class == Class::Identity).then(|| Delta {
            class: class.into(),
            epoch: epoch.clone(),
            from_revision: revision,
            to_revision: revision,
            root_hash: repair.root_hash,
            ..Delta::default()
        });
        Step::Apply(Box::new(Update { class, revision, content, nonce: 0, epoch, tree, drifted: false, change }))
    }

    pub(super) fn incompatible(&mut self, incompatible: &Incompatible) -> Step {
        let (class, revision) = (self.class.word(), incompatible.revision);
        let features = incompatible.features.join(", ");
        tracing::error!(
            "revision {revision} of {class} needs what this version does not know ({features}); upgrade this node"
        );
        self.refused = Some((None, revision));
        Step::Nothing
    }

    pub(super) fn advance(&mut self, update: Update) {
        if self.epoch != update.epoch {
            self.persisted = 0;
        }
        self.epoch = update.epoch;
        self.revision = update.revision;
        if let Some(tree) = update.tree {
            self.tree = tree;
        }
        if let Content::Topology(items) = update.content {
            self.items = items.into_iter().map(|item| (key(&item), item)).collect();
        }
        self.refused = None;
        self.was_behind_at = None;
        self.is_confirmed = !update.drifted;
        if !update.drifted {
            self.n_resyncs = 0;
            self.is_repairing = false;
        }
    }

    pub(super) fn refused(&mut self, update: &Update) {
        self.refused = Some((Some(update.epoch.clone()), update.revision));
    }

    pub(super) fn ask_for_repair(&mut self) -> Sent {
        if !std::mem::replace(&mut self.is_repairing, true) {
            self.n_drifts += 1;
        }
        let (class, revision, bucket_hashes) = (self.class.into(), self.revision, self.tree.bucket_hashes());
        Sent::Buckets(BucketRequest { class, revision, bucket_hashes })
    }

    fn is_refused(&self, epoch: &str, revision: u64) -> bool {
        self.refused.as_ref().is_some_and(|(of_epoch, refused)| {
            *refused == revision && of_epoch.as_deref().is_none_or(|of_epoch| of_epoch == epoch)
        })
    }

    fn resync(&mut self, reason: &str) -> Step {
        self.assembly = None;
        self.n_resyncs += 1;
        let reason = format!("{}: {reason}", self.class.word());
        if self.n_resyncs > MAX_RESYNCS {
            return Step::Leave { after: AFTER_RESYNCS, reason };
        }
        Step::Reply(Sent::Resync(Resync { have: Some(self.have()), reason }))
    }

    /// The control plane is older than we are: its database was restored from an old copy. What is held serves on.
    fn regressed(&mut self, revision: u64) -> Step {
        if std::mem::replace(&mut self.told_regressed, true) {
            return Step::Nothing;
        }
        let message = format!(
            "the control plane is at revision {revision} of epoch {}, this node at {}: its database was restored from an \
             older copy; start a new epoch there",
            self.epoch, self.revision
        );
        tracing::error!("{}: {message}", self.class.word());
        let error = ConfigError { code: "revision_regressed".to_owned(), message, ..ConfigError::default() };
        Step::Reply(Sent::Ack(Ack {
            class: self.class.into(),
            revision,
            status: Status::Rejected.into(),
            errors: vec![error],
            ..Ack::default()
        }))
    }
}

fn key(item: &Item) -> (String, String) {
    (item.kind.clone(), item.id.clone())
}
