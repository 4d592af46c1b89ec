//! Files that only this user may read, because there are secrets in them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// A new file that only this user can read. An old one of the same name is replaced, never followed or reused.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// The file appears whole or not at all. Not for two writers at a time; [`lock`] keeps the other one away.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = create(&temporary).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    });
    if written.is_err() {
        // The error that matters is already known.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Waits until nobody else holds the lock of `path`; held until the file that is returned is dropped. Makes the directory.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path.with_extension("lock"))?;
    file.lock()?;
    Ok(file)
}

/// Whether anybody but the owner may read or write what is at `path`.
pub(crate) fn is_open_to_others(path: &Path) -> io::Result<bool> {
    Ok(path.metadata()?.permissions().mode() & 0o077 != 0)
}
