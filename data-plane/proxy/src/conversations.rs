//! Responses that were given, kept so that their clients may ask for them again and go on from them: whose, for how long, how
//! many. Where they are kept is behind one trait.

mod memory;
mod owners;
mod disk;
mod redis;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gateway_ir::failure::Failure;

pub(crate) use self::disk::Disk;
pub(crate) use self::memory::{Bounds, Memory};
pub(crate) use self::redis::Redis;

/// A larger turn is not kept, in bytes.
pub(crate) const MAX_TURN: usize = 4 * 1024 * 1024;

/// Stands in no id of a client's.
const BESIDE: char = '\0';

/// What a response is found by. Its owner is part of it, so that another's is not there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The caller's id.
    pub(crate) owner: Arc<str>,
    pub(crate) id: Box<str>,
}

/// Where a response is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Here(Turn),
    /// Still being made: the response as it stood when that was written.
    Running(Turn),
    /// Its provider keeps it, under the same id.
    At {
        provider: Arc<str>,
    },
}

/// A response and what it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The response object.
    pub(crate) response: Bytes,
    /// An array of its input items, those of the turns before it first.
    pub(crate) input: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kept: Kept,
    /// Unix milliseconds; gone from then on.
    pub(crate) until_ms: i64,
}

/// What a store has, where it can say.
pub(crate) type Found = Result<Option<Arc<Entry>>, Box<Failure>>;

/// Keeps responses within bounds of its own; where it must, the oldest give way. A store of another kind implements this.
pub(crate) trait Store: Send + Sync {
    /// Never waits. The entry can be found at once by whoever asks here; how soon it survives this process is the store's business.
    fn put(&self, key: Key, entry: Entry);

    /// What is kept and has not run out. An error means that nobody knows, which is not to say that there is nothing.
    fn get<'a>(&'a self, key: &'a Key, now_ms: i64) -> BoxFuture<'a, Found>;

    /// When this returns, the entry is gone for good.
    fn remove<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, ()>;

    /// Where it keeps what it is given, as replies say it.
    fn place(&self) -> &'static str {
        "node"
    }
}

// === impl Key ===

impl Key {
    /// Of what a client calls by this id.
    pub(crate) fn new(owner: &Arc<str>, id: &str) -> Self {
        Self { owner: Arc::clone(owner), id: id.replace(BESIDE, "\u{fffd}").into() }
    }

    /// Of something else about the same, which no client can name.
    pub(crate) fn beside(&self, what: &str) -> Self {
        Self { owner: Arc::clone(&self.owner), id: format!("{}{BESIDE}{what}", self.id).into() }
    }
}

// === impl Entry ===

impl Entry {
    /// What it takes, in bytes.
    pub(crate) fn len(&self) -> usize {
        match &self.kept {
            Kept::Here(turn) | Kept::Running(turn) => turn.response.len() + turn.input.len(),
            Kept::At { provider } => provider.len(),
        }
    }
}
