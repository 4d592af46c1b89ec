//! What is known of one node.

use std::collections::{BTreeMap, VecDeque};

use gateway_model::kind;
use gateway_store::revisions::Committed;
use gateway_wire::v1::{Ack, Class, ClassState, MetricFrame, Status};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Refused;
use super::view::{ClassView, Finding, Lag, NodeView, Rates, State, UNKNOWN};
use crate::clock::rfc3339;

/// Frames come every five seconds; these cover a minute.
const N_FRAMES: usize = 13;
/// A connected node that has been silent for so long counts as gone, whatever its socket says.
pub(super) const SILENT_MS: i64 = 15_000;
/// Findings kept of one answer; a broken configuration may have as many as it has items.
const MAX_ERRORS: usize = 100;

/// Status of a class that is newer on the node than in the database: that was restored from an older copy.
pub(super) const REGRESSED: &str = "regressed";

/// The revisions that a node is to have: only of the classes that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) topology: Option<u64>,
    pub(super) identity: Option<u64>,
}

/// What a node says to a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Applied,
    Pending,
    Rejected,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) version: String,
    pub(super) boot_id: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) first_seen_ms: i64,
    pub(super) last_seen_ms: i64,
    pub(super) state: State,
    pub(super) session: Option<Connection>,
    /// By this boot: topology, identity.
    pub(super) refused: [Option<Refused>; 2],
    pub(super) frames: VecDeque<MetricFrame>,
    /// The store does not have this yet.
    pub(super) is_unsaved: bool,
    pub(super) saved_at_ms: i64,
}

/// The one stream that speaks for a node.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) number: u64,
    pub(super) replaced: CancellationToken,
    /// Since when something of a class is on its way: topology, identity.
    pub(super) sent: [Option<Instant>; 2],
}

// === impl Target ===

impl Target {
    pub(super) fn new(revision: Committed, classes: &[kind::Class]) -> Self {
        let of = |class, revision| classes.contains(&class).then_some(revision);
        Self {
            topology: of(kind::Class::Topology, revision.topology),
            identity: of(kind::Class::Identity, revision.identity),
        }
    }
}

// === impl Node ===

impl Node {
    pub(super) fn new(now_ms: i64) -> Self {
        Self {
            version: String::new(),
            boot_id: String::new(),
            labels: BTreeMap::new(),
            first_seen_ms: now_ms,
            last_seen_ms: now_ms,
            state: State::default(),
            session: None,
            refused: [None, None],
            frames: VecDeque::new(),
            is_unsaved: true,
            saved_at_ms: 0,
        }
    }

    pub(super) fn heard(&mut self, now_ms: i64) {
        self.last_seen_ms = now_ms;
    }

    /// What it says about a class now replaces what it said before.
    pub(super) fn answered(&mut self, ack: &Ack, status: &str, refused: Option<u64>) {
        let word = ack.class().word();
        self.state.errors.retain(|finding| finding.class != word);
        self.state.errors.extend(ack.errors.iter().take(MAX_ERRORS).map(|error| Finding::new(word, error)));
        let class = self.class_mut(ack.class());
        class.status = status.to_owned();
        class.refused = refused;
        class.persisted = ack.persisted;
    }

    /// What it has, said without being asked. Whether that was news. A node that is not ahead any more is a node like others.
    pub(super) fn holds(&mut self, state: &ClassState, is_ahead: bool) -> bool {
        let class = self.class_mut(state.class());
        let was = (class.revision, class.persisted, class.status.clone());
        (class.revision, class.persisted) = (state.revision, state.persisted);
        if !is_ahead && (class.status == REGRESSED || class.status == UNKNOWN) {
            class.status = Status::Applied.word().to_owned();
            class.refused = None;
            let word = state.class().word();
            self.state.errors.retain(|finding| finding.class != word);
        }
        let class = self.class_mut(state.class());
        was != (class.revision, class.persisted, class.status.clone())
    }

    pub(super) fn is_connected(&self, now_ms: i64) -> bool {
        self.session.is_some() && now_ms - self.last_seen_ms < SILENT_MS
    }

    pub(super) fn verdict(&self, target: Target) -> Verdict {
        verdict(&self.state, target)
    }

    pub(super) fn class_mut(&mut self, class: Class) -> &mut ClassView {
        if class == Class::Topology { &mut self.state.topology } else { &mut self.state.identity }
    }

    pub(super) fn refused_mut(&mut self, class: Class) -> &mut Option<Refused> {
        &mut self.refused[usize::from(class != Class::Topology)]
    }

    /// `None` for a node that is not connected.
    pub(super) fn sent_mut(&mut self, class: Class) -> Option<&mut Option<Instant>> {
        self.session.as_mut().map(|session| &mut session.sent[usize::from(class != Class::Topology)])
    }

    pub(super) fn frame(&mut self, frame: MetricFrame) {
        // Totals of another process say nothing about this one's.
        if self.frames.back().is_some_and(|last| last.boot_id != frame.boot_id) {
            self.frames.clear();
        }
        self.frames.push_back(frame);
        if self.frames.len() > N_FRAMES {
            self.frames.pop_front();
        }
    }

    pub(super) fn view(&self, id: &str, now_ms: i64, heads: Committed) -> NodeView {
        let connected = self.is_connected(now_ms);
        NodeView {
            id: id.to_owned(),
            version: self.version.clone(),
            connected,
            last_seen: rfc3339(self.last_seen_ms),
            labels: self.labels.clone(),
            boot_id: self.boot_id.clone(),
            lag: Lag::new(&self.state, heads),
            state: self.state.clone(),
            metrics: self.rates().filter(|_| connected),
        }
    }

    /// Of the last minute.
    pub(super) fn rates(&self) -> Option<Rates> {
        rates(&self.frames)
    }
}

/// Of the classes that are asked about the worse one.
pub(super) fn verdict(state: &State, target: Target) -> Verdict {
    let verdict = |class: &ClassView, target: Option<u64>| {
        let Some(target) = target else { return Verdict::Applied };
        if class.status == REGRESSED {
            Verdict::Rejected
        } else if class.revision >= target {
            Verdict::Applied
        } else if class.refused.is_some_and(|refused| refused >= target) {
            Verdict::Rejected
        } else {
            Verdict::Pending
        }
    };
    verdict(&state.topology, target.topology).max(verdict(&state.identity, target.identity))
}

#[expect(clippy::cast_precision_loss, reason = "figures of a minute are far below 2^52")]
fn rates(frames: &VecDeque<MetricFrame>) -> Option<Rates> {
    let (first, last) = (frames.front()?, frames.back()?);
    let seconds = (last.unix_ms - first.unix_ms) as f64 / 1000.0;
    let per_second = |from: u64, to: u64| {
        if seconds > 0.0 { to.saturating_sub(from) as f64 / seconds } else { 0.0 }
    };
    Some(Rates {
        requests_per_second: per_second(first.requests, last.requests),
        errors_per_second: per_second(first.errors, last.errors),
        p95_ms: quantile_us(first, last, 0.95).map(|us| us / 1000.0),
        open_streams: last.open_streams,
        resident_bytes: last.resident_bytes,
    })
}

/// The latency that a share of the requests which ended between two frames stayed below, taken as evenly spread within its
/// bucket. Beyond the last bound nothing is known, so that bound is told. `None` where no request ended.
#[expect(clippy::cast_precision_loss, reason = "figures of a minute are far below 2^52")]
fn quantile_us(first: &MetricFrame, last: &MetricFrame, share: f64) -> Option<f64> {
    let before = |slot: usize| first.latency_counts.get(slot).copied().unwrap_or(0);
    let counts = last.latency_counts.iter().enumerate();
    let ended: Vec<f64> = counts.map(|(slot, count)| count.saturating_sub(before(slot)) as f64).collect();
    let wanted = ended.iter().sum::<f64>() * share;
    let mut seen = 0.0;
    let mut lower = 0.0;
    for (slot, count) in ended.into_iter().enumerate() {
        let Some(upper) = last.latency_bounds_us.get(slot).map(|bound| *bound as f64) else { break };
        if count > 0.0 && seen + count >= wanted {
            return Some(lower + (upper - lower) * (wanted - seen) / count);
        }
        seen += count;
        lower = upper;
    }
    (wanted > 0.0).then_some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_what_ended_between_two_frames() {
        let frame = |counts: &[u64]| MetricFrame {
            latency_bounds_us: vec![1_000, 10_000, 100_000],
            latency_counts: counts.to_vec(),
            ..MetricFrame::default()
        };
        for (first, last, expected) in [
            (&[5, 5, 5, 5][..], &[5, 5, 5, 5][..], None),
            (&[][..], &[100, 0, 0, 0][..], Some(950.0)),
            (&[900, 0, 0, 0][..], &[900, 100, 0, 0][..], Some(9_550.0)),
            (&[0, 0, 0, 0][..], &[90, 10, 0, 0][..], Some(5_500.0)),
            (&[0, 0, 0, 0][..], &[0, 0, 0, 7][..], Some(100_000.0)),
            // Another length is another program's; it is no reason to fall over.
            (&[0, 0][..], &[0, 0, 0, 0, 7][..], Some(100_000.0)),
        ] {
            assert_eq!(quantile_us(&frame(first), &frame(last), 0.95), expected, "{first:?} {last:?}");
        }
    }

    #[test]
    fn the_worse_class_decides() {
        let both = Target { topology: Some(7), identity: Some(3) };
        let (topology_only, identity_only) = (Target { identity: None, ..both }, Target { topology: None, ..both });
        for (target, topology, refused, status, identity, expected) in [
            (both, 7, None, "applied", 3, Verdict::Applied),
            (both, 9, None, "applied", 4, Verdict::Applied),
            (both, 6, None, "applied", 3, Verdict::Pending),
            (both, 7, None, "applied", 2, Verdict::Pending),
            (topology_only, 7, None, "applied", 2, Verdict::Applied),
            (identity_only, 6, None, "applied", 3, Verdict::Applied),
            (both, 6, Some(7), "rejected", 3, Verdict::Rejected),
            (both, 6, Some(7), "rejected", 2, Verdict::Rejected),
            (identity_only, 6, Some(7), "rejected", 3, Verdict::Applied),
            (both, 5, Some(6), "rejected", 3, Verdict::Pending),
            (both, 6, Some(8), "incompatible", 3, Verdict::Rejected),
            (both, 50, Some(7), REGRESSED, 3, Verdict::Rejected),
        ] {
            let mut node = Node::new(0);
            node.state.topology = ClassView { revision: topology, refused, status: status.to_owned(), persisted: 0 };
            node.state.identity.revision = identity;
            assert_eq!(node.verdict(target), expected, "{target:?} {:?}", node.state);
        }
    }

    #[test]
    fn what_a_node_holds_is_known_without_an_answer() {
        let state = ClassState { class: Class::Identity.into(), revision: 7, persisted: 6, ..ClassState::default() };
        for (status, is_ahead, expected) in [
            (UNKNOWN, false, "applied"),
            (UNKNOWN, true, UNKNOWN),
            (REGRESSED, false, "applied"),
            (REGRESSED, true, REGRESSED),
            ("rejected", false, "rejected"),
        ] {
            let mut node = Node::new(0);
            node.state.identity.status = status.to_owned();
            assert!(node.holds(&state, is_ahead), "news");
            assert!(!node.holds(&state, is_ahead), "the same again");
            let identity = &node.state.identity;
            assert_eq!((identity.revision, identity.persisted, identity.status.as_str()), (7, 6, expected), "{status}");
        }
    }

    #[test]
    fn rates_are_differences_of_one_process() {
        let frame = |boot: &str, seconds: i64, requests: u64| MetricFrame {
            boot_id: boot.to_owned(),
            unix_ms: seconds * 1000,
            requests,
            open_streams: 4,
            ..MetricFrame::default()
        };
        let mut node = Node::new(0);
        assert_eq!(rates(&node.frames), None);
        for frame in [frame("a", 0, 1000), frame("b", 5, 10), frame("b", 15, 40)] {
            node.frame(frame);
        }
        let rates = rates(&node.frames).expect("there are frames");
        assert_eq!((rates.requests_per_second, rates.open_streams), (3.0, 4));
        (0..100).for_each(|seconds| node.frame(frame("b", seconds, 0)));
        assert_eq!(node.frames.len(), N_FRAMES);
    }
}
