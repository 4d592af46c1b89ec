//! Judges what the nodes did by everything that ever was in the history. The names are those of etcd's robustness tests.

use std::collections::BTreeMap;
use std::time::Duration;

use gateway_model::kind::Class;

use crate::history::{Past, Version, epoch_name};
use crate::record::{Record, Seen};

/// What must hold of every change of every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guarantee {
    /// A node goes only forward: in revisions within an epoch, and in epochs.
    Ordered,
    /// A revision begins to serve once.
    Unique,
    /// What a node holds at a revision is what the history has at it: nothing in between was left out.
    Reliable,
    /// Of a revision all serves or nothing, and no revision that cannot serve does.
    Atomic,
    /// A key that was taken away is not let in again.
    Revoked,
    /// What is safe on a node's disk is there when it starts again.
    Kept,
    /// Once nothing is in the way, everybody soon has the newest revision.
    Converged,
}

/// A guarantee that was not kept.
#[derive(Clone, Debug)]
pub struct Violation {
    pub guarantee: Guarantee,
    pub what: String,
}

/// What a node has, when everything is said to be well, and how long it took.
#[derive(Clone, Debug)]
pub struct Rest {
    pub node: usize,
    pub class: Class,
    /// The newest version there is.
    pub head: usize,
    pub last: Option<Record>,
    /// From when nothing was in its way.
    pub took: Option<Duration>,
    /// How long it may take.
    pub limit: Duration,
}

/// Whoever is longer behind than this, with nothing in the way, is behind for no reason.
pub const SOON: Duration = Duration::from_secs(5);

/// All that is wrong with the records.
pub fn validate(past: &Past, records: &[Record]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut lines: BTreeMap<(usize, u32, Class), Vec<&Record>> = BTreeMap::new();
    for record in records {
        lines.entry((record.node, record.boot, record.class)).or_default().push(record);
    }
    for line in lines.values() {
        let versions: Vec<Option<usize>> = line.iter().map(|record| version(past, record)).collect();
        for (record, version) in line.iter().zip(&versions) {
            check_content(past, record, *version, &mut violations);
        }
        for pair in line.windows(2) {
            check_order(past, pair[0], pair[1], &mut violations);
        }
        check_revoked(past, line, &mut violations);
    }
    for ((node, boot, class), line) in &lines {
        let next =
            lines.range((*node, boot + 1, Class::Topology)..).find(|((other, _, of), _)| (other, of) == (node, class));
        if let Some((_, next)) = next {
            check_kept(line, next[0], &mut violations);
        }
    }
    violations
}

/// All that is wrong with where the nodes ended.
pub fn validate_end(past: &Past, rests: &[Rest]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for rest in rests {
        let head = &past.versions[rest.head];
        let is_there = rest.last.as_ref().is_some_and(|last| is_of(last, head));
        if !is_there || rest.took.is_none_or(|took| took > rest.limit) {
            let last = rest.last.as_ref().map_or_else(|| "nothing".to_owned(), describe);
            let what = format!(
                "node {} has {last} {:?} after nothing was in its way; {} is at revision {} of {}",
                rest.node,
                rest.took,
                head.class.name(),
                head.revision,
                epoch_name(head.epoch)
            );
            violations.push(Violation { guarantee: Guarantee::Converged, what });
        }
    }
    violations
}

fn epoch(record: &Record) -> Option<u32> {
    record.epoch.strip_prefix("epoch-")?.parse().ok()
}

fn is_ambiguous(past: &Past, record: &Record) -> bool {
    epoch(record).is_some_and(|epoch| past.is_ambiguous(record.class, epoch, record.revision))
}

/// The version that this record is of, by its content.
fn version(past: &Past, record: &Record) -> Option<usize> {
    let epoch = epoch(record)?;
    past.at(record.class, epoch, record.revision).find(|at| past.versions[*at].root == record.root.as_slice())
}

/// The version that this record says it is of; `None` where that could be several.
fn claimed(past: &Past, record: &Record) -> Option<usize> {
    let mut versions = past.at(record.class, epoch(record)?, record.revision);
    version(past, record).or_else(|| versions.next().filter(|_| versions.next().is_none()))
}

fn is_of(record: &Record, version: &Version) -> bool {
    record.epoch == epoch_name(version.epoch)
        && record.revision == version.revision
        && record.root == version.root
        && record.class == version.class
}

fn check_content(past: &Past, record: &Record, version: Option<usize>, violations: &mut Vec<Violation>) {
    let mut violated = |guarantee, what: &str| {
        violations.push(Violation { guarantee, what: format!("{}: {what}", describe(record)) });
    };
    let Some(version) = version.map(|at| &past.versions[at]) else {
        if record.class == Class::Identity && is_ambiguous(past, record) {
            // It goes in all the same, so that it holds up no revocation, and is repaired next.
            return;
        }
        violated(Guarantee::Reliable, "the history never had this content at this revision");
        return;
    };
    if version.is_bad {
        violated(Guarantee::Atomic, "a revision serves that cannot");
    }
    match &record.seen {
        Seen::Keys { tried, let_in } => {
            let expected = version.keys.intersection(tried).copied().collect();
            if *let_in != expected {
                let wrong: Vec<_> = let_in.symmetric_difference(&expected).collect();
                violated(Guarantee::Reliable, &format!("keys {wrong:?} are not treated as the revision says"));
            }
        }
        Seen::Topology { revision, providers } => {
            if *revision != record.revision {
                violated(Guarantee::Atomic, &format!("revision {revision} serves"));
            }
            if *providers != version.providers {
                violated(Guarantee::Reliable, &format!("it serves with {providers:?}, not {:?}", version.providers));
            }
        }
    }
}

fn check_order(past: &Past, earlier: &Record, later: &Record, violations: &mut Vec<Violation>) {
    let (from, to) = ((&earlier.epoch, earlier.revision), (&later.epoch, later.revision));
    let guarantee = if to == from {
        if is_ambiguous(past, later) {
            // Repaired, maybe twice.
            return;
        }
        Guarantee::Unique
    } else if to < from {
        Guarantee::Ordered
    } else {
        return;
    };
    violations.push(Violation { guarantee, what: format!("{} after {}", describe(later), describe(earlier)) });
}

/// A key that is deleted never comes back, except where the database was put back to a copy that still has it.
/// By the revision that a node says it has, whatever it has in truth.
fn check_revoked(past: &Past, line: &[&Record], violations: &mut Vec<Violation>) {
    let mut deleted: BTreeMap<u32, usize> = BTreeMap::new();
    for record in line {
        let (Seen::Keys { tried, let_in }, Some(version)) = (&record.seen, claimed(past, record)) else { continue };
        for key in let_in {
            if deleted.get(key).is_some_and(|since| past.descends(version, *since)) {
                let what = format!("{}: key {key} is let in and was revoked", describe(record));
                violations.push(Violation { guarantee: Guarantee::Revoked, what });
            }
        }
        for key in tried.intersection(&past.versions[version].gone) {
            deleted.entry(*key).or_insert(version);
        }
    }
}

/// `line` is of one start of a node, `next` the first thing of a later one.
fn check_kept(line: &[&Record], next: &Record, violations: &mut Vec<Violation>) {
    let safe = line.iter().filter(|record| record.persisted > 0).map(|record| (&record.epoch, record.persisted)).max();
    if let Some(safe) = safe.filter(|safe| (&next.epoch, next.revision) < *safe) {
        let what = format!("{}, and revision {} of {} was on its disk", describe(next), safe.1, safe.0);
        violations.push(Violation { guarantee: Guarantee::Kept, what });
    }
}

fn describe(record: &Record) -> String {
    let Record { at, node, boot, class, epoch, revision, .. } = record;
    format!("node {node} (start {boot}) at {at:?}: revision {revision} of {} of {epoch}", class.name())
}
