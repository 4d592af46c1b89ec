//! What one node needs next, by what it holds, what is on its way to it and what it refused. Pure: sending is the caller's.

use std::collections::VecDeque;

use gateway_wire::MAX_UNACKED_IDENTITY;
use gateway_wire::v1::{Ack, Class, ClassState, Hello, Status};

use crate::fleet::Refused;
use crate::publish::Head;

/// One stream of one node.
#[derive(Debug)]
pub(super) struct Session {
    features: Vec<String>,
    lines: [Line; 2],
    last_nonce: u64,
}

#[derive(Debug)]
struct Line {
    class: Class,
    epoch: String,
    /// Applied, as far as the node has said.
    revision: u64,
    /// On its way, oldest first. The node applies them in this order.
    in_flight: VecDeque<InFlight>,
    /// Not to be sent again to this boot.
    refused: Option<Refused>,
    told_incompatible: Option<u64>,
    /// The node has asked for everything.
    starts_over: bool,
}

#[derive(Debug)]
struct InFlight {
    nonce: u64,
    epoch: String,
    revision: u64,
}

/// What to send next of a class.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    Delta {
        from: u64,
    },
    Snapshot,
    /// The node cannot read these kinds.
    Incompatible {
        missing: Vec<String>,
    },
}

/// How what a node has compares with what is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing, or a revision that there was.
    Known,
    /// A later revision: another replica was faster, or the database was restored from an older copy.
    Ahead,
    /// Another epoch: there is a new one, and either the node or this replica does not have it yet.
    Elsewhere,
}

/// What an acknowledgement means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Applied {
        revision: u64,
    },
    Refused(Refused),
    /// Of something that was not sent on this stream, or not any more.
    Stray,
}

// === impl Session ===

impl Session {
    /// `refused` is what this boot has refused before, by class.
    pub(super) fn new(hello: &Hello, refused: impl Fn(Class) -> Option<Refused>) -> Self {
        let line = |class: Class| {
            let have = hello.have.iter().find(|have| have.class() == class);
            let (epoch, revision) = have.map_or_else(Default::default, |have| (have.epoch.clone(), have.revision));
            Line {
                class,
                epoch,
                revision,
                in_flight: VecDeque::new(),
                refused: refused(class),
                told_incompatible: None,
                starts_over: false,
            }
        };
        let lines = [line(Class::Topology), line(Class::Identity)];
        Self { features: hello.features.clone(), lines, last_nonce: 0 }
    }

    pub(super) fn need(&self, class: Class, head: &Head) -> Need {
        let missing: Vec<String> = head.kinds.iter().filter(|kind| !self.features.contains(kind)).cloned().collect();
        let line = self.line(class);
        if !missing.is_empty() {
            let told = line.told_incompatible == Some(head.revision);
            return if told { Need::Nothing } else { Need::Incompatible { missing } };
        }
        line.need(head)
    }

    /// Something is on its way. Returns the nonce to send it under.
    pub(super) fn sends(&mut self, class: Class, epoch: &str, revision: u64) -> u64 {
        self.last_nonce += 1;
        let nonce = self.last_nonce;
        let line = self.line_mut(class);
        line.starts_over = false;
        line.in_flight.push_back(InFlight { nonce, epoch: epoch.to_owned(), revision });
        nonce
    }

    pub(super) fn told_incompatible(&mut self, class: Class, revision: u64) {
        self.line_mut(class).told_incompatible = Some(revision);
    }

    pub(super) fn acked(&mut self, ack: &Ack) -> Answer {
        let Some(line) = self.lines.iter_mut().find(|line| line.class == ack.class()) else { return Answer::Stray };
        let Some(at) = line.in_flight.iter().position(|sent| sent.nonce == ack.nonce) else { return Answer::Stray };
        // What was sent before it has been overtaken.
        let Some(sent) = line.in_flight.drain(..=at).next_back() else { return Answer::Stray };
        if ack.status() == Status::Rejected {
            let refused = Refused { epoch: sent.epoch, revision: sent.revision };
            // What follows it on the way was made from it.
            line.in_flight.clear();
            line.refused = Some(refused.clone());
            return Answer::Refused(refused);
        }
        line.refused = None;
        line.epoch = sent.epoch;
        line.revision = sent.revision;
        Answer::Applied { revision: sent.revision }
    }

    /// The node could not use what it was sent.
    pub(super) fn resync(&mut self, have: &ClassState) {
        let line = self.line_mut(have.class());
        line.epoch.clone_from(&have.epoch);
        line.revision = have.revision;
        line.in_flight.clear();
        line.starts_over = true;
    }

    /// What the node has, compared with what is known here.
    pub(super) fn standing(&self, class: Class, head: &Head) -> Standing {
        let line = self.line(class);
        if line.epoch.is_empty() || line.epoch == head.epoch && line.revision <= head.revision {
            Standing::Known
        } else if line.epoch == head.epoch {
            Standing::Ahead
        } else {
            Standing::Elsewhere
        }
    }

    /// Nothing is on its way, so that the node is where it said.
    pub(super) fn is_quiet(&self, class: Class) -> bool {
        self.line(class).in_flight.is_empty()
    }

    fn line(&self, class: Class) -> &Line {
        let [topology, identity] = &self.lines;
        if class == Class::Topology { topology } else { identity }
    }

    fn line_mut(&mut self, class: Class) -> &mut Line {
        let [topology, identity] = &mut self.lines;
        if class == Class::Topology { topology } else { identity }
    }
}

// === impl Line ===

impl Line {
    fn need(&self, head: &Head) -> Need {
        if self.refused.as_ref().is_some_and(|refused| refused.epoch == head.epoch && refused.revision == head.revision)
        {
            return Need::Nothing;
        }
        let (epoch, revision) = match self.in_flight.back() {
            Some(sent) => (&sent.epoch, sent.revision),
            None => (&self.epoch, self.revision),
        };
        let max_in_flight = if self.class == Class::Identity { MAX_UNACKED_IDENTITY } else { 1 };
        if self.in_flight.len() >= max_in_flight {
            return Need::Nothing;
        }
        if self.starts_over || *epoch != head.epoch {
            return Need::Snapshot;
        }
        // A node that is ahead keeps what it has: the database is an older copy.
        if revision >= head.revision { Need::Nothing } else { Need::Delta { from: revision } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(revision: u64) -> Hello {
        let have =
            |class: Class| ClassState { class: class.into(), epoch: "e".to_owned(), revision, ..ClassState::default() };
        Hello {
            features: vec!["key".to_owned(), "model".to_owned()],
            have: vec![have(Class::Topology), have(Class::Identity)],
            ..Hello::default()
        }
    }

    fn head(revision: u64) -> Head {
        Head { epoch: "e".to_owned(), revision, kinds: vec!["model".to_owned()] }
    }

    fn ack(class: Class, nonce: u64, status: Status) -> Ack {
        Ack { class: class.into(), nonce, status: status.into(), ..Ack::default() }
    }

    #[test]
    fn one_topology_update_at_a_time_and_sixteen_of_identity() {
        let mut session = Session::new(&hello(5), |_| None);
        assert_eq!(session.need(Class::Topology, &head(5)), Need::Nothing);
        assert_eq!(session.need(Class::Topology, &head(6)), Need::Delta { from: 5 });
        let nonce = session.sends(Class::Topology, "e", 6);
        assert_eq!(session.need(Class::Topology, &head(9)), Need::Nothing, "one is on its way");
        assert_eq!(session.acked(&ack(Class::Topology, nonce, Status::Applied)), Answer::Applied { revision: 6 });
        assert_eq!(session.need(Class::Topology, &head(9)), Need::Delta { from: 6 }, "merged");
        for revision in 6..22 {
            assert_eq!(session.need(Class::Identity, &head(revision)), Need::Delta { from: revision - 1 });
            session.sends(Class::Identity, "e", revision);
        }
        assert_eq!(session.need(Class::Identity, &head(30)), Need::Nothing, "sixteen are on their way");
    }

    #[test]
    fn what_was_refused_is_not_sent_again_to_the_same_boot() {
        let mut session = Session::new(&hello(5), |_| None);
        let nonce = session.sends(Class::Topology, "e", 6);
        let refused = Refused { epoch: "e".to_owned(), revision: 6 };
        assert_eq!(session.acked(&ack(Class::Topology, nonce, Status::Rejected)), Answer::Refused(refused.clone()));
        assert_eq!(session.need(Class::Topology, &head(6)), Need::Nothing);
        assert_eq!(session.need(Class::Topology, &head(7)), Need::Delta { from: 5 }, "from what it still runs");
        let again = Session::new(&hello(5), |class| (class == Class::Topology).then(|| refused.clone()));
        assert_eq!(again.need(Class::Topology, &head(6)), Need::Nothing);
        assert_eq!(again.need(Class::Identity, &head(6)), Need::Delta { from: 5 });
    }

    #[test]
    fn what_is_not_known_here_is_told_apart() {
        let session = Session::new(&hello(5), |_| None);
        for (epoch, revision, expected) in [
            ("e", 5, Standing::Known),
            ("e", 6, Standing::Known),
            ("e", 4, Standing::Ahead),
            ("f", 5, Standing::Elsewhere),
        ] {
            let head = Head { epoch: epoch.to_owned(), ..head(revision) };
            assert_eq!(session.standing(Class::Identity, &head), expected, "{head:?}");
        }
        let empty = Session::new(&Hello::default(), |_| None);
        assert_eq!(empty.standing(Class::Identity, &head(0)), Standing::Known);
    }

    #[test]
    fn epochs_regressions_features_and_starting_over() {
        let mut session = Session::new(&hello(5), |_| None);
        assert_eq!(session.need(Class::Topology, &Head { epoch: "f".to_owned(), ..head(3) }), Need::Snapshot);
        assert_eq!(session.need(Class::Topology, &head(3)), Need::Nothing, "an older copy of the same database");
        let strange = Head { kinds: vec!["key".to_owned(), "budget".to_owned()], ..head(6) };
        assert_eq!(session.need(Class::Identity, &strange), Need::Incompatible { missing: vec!["budget".to_owned()] });
        session.told_incompatible(Class::Identity, 6);
        assert_eq!(session.need(Class::Identity, &strange), Need::Nothing, "said once");
        let first = session.sends(Class::Identity, "e", 6);
        let have =
            ClassState { class: Class::Identity.into(), epoch: "e".to_owned(), revision: 5, ..ClassState::default() };
        session.resync(&have);
        assert_eq!(session.acked(&ack(Class::Identity, first, Status::Applied)), Answer::Stray);
        assert_eq!(session.need(Class::Identity, &head(6)), Need::Snapshot);
        let fresh = Session::new(&Hello { features: hello(0).features, ..Hello::default() }, |_| None);
        assert_eq!(fresh.need(Class::Identity, &head(0)), Need::Snapshot, "an empty class has a revision too");
    }
}
