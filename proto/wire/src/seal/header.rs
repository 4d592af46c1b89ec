//! The head of a sealed file: readable without the key, bound to every frame.

use std::fmt;
use std::io::{self, Read};

use aws_lc_rs::digest::{SHA256, digest};

use super::error::Error;
use super::key::{FILE_ID_LEN, FileId, Key, PROOF_LEN};
use crate::v1::Class;

/// What a file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub what: What,
    pub epoch: String,
    /// Revision of each class that the file holds; 0 for one that it does not. A journal says where it begins.
    pub topology: u64,
    pub identity: u64,
    /// Counts up with every rewrite of a node's state; 0 in an export.
    pub generation: u64,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Both classes.
    Export,
    Snapshot(Class),
    /// Changes, in order.
    Journal(Class),
}

/// The head as bytes, and what follows from it.
pub(super) struct Head {
    pub(super) bytes: Vec<u8>,
    pub(super) id: FileId,
    /// What every frame is bound to.
    pub(super) binding: [u8; 32],
}

const MAGIC: &[u8; 8] = b"gwsealed";
const FORMAT: u16 = 1;
const PRELUDE_LEN: usize = MAGIC.len() + 4;
const CHECKSUM_LEN: usize = 8;
const FIXED_LEN: usize = FILE_ID_LEN + PROOF_LEN + 1 + 3 * size_of::<u64>();
/// Epochs are UUIDs.
const MAX_EPOCH_LEN: usize = 256;

// === impl Header ===

impl Header {
    /// Revision of one class.
    pub fn revision(&self, class: Class) -> u64 {
        if class == Class::Topology { self.topology } else { self.identity }
    }

    /// A file in the place of another one is refused before its content is looked at.
    pub fn expect(&self, expected: What) -> Result<(), Error> {
        if self.what == expected { Ok(()) } else { Err(Error::Another { found: self.what, expected }) }
    }

    pub(super) fn encode(&self, key: &Key, id: FileId) -> io::Result<Head> {
        if self.epoch.len() > MAX_EPOCH_LEN {
            return Err(io::Error::other("an epoch is no UUID"));
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        let len = u16::try_from(FIXED_LEN + self.epoch.len()).expect("the epoch is short");
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(&id);
        bytes.extend_from_slice(&key.proof(&id));
        bytes.push(self.what.tag());
        for number in [self.generation, self.topology, self.identity] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(self.epoch.as_bytes());
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        Ok(Head::new(bytes, id))
    }

    /// Reads the head and proves that the key is the one it was sealed under.
    pub(super) fn read(key: &Key, reader: &mut dyn Read) -> Result<(Self, Head), Error> {
        let mut bytes = vec![0; PRELUDE_LEN];
        let n_read = read_up_to(reader, &mut bytes).map_err(Error::Unreadable)?;
        let n_magic = n_read.min(MAGIC.len());
        if bytes[..n_magic] != MAGIC[..n_magic] {
            return Err(Error::Foreign);
        }
        if n_read < PRELUDE_LEN {
            return Err(Error::Truncated);
        }
        let word = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let (format, len) = (word(MAGIC.len()), usize::from(word(MAGIC.len() + 2)));
        bytes.resize(PRELUDE_LEN + len + CHECKSUM_LEN, 0);
        reader.read_exact(&mut bytes[PRELUDE_LEN..]).map_err(Error::of_read)?;
        let (content, found) = bytes.split_at(PRELUDE_LEN + len);
        if found != checksum(content) {
            return Err(Error::Corrupted);
        }
        if format != FORMAT {
            return Err(Error::Newer { format });
        }
        let (header, id) = Self::decode(key, &content[PRELUDE_LEN..])?;
        Ok((header, Head::new(bytes, id)))
    }

    fn decode(key: &Key, fields: &[u8]) -> Result<(Self, FileId), Error> {
        let (id, rest) = fields.split_first_chunk::<FILE_ID_LEN>().ok_or(Error::Corrupted)?;
        let (proof, rest) = rest.split_first_chunk::<PROOF_LEN>().ok_or(Error::Corrupted)?;
        if *proof != key.proof(id) {
            return Err(Error::WrongKey);
        }
        let (tag, rest) = rest.split_first().ok_or(Error::Corrupted)?;
        let (numbers, epoch) = rest.split_first_chunk::<{ 3 * size_of::<u64>() }>().ok_or(Error::Corrupted)?;
        let mut numbers =
            numbers.as_chunks::<{ size_of::<u64>() }>().0.iter().map(|number| u64::from_le_bytes(*number));
        let mut next = || numbers.next().ok_or(Error::Corrupted);
        let (generation, topology, identity) = (next()?, next()?, next()?);
        let epoch = String::from_utf8(epoch.to_vec()).map_err(|_| Error::Corrupted)?;
        let what = What::of(*tag).ok_or(Error::Corrupted)?;
        Ok((Self { what, epoch, topology, identity, generation }, *id))
    }
}

// === impl What ===

impl What {
    const ALL: [(u8, Self); 5] = [
        (1, Self::Export),
        (2, Self::Snapshot(Class::Topology)),
        (3, Self::Snapshot(Class::Identity)),
        (4, Self::Journal(Class::Topology)),
        (5, Self::Journal(Class::Identity)),
    ];

    fn tag(self) -> u8 {
        Self::ALL.iter().find(|(_, what)| *what == self).map_or(0, |(tag, _)| *tag)
    }

    fn of(tag: u8) -> Option<Self> {
        Self::ALL.iter().find(|(of, _)| *of == tag).map(|(_, what)| *what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Export => f.write_str("an exported configuration"),
            Self::Snapshot(class) => write!(f, "a snapshot of {}", class.word()),
            Self::Journal(class) => write!(f, "a journal of {}", class.word()),
        }
    }
}

// === impl Head ===

impl Head {
    fn new(bytes: Vec<u8>, id: FileId) -> Self {
        let mut binding = [0; 32];
        binding.copy_from_slice(digest(&SHA256, &bytes).as_ref());
        Self { bytes, id, binding }
    }
}

/// Finds damage by chance without the key; intent is for the frames to find, which are bound to the head.
fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut checksum = [0; CHECKSUM_LEN];
    checksum.copy_from_slice(&digest(&SHA256, bytes).as_ref()[..CHECKSUM_LEN]);
    checksum
}

fn read_up_to(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n_read = 0;
    while n_read < buffer.len() {
        match reader.read(&mut buffer[n_read..]) {
            Ok(0) => break,
            Ok(n) => n_read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n_read)
}
