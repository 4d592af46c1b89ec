//! The database of a simulated control plane: two lines of revisions with their logs, and the memory of everything that ever
//! was, which no database has and by which the nodes are judged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gateway_model::kind::Class;
use gateway_store::resources::Snapshot;
use gateway_store::revisions::{Change, Op};
use gateway_store::{Heads, StoredItem};
use gateway_wire::tree::{Hash, Tree};

use crate::thing::Thing;

/// Shared by all replicas and by those who edit. Cloning shares.
#[derive(Clone, Default)]
pub struct History(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    current: Database,
    past: Past,
}

/// What a backup copies.
#[derive(Clone, Default)]
pub struct Database {
    epoch: u32,
    lines: [Line; 2],
}

#[derive(Clone, Default)]
struct Line {
    revision: u64,
    things: BTreeMap<String, (u64, Thing)>,
    log: Vec<Logged>,
    min_resumable: u64,
    version: usize,
}

#[derive(Clone)]
struct Logged {
    revision: u64,
    op: Op,
    thing: Thing,
}

/// One edit of a commit.
#[derive(Clone, Debug)]
pub enum Edit {
    Put(Thing),
    Delete(Thing),
}

/// Everything that ever was.
#[derive(Clone, Default)]
pub struct Past {
    pub versions: Vec<Version>,
    /// Several where the database was put back and went another way.
    by_revision: HashMap<(Class, u32, u64), Vec<usize>>,
    /// Where, within an epoch, a restored copy began to go another way: from this revision on, revisions are ambiguous.
    forks: Vec<(Class, u32, u64)>,
}

/// A class as it was at a revision of one way of the history.
#[derive(Clone, Debug)]
pub struct Version {
    pub class: Class,
    pub epoch: u32,
    pub revision: u64,
    pub root: Hash,
    /// All keys that there are.
    pub held: BTreeSet<u32>,
    /// All that there were, on the way here.
    pub gone: BTreeSet<u32>,
    /// Those with which requests must be let in.
    pub keys: BTreeSet<u32>,
    /// Providers that must be there.
    pub providers: BTreeSet<String>,
    /// No node may serve by this.
    pub is_bad: bool,
    /// What it was made from.
    pub parent: Option<usize>,
}

/// The epoch as nodes see it. They go up, so that records can be compared.
pub fn epoch_name(epoch: u32) -> String {
    format!("epoch-{epoch:04}")
}

// === impl History ===

impl History {
    /// Empty, with both classes at revision 0.
    pub fn new() -> Self {
        let history = Self::default();
        {
            let mut inner = history.lock();
            let Inner { current, past } = &mut *inner;
            current.epoch = 1;
            for class in Class::ALL {
                current.remember(class, None, past);
            }
        }
        history
    }

    pub fn heads(&self) -> Heads {
        self.lock().current.heads()
    }

    /// Each class with edits goes up by one.
    pub fn commit(&self, edits: &[Edit]) -> Heads {
        let mut inner = self.lock();
        let Inner { current, past } = &mut *inner;
        for class in Class::ALL {
            let of_class: Vec<&Edit> = edits.iter().filter(|edit| edit.thing().class() == class).collect();
            if !of_class.is_empty() {
                let parent = current.line_mut(class).apply(&of_class);
                current.remember(class, Some(parent), past);
            }
        }
        current.heads()
    }

    pub fn things(&self, class: Class) -> Vec<Thing> {
        self.lock().current.line(class).things.values().map(|(_, thing)| thing.clone()).collect()
    }

    /// Forgets changes, except for the last `keep` revisions. Of what is forgotten, the newest form of each item that is still
    /// there stays in the log, as in the real one; deletions do not.
    pub fn compact(&self, class: Class, keep: u64) {
        let mut inner = self.lock();
        let line = inner.current.line_mut(class);
        let oldest = line.revision.saturating_sub(keep).max(line.min_resumable);
        let things = &line.things;
        line.log.retain(|logged| {
            let is_latest = things.get(&logged.thing.id()).is_some_and(|(revision, _)| *revision == logged.revision);
            logged.revision > oldest || (logged.op == Op::Upsert && is_latest)
        });
        line.min_resumable = oldest;
    }

    pub fn back_up(&self) -> Database {
        self.lock().current.clone()
    }

    /// The database is that copy again. Its epoch is what it was then, until somebody begins a new one.
    pub fn restore(&self, copy: Database) {
        self.lock().current = copy;
    }

    /// The same content, not to be compared with what was before.
    pub fn begin_epoch(&self) {
        let mut inner = self.lock();
        let Inner { current, past } = &mut *inner;
        current.epoch = past.versions.iter().map(|version| version.epoch).max().unwrap_or(0) + 1;
        for class in Class::ALL {
            let parent = current.line(class).version;
            current.remember(class, Some(parent), past);
        }
    }

    /// Where each class is now, as its number among the versions.
    pub fn head_versions(&self) -> [usize; 2] {
        let inner = self.lock();
        Class::ALL.map(|class| inner.current.line(class).version)
    }

    pub fn past(&self) -> Past {
        self.lock().past.clone()
    }

    pub(crate) fn snapshot(&self, class: Class) -> Snapshot {
        let inner = self.lock();
        let line = inner.current.line(class);
        let items: Vec<StoredItem> = line.things.values().map(|(revision, thing)| thing.stored(*revision)).collect();
        Snapshot { epoch: epoch_name(inner.current.epoch), revision: line.revision, items }
    }

    pub(crate) fn changes(&self, class: Class, after: u64, limit: u64) -> Vec<Change> {
        let inner = self.lock();
        let log = inner.current.line(class).log.iter();
        let wanted = log.filter(|logged| logged.revision > after && logged.revision <= after.saturating_add(limit));
        wanted.map(Logged::change).collect()
    }

    pub(crate) fn min_resumable(&self, class: Class) -> u64 {
        self.lock().current.line(class).min_resumable
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Database ===

impl Database {
    fn heads(&self) -> Heads {
        let of = |class| self.line(class).revision;
        Heads { epoch: epoch_name(self.epoch), topology: of(Class::Topology), identity: of(Class::Identity) }
    }

    fn line(&self, class: Class) -> &Line {
        &self.lines[usize::from(class == Class::Identity)]
    }

    fn line_mut(&mut self, class: Class) -> &mut Line {
        &mut self.lines[usize::from(class == Class::Identity)]
    }

    fn remember(&mut self, class: Class, parent: Option<usize>, past: &mut Past) {
        let (epoch, line) = (self.epoch, self.line_mut(class));
        line.version = past.versions.len();
        let things = || line.things.values().map(|(_, thing)| thing);
        let wire: Vec<_> = things().map(Thing::wire).collect();
        let providers = things().filter(|thing| matches!(thing, Thing::Provider { .. }));
        let held: BTreeSet<u32> = things().filter_map(Thing::key).collect();
        let gone = parent.map(|parent| &past.versions[parent]).map_or_else(BTreeSet::new, |parent| {
            parent.gone.iter().chain(parent.held.difference(&held)).copied().collect()
        });
        let same_revision = past.by_revision.entry((class, epoch, line.revision)).or_default();
        same_revision.push(line.version);
        if same_revision.len() > 1 {
            past.forks.push((class, epoch, line.revision));
        }
        past.versions.push(Version {
            class,
            epoch,
            revision: line.revision,
            root: Tree::of(&wire).root(),
            held,
            gone,
            keys: things().filter(|thing| thing.lets_in()).filter_map(Thing::key).collect(),
            providers: providers.map(Thing::id).collect(),
            is_bad: things().any(Thing::is_bad),
            parent,
        });
    }
}

// === impl Line ===

impl Line {
    /// Returns the version that it was made from.
    fn apply(&mut self, edits: &[&Edit]) -> usize {
        self.revision += 1;
        for edit in edits {
            let (op, thing) = match edit {
                Edit::Put(thing) => {
                    self.things.insert(thing.id(), (self.revision, thing.clone()));
                    (Op::Upsert, thing.clone())
                }
                Edit::Delete(thing) => {
                    self.things.remove(&thing.id());
                    (Op::Delete, thing.clone())
                }
            };
            self.log.push(Logged { revision: self.revision, op, thing });
        }
        self.version
    }
}

// === impl Logged ===

impl Logged {
    fn change(&self) -> Change {
        let item = self.thing.stored(self.revision);
        Change { revision: self.revision, op: self.op, item, actor: "simulation".to_owned(), at_ms: 1 }
    }
}

// === impl Edit ===

impl Edit {
    pub fn thing(&self) -> &Thing {
        match self {
            Self::Put(thing) | Self::Delete(thing) => thing,
        }
    }
}

// === impl Past ===

impl Past {
    /// What a class was at a revision; several where the history went several ways.
    pub fn at(&self, class: Class, epoch: u32, revision: u64) -> impl Iterator<Item = usize> {
        self.by_revision.get(&(class, epoch, revision)).into_iter().flatten().copied()
    }

    /// Whether a copy was restored and edited without a new epoch, so that this revision may have been made from another past
    /// than a node has. That is the operator's mistake; nodes notice by the hash, and are mended.
    pub fn is_ambiguous(&self, class: Class, epoch: u32, revision: u64) -> bool {
        self.forks.iter().any(|fork| (fork.0, fork.1) == (class, epoch) && fork.2 <= revision)
    }

    /// Whether `later` was made from `earlier`, in however many steps.
    pub fn descends(&self, later: usize, earlier: usize) -> bool {
        let mut at = Some(later);
        while let Some(version) = at.filter(|version| *version >= earlier) {
            if version == earlier {
                return true;
            }
            at = self.versions[version].parent;
        }
        false
    }
}
