//! Responses in a Redis or Valkey that all nodes of a fleet share, so that each finds what another gave. Writes go behind the
//! requests, several at a time over one connection; until one is through, this node finds it in its memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gateway_ir::failure::{Code, Failure};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Pipeline, RedisError, RedisResult};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{Bounds, Entry, Found, Kept, Key, Memory, Store, Turn};
use crate::backoff::Backoff;

/// Changes that wait for the server. What comes while there are as many stays on this node only.
const MAX_WAITING: usize = 4096;
/// Changes of one round trip.
const MAX_BATCH: usize = 16;
const N_SHARDS: usize = 8;
/// What a request waits for the server, on the whole.
const PATIENCE: Duration = Duration::from_secs(2);
/// What stands before every name, so that the server may be shared with others.
const PREFIX: &str = "gateway:response:";

/// The server does not need to be there when this is made, nor all the time afterwards.
pub(crate) struct Redis {
    /// What is not written yet.
    waiting: Arc<Memory>,
    changes: mpsc::Sender<Change>,
    connection: ConnectionManager,
}

/// What writes, in order. Ends when the [`Redis`] is gone and everything is written, or the server does not answer then.
pub(crate) struct Writing {
    waiting: Arc<Memory>,
    changes: mpsc::Receiver<Change>,
    connection: ConnectionManager,
}

enum Change {
    Put(Key),
    Remove(Key, oneshot::Sender<()>),
}

/// The first line of a value; behind it, the response and its input.
#[derive(Serialize, Deserialize)]
struct Heading {
    version: u32,
    until_ms: i64,
    n_response: usize,
    /// Who keeps it, if it is not here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    /// It was still being made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    running: bool,
}

const VERSION: u32 = 1;

// === impl Redis ===

impl Redis {
    /// `url` is `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS, whose authorities are the system's. Must be
    /// called on a runtime. An error is about the URL, and does not repeat it.
    pub(crate) fn open(url: &str) -> RedisResult<(Self, Writing)> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_number_of_retries(1);
        let connection = ConnectionManager::new_lazy_with_config(Client::open(url)?, config)?;
        let waiting = Arc::new(Memory::new(N_SHARDS, Bounds::NODE));
        let (changes, receiver) = mpsc::channel(MAX_WAITING);
        let writing = Writing { waiting: Arc::clone(&waiting), changes: receiver, connection: connection.clone() };
        Ok((Self { waiting, changes, connection }, writing))
    }
}

impl Store for Redis {
    fn put(&self, key: Key, entry: Entry) {
        self.waiting.put(key.clone(), entry);
        if self.changes.try_send(Change::Put(key)).is_err() {
            tracing::debug!("Redis is slower than responses come: one stays on this node only");
        }
    }

    fn get<'a>(&'a self, key: &'a Key, now_ms: i64) -> BoxFuture<'a, Found> {
        Box::pin(async move {
            if let Some(entry) = self.waiting.find(key, now_ms) {
                return Ok(Some(entry));
            }
            let mut connection = self.connection.clone();
            let mut command = redis::cmd("GET");
            command.arg(named(key));
            let value: Option<Vec<u8>> = match timeout(PATIENCE, command.query_async(&mut connection)).await {
                Ok(Ok(value)) => value,
                Ok(Err(error)) => {
                    said(&error, "a response could not be looked up in Redis");
                    return Err(away());
                }
                Err(_) => {
                    tracing::warn!("a response could not be looked up in Redis: no answer within {PATIENCE:?}");
                    return Err(away());
                }
            };
            Ok(value.and_then(decoded).filter(|entry| entry.until_ms > now_ms).map(Arc::new))
        })
    }

    fn place(&self) -> &'static str {
        "shared"
    }

    /// Where the server is away, the entry goes as soon as it is back; this waits for that only so long.
    fn remove<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.waiting.forget(key);
            let (done, gone) = oneshot::channel();
            let told = async {
                if self.changes.send(Change::Remove(key.clone(), done)).await.is_ok() {
                    let _ = gone.await;
                }
            };
            if timeout(PATIENCE, told).await.is_err() {
                tracing::warn!("a response could not be removed from Redis yet");
            }
        })
    }
}

// === impl Writing ===

impl Writing {
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while self.changes.recv_many(&mut batch, MAX_BATCH).await > 0 {
            if !self.write(&batch).await {
                return;
            }
            for change in batch.drain(..) {
                if let Change::Remove(_, done) = change {
                    let _ = done.send(());
                }
            }
        }
    }

    /// Until it has been done; `false` where nobody needs it any more, and it cannot be done.
    async fn write(&mut self, batch: &[Change]) -> bool {
        let mut pipeline = redis::pipe();
        let mut written = Vec::new();
        for change in batch {
            match change {
                Change::Put(key) => {
                    if let Some(entry) = self.waiting.find(key, crate::clock::unix_ms()) {
                        put(&mut pipeline, key, &entry);
                        written.push((key, entry));
                    }
                }
                Change::Remove(key, _) => {
                    pipeline.cmd("DEL").arg(named(key)).ignore();
                }
            }
        }
        if pipeline.is_empty() {
            return true;
        }
        let mut backoff = Backoff::default();
        while let Err(error) = pipeline.query_async::<()>(&mut self.connection).await {
            said(&error, "responses could not be written to Redis");
            if is_final(&error) {
                break;
            }
            if self.changes.is_closed() {
                return false;
            }
            tokio::time::sleep(backoff.next(Duration::ZERO)).await;
        }
        for (key, entry) in written {
            self.waiting.forget_this(key, &entry);
        }
        true
    }
}

/// What clients are told; why is in the log.
fn away() -> Box<Failure> {
    let message = "the Redis in which responses are kept does not answer, so that nobody can say whether this one is there; ask again";
    Box::new(Failure::new(Code::StoreAway, message).with_retry_after(Some(PATIENCE)))
}

/// Whether the server has understood and said no: the same words again would be no better.
fn is_final(error: &RedisError) -> bool {
    error.code().is_some() && !error.is_io_error() && matches!(error.retry_method(), redis::RetryMethod::NoRetry)
}

fn said(error: &RedisError, what: &str) {
    tracing::warn!(%error, "{what}");
}

fn put(pipeline: &mut Pipeline, key: &Key, entry: &Entry) {
    pipeline.cmd("SET").arg(named(key)).arg(encoded(entry)).arg("PXAT").arg(entry.until_ms).ignore();
}

/// No owner's name holds a slash, so that no two keys have one name.
fn named(key: &Key) -> String {
    format!("{PREFIX}{}/{}", key.owner, key.id)
}

fn encoded(entry: &Entry) -> Vec<u8> {
    let (turn, provider) = match &entry.kept {
        Kept::Here(turn) | Kept::Running(turn) => (Some(turn), None),
        Kept::At { provider } => (None, Some(provider.as_ref().to_owned())),
    };
    let running = matches!(entry.kept, Kept::Running(_));
    let n_response = turn.map_or(0, |turn| turn.response.len());
    let heading = Heading { version: VERSION, until_ms: entry.until_ms, n_response, provider, running };
    let mut value = serde_json::to_vec(&heading).expect("numbers and a string are JSON");
    value.push(b'\n');
    if let Some(turn) = turn {
        value.extend_from_slice(&turn.response);
        value.extend_from_slice(&turn.input);
    }
    value
}

/// `None` for what no node of this version has written.
fn decoded(value: Vec<u8>) -> Option<Entry> {
    let value = Bytes::from(value);
    let end = memchr::memchr(b'\n', &value)?;
    let heading: Heading = serde_json::from_slice(&value[..end]).ok().filter(|it: &Heading| it.version == VERSION)?;
    let content = value.slice(end + 1..);
    if heading.n_response > content.len() {
        return None;
    }
    let kept = match heading.provider {
        Some(provider) => Kept::At { provider: provider.into() },
        None => {
            let (response, input) = (content.slice(..heading.n_response), content.slice(heading.n_response..));
            let turn = Turn { response, input };
            if heading.running { Kept::Running(turn) } else { Kept::Here(turn) }
        }
    };
    Some(Entry { kept, until_ms: heading.until_ms })
}

#[cfg(test)]
mod tests;
