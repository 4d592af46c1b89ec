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
use gateway_wire::v1::{Ack, Class, ClassState, ConfigError, Delta, Item, ItemId, Status};

use super::disk::{Record, Whole};
use crate::state::standing::Standing;
use line::Line;

/// What a node holds, per class. A clone shares what it can.
#[derive(Clone)]
pub struct Replica {
    lines: [Line; 2],
}

/// Where an update that is complete and verified goes.
pub trait Target {
    /// A topology that can serve.
    type Checked: Send;

    /// All items of a topology: taken as a whole or not at all.
    fn check(&mut self, items: &[Item], revision: u64) -> Result<Self::Checked, Vec<ConfigError>>;

    /// From now on this topology serves.
    fn topology(&mut self, checked: Self::Checked);

    /// Changes of identity, each taken on its own. Returns what could not be read; those keys are denied.
    fn identity(&mut self, upsert: &[Item], removed: &[ItemId]) -> Vec<ConfigError>;

    /// Makes the items of identity from what really serves: to be compared with what should, and to be kept. It blocks for as
    /// long as copying all takes. `None` where they cannot be made.
    fn stock(&self) -> Option<Box<dyn FnOnce() -> Vec<Item> + Send>> {
        None
    }

    /// Where to note how far this node has come.
    fn standing(&self) -> Option<&Standing> {
        None
    }
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
    /// How it goes to disk; `None`: as a whole. What is in `content` is left out here.
    change: Option<Delta>,
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

    /// What was on disk serves.
    pub(crate) fn restored(&mut self, class: Class, epoch: String, revision: u64, tree: Tree, topology: Vec<Item>) {
        if let Some(line) = self.line_mut(class) {
            line.restored(epoch, revision, tree, topology);
        }
    }

    /// This revision is safe on disk. True where that is more than before.
    pub(crate) fn persisted(&mut self, class: Class, epoch: &str, revision: u64) -> bool {
        self.line_mut(class).is_some_and(|line| line.persisted(epoch, revision))
    }

    /// Epoch and revision that are held of a class; `None` while nothing is.
    pub(crate) fn held(&self, class: Class) -> Option<(&str, u64)> {
        self.lines.iter().find(|line| line.class == class).and_then(Line::held)
    }

    /// All of a topology.
    pub(crate) fn topology(&self) -> Vec<Item> {
        self.lines[0].items()
    }

    /// Whether a control plane has said since the last call that the revision held is the newest.
    pub(crate) fn take_confirmed(&mut self, class: Class) -> bool {
        self.line_mut(class).is_some_and(Line::take_confirmed)
    }

    /// How often what is held was found not to be what its revision says, since the last call.
    pub(crate) fn take_drifts(&mut self) -> u64 {
        self.lines.iter_mut().map(Line::take_drifts).sum()
    }

    /// `found` is what was found to be held in truth. Where that is not what should be, returns what to ask for.
    pub(crate) fn recheck(&mut self, class: Class, found: Tree) -> Option<Sent> {
        self.line_mut(class)?.recheck(found)
    }

    /// The update serves. `quarantined` are identity items that could not be read; their keys are denied. Returns what to
    /// send.
    pub(crate) fn applied(&mut self, update: Update, quarantined: Vec<ConfigError>, apply_ms: u32) -> Vec<Sent> {
        let status = if quarantined.is_empty() { Status::Applied } else { Status::AppliedWithQuarantine };
        let (nonce, class, revision, drifted) = (update.nonce, update.class, update.revision, update.drifted);
        let Some(line) = self.line_mut(class) else { return Vec::new() };
        line.advance(update);
        let ack = Ack {
            nonce,
            class: class.into(),
            revision,
            status: status.into(),
            errors: quarantined,
            persisted: line.safe(),
            apply_ms,
        };
        let mut sent = vec![Sent::Ack(ack)];
        if drifted {
            sent.push(line.ask_for_repair());
        }
        sent
    }

    /// The update cannot serve; what was held serves on.
    pub(crate) fn refused(&mut self, update: &Update, errors: Vec<ConfigError>, apply_ms: u32) -> Sent {
        let persisted = self.line_mut(update.class).map_or(0, |line| {
            line.refused(update);
            line.safe()
        });
        Sent::Ack(Ack {
            nonce: update.nonce,
            class: update.class.into(),
            revision: update.revision,
            status: Status::Rejected.into(),
            errors,
            persisted,
            apply_ms,
        })
    }

    fn line_mut(&mut self, class: Class) -> Option<&mut Line> {
        self.lines.iter_mut().find(|line| line.class == class)
    }

    fn assembling(&self, nonce: u64) -> Class {
        self.lines.iter().find(|line| line.assembles(nonce)).map_or(Class::Unspecified, |line| line.class)
    }
}

// === impl Update ===

impl Update {
    /// What of it goes to disk. Takes the content of identity along, so it is to be called when that serves.
    pub(crate) fn record(&mut self) -> Record {
        let (epoch, revision) = (self.epoch.clone(), self.revision);
        match (self.change.take(), &mut self.content) {
            (Some(change), Content::Topology(_)) => Record::Change(change),
            (Some(change), Content::Identity { upsert, removed }) => {
                let (upsert, removed) = (std::mem::take(upsert), std::mem::take(removed));
                Record::Change(Delta { upsert, removed, ..change })
            }
            (None, Content::Topology(items)) => Record::Whole(Whole { epoch, revision, items: items.clone() }),
            (None, Content::Identity { upsert, .. }) => {
                Record::Whole(Whole { epoch, revision, items: std::mem::take(upsert) })
            }
        }
    }

    pub(crate) fn epoch(&self) -> &str {
        &self.epoch
    }
}
