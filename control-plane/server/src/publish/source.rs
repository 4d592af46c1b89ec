//! What the publisher reads. In a control plane that is its store; a simulation puts a history in memory in its place.

use gateway_model::kind::Class;
use gateway_store::resources::Snapshot;
use gateway_store::revisions::Change;
use gateway_store::{Error, Heads, Store};
use tokio::sync::watch;

/// Two classes of configuration, each at a revision, with the log of what changed lately. Other processes write to it, so
/// every answer may be about another moment than the one before. All calls may be cancelled.
#[tonic::async_trait]
pub trait Source: Send + Sync + 'static {
    /// Where it is now, whoever wrote.
    async fn heads(&self) -> Result<Heads, Error>;

    /// A hint that the heads may have moved; the sender lives as long as the source.
    fn watch(&self) -> watch::Receiver<Heads>;

    /// All of a class, as of one moment.
    async fn snapshot(&self, class: Class) -> Result<Snapshot, Error>;

    /// The changes of the next `limit` revisions after `after`, whole revisions, oldest first. Complete only if `after` is at
    /// least [`Source::min_resumable`], asked for afterwards.
    async fn changes(&self, class: Class, after: u64, limit: u64) -> Result<Vec<Change>, Error>;

    /// The oldest revision from which the log is complete; it only grows.
    async fn min_resumable(&self, class: Class) -> Result<u64, Error>;
}

#[tonic::async_trait]
impl Source for Store {
    async fn heads(&self) -> Result<Heads, Error> {
        Self::heads(self).await
    }

    fn watch(&self) -> watch::Receiver<Heads> {
        Self::watch(self)
    }

    async fn snapshot(&self, class: Class) -> Result<Snapshot, Error> {
        Self::snapshot(self, class).await
    }

    async fn changes(&self, class: Class, after: u64, limit: u64) -> Result<Vec<Change>, Error> {
        Self::changes(self, class, after, limit).await
    }

    async fn min_resumable(&self, class: Class) -> Result<u64, Error> {
        Self::min_resumable(self, class).await
    }
}
