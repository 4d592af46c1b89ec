//! From wishes to rows: what each edit does to the state, before anything is written. Pure but for random ids and tokens.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use gateway_model::document::Resource;
use gateway_model::kind::key::Key;
use gateway_model::kind::model::Model;
use gateway_model::kind::{Class, Kind};
use gateway_model::problem::{Code, Problem};
use gateway_model::secret::Secret;
use gateway_model::set::Set;
use gateway_model::token::Prefix;
use gateway_store::{ItemKind, StoredItem};
use ulid::Ulid;

use super::diff::{self, Difference};
use super::draft::Draft;
use super::keys::Keys;
use super::state::{Entry, State};
use super::{Op, Refusal};
use crate::credential::{self, Pepper};
use crate::vault::{self, Vault};
use crate::view::{self, SecretFact, SecretFacts};

/// What a plan is made with.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) vault: &'a Vault,
    pub(super) pepper: &'a Pepper,
    pub(super) now_ms: i64,
    /// Whether keys without a secret get one. A dry run makes none.
    pub(super) may_mint: bool,
}

/// Edits of one state, at most one per item.
pub(super) struct Plan<'a> {
    state: &'a State,
    keys: &'a Keys,
    means: Means<'a>,
    steps: Vec<Step>,
    touched: HashSet<(Kind, String)>,
    /// What the validator says of the keys in it.
    problems: Vec<Problem>,
    /// The secrets that keys in it bring along, as digests, with the name of the key.
    imported: Vec<(Vec<u8>, String)>,
}

/// What a plan has been found to be.
pub(super) struct Sound {
    pub(super) steps: Vec<Step>,
    pub(super) warnings: Vec<Problem>,
    /// What the validator says of topology as it will be.
    pub(super) of_topology: Vec<Problem>,
}

/// What happens to one item.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) op: Op,
    pub(super) kind: Kind,
    pub(super) before: Option<Entry>,
    pub(super) after: Option<Entry>,
    pub(super) minted: Option<Secret>,
}

/// Earlier secrets that a key may have at once.
const MAX_EARLIER: usize = 4;

// === impl Plan ===

impl<'a> Plan<'a> {
    pub(super) fn new(state: &'a State, keys: &'a Keys, means: Means<'a>) -> Self {
        let (steps, touched, problems, imported) = (Vec::new(), HashSet::new(), Vec::new(), Vec::new());
        Self { state, keys, means, steps, touched, problems, imported }
    }

    /// As it is before the change.
    pub(super) fn before(&self, kind: Kind, name: &str) -> Option<&'a Entry> {
        match kind {
            Kind::Key => self.keys.by_name(name),
            _ => self.state.find(kind, name),
        }
    }

    /// What it comes to so far.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Every model as it is before the change.
    pub(super) fn models(&self) -> Vec<&'a Model> {
        let resources = self.state.of_kind(Kind::Model).map(|entry| &entry.resource);
        let models = resources.filter_map(|resource| match resource {
            Resource::Model(model) => Some(&**model),
            _ => None,
        });
        models.collect()
    }

    /// Makes the item what the draft says; `owner` is the source that now manages it, `None` leaves that as it is.
    pub(super) fn put(&mut self, draft: Draft, owner: Option<&str>) -> Result<(), Refusal> {
        let (kind, name) = (draft.kind(), draft.name().to_owned());
        let before = self.before(kind, &name).cloned();
        let id = before.as_ref().map_or_else(|| new_id(kind, self.means.now_ms), |entry| entry.item.id.clone());
        let item_kind = ItemKind::Resource(kind);
        let aad = vault::aad(item_kind, &id);
        let mut resource = draft.resource;
        self.place(&mut resource, before.as_ref());
        let (digest, minted) = self.take_secret(&mut resource, before.as_ref());
        let resource = with_stored_secrets(resource, &draft.cleared, before.as_ref())?;
        let old_facts = before.as_ref().map(|entry| view::secret_facts(&entry.item)).unwrap_or_default();
        let facts = self.secret_facts(&aad, &resource, &old_facts);
        let sealed = match &before {
            Some(entry) if facts == old_facts => entry.item.sealed.clone(),
            _ if facts.is_empty() => None,
            _ => Some(self.means.vault.seal(&aad, &resource.secrets())),
        };
        let old = before.as_ref().map(|entry| &entry.item);
        let item = StoredItem {
            kind: item_kind,
            id,
            name: resource.name().to_owned(),
            revision: old.map_or(0, |item| item.revision),
            document: resource.to_document().to_string(),
            sealed,
            secret_facts: match old {
                // A key that keeps its secret keeps the earlier ones; one that is given another has that alone.
                Some(old) if kind == Kind::Key && old.digest == digest => old.secret_facts.clone(),
                _ => serde_json::to_string(&facts).expect("texts and numbers are JSON"),
            },
            pepper_version: if digest.is_some() { self.means.pepper.version() } else { 0 },
            digest,
            created_at_ms: old.map_or(self.means.now_ms, |item| item.created_at_ms),
            updated_at_ms: self.means.now_ms,
            owner: owner.map(str::to_owned).or_else(|| old.and_then(|item| item.owner.clone())),
        };
        self.add(before, Some(Entry { item, resource }), minted)
    }

    /// Gives a key a new secret. The one that it has is good for `overlap_ms` more; without any, none of its earlier ones is.
    pub(super) fn rotate(&mut self, entry: &Entry, overlap_ms: i64) -> Result<(), Refusal> {
        let mut after = entry.clone();
        let mut minted = None;
        if self.means.may_mint {
            let (secret, now_ms) = (credential::mint(Prefix::VirtualKey), self.means.now_ms);
            let mut earlier = credential::earlier(&entry.item);
            earlier.retain(|one| one.until_ms > now_ms && overlap_ms > 0);
            if let Some(digest) = entry.item.digest.as_deref().filter(|_| overlap_ms > 0) {
                let until_ms = now_ms.saturating_add(overlap_ms);
                earlier.push(credential::Earlier::new(digest, entry.item.pepper_version, until_ms));
            }
            if earlier.len() > MAX_EARLIER {
                let message = format!(
                    "it has {MAX_EARLIER} earlier secrets that are good yet; wait, or rotate with `overlap: 0s`"
                );
                let problem = Problem::error(Code::InvalidValue, format!("keys[{}]", entry.item.name), message);
                return Err(Refusal::invalid(format!("key `{}` is not rotated", entry.item.name), vec![problem]));
            }
            after.item.digest = Some(self.means.pepper.digest(secret.expose()));
            after.item.pepper_version = self.means.pepper.version();
            after.item.secret_facts = credential::earlier_facts(earlier);
            after.item.updated_at_ms = now_ms;
            minted = Some(secret);
        }
        self.add(Some(entry.clone()), Some(after), minted)
    }

    pub(super) fn delete(&mut self, entry: &Entry) -> Result<(), Refusal> {
        self.add(Some(entry.clone()), None, None)
    }

    /// Makes topology what it was. Items get their old ids and sealed secrets back; keys are not touched.
    pub(super) fn restore(&mut self, old: Vec<StoredItem>) -> Result<(), Refusal> {
        for item in old {
            let after = Entry::open(StoredItem { updated_at_ms: self.means.now_ms, ..item }, self.means.vault)?;
            // Deleted and made again since, it has another id now; then one replaces the other.
            let before = self.before(after.resource.kind(), &after.item.name).cloned();
            self.add(before, Some(after), None)?;
        }
        let newer: Vec<&Entry> = self.state.entries().filter(|entry| !self.touches(entry)).collect();
        newer.into_iter().try_for_each(|entry| self.delete(entry))
    }

    /// Deletes what the source manages and this plan does not touch.
    pub(super) fn prune(&mut self, source: &str) -> Result<(), Refusal> {
        let owned = self.state.entries().chain(self.keys.entries());
        let owned = owned.filter(|entry| entry.item.owner.as_deref() == Some(source));
        let unnamed: Vec<&Entry> = owned.filter(|entry| !self.touches(entry)).collect();
        unnamed.into_iter().try_for_each(|entry| self.delete(entry))
    }

    /// Checks what the change makes of the configuration. Keys were checked one by one: nothing
    /// refers to a key, and what a key refers to may go, which shuts the key, so only topology has to be judged as a whole, and only if it changes. Names are unique because each
    /// item is looked up by its own. The result is that of the validator for the whole.
    pub(super) fn validate(mut self) -> Result<Sound, Refusal> {
        let moves_topology =
            self.steps.iter().any(|step| step.op != Op::Unchanged && step.kind.class() == Class::Topology);
        let of_topology = if moves_topology { self.topology().validate() } else { self.state.problems().to_vec() };
        // What an older version has let into topology holds no key back, least of all its revocation.
        let judged = if moves_topology { of_topology.as_slice() } else { &[] };
        self.check_owners();
        if judged.iter().chain(&self.problems).any(Problem::is_error) {
            let title = self.title();
            return Err(Refusal::invalid(title, of_topology.into_iter().chain(self.problems).collect()));
        }
        self.check_imported()?;
        let warnings = of_topology.iter().filter(|problem| !problem.is_error()).cloned().chain(self.problems).collect();
        Ok(Sound { steps: self.steps, warnings, of_topology })
    }

    /// Topology as it would be.
    fn topology(&self) -> Set {
        let untouched = self.state.entries().filter(|entry| !self.touches(entry));
        let touched = self.steps.iter().filter(|step| step.kind.class() == Class::Topology);
        let touched = touched.filter_map(|step| step.after.as_ref());
        Set::from_resources(untouched.chain(touched).map(|entry| entry.resource.clone()))
    }

    /// Whoever a key is for is there when it is written. Gone later, the key is refused by the nodes.
    fn check_owners(&mut self) {
        let written = self.steps.iter().filter(|step| matches!(step.op, Op::Create | Op::Update));
        let keys = written.filter_map(|step| match &step.after.as_ref()?.resource {
            Resource::Key(key) => Some(key),
            _ => None,
        });
        let mut missing = Vec::new();
        for key in keys {
            for (kind, named) in [(Kind::Team, &key.team), (Kind::User, &key.user)] {
                let Some(named) = named.as_deref().filter(|named| !self.will_have(kind, named)) else { continue };
                let message = format!("no {kind} is named `{named}`; make it first, or give it in the same file");
                missing.push(Problem::error(Code::UnknownReference, format!("keys[{}].{kind}", key.name), message));
            }
        }
        self.problems.extend(missing);
    }

    /// Whether it is there after the change.
    fn will_have(&self, kind: Kind, name: &str) -> bool {
        match self.steps.iter().find(|step| step.kind == kind && step.name() == name) {
            Some(step) => step.after.is_some(),
            None => self.state.find(kind, name).is_some(),
        }
    }

    /// No two keys share a secret. The database would refuse it too, but only when it is written to, and without a name.
    fn check_imported(&self) -> Result<(), Refusal> {
        let deleted = self.steps.iter().filter(|step| step.op == Op::Delete && step.kind == Kind::Key);
        let deleted: HashSet<&str> = deleted.map(Step::name).collect();
        let mut seen = HashMap::new();
        for (digest, name) in &self.imported {
            let holder = self.keys.holder(digest).filter(|holder| *holder != name && !deleted.contains(holder));
            if let Some(other) = holder.or_else(|| seen.insert(digest, name.as_str())) {
                return Err(Refusal::Taken { name: name.clone(), other: other.to_owned() });
            }
        }
        Ok(())
    }

    fn touches(&self, entry: &Entry) -> bool {
        self.touched.contains(&(entry.resource.kind(), entry.item.name.clone()))
    }

    fn title(&self) -> String {
        match self.steps.as_slice() {
            [Step { op: Op::Delete, kind, before: Some(entry), .. }] => {
                format!("{kind} `{}` cannot be deleted while others refer to it", entry.item.name)
            }
            [Step { kind, after: Some(entry), .. }] => format!("{kind} `{}` is refused", entry.item.name),
            _ => "the change is refused as a whole".to_owned(),
        }
    }

    fn add(&mut self, before: Option<Entry>, after: Option<Entry>, minted: Option<Secret>) -> Result<(), Refusal> {
        let Some(named) = after.as_ref().or(before.as_ref()) else { return Ok(()) };
        let (kind, name) = (named.resource.kind(), named.item.name.clone());
        if !self.touched.insert((kind, name.clone())) {
            let problem = Problem::error(
                Code::DuplicateName,
                format!("{}[{name}].name", kind.plural()),
                format!("`{name}` is given twice; give each {kind} once"),
            );
            return Err(Refusal::invalid("the change is refused as a whole".to_owned(), vec![problem]));
        }
        let op = match (&before, &after) {
            (None, _) => Op::Create,
            (_, None) => Op::Delete,
            (Some(before), Some(after)) if same(before, after) => Op::Unchanged,
            _ => Op::Update,
        };
        let after = if op == Op::Unchanged { before.clone() } else { after };
        self.steps.push(Step { op, kind, before, after, minted });
        Ok(())
    }

    /// A route without a place keeps the one it has, else it goes behind all others.
    fn place(&self, resource: &mut Resource, before: Option<&Entry>) {
        let Resource::Route(route) = resource else { return };
        let order = |entry: &Entry| match &entry.resource {
            Resource::Route(route) => route.order,
            _ => None,
        };
        let planned = self.steps.iter().filter_map(|step| step.after.as_ref());
        let last = || self.state.of_kind(Kind::Route).chain(planned).filter_map(order).max();
        route.order =
            route.order.or_else(|| before.and_then(order)).or_else(|| Some(last().unwrap_or(0).saturating_add(10)));
    }

    /// A key's digest: of the secret it brings, else the one it has, else of a new secret. The key is judged here, because
    /// from here on nobody knows the secret that it brought.
    fn take_secret(&mut self, resource: &mut Resource, before: Option<&Entry>) -> (Option<Vec<u8>>, Option<Secret>) {
        let Resource::Key(key) = resource else { return (None, None) };
        self.problems.extend(Set { keys: vec![Key::clone(key)], ..Set::default() }.validate());
        if let Some(secret) = key.secret.take() {
            let digest = self.means.pepper.digest(secret.expose());
            self.imported.push((digest.clone(), key.name.clone()));
            return (Some(digest), None);
        }
        match before {
            Some(entry) => (entry.item.digest.clone(), None),
            None if self.means.may_mint => {
                let secret = credential::mint(Prefix::VirtualKey);
                (Some(self.means.pepper.digest(secret.expose())), Some(secret))
            }
            None => (None, None),
        }
    }

    /// Facts of the secrets that are sealed; one that did not change keeps its time.
    fn secret_facts(&self, aad: &str, resource: &Resource, old: &SecretFacts) -> SecretFacts {
        if resource.kind() == Kind::Key {
            return BTreeMap::new();
        }
        let facts = resource.secrets().into_iter().map(|(path, secret)| {
            let fingerprint = self.means.vault.fingerprint(aad, &path, &secret);
            let fact = match old.get(&path).filter(|fact| fact.fingerprint == fingerprint) {
                Some(fact) => fact.clone(),
                None => SecretFact { last4: secret.last4(), fingerprint, updated_at_ms: self.means.now_ms },
            };
            (path, fact)
        });
        facts.collect()
    }
}

// === impl Step ===

impl Step {
    pub(super) fn name(&self) -> &str {
        self.after.as_ref().or(self.before.as_ref()).map_or("", |entry| &entry.item.name)
    }

    pub(super) fn diff(&self) -> Vec<Difference> {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) if self.op == Op::Update => diff::items(&before.item, &after.item),
            _ => Vec::new(),
        }
    }
}

/// Whether a write would change nothing but times.
fn same(before: &Entry, after: &Entry) -> bool {
    let fingerprints = |item: &StoredItem| -> Vec<(String, String)> {
        view::secret_facts(item).into_iter().map(|(path, fact)| (path, fact.fingerprint)).collect()
    };
    // Mostly they are equal as they stand, and then nothing has to be written out to be compared.
    let same_documents =
        || before.resource == after.resource || before.resource.to_document() == after.resource.to_document();
    let same_secrets = || {
        before.item.secret_facts == after.item.secret_facts || fingerprints(&before.item) == fingerprints(&after.item)
    };
    before.item.id == after.item.id
        && same_documents()
        && same_secrets()
        && before.item.digest == after.item.digest
        && before.item.owner == after.item.owner
}

/// Puts back the secrets that the draft did not mention.
fn with_stored_secrets(
    resource: Resource,
    cleared: &BTreeSet<&'static str>,
    before: Option<&Entry>,
) -> Result<Resource, Refusal> {
    let (kind, mut secrets) = (resource.kind(), resource.secrets());
    let Some(before) = before.filter(|_| kind != Kind::Key) else { return Ok(resource) };
    let n_given = secrets.len();
    for (path, secret) in before.resource.secrets() {
        if !cleared.contains(path.as_str()) {
            secrets.entry(path).or_insert(secret);
        }
    }
    if secrets.len() == n_given {
        return Ok(resource);
    }
    let joined = gateway_model::document::join(kind, resource.to_document(), &secrets);
    joined.map_err(|problems| Refusal::invalid(format!("{kind} `{}` is refused", resource.name()), problems))
}

fn new_id(kind: Kind, now_ms: i64) -> String {
    let prefix = match kind {
        // There is one.
        Kind::Setting => return gateway_model::document::SETTINGS_NAME.to_owned(),
        Kind::Provider => "prv",
        Kind::Price => "prc",
        Kind::Model => "mdl",
        Kind::Route => "rte",
        Kind::A2aAgent => "a2a",
        Kind::Organization => "org",
        Kind::Team => "team",
        Kind::User => "user",
        Kind::Budget => "bgt",
        Kind::Limit => "lim",
        Kind::Exporter => "exp",
        Kind::Key => "vk",
    };
    let ulid = Ulid::from_parts(u64::try_from(now_ms).unwrap_or(0), rand::random());
    format!("{prefix}_{ulid}")
}
