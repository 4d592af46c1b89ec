//! What the publisher reads. In a control plane that is its store; a simulation puts a history in memory in its place.

use std::pin::Pin;

use gateway_model::kind::Class;
use gateway_store::resources::Snapshot;
use gateway_store::revisions::Change;
use gateway_store::{Error, Heads, Store};
use tokio::sync::watch;

/// An answer on its way. It may be dropped at any time.
pub type Read<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Two classes of configuration, each at a revision, with the log of what changed lately. Other processes write to it, so
/// every answer may be about another moment than the one before.
pub trait Source: Send + Sync + 'static {
    /// Where it is now, whoever wrote.
    fn heads(&self) -> Read<'_, Heads>;

    /// A hint that the heads may have moved; the sender lives as long as the source.
    fn watch(&self) -> watch::Receiver<Heads>;

    /// All of a class, as of one moment.
    fn snapshot(&self, class: Class) -> Read<'_, Snapshot>;

    /// The changes of the next `limit` revisions after `after`, whole revisions, oldest first. Complete only if `after` is at
    /// least [`Source::min_resumable`], asked for afterwards.
    fn changes(&self, class: Class, after: u64, limit: u64) -> Read<'_, Vec<Change>>;

    /// The oldest revision from which the log is complete; it only grows.
    fn min_resumable(&self, class: Class) -> Read<'_, u64>;
}

impl Source for Store {
    fn heads(&self) -> Read<'_, Heads> {
        Box::pin(Self::heads(self))
    }

    fn watch(&self) -> watch::Receiver<Heads> {
        Self::watch(self)
    }

    fn snapshot(&self, class: Class) -> Read<'_, Snapshot> {
        Box::pin(Self::snapshot(self, class))
    }

    fn changes(&self, class: Class, after: u64, limit: u64) -> Read<'_, Vec<Change>> {
        Box::pin(Self::changes(self, class, after, limit))
    }

    fn min_resumable(&self, class: Class) -> Read<'_, u64> {
        Box::pin(Self::min_resumable(self, class))
    }
}
