//! The node's side of the config protocol as a state machine: a message in, one step out. No I/O, no clock, no decision
//! about content: whether an update can be applied is for the caller to find out and to tell.
//!
//! What is held only ever goes forward within an epoch, and is always exactly what the control plane had at that revision.

mod assembly;
mod line;

#[cfg(test)]
mod tests;

use std::time::Duration;

use gateway_wire::tree::Tree;
use gateway_wire::v1::control_msg::Msg as Received;
use gateway_wire::v1::node_msg::Msg as Sent;
use gateway_wire::v1::{Ack, Class, ClassState, ConfigError, Item, ItemId, Status};

use line::Line;

/// What a node holds, per class. A clone shares what it can.
#[derive(Clone)]
pub struct Replica {
    lines: [Line; 2],
}

/// Where an update that is complete and verified goes.
pub trait Target {
    /// All items of a topology: taken as a whole or not at all.
    fn topology(&mut self, items: &[Item], revision: u64) -> Result<(), Vec<ConfigError>>;

    /// Changes of identity, each taken on its own. Returns what could not be read; those keys are denied.
    fn identity(&mut self, upsert: &[Item], removed: &[ItemId]) -> Vec<ConfigError>;
}

/// What to do about a message.
pub(crate) enum Step {
    Nothing,
    Reply(Sent),
    /// To be applied now; the outcome goes to [`Replica::applied`] or [`Replica::refused`].
    Apply(Box<Update>),
    /// Close the stream and come back later.
    Leave {
        after: Duration,
        reason: String,
    },
}

/// A change of one class, complete and verified.
pub(crate) struct Update {
    pub(crate) class: Class,
    pub(crate) revision: u64,
    pub(crate) content: Content,
    nonce: u64,
    epoch: String,
    /// What the class hashes to afterwards; `None` where the change is in the line's own tree already.
    tree: Option<Tree>,
    /// The content goes in although the hash says that something else is amiss: it is repaired next.
    drifted: bool,
}

pub(crate) enum Content {
    /// All of it: applied as a whole or not at all.
    Topology(Vec<Item>),
    /// What changed: each item is applied or quarantined on its own.
    Identity { upsert: Vec<Item>, removed: Vec<ItemId> },
}

// === impl Replica ===

impl Default for Replica {
    fn default() -> Self {
        Self::new()
    }
}

impl Replica {
    /// Holds nothing yet.
    pub fn new() -> Self {
        Self { lines: [Line::new(Class::Topology), Line::new(Class::Identity)] }
    }

    /// A new stream: half-received snapshots of the one before are worth nothing.
    pub(crate) fn connected(&mut self) -> Vec<ClassState> {
        self.lines.iter_mut().for_each(Line::connected);
        self.have()
    }

    /// The resume token, for `Hello` and heartbeats.
    pub(crate) fn have(&mut self) -> Vec<ClassState> {
        self.lines.iter_mut().map(Line::have).collect()
    }

    pub(crate) fn receive(&mut self, message: Received) -> Step {
        let class = match &message {
            Received::Delta(delta) => delta.class(),
            Received::Begin(begin) => begin.class(),
            Received::Bookmark(bookmark) => bookmark.class(),
            Received::Repair(repair) => repair.class(),
            Received::Incompatible(incompatible) => incompatible.class(),
            // These name the snapshot by its nonce.
            Received::Chunk(chunk) => self.assembling(chunk.nonce),
            Received::End(end) => self.assembling(end.nonce),
            Received::Redirect(redirect) => {
                let after = Duration::from_millis(redirect.retry_after_ms.into());
                return Step::Leave { after, reason: "the control plane asks to come back later".to_owned() };
            }
        };
        // A class that a later version has and this one does not is none of our business.
        let Some(line) = self.lines.iter_mut().find(|line| line.class == class) else { return Step::Nothing };
        match message {
            Received::Delta(delta) => line.delta(delta),
            Received::Begin(begin) => line.begin(begin),
            Received::Chunk(chunk) => line.chunk(&chunk),
            Received::End(end) => line.end(&end),
            Received::Bookmark(bookmark) => line.bookmark(&bookmark),
            Received::Repair(repair) => line.repair(repair),
            Received::Incompatible(incompatible) => line.incompatible(&incompatible),
            Received::Redirect(_) => Step::Nothing,
        }
    }

    /// The update serves. `quarantined` are identity items that could not be read; their keys are denied. `persisted` is 0
    /// on a node that keeps nothing. Returns what to send.
    pub(crate) fn applied(&mut self, update: Update, quarantined: Vec<ConfigError>, apply_ms: u32) -> Vec<Sent> {
        let status = if quarantined.is_empty() { Status::Applied } else { Status::AppliedWithQuarantine };
        let (nonce, class, revision, drifted) = (update.nonce, update.class, update.revision, update.drifted);
        let ack = Ack {
            nonce,
            class: class.into(),
            revision,
            status: status.into(),
            errors: quarantined,
            persisted: 0,
            apply_ms,
        };
        let mut sent = vec![Sent::Ack(ack)];
        let Some(line) = self.lines.iter_mut().find(|line| line.class == class) else { return sent };
        line.advance(update);
        if drifted {
            sent.push(line.ask_for_repair());
        }
        sent
    }

    /// The update cannot serve; what was held serves on.
    pub(crate) fn refused(&mut self, update: &Update, errors: Vec<ConfigError>, apply_ms: u32) -> Sent {
        if let Some(line) = self.lines.iter_mut().find(|line| line.class == update.class) {
            line.refused(update);
        }
        Sent::Ack(Ack {
            nonce: update.nonce,
            class: update.class.into(),
            revision: update.revision,
            status: Status::Rejected.into(),
            errors,
            persisted: 0,
            apply_ms,
        })
    }

    fn assembling(&self, nonce: u64) -> Class {
        self.lines.iter().find(|line| line.assembles(nonce)).map_or(Class::Unspecified, |line| line.class)
    }
}
