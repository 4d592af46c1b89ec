//! Who this node is: an id that its data directory keeps, and one that is new with each start of the process.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::private_file;

/// Ids under which usage, logs and acknowledgements of this process are known.
#[derive(Debug)]
pub struct Identity {
    /// `node_` and a ULID. Changes only while the node joins its fleet, which knows it by its certificate.
    node_id: RwLock<Arc<str>>,
    /// How often it has changed, so that who uses it for each request need not ask for it.
    n_changes: AtomicU64,
    /// Sorts by time of start; without punctuation, so that it can be part of a file's name.
    pub boot_id: String,
    /// Where the node's id is kept.
    file: Option<PathBuf>,
}

const FILE: &str = "node_id";

// === impl Identity ===

impl Identity {
    /// The id from the directory, or a new one that is left there. A directory that cannot be written to is a warning: the
    /// node is then another one at its next start.
    pub fn load(data_dir: Option<&Path>) -> Self {
        let boot_id = uuid::Uuid::now_v7().simple().to_string();
        let file = data_dir.map(|data_dir| data_dir.join(FILE));
        let remembered = file.as_deref().and_then(remembered);
        let is_new = remembered.is_none();
        let node_id = RwLock::new(remembered.unwrap_or_else(new_id));
        let identity = Self { node_id, n_changes: AtomicU64::new(0), boot_id, file };
        if is_new {
            identity.keep();
        }
        identity
    }

    /// Of a node whose ids are given; nothing is kept.
    pub fn of(node_id: &str, boot_id: String) -> Self {
        Self { node_id: RwLock::new(node_id.into()), n_changes: AtomicU64::new(0), boot_id, file: None }
    }

    pub fn node_id(&self) -> Arc<str> {
        Arc::clone(&self.node_id.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Brings a copy of the id, with the change it is of, up to date. Costs a load.
    pub(crate) fn refresh(&self, copy: &mut Option<(u64, Arc<str>)>) -> Arc<str> {
        let n_changes = self.n_changes.load(Ordering::Acquire);
        match copy {
            Some((of, node_id)) if *of == n_changes => Arc::clone(node_id),
            _ => {
                let node_id = self.node_id();
                *copy = Some((n_changes, Arc::clone(&node_id)));
                node_id
            }
        }
    }

    /// From now on the node is known by this id.
    pub(crate) fn adopt(&self, node_id: &str) {
        if &*self.node_id() != node_id {
            *self.node_id.write().unwrap_or_else(PoisonError::into_inner) = node_id.into();
            self.n_changes.fetch_add(1, Ordering::Release);
            self.keep();
        }
    }

    /// A new id in the place of one that another node has.
    pub(crate) fn renew(&self) -> Arc<str> {
        let node_id = new_id();
        self.adopt(&node_id);
        node_id
    }

    fn keep(&self) {
        let Some(file) = &self.file else { return };
        if let Err(error) = private_file::write(file, format!("{}\n", self.node_id()).as_bytes()) {
            tracing::warn!("the node's id cannot be kept in `{}`, it is new at each start: {error}", file.display());
        }
    }
}

fn new_id() -> Arc<str> {
    format!("node_{}", ulid::Ulid::generate()).into()
}

fn remembered(file: &Path) -> Option<Arc<str>> {
    match std::fs::read_to_string(file) {
        Ok(text) if is_id(text.trim()) => return Some(text.trim().into()),
        Ok(_) => tracing::warn!("`{}` holds no node id, a new one is made", file.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!("the node's id cannot be read from `{}`, a new one is made: {error}", file.display())
        }
    }
    None
}

fn is_id(text: &str) -> bool {
    text.strip_prefix("node_").is_some_and(|ulid| ulid.parse::<ulid::Ulid>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_keeps_the_id_and_each_start_is_another_boot() {
        let dir = tempfile::tempdir().expect("a directory");
        let (first, second) = (Identity::load(Some(dir.path())), Identity::load(Some(dir.path())));
        assert_eq!(first.node_id(), second.node_id());
        assert!(first.boot_id < second.boot_id, "{first:?} {second:?}");
        let renamed = second.renew();
        assert_ne!(renamed, first.node_id());
        assert_eq!(Identity::load(Some(dir.path())).node_id(), renamed);
        std::fs::write(dir.path().join(FILE), "rubbish").expect("write");
        assert!(is_id(&Identity::load(Some(dir.path())).node_id()));
        assert_ne!(Identity::load(None).node_id(), Identity::load(None).node_id());
    }
}
