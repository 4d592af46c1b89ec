//! That the validators can fail: a database that lies and a node that misbehaves are found out, each by the guarantee that
//! is broken.

use std::time::Duration;

use gateway_model::kind::Class;
use gateway_sim::access::Lie;
use gateway_sim::record::{Record, Seen};
use gateway_sim::script::Scale;
use gateway_sim::validate::{Guarantee, validate};
use gateway_sim::world::{self, Outcome};

const SCALE: Scale =
    Scale { n_nodes: 3, trouble: Duration::from_secs(10), pause: Duration::from_millis(150), disks: false };

/// Runs that are enough for each lie to be told at least once.
const N_RUNS: u64 = 6;

#[test]
fn a_database_that_lies_is_found_out() {
    for (lie, expected) in [
        (Lie::SkipsChange, Guarantee::Reliable),
        (Lie::LosesDeletions, Guarantee::Revoked),
        (Lie::TearsRevision, Guarantee::Reliable),
        (Lie::EnablesKeys, Guarantee::Reliable),
    ] {
        let found = (0..N_RUNS).any(|seed| {
            let outcome = world::run(seed, SCALE, Some(lie));
            outcome.violations.iter().any(|violation| violation.guarantee == expected)
        });
        assert!(found, "{lie:?} was not found out as {expected:?}");
    }
}

/// A good run, and what is made of its records.
#[test]
fn a_node_that_misbehaves_is_found_out() {
    let outcome = world::run(1, SCALE, None);
    assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
    let check = |what: &str, expected: Guarantee, records: Vec<Record>| {
        let found = validate(&outcome.past, &records);
        assert!(found.iter().any(|violation| violation.guarantee == expected), "{what}: {found:?}");
    };
    check("goes back", Guarantee::Ordered, goes_back(&outcome));
    check("goes back to an earlier epoch", Guarantee::Ordered, other_epoch(&outcome));
    check("applies a revision twice", Guarantee::Unique, twice(&outcome));
    check("has one revision's content at another", Guarantee::Reliable, shifted(&outcome));
    check("leaves out a key", Guarantee::Reliable, without_a_key(&outcome));
    check("lets a revoked key in", Guarantee::Revoked, unrevoked(&outcome));
    check("compiles another revision than it says", Guarantee::Atomic, torn(&outcome));
    check("serves what cannot be served", Guarantee::Atomic, bad_topology(&outcome));
}

/// Two neighbouring records of a class of one start of a node.
fn neighbours(outcome: &Outcome, class: Class) -> (usize, usize) {
    let records = &outcome.records;
    let of = |record: &Record| (record.node, record.boot, record.class, record.epoch.clone());
    (0..records.len())
        .flat_map(|one| (one + 1..records.len()).map(move |other| (one, other)))
        .find(|(one, other)| records[*one].class == class && of(&records[*one]) == of(&records[*other]))
        .expect("a node changes twice")
}

fn goes_back(outcome: &Outcome) -> Vec<Record> {
    let mut records = outcome.records.clone();
    let (one, other) = neighbours(outcome, Class::Identity);
    records.swap(one, other);
    records
}

fn other_epoch(outcome: &Outcome) -> Vec<Record> {
    let mut records = outcome.records.clone();
    let (_, other) = neighbours(outcome, Class::Identity);
    records[other].epoch = "epoch-0000".to_owned();
    records
}

fn twice(outcome: &Outcome) -> Vec<Record> {
    let mut records = outcome.records.clone();
    records.push(records.last().expect("a record").clone());
    records
}

fn shifted(outcome: &Outcome) -> Vec<Record> {
    let mut records = outcome.records.clone();
    let (one, other) = neighbours(outcome, Class::Identity);
    records[other].root = records[one].root.clone();
    records
}

fn without_a_key(outcome: &Outcome) -> Vec<Record> {
    let mut records = outcome.records.clone();
    let let_in = records.iter_mut().find_map(|record| match &mut record.seen {
        Seen::Keys { let_in, .. } if !let_in.is_empty() => Some(let_in),
        _ => None,
    });
    let_in.expect("a node lets somebody in").pop_first();
    records
}

/// A node that knows that a key is revoked lets it in once more.
fn unrevoked(outcome: &Outcome) -> Vec<Record> {
    let mut records = outcome.records.clone();
    for at in 0..records.len() {
        let knows = &records[at];
        let Seen::Keys { tried, .. } = &knows.seen else { continue };
        let version = outcome.past.versions.iter().find(|version| version.root == knows.root.as_slice());
        let Some(key) = version.and_then(|version| version.gone.intersection(tried).next().copied()) else { continue };
        let of = |record: &Record| (record.node, record.boot, record.class, record.epoch.clone());
        let Some(next) = records[at + 1..].iter().position(|record| of(record) == of(knows)) else { continue };
        if let Seen::Keys { let_in, .. } = &mut records[at + 1 + next].seen {
            let_in.insert(key);
            return records;
        }
    }
    panic!("no key was revoked in this run");
}

fn torn(outcome: &Outcome) -> Vec<Record> {
    let mut records = outcome.records.clone();
    let revision = records.iter_mut().find_map(|record| match &mut record.seen {
        Seen::Topology { revision, .. } => Some(revision),
        Seen::Keys { .. } => None,
    });
    *revision.expect("a topology serves") += 1;
    records
}

fn bad_topology(outcome: &Outcome) -> Vec<Record> {
    let mut records = outcome.records.clone();
    let bad = outcome.past.versions.iter().find(|version| version.is_bad).expect("a revision that cannot serve");
    let record = records.iter_mut().find(|record| record.class == Class::Topology).expect("a topology serves");
    record.epoch = gateway_sim::history::epoch_name(bad.epoch);
    record.revision = bad.revision;
    record.root = bad.root.to_vec();
    records
}
