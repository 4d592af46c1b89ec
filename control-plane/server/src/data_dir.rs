//! The data directory: made private, held by one process, home of the secret files.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use gateway_model::secret::Secret;

/// An open data directory. As long as it lives, no other process opens the same one.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

const PRIVATE_DIR: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

// === impl DataDir ===

impl DataDir {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        DirBuilder::new()
            .recursive(true)
            .mode(PRIVATE_DIR)
            .create(path)
            .with_context(|| format!("cannot make the data directory `{shown}`; name another one with --data-dir"))?;
        tighten(path, PRIVATE_DIR)?;
        let lock = private().create(true).truncate(false).open(path.join("lock"));
        let lock = lock.with_context(|| {
            format!("cannot write to the data directory `{shown}`; check its owner and permissions")
        })?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "another gateway is running on the data directory `{shown}`; stop it, or name another directory with --data-dir"
                )
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock the data directory `{shown}`"))
            }
        }
    }

    /// Where a file of this name is.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The database file, made private before anything is in it.
    pub(crate) fn database(&self) -> anyhow::Result<PathBuf> {
        let path = self.file("gateway.db");
        private()
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("cannot open `{}`", path.display()))?;
        Ok(path)
    }

    /// A secret from a file of its own, without the line's end. An empty one is an error, a missing one is `None`.
    pub(crate) fn secret(&self, name: &str) -> anyhow::Result<Option<Secret>> {
        let path = self.file(name);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Secret::new(text.trim()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read `{}`", path.display())),
        };
        if text.expose().is_empty() {
            bail!("`{}` is empty; restore it from a backup", path.display());
        }
        tighten(&path, PRIVATE_FILE)?;
        Ok(Some(text))
    }

    /// Writes a secret file that was not there. It appears whole or not at all.
    pub(crate) fn write_secret(&self, name: &str, secret: &Secret) -> anyhow::Result<()> {
        let (path, draft) = (self.file(name), self.file(&format!("{name}.new")));
        let write = || {
            let mut file = private().create(true).truncate(true).open(&draft)?;
            file.write_all(secret.expose().as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            std::fs::rename(&draft, &path)?;
            // Without this the name may be lost in a power cut although the content is safe.
            File::open(&self.path)?.sync_all()
        };
        write().with_context(|| format!("cannot write `{}`", path.display()))
    }
}

/// A secret from a file that somebody else keeps: a mounted one may be readable by others, and is left as it is. `flag` is how
/// it was named.
pub(crate) fn outside_secret(path: &Path, flag: &str) -> anyhow::Result<Secret> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{shown}`, which {flag} names"))?;
    let text = Secret::new(text.trim());
    if text.expose().is_empty() {
        bail!("`{shown}`, which {flag} names, is empty");
    }
    Ok(text)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(PRIVATE_FILE);
    options
}

/// Takes away what others may do; a copied or restored directory often comes back too open.
fn tighten(path: &Path, mode: u32) -> anyhow::Result<()> {
    let shown = path.display();
    let found = std::fs::metadata(path).with_context(|| format!("cannot look at `{shown}`"))?.permissions().mode();
    if found & 0o077 != 0 {
        tracing::warn!(path = %shown, mode = format!("{:o}", found & 0o777), "others could read it; taking that away");
        std::fs::set_permissions(path, Permissions::from_mode(mode)).with_context(|| {
            format!("others can read `{shown}` and this cannot be changed; run chmod {mode:o} on it as its owner")
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn all_of_it_is_private() {
        let parent = tempfile::tempdir().expect("a directory");
        let path = parent.path().join("deep/data");
        let data_dir = DataDir::open(&path).expect("a new directory");
        data_dir.write_secret("kek.key", &Secret::new("0123")).expect("written");
        data_dir.database().expect("made");
        assert_eq!(data_dir.secret("kek.key").expect("readable"), Some(Secret::new("0123")));
        assert_eq!(data_dir.secret("other.key").expect("no error"), None);
        assert_eq!([mode(&path), mode(&path.join("kek.key")), mode(&path.join("gateway.db"))], [0o700, 0o600, 0o600]);
        std::fs::set_permissions(path.join("kek.key"), Permissions::from_mode(0o644)).expect("ours");
        data_dir.secret("kek.key").expect("readable");
        assert_eq!(mode(&path.join("kek.key")), 0o600);
    }

    #[test]
    fn one_process_at_a_time() {
        let parent = tempfile::tempdir().expect("a directory");
        let first = DataDir::open(parent.path()).expect("free");
        let refused = DataDir::open(parent.path()).expect_err("held").to_string();
        assert!(refused.contains("another gateway is running"), "{refused}");
        drop(first);
        DataDir::open(parent.path()).expect("free again");
    }

    #[test]
    fn an_empty_secret_is_no_secret() {
        let parent = tempfile::tempdir().expect("a directory");
        let data_dir = DataDir::open(parent.path()).expect("free");
        std::fs::write(parent.path().join("master.key"), "\n").expect("written");
        assert!(data_dir.secret("master.key").expect_err("refused").to_string().contains("is empty"));
    }
}
