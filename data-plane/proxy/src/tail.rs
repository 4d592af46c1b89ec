//! A whole JSON reply that is too large to be held: it passes, and only its tail is kept, where usage stands.

use bytes::Bytes;
use gateway_dialects::dialect::{ClientDialect, Seen, StreamTap};
use gateway_ir::failure::Failure;

/// Usage is looked for in this much of the end.
const KEPT: usize = 64 * 1024;

pub(crate) struct Tail {
    dialect: &'static dyn ClientDialect,
    /// What had been read before it was known to be too large; forwarded first.
    first: Option<Bytes>,
    kept: Vec<u8>,
    seen: Seen,
}

// === impl Tail ===

impl Tail {
    pub(crate) fn new(dialect: &'static dyn ClientDialect, first: Bytes) -> Self {
        let mut tail = Self { dialect, first: None, kept: Vec::new(), seen: Seen::default() };
        tail.keep(&first);
        tail.first = Some(first);
        tail
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.seen.content_bytes += bytes.len() as u64;
        let new = &bytes[bytes.len().saturating_sub(KEPT)..];
        let surplus = (self.kept.len() + new.len()).saturating_sub(KEPT);
        self.kept.drain(..surplus.min(self.kept.len()));
        self.kept.extend_from_slice(new);
    }
}

impl StreamTap for Tail {
    fn push(&mut self, chunk: Bytes) -> Result<Bytes, Box<Failure>> {
        self.keep(&chunk);
        match self.first.take() {
            Some(first) => Ok([first, chunk].concat().into()),
            None => Ok(chunk),
        }
    }

    fn finish(&mut self) -> Result<Bytes, Box<Failure>> {
        self.seen.usage = self.dialect.usage_of_reply(&self.kept);
        self.seen.finished = true;
        self.seen.ended = true;
        Ok(self.first.take().unwrap_or_default())
    }

    /// Half a JSON document cannot be ended properly: nothing is added, and the connection is cut.
    fn fail(&mut self, _: &Failure) -> Bytes {
        Bytes::new()
    }

    fn seen(&self) -> &Seen {
        &self.seen
    }
}
