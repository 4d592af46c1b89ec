//! THE write path. Every change of the configuration, whoever makes it, is one call of [`Changes::write`]:
//!
//! state at head → edits → what they make is valid → one transaction (rows, revision, change log, audit).
//!
//! It costs what is touched: topology is in memory and follows the change log, keys are read one by one (`keys`).
//!
//! The publisher learns of the commit from the store. Waiting for nodes is the caller's business.

pub mod diff;
mod draft;
mod refusal;
mod state;
mod keys;
mod plan;
mod allowed;
pub mod switch;
mod retarget;
mod record;

use std::sync::Arc;

use gateway_model::document::{Resource, SETTINGS_NAME};
use gateway_model::kind::exporter::Exporter;
use gateway_model::kind::provider::Provider;
use gateway_model::kind::{Class, Kind};
use gateway_model::problem::Problem;
use gateway_model::secret::Secret;
use gateway_model::set::Set;
use gateway_store::revisions::Committed;
use gateway_store::{Heads, Store, StoredItem};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Mutex;

pub use self::diff::Difference;
pub use self::draft::Draft;
pub use self::refusal::Refusal;
pub use self::retarget::Retarget;
pub use self::switch::Switch;

use self::keys::Keys;
use self::plan::{Means, Plan, Sound, Step};
use self::state::{Entry, State};
use crate::clock;
use crate::credential::Pepper;
use crate::permission::Grant;
use crate::vault::Vault;

/// Makes changes, one at a time.
#[derive(Debug)]
pub struct Changes {
    store: Store,
    vault: Arc<Vault>,
    pepper: Arc<Pepper>,
    /// Topology as this process saw it last, to spare reading it again. The lock is what makes changes wait for each other.
    state: Mutex<Option<State>>,
}

/// Who makes a change, for the audit log.
#[derive(Clone, Debug, Default)]
pub struct Actor {
    /// `master`, `startup`, `file:gateway.yaml` …
    pub name: String,
    /// Empty where the change did not come over the network.
    pub ip: String,
    pub request_id: String,
    /// What they may change.
    pub grant: Grant,
}

/// One wish.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Refused if it is there.
    Create(Draft),
    /// Made, or replaced as a whole.
    Put(Draft),
    /// Changed by a merge patch (RFC 7396).
    Patch {
        kind: Kind,
        name: String,
        patch: Value,
    },
    Delete {
        kind: Kind,
        name: String,
    },
    /// A new secret for a key, beside which the one it has is good for a while.
    Rotate {
        name: String,
        overlap_ms: i64,
    },
}

/// A source's whole configuration, such as that of a file.
#[derive(Clone, Debug)]
pub struct Apply {
    /// Manages what it names from now on: `gateway.yaml`.
    pub source: String,
    /// In the order of the file; routes without a place of their own are tried in this order.
    pub resources: Vec<Draft>,
    /// Delete what the source manages and no longer names.
    pub prune: bool,
}

/// An earlier revision of topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// The one before the current one.
    Previous,
    Revision(u64),
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Wish {
    Edit(Edit),
    Apply(Apply),
    /// Topology becomes what it was. Keys are not touched: a revoked key stays revoked.
    Rollback(Earlier),
    /// Targets of models in rotation or out of it.
    Switch(Switch),
    /// Targets of models that come and go.
    Retarget(Retarget),
}

/// A change as it is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    pub actor: Actor,
    pub wish: Wish,
    /// Refuse unless the class that is changed is at this revision.
    pub expected_revision: Option<u64>,
    /// Do everything but the writing.
    pub dry_run: bool,
}

/// What became of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    Create,
    Update,
    Delete,
    Unchanged,
}

/// What a change did, or in a dry run would do.
#[derive(Debug)]
pub struct Outcome {
    /// The heads after it.
    pub revision: Committed,
    /// What it moved: the classes that a node has to follow for it. One that changed nothing moved what it names, because
    /// that is what whoever repeats it waits for.
    pub moved: Vec<Class>,
    /// In the order of the wishes.
    pub changes: Vec<Changed>,
    pub warnings: Vec<Problem>,
    /// Keys that were made. This is the only time that their secrets are seen.
    pub minted: Vec<Minted>,
}

/// One item of an [`Outcome`].
#[derive(Debug)]
pub struct Changed {
    pub op: Op,
    pub kind: Kind,
    pub name: String,
    pub diff: Vec<Difference>,
    /// As it is now, or was before it was deleted.
    pub item: StoredItem,
}

/// A virtual key that was made.
#[derive(Debug)]
pub struct Minted {
    pub name: String,
    pub id: String,
    pub key: Secret,
}

/// How often a change starts over because another process was faster.
const MAX_RACES: usize = 8;
/// Distance between the places of routes in a file, so that others fit between.
const ROUTE_STEP: i64 = 10;
/// Items planned between two chances for other tasks.
const BREATH: usize = 100;

// === impl Changes ===

impl Changes {
    pub fn new(store: Store, vault: Arc<Vault>, pepper: Arc<Pepper>) -> Self {
        Self { store, vault, pepper, state: Mutex::new(None) }
    }

    /// Makes a change. Cancelled, it has happened as a whole or not at all.
    pub async fn write(&self, request: &Request) -> Result<Outcome, Refusal> {
        let mut held = self.state.lock().await;
        for _ in 0..MAX_RACES {
            let state = self.current(&mut held).await?;
            match self.attempt(state, request).await {
                Err(Refusal::Store(gateway_store::Error::Conflict { .. })) => {}
                outcome => return outcome,
            }
        }
        Err(Refusal::Busy)
    }

    /// A file's configuration; what [`Changes::write`] does with [`Wish::Apply`].
    pub async fn apply(&self, source: &str, resources: Vec<Resource>) -> Result<Outcome, Refusal> {
        let actor = Actor { name: format!("file:{source}"), ..Actor::default() };
        let resources = resources.into_iter().map(Draft::from).collect();
        let apply = Apply { source: source.to_owned(), resources, prune: false };
        self.write(&Request { actor, wish: Wish::Apply(apply), expected_revision: None, dry_run: false }).await
    }

    /// Topology at head, secrets included. Its keys are left out.
    pub async fn set(&self) -> Result<Set, Refusal> {
        Ok(self.current(&mut *self.state.lock().await).await?.set())
    }

    /// Those of the topology at head, secrets included; nothing else is copied.
    pub async fn exporters(&self) -> Result<Vec<Exporter>, Refusal> {
        Ok(self.current(&mut *self.state.lock().await).await?.exporters())
    }

    /// One of the topology at head, secrets included.
    pub async fn provider(&self, name: &str) -> Result<Option<Provider>, Refusal> {
        Ok(self.current(&mut *self.state.lock().await).await?.provider(name))
    }

    /// The state at the store's heads.
    async fn current<'s>(&self, held: &'s mut Option<State>) -> Result<&'s mut State, Refusal> {
        // Taken out, so that one cut off in the middle leaves nothing half-known behind.
        let followed = match held.take() {
            Some(state) => state.follow(self.store.heads().await?, &self.store, &self.vault).await?,
            None => None,
        };
        let state = match followed {
            Some(state) => state,
            None => State::load(&self.store, &self.vault).await?,
        };
        Ok(held.insert(state))
    }

    async fn attempt(&self, state: &mut State, request: &Request) -> Result<Outcome, Refusal> {
        request.check_revision(state)?;
        let now_ms = clock::unix_ms();
        let means = Means { vault: &self.vault, pepper: &self.pepper, now_ms, may_mint: !request.dry_run };
        let keys = Keys::read(&request.wish, &self.store, &self.pepper, &self.vault).await?;
        let mut plan = Plan::new(state, &keys, means);
        match &request.wish {
            Wish::Edit(edit) => plan_edit(&mut plan, &keys, edit)?,
            Wish::Apply(apply) => plan_apply(&mut plan, apply).await?,
            Wish::Switch(wanted) => switch::plan(&mut plan, wanted)?,
            Wish::Retarget(wanted) => retarget::plan(&mut plan, wanted)?,
            Wish::Rollback(earlier) => plan.restore(self.items_at(state, *earlier).await?)?,
        }
        allowed::check(&request.actor.grant, &plan)?;
        let Sound { mut steps, warnings, of_topology } = plan.validate()?;
        let mut revision = Committed { topology: state.heads.topology, identity: state.heads.identity };
        if !request.dry_run && steps.iter().any(|step| step.op != Op::Unchanged) {
            let commit = record::commit(request, &steps, &state.heads, now_ms);
            revision = self.store.commit(commit).await?;
            stamp(&mut steps, revision);
            let heads = Heads { topology: revision.topology, identity: revision.identity, ..state.heads.clone() };
            let items = steps.iter().map(|step| (step.kind, step.name().to_owned(), step.after.clone()));
            state.take_over(heads, items, of_topology);
        }
        Ok(Outcome::new(revision, steps, warnings))
    }

    async fn items_at(&self, state: &State, earlier: Earlier) -> Result<Vec<StoredItem>, Refusal> {
        let revision = match earlier {
            Earlier::Revision(revision) => revision,
            Earlier::Previous => state.heads.topology.checked_sub(1).ok_or(Refusal::NothingBefore)?,
        };
        Ok(self.store.items_at(Class::Topology, revision).await?)
    }
}

fn plan_edit(plan: &mut Plan<'_>, keys: &Keys, edit: &Edit) -> Result<(), Refusal> {
    match edit {
        Edit::Create(draft) => {
            let (kind, name) = (draft.kind(), draft.name());
            if plan.before(kind, name).is_some() {
                return Err(Refusal::Exists { kind: kind.name(), name: name.to_owned() });
            }
            plan.put(draft.clone(), None)
        }
        Edit::Put(draft) => plan.put(draft.clone(), None),
        Edit::Patch { kind: Kind::Setting, name: _, patch } => {
            let document = plan.before(Kind::Setting, SETTINGS_NAME).map(|entry| entry.resource.to_document());
            let document = document.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
            plan.put(Draft::patched(Kind::Setting, document, patch)?, None)
        }
        Edit::Patch { kind, name, patch } => {
            let entry = find(plan, keys, *kind, name)?;
            let draft = Draft::patched(*kind, entry.resource.to_document(), patch)?;
            if draft.name() != entry.item.name {
                return Err(Refusal::Renamed { kind: kind.name(), name: entry.item.name.clone() });
            }
            plan.put(draft, None)
        }
        Edit::Delete { kind, name } => {
            let entry = find(plan, keys, *kind, name)?.clone();
            plan.delete(&entry)
        }
        Edit::Rotate { name, overlap_ms } => {
            let entry = find(plan, keys, Kind::Key, name)?.clone();
            plan.rotate(&entry, *overlap_ms)
        }
    }
}

/// By name; keys also by id.
fn find<'a>(plan: &Plan<'a>, keys: &'a Keys, kind: Kind, name: &str) -> Result<&'a Entry, Refusal> {
    let found = match kind {
        Kind::Key => keys.by_name_or_id(name),
        _ => plan.before(kind, name),
    };
    found.ok_or_else(|| Refusal::NotFound { kind: kind.name(), name: name.to_owned() })
}

async fn plan_apply(plan: &mut Plan<'_>, apply: &Apply) -> Result<(), Refusal> {
    let mut place = 0;
    for (at, draft) in apply.resources.iter().enumerate() {
        let mut draft = draft.clone();
        if let Resource::Route(route) = &mut draft.resource {
            place += ROUTE_STEP;
            route.order.get_or_insert(place);
        }
        plan.put(draft, Some(&apply.source))?;
        if at % BREATH == BREATH - 1 {
            // A hundred thousand of them take a second; others want this thread too.
            tokio::task::yield_now().await;
        }
    }
    if apply.prune { plan.prune(&apply.source) } else { Ok(()) }
}

/// What was written has the revision of its class.
fn stamp(steps: &mut [Step], revision: Committed) {
    for step in steps.iter_mut().filter(|step| step.op != Op::Unchanged) {
        if let Some(after) = &mut step.after {
            after.item.revision = match step.kind.class() {
                Class::Topology => revision.topology,
                Class::Identity => revision.identity,
            };
        }
    }
}

// === impl Request ===

impl Request {
    fn check_revision(&self, state: &State) -> Result<(), Refusal> {
        let class = match &self.wish {
            Wish::Edit(Edit::Create(draft) | Edit::Put(draft)) => draft.kind().class(),
            Wish::Edit(Edit::Patch { kind, .. } | Edit::Delete { kind, .. }) => kind.class(),
            Wish::Edit(Edit::Rotate { .. }) => Class::Identity,
            Wish::Apply(_) | Wish::Rollback(_) | Wish::Switch(_) | Wish::Retarget(_) => Class::Topology,
        };
        match self.expected_revision {
            Some(expected) if expected != state.heads.of(class) => {
                Err(Refusal::Moved { class: class.name(), head: state.heads.of(class), expected })
            }
            _ => Ok(()),
        }
    }
}

// === impl Outcome ===

impl Outcome {
    fn new(revision: Committed, steps: Vec<Step>, warnings: Vec<Problem>) -> Self {
        let is_idle = steps.iter().all(|step| step.op == Op::Unchanged);
        let moves = |class: &Class| {
            let mut counted = steps.iter().filter(|step| is_idle || step.op != Op::Unchanged);
            counted.any(|step| step.kind.class() == *class)
        };
        let moved = Class::ALL.into_iter().filter(moves).collect();
        let changes = Vec::with_capacity(steps.len());
        let mut outcome = Self { revision, moved, changes, warnings, minted: Vec::new() };
        for step in steps {
            let diff = step.diff();
            let Some(entry) = step.after.or(step.before) else { continue };
            let name = entry.item.name.clone();
            if let Some(key) = step.minted {
                outcome.minted.push(Minted { name: name.clone(), id: entry.item.id.clone(), key });
            }
            outcome.changes.push(Changed { op: step.op, kind: step.kind, name, diff, item: entry.item });
        }
        outcome
    }
}
