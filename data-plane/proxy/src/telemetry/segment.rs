//! Files of records: their names, and reading them record by record while they may still grow.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::frame::{self, Kind, Parsed};

/// A file is closed when it is larger.
pub(super) const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;

/// What a file holds, by the end of its name.
pub(super) const USAGE: &str = "usage";
pub(super) const LOGS: &str = "log";
pub(super) const BODIES: &str = "body";
const READ_AHEAD: usize = 128 * 1024;

/// Which file: the boot that wrote it, the lane, and a number that counts up within both. Sorts in order of writing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) boot: String,
    pub(super) lane: u32,
    pub(super) number: u64,
}

/// A file as it was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) name: Name,
    pub(super) path: PathBuf,
    pub(super) n_bytes: u64,
}

/// Reads one file from a position on.
#[derive(Debug)]
pub(super) struct Reader {
    file: File,
    /// Where in the file the buffer ends.
    offset: u64,
    buffer: Vec<u8>,
    /// Where in the buffer the next record begins.
    at: usize,
}

/// The next thing in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    Frame(Kind, &'a [u8]),
    /// Nothing more now. A torn record at the end looks like this too.
    End,
    /// What follows cannot be read.
    Damaged,
}

// === impl Name ===

impl Name {
    pub(super) fn path(&self, dir: &Path, extension: &str) -> PathBuf {
        dir.join(format!("{}.{}.{}.{extension}", self.boot, self.lane, self.number))
    }

    fn parse(name: &str, extension: &str) -> Option<Self> {
        let mut parts = name.split('.');
        let (boot, lane, number) = (parts.next()?, parts.next()?, parts.next()?);
        let ours = !boot.is_empty() && parts.next() == Some(extension) && parts.next().is_none();
        ours.then_some(Self { boot: boot.to_owned(), lane: lane.parse().ok()?, number: number.parse().ok()? })
    }
}

// === impl Found ===

impl Found {
    /// All files of this kind, in order of writing.
    pub(super) fn all(dir: &Path, extension: &str) -> io::Result<Vec<Self>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if let Some(name) = entry.file_name().to_str().and_then(|name| Name::parse(name, extension)) {
                found.push(Self { name, path: entry.path(), n_bytes: entry.metadata()?.len() });
            }
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }
}

// === impl Reader ===

impl Reader {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, offset: 0, buffer: Vec::new(), at: 0 })
    }

    /// The next record. After [`Next::End`] it may be asked again: the file may have grown.
    pub(super) fn next(&mut self) -> io::Result<Next<'_>> {
        loop {
            match frame::parse(&self.buffer[self.at..]) {
                Parsed::Damaged => return Ok(Next::Damaged),
                Parsed::Incomplete => {
                    if self.fill()? == 0 {
                        return Ok(Next::End);
                    }
                }
                Parsed::Frame(kind, payload, n_bytes) => {
                    let range = self.at + n_bytes - payload.len()..self.at + n_bytes;
                    self.at += n_bytes;
                    return Ok(Next::Frame(kind, &self.buffer[range]));
                }
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let n_kept = self.buffer.len();
        self.buffer.resize(n_kept + READ_AHEAD, 0);
        let read = self.file.read_at(&mut self.buffer[n_kept..], self.offset);
        let n_read = *read.as_ref().unwrap_or(&0);
        self.buffer.truncate(n_kept + n_read);
        self.offset += n_read as u64;
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_strangers_are_not() {
        let name = Name { boot: "0197".to_owned(), lane: 3, number: 12 };
        let path = name.path(Path::new("/spool"), USAGE);
        let file_name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        assert_eq!(Name::parse(file_name, USAGE), Some(name));
        for stranger in ["lock", "a.1.2.log", "a.1.usage", "a.1.2.usage.tmp", ".1.2.usage", "a.x.2.usage"] {
            assert_eq!(Name::parse(stranger, USAGE), None, "{stranger}");
        }
    }
}
