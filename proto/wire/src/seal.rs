//! Configuration at rest: sealed files, for a node's own disk and for carrying a whole configuration to a new node. Formats
//! and keys; files and directories are the caller's.
//!
//! ```text
//! file   = magic (8) · format (2) · length of the fields (2) · fields · checksum (8) · frame …
//! fields = id of the file (16) · proof of the key (16) · what (1) · generation (8) · revisions (2 × 8) · epoch
//! frame  = last? (1 bit) · length (31 bits) · nonce (12) · ciphertext · tag (16)
//! ```
//!
//! Every file has a key of its own, derived from the caller's key and the file's id. A frame is bound to the head of its file
//! and to its place in it: frames that were reordered, dropped in the middle or moved between files do not open.

mod error;
mod key;
mod header;
mod frame;
mod items;

pub use error::Error;
pub use frame::{Appender, Frames, MAX_FRAME};
pub use header::{Header, What};
pub use items::{ItemReader, ItemWriter};
pub use key::{Key, Purpose};

use std::io;

use crate::v1::{Class, Item};

/// Everything a node serves by, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configuration {
    pub epoch: String,
    pub topology: Part,
    pub identity: Part,
}

/// One class of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    pub revision: u64,
    pub items: Vec<Item>,
}

/// Seals a whole configuration, compressed, for `--seed-snapshot`. Costs about the compression.
pub fn seal(key: &Key, configuration: &Configuration) -> Vec<u8> {
    let Configuration { epoch, topology, identity } = configuration;
    let header = Header {
        what: What::Export,
        epoch: epoch.clone(),
        topology: topology.revision,
        identity: identity.revision,
        generation: 0,
    };
    let write = || -> io::Result<Vec<u8>> {
        let mut writer = ItemWriter::begin(key, &header, Vec::new())?;
        topology.items.iter().try_for_each(|item| writer.write(Class::Topology, item))?;
        identity.items.iter().try_for_each(|item| writer.write(Class::Identity, item))?;
        writer.finish()
    };
    write().expect("writing to memory does not fail, and items fit a message that fits a frame")
}

/// Opens what [`seal`] made. All of it has been authenticated when this returns.
pub fn open(key: &Key, sealed: &[u8]) -> Result<Configuration, Error> {
    let (header, mut reader) = ItemReader::begin(key, sealed)?;
    header.expect(What::Export)?;
    let mut configuration = Configuration { epoch: header.epoch, ..Configuration::default() };
    configuration.topology.revision = header.topology;
    configuration.identity.revision = header.identity;
    while let Some((class, item)) = reader.read()? {
        match class {
            Class::Topology => configuration.topology.items.push(item),
            _ => configuration.identity.items.push(item),
        }
    }
    Ok(configuration)
}

#[cfg(test)]
mod tests;
