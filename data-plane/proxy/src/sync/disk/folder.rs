//! The few things that the configuration asks of a file system, so that tests can cut its power at any of them.

use std::fs::{DirBuilder, File};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

use crate::private_file;

/// A folder of files that are flat, private and few.
pub(crate) trait Folder: Send + Sync {
    /// Makes what is missing of it. To be called before the first write, and again after one failed.
    fn prepare(&self) -> io::Result<()>;

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>>;

    /// An empty file, in the place of any other of this name.
    fn create(&self, name: &str) -> io::Result<Box<dyn Output>>;

    /// To write on behind the first `len` bytes; what is behind them is cut off.
    fn resume(&self, name: &str, len: u64) -> io::Result<Box<dyn Output>>;

    /// In the place of any other file of that name. That of a file that is not there is no error.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Returns when the disk knows the names.
    fn sync(&self) -> io::Result<()>;

    /// When somebody last wrote to the file or touched it, in Unix milliseconds.
    fn touched(&self, name: &str) -> Option<i64>;

    fn touch(&self, name: &str, unix_ms: i64);
}

/// A file that is being written.
pub(crate) trait Output: Write + Send {
    /// Returns when the disk has what was written.
    fn sync(&mut self) -> io::Result<()>;
}

/// 32 random bytes, beside the folder: without them its files cannot be read.
pub(crate) type StateKey = Zeroizing<[u8; 32]>;

/// A real folder, and the key that is kept beside it.
pub(crate) struct Directory {
    path: PathBuf,
    key_file: PathBuf,
    key: StateKey,
    /// Both classes begin at the same time.
    preparing: Mutex<()>,
}

// === impl Directory ===

impl Directory {
    /// Under the node's data directory. A key that is missing is made up now, and written when something is to be kept.
    pub(crate) fn open(data_dir: &Path) -> Self {
        let (path, key_file) = (data_dir.join("config"), data_dir.join("state.key"));
        let key = match read_key(&key_file) {
            Ok(Some(key)) => key,
            Ok(None) => Zeroizing::new(rand::random()),
            Err(error) => {
                tracing::error!("`{}` cannot be read, nothing is kept: {error}", key_file.display());
                Zeroizing::new(rand::random())
            }
        };
        Self { path, key_file, key, preparing: Mutex::default() }
    }

    pub(crate) fn key(&self) -> &StateKey {
        &self.key
    }
}

/// `None`: there is none that could be used.
fn read_key(path: &Path) -> io::Result<Option<StateKey>> {
    let mut key = Zeroizing::new([0; 32]);
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.read_exact(&mut *key) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            tracing::error!("`{}` holds no key; another one is made, and what was kept is lost", path.display());
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    Ok(Some(key))
}

impl Folder for Directory {
    fn prepare(&self) -> io::Result<()> {
        let _alone = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        match read_key(&self.key_file)? {
            Some(key) if *key == *self.key => Ok(()),
            // What was sealed from now on could not be read at the next start.
            Some(_) => Err(io::Error::other("`state.key` is not the one this process began with; restart the node")),
            None => private_file::write(&self.key_file, &*self.key),
        }
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(BufReader::with_capacity(256 * 1024, File::open(self.path.join(name))?)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Output>> {
        let path = self.path.join(name);
        Ok(Box::new(File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?))
    }

    fn resume(&self, name: &str, len: u64) -> io::Result<Box<dyn Output>> {
        let file = File::options().append(true).open(self.path.join(name))?;
        file.set_len(len)?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        match std::fs::rename(self.path.join(from), self.path.join(to)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            renamed => renamed,
        }
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn touched(&self, name: &str) -> Option<i64> {
        let modified = std::fs::metadata(self.path.join(name)).and_then(|metadata| metadata.modified()).ok()?;
        i64::try_from(modified.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
    }

    fn touch(&self, name: &str, unix_ms: i64) {
        let at: SystemTime = UNIX_EPOCH + Duration::from_millis(u64::try_from(unix_ms).unwrap_or_default());
        // It is a hint about age, and the next one comes in a minute.
        let _ = File::options().append(true).open(self.path.join(name)).and_then(|file| file.set_modified(at));
    }
}

impl Output for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
