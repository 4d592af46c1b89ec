//! A snapshot on its way: chunks in order, bounded, decompressed and decoded at its end.

use std::io::Read as _;

use gateway_wire::v1::{Codec, Item, ItemList, SnapshotBegin, SnapshotChunk};
use prost::Message as _;

/// A million keys take 150 MB. More is a fault and not a configuration.
const MAX_BYTES: u64 = 1 << 30;

#[derive(Clone)]
pub(super) struct Assembly {
    pub(super) begin: SnapshotBegin,
    n_chunks: u32,
    compressed: Vec<u8>,
}

// === impl Assembly ===

impl Assembly {
    pub(super) fn new(begin: SnapshotBegin) -> Result<Self, String> {
        if begin.codec() != Codec::Zstd {
            return Err(format!("a snapshot in a codec ({}) that this version does not know", begin.codec));
        }
        if begin.bytes > MAX_BYTES {
            return Err(format!("a snapshot of {} bytes is larger than any configuration", begin.bytes));
        }
        Ok(Self { begin, n_chunks: 0, compressed: Vec::new() })
    }

    pub(super) fn add(&mut self, chunk: &SnapshotChunk) -> Result<(), String> {
        if chunk.index != self.n_chunks || chunk.index >= self.begin.chunks {
            return Err(format!("chunk {} of a snapshot came where {} was due", chunk.index, self.n_chunks));
        }
        if self.compressed.len() as u64 + chunk.data.len() as u64 > MAX_BYTES {
            return Err("a snapshot is larger than any configuration".to_owned());
        }
        self.n_chunks += 1;
        self.compressed.extend_from_slice(&chunk.data);
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Vec<Item>, String> {
        if self.n_chunks != self.begin.chunks {
            return Err(format!("a snapshot ended after {} of {} chunks", self.n_chunks, self.begin.chunks));
        }
        let damaged = |error: &dyn std::fmt::Display| format!("a damaged snapshot: {error}");
        let decoder = zstd::Decoder::new(self.compressed.as_slice()).map_err(|error| damaged(&error))?;
        let mut encoded = Vec::new();
        // One byte more than announced is enough to see that it was announced wrongly.
        let read = decoder.take(self.begin.bytes + 1).read_to_end(&mut encoded);
        read.map_err(|error| damaged(&error))?;
        if encoded.len() as u64 != self.begin.bytes {
            return Err("a snapshot does not have the size it announced".to_owned());
        }
        ItemList::decode(encoded.as_slice()).map(|list| list.items).map_err(|error| damaged(&error))
    }
}
