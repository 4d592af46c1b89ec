//! What a node keeps of requests when they are over, and where: on its disk, in a Redis, in memory where there is neither.

use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use gateway_model::secret::Secret;

use crate::batches::Batches;
use crate::clock;
use crate::conversations::{Bounds, Disk, Memory, Redis, Store};
use crate::pass::Settled;
use crate::receipts::Receipts;
use crate::warnings::Warnings;

/// What a URL that cannot be used is called.
pub(super) const REDIS_URL: &str = "the URL of Redis (--redis-url-file, GATEWAY_REDIS_URL)";

pub(super) struct Kept {
    pub(super) conversations: Arc<dyn Store>,
    pub(super) settled: Arc<Settled>,
    /// With a disk that takes them.
    pub(super) batches: Option<Arc<Batches>>,
    /// With a disk.
    pub(super) receipts: Option<Arc<Receipts>>,
}

/// What writes responses behind the requests; ends when their store is gone.
pub(super) type Keeping = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

// === impl Kept ===

impl Kept {
    /// What is there, and what has to run beside requests for it.
    pub(super) fn open(
        data_dir: Option<&Path>,
        redis_url: Option<&Secret>,
        warnings: &Warnings,
    ) -> anyhow::Result<(Self, Option<Keeping>)> {
        if let Some(data_dir) = data_dir {
            private_directory(data_dir, warnings)?;
        }
        let (conversations, keeping) = conversations(data_dir, redis_url, warnings)?;
        let kept = Self {
            conversations,
            settled: Arc::new(Settled::open(data_dir, warnings)),
            batches: batches(data_dir, warnings),
            receipts: data_dir.map(|dir| Arc::new(Receipts::new(dir))),
        };
        Ok((kept, keeping))
    }
}

/// Where responses are kept: in a Redis for all nodes, else on disk behind memory, in memory alone where there is no disk or it does
/// not take them.
fn conversations(
    data_dir: Option<&Path>,
    redis_url: Option<&Secret>,
    warnings: &Warnings,
) -> anyhow::Result<(Arc<dyn Store>, Option<Keeping>)> {
    if let Some(url) = redis_url {
        let (redis, writing) = Redis::open(url.expose()).context(REDIS_URL)?;
        return Ok((Arc::new(redis), Some(Box::pin(writing.run()))));
    }
    let opened = data_dir.map(|dir| Disk::open(dir.join("responses"), clock::unix_ms()));
    match opened {
        Some(Ok((disk, keeping))) => return Ok((Arc::new(disk), Some(Box::pin(keeping.run())))),
        Some(Err(error)) => {
            let text = format!("responses are kept in memory only, and are gone with the process: {error}");
            tracing::warn!("{text}");
            warnings.set("responses", text);
        }
        None => {}
    }
    Ok((Arc::new(Memory::new(8, Bounds::NODE)), None))
}

/// What the node keeps of batches that it runs itself; without a disk that takes it, it runs none.
fn batches(data_dir: Option<&Path>, warnings: &Warnings) -> Option<Arc<Batches>> {
    match Batches::open(data_dir?.join("batches"), clock::unix_seconds()) {
        Ok(batches) => Some(Arc::new(batches)),
        Err(error) => {
            let text = format!("the node runs no batches, their folder cannot be used: {error}");
            tracing::warn!("{text}");
            warnings.set("batches", text);
            None
        }
    }
}

/// Only its owner may look inside. Where the disk does not take it, the node serves all the same and keeps nothing.
fn private_directory(path: &Path, warnings: &Warnings) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::StorageFull) => {
            let path = path.display();
            let text =
                format!("the data directory `{path}` cannot be made, what is in it is gone with the process: {error}");
            tracing::warn!("{text}");
            warnings.set("data-directory", text);
            Ok(())
        }
        made => made.with_context(|| format!("making the data directory `{}`", path.display())),
    }
}
