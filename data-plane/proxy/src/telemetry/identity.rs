//! Who this node is: an id that its data directory keeps, and one that is new with each start of the process.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Ids under which usage, logs and acknowledgements of this process are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `node_` and a ULID.
    pub node_id: String,
    /// Sorts by time of start; without punctuation, so that it can be part of a file's name.
    pub boot_id: String,
}

const FILE: &str = "node_id";

// === impl Identity ===

impl Identity {
    /// The id from the directory, or a new one that is left there. A directory that cannot be written to is a warning: the
    /// node is then another one at its next start.
    pub(crate) fn load(data_dir: Option<&Path>) -> Self {
        let boot_id = uuid::Uuid::now_v7().simple().to_string();
        let node_id = match data_dir.map(remembered) {
            Some(Ok(node_id)) => node_id,
            Some(Err(error)) => {
                tracing::warn!("the node's id cannot be kept, it is new at each start: {error}");
                new_id()
            }
            None => new_id(),
        };
        Self { node_id, boot_id }
    }
}

fn new_id() -> String {
    format!("node_{}", ulid::Ulid::generate())
}

fn remembered(data_dir: &Path) -> io::Result<String> {
    let path = data_dir.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) if is_id(text.trim()) => return Ok(text.trim().to_owned()),
        Ok(_) => tracing::warn!("`{}` holds no node id, a new one is made", path.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let node_id = new_id();
    let temporary = path.with_extension("tmp");
    let mut file = std::fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
    writeln!(file, "{node_id}")?;
    file.sync_all()?;
    std::fs::rename(&temporary, &path)?;
    Ok(node_id)
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
        assert_eq!(first.node_id, second.node_id);
        assert!(first.boot_id < second.boot_id, "{first:?} {second:?}");
        std::fs::write(dir.path().join(FILE), "rubbish").expect("write");
        assert!(is_id(&Identity::load(Some(dir.path())).node_id));
        assert_ne!(Identity::load(None).node_id, Identity::load(None).node_id);
    }
}
