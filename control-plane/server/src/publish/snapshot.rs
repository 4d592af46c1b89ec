//! A whole class, encoded once and sent to as many nodes as need it.

use bytes::Bytes;
use gateway_wire::CHUNK;
use gateway_wire::v1::control_msg::Msg;
use gateway_wire::v1::{Class, Codec, Item, ItemList, SnapshotBegin, SnapshotChunk, SnapshotEnd};
use prost::Message as _;

use super::line::{Frozen, Line};

/// Digests do not compress, documents do; beyond this level both only take time.
const LEVEL: i32 = 3;

/// Compressed chunks; cloning one copies nothing.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) epoch: String,
    pub(crate) revision: u64,
    n_bytes: u64,
    chunks: Vec<Bytes>,
    root: Vec<u8>,
}

// === impl Snapshot ===

impl Snapshot {
    /// Takes about a tenth of a second per 100,000 items.
    pub(super) fn encode(frozen: Frozen) -> std::io::Result<Self> {
        let items = frozen.items.iter().map(|item| Item::clone(item)).collect();
        let encoded = ItemList { items }.encode_to_vec();
        let mut compressed = Bytes::from(zstd::encode_all(encoded.as_slice(), LEVEL)?);
        let mut chunks = Vec::new();
        while !compressed.is_empty() {
            chunks.push(compressed.split_to(compressed.len().min(CHUNK)));
        }
        let (epoch, revision, root) = (frozen.epoch, frozen.revision, frozen.root.to_vec());
        Ok(Self { epoch, revision, n_bytes: encoded.len() as u64, chunks, root })
    }

    /// Whether it has what the line has now.
    pub(super) fn is_of(&self, line: &Line) -> bool {
        self.revision == line.revision && self.epoch == line.epoch && self.root == line.root()
    }

    /// In the order in which they are to be sent.
    pub(crate) fn messages(&self, class: Class, nonce: u64) -> impl Iterator<Item = Msg> {
        let begin = SnapshotBegin {
            nonce,
            class: class.into(),
            epoch: self.epoch.clone(),
            revision: self.revision,
            bytes: self.n_bytes,
            chunks: u32::try_from(self.chunks.len()).unwrap_or(u32::MAX),
            codec: Codec::Zstd.into(),
        };
        let chunks = self.chunks.iter().zip(0_u32..);
        let chunks = chunks.map(move |(data, index)| Msg::Chunk(SnapshotChunk { nonce, index, data: data.clone() }));
        let end = SnapshotEnd { nonce, root_hash: self.root.clone() };
        std::iter::once(Msg::Begin(begin)).chain(chunks).chain(std::iter::once(Msg::End(end)))
    }
}
