//! The write path judges a change by what it touches. Here random changes are judged by the validator over everything as
//! well, and the two must say the same: by two replicas in turn, and in a dry run first.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_model::document::Resource;
use gateway_model::kind::Kind;
use gateway_model::problem::Problem;
use gateway_model::secret::Secret;
use gateway_model::set::Set;
use gateway_server::change::{Actor, Apply, Changes, Draft, Edit, Outcome, Refusal, Request, Wish};
use gateway_server::credential::Pepper;
use gateway_server::vault::Vault;
use gateway_store::{ItemKind, Store};
use proptest::prelude::*;
use serde_json::{Value, json};

const N_CASES: u32 = 40;
const SOURCE: &str = "gateway.yaml";

/// What there should be: by kind and name the resource, and whether the file owns it.
#[derive(Clone, Debug, Default)]
struct Model {
    items: BTreeMap<(Kind, String), (Resource, bool)>,
    /// Imported secrets, by the key that has them.
    secrets: BTreeMap<String, Secret>,
}

/// A random change.
#[derive(Clone, Debug)]
enum Change {
    Create(Spec),
    Put(Spec),
    Delete(Kind, usize),
    /// Turns a key on or off.
    Toggle(usize, bool),
    Apply(Vec<Spec>, bool),
}

/// A resource by numbers; some of what they stand for is invalid.
#[derive(Clone, Debug)]
struct Spec {
    kind: Kind,
    name: usize,
    refers_to: usize,
    choice: usize,
}

/// What the validator, or the rule about secrets, says of a change.
#[derive(Debug, PartialEq)]
enum Verdict {
    Accepted { warnings: Vec<String> },
    Invalid { problems: Vec<String> },
    Exists,
    NotFound,
    Taken,
}

fn name(kind: Kind, number: usize) -> String {
    match (kind, number) {
        // Neither is a name.
        (Kind::Key | Kind::Model, 4) => "two words".to_owned(),
        (Kind::Provider, 4) => "Upper".to_owned(),
        (Kind::Setting, _) => "settings".to_owned(),
        _ => format!("{}{number}", &kind.name()[..1]),
    }
}

// === impl Spec ===

impl Spec {
    fn document(&self) -> Value {
        let own = name(self.kind, self.name);
        let provider = name(Kind::Provider, self.refers_to % 4);
        let model = name(Kind::Model, self.refers_to % 4);
        match self.kind {
            Kind::Setting => json!({"retry": {"max_attempts": self.choice}}),
            Kind::Provider => {
                let base_url = ["https://api.example.com", "https://api.example.com/v1", "ftp://api.example.com"];
                json!({"name": own, "kind": "anthropic", "base_url": base_url[self.choice % 3]})
            }
            Kind::Model => {
                let fallbacks = if self.choice.is_multiple_of(2) { vec![] } else { vec![model] };
                let target = json!({"provider": provider, "model": "x", "enabled": self.choice != 2});
                json!({"name": own, "targets": [target], "fallbacks": fallbacks})
            }
            Kind::A2aAgent => {
                let url = ["https://agent.example.com", "https://agent.example.com/rpc", "ftp://agent.example.com"];
                json!({"name": own, "url": url[self.choice % 3]})
            }
            Kind::Organization => json!({"name": own, "limits": {"rpm": self.choice}}),
            Kind::Team | Kind::User => {
                json!({"name": own, "organization": name(Kind::Organization, self.refers_to % 4)})
            }
            Kind::Limit => {
                json!({"name": own, "match": {"models": ["*"]}, "limits": {"rpm": self.choice}})
            }
            Kind::Exporter => {
                let url = ["https://a.example.com/in", "https://b.example.com/in", "ftp://a.example.com"];
                json!({"name": own, "type": "slack", "url": url[self.choice % 3]})
            }
            Kind::Budget => {
                json!({"name": own, "match": {"models": ["*"]}, "amount_usd": self.choice, "window": "monthly"})
            }
            // In the order of their names, wherever they were made.
            Kind::Route => json!({"name": own, "order": self.name, "model": model}),
            Kind::Price => {
                json!({"name": own, "provider": provider, "model": "x", "input_per_1m": 1, "output_per_1m": 2})
            }
            Kind::Key => {
                let secret = ["short", "an-imported-secret-0001", "an-imported-secret-0002"].get(self.choice);
                let limits = if self.choice == 4 { json!({"rpm": 0}) } else { json!({"rpm": 10 + self.refers_to}) };
                let mut document = json!({"name": own, "limits": limits, "models": ["*"]});
                if let Some(secret) = secret {
                    document["secret"] = json!(secret);
                }
                document
            }
        }
    }

    fn draft(&self) -> Draft {
        Draft::from_document(self.kind, self.document()).expect("its form is right")
    }
}

// === impl Model ===

impl Model {
    fn judge(&self) -> Vec<Problem> {
        let resources = self.items.iter().map(|((_, name), (resource, _))| {
            let mut resource = resource.clone();
            if let Resource::Key(key) = &mut resource {
                key.secret = self.secrets.get(name).cloned();
            }
            resource
        });
        Set::from_resources(resources).validate()
    }

    fn put(&mut self, spec: &Spec, owned: bool) {
        let key = (spec.kind, name(spec.kind, spec.name));
        let mut resource = gateway_model::document::decode(spec.kind, spec.document()).expect("its form is right");
        if let Resource::Key(made) = &mut resource
            && let Some(secret) = made.secret.take()
        {
            self.secrets.insert(key.1.clone(), secret);
        }
        let owned = owned || self.items.get(&key).is_some_and(|(_, owned)| *owned);
        self.items.insert(key, (resource, owned));
    }

    fn remove(&mut self, kind: Kind, name: &str) {
        self.items.remove(&(kind, name.to_owned()));
        if kind == Kind::Key {
            self.secrets.remove(name);
        }
    }

    /// What the change should come to; takes it over if that is a success.
    fn make(&mut self, change: &Change) -> Verdict {
        let mut next = self.clone();
        match change {
            Change::Create(spec) if self.items.contains_key(&(spec.kind, name(spec.kind, spec.name))) => {
                return Verdict::Exists;
            }
            Change::Create(spec) | Change::Put(spec) => next.put(spec, false),
            Change::Delete(kind, number) => {
                let name = name(*kind, *number);
                if !self.items.contains_key(&(*kind, name.clone())) {
                    return Verdict::NotFound;
                }
                next.remove(*kind, &name);
            }
            Change::Toggle(number, enabled) => match next.items.get_mut(&(Kind::Key, name(Kind::Key, *number))) {
                Some((Resource::Key(key), _)) => key.enabled = *enabled,
                _ => return Verdict::NotFound,
            },
            Change::Apply(specs, prune) => {
                specs.iter().for_each(|spec| next.put(spec, true));
                let named: Vec<_> = specs.iter().map(|spec| (spec.kind, name(spec.kind, spec.name))).collect();
                let owned = self.items.iter().filter(|(key, (_, owned))| *owned && !named.contains(key));
                owned.filter(|_| *prune).for_each(|((kind, name), _)| next.remove(*kind, name));
            }
        }
        let problems = next.judge();
        if problems.iter().any(Problem::is_error) {
            return Verdict::Invalid { problems: sorted(&problems) };
        }
        let is_new = |name: &str, secret: &Secret| self.secrets.get(name) != Some(secret);
        // Freed in the same change is free only where its key goes: a database writes row by row.
        let has = |of: &Self, other: &str, secret: &Secret| of.secrets.get(other) == Some(secret);
        let mut pairs = next.secrets.iter().flat_map(|one| next.secrets.keys().map(move |other| (one, other)));
        if pairs.any(|((name, secret), other)| {
            name != other && is_new(name, secret) && (has(self, other, secret) || has(&next, other, secret))
        }) {
            return Verdict::Taken;
        }
        *self = next;
        Verdict::Accepted { warnings: sorted(&problems) }
    }
}

fn sorted(problems: &[Problem]) -> Vec<String> {
    let mut problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    problems.sort();
    problems
}

fn verdict(outcome: &Result<Outcome, Refusal>) -> Verdict {
    match outcome {
        Ok(outcome) => Verdict::Accepted { warnings: sorted(&outcome.warnings) },
        Err(Refusal::Invalid { problems, .. }) => Verdict::Invalid { problems: sorted(problems) },
        Err(Refusal::Exists { .. }) => Verdict::Exists,
        Err(Refusal::NotFound { .. }) => Verdict::NotFound,
        Err(Refusal::Taken { .. }) => Verdict::Taken,
        Err(other) => panic!("{other}"),
    }
}

/// Everything of an outcome that a dry run can know.
fn told(outcome: &Result<Outcome, Refusal>) -> String {
    match outcome {
        Ok(outcome) => {
            let changes = outcome.changes.iter().map(|change| (change.op, change.kind, &change.name, &change.diff));
            format!("{:?} {:?}", changes.collect::<Vec<_>>(), outcome.warnings)
        }
        Err(refusal) => format!("{refusal} {:?}", refusal.problems()),
    }
}

fn request(change: &Change, dry_run: bool) -> Request {
    let wish = match change {
        Change::Create(spec) => Wish::Edit(Edit::Create(spec.draft())),
        Change::Put(spec) => Wish::Edit(Edit::Put(spec.draft())),
        Change::Delete(kind, number) => Wish::Edit(Edit::Delete { kind: *kind, name: name(*kind, *number) }),
        Change::Toggle(number, enabled) => {
            let (kind, patch) = (Kind::Key, json!({"enabled": enabled}));
            Wish::Edit(Edit::Patch { kind, name: name(kind, *number), patch })
        }
        Change::Apply(specs, prune) => {
            let resources = specs.iter().map(Spec::draft).collect();
            Wish::Apply(Apply { source: SOURCE.to_owned(), resources, prune: *prune })
        }
    };
    Request { actor: Actor::default(), wish, expected_revision: None, dry_run }
}

async fn check(changes: Vec<Change>) {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let vault = Arc::new(Vault::new(&Vault::generate()).unwrap());
    let pepper = Arc::new(Pepper::load_or_make(&store, &vault, 0).await.unwrap());
    let replica = || Changes::new(store.clone(), Arc::clone(&vault), Arc::clone(&pepper));
    let replicas = [replica(), replica()];
    let mut model = Model::default();
    for (at, change) in changes.iter().enumerate() {
        let replica = &replicas[at % 2];
        let dry = replica.write(&request(change, true)).await;
        let heads = store.heads().await.unwrap();
        let wet = replica.write(&request(change, false)).await;
        assert_eq!(told(&dry), told(&wet), "a dry run says what the write does: {change:?}");
        assert_eq!(verdict(&wet), model.make(change), "{change:?}");
        if wet.is_err() {
            assert_eq!(store.heads().await.unwrap(), heads, "a refusal writes nothing");
        }
    }
    let expected = model.items.values().map(|(resource, _)| resource);
    let expected = Set::from_resources(expected.filter(|resource| resource.kind() != Kind::Key).cloned());
    for replica in replicas {
        let set = replica.set().await.unwrap();
        let names = |set: &Set| set.resources().iter().map(|item| item.name().to_owned()).collect::<Vec<_>>();
        let (mut found, mut expected) = (names(&set), names(&expected));
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
    for (kind, name) in model.items.keys() {
        assert!(store.item(ItemKind::Resource(*kind), name).await.unwrap().is_some(), "{kind} {name}");
    }
}

fn specs() -> impl Strategy<Value = Spec> {
    let kinds = [Kind::Setting, Kind::Provider, Kind::Model, Kind::Route, Kind::Price, Kind::Key, Kind::Key];
    let numbers = (0..5_usize, 0..5_usize, 0..5_usize);
    (proptest::sample::select(kinds.to_vec()), numbers).prop_map(|(kind, (name, refers_to, choice))| Spec {
        kind,
        name,
        refers_to,
        choice,
    })
}

fn changes() -> impl Strategy<Value = Change> {
    let kinds = [Kind::Provider, Kind::Model, Kind::Route, Kind::Key];
    prop_oneof![
        2 => specs().prop_map(Change::Create),
        4 => specs().prop_map(Change::Put),
        2 => (proptest::sample::select(kinds.to_vec()), 0..4_usize).prop_map(|(kind, name)| Change::Delete(kind, name)),
        2 => (0..4_usize, any::<bool>()).prop_map(|(name, enabled)| Change::Toggle(name, enabled)),
        2 => (proptest::collection::vec(specs(), 0..6), any::<bool>()).prop_map(|(mut specs, prune)| {
            // The same one twice is refused before anything is judged.
            specs.sort_by_key(|spec| (spec.kind, spec.name));
            specs.dedup_by_key(|spec| (spec.kind, name(spec.kind, spec.name)));
            Change::Apply(specs, prune)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(N_CASES) })]

    #[test]
    fn what_is_touched_is_judged_as_the_whole_would_be(changes in proptest::collection::vec(changes(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(changes));
    }
}
