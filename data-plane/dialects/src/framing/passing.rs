//! Lets the bytes of an event stream pass, whole events only, and without a copy where a chunk ends with an event.
//!
//! What an event means, and whether it may pass, is the dialect's business.

use bytes::{Buf, Bytes, BytesMut};
use gateway_ir::failure::Failure;

use crate::framing::sse::Splitter;

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Keep,
    Drop,
}

/// The state of one passing stream: the bytes of the event that is not whole yet.
#[derive(Debug)]
pub(crate) struct Passing {
    splitter: Splitter,
    held: BytesMut,
    last: Verdict,
}

/// What goes on of one chunk: one run of its bytes as long as that is possible, a copy otherwise.
struct Kept {
    chunk: Bytes,
    from: usize,
    to: usize,
    copy: BytesMut,
}

// === impl Passing ===

impl Default for Passing {
    fn default() -> Self {
        Self { splitter: Splitter::default(), held: BytesMut::new(), last: Verdict::Keep }
    }
}

impl Passing {
    /// Feeds a chunk, asks `judge` about each event it completes, and returns what may go on now.
    pub(crate) fn push(
        &mut self,
        chunk: Bytes,
        mut judge: impl FnMut(&[u8]) -> Verdict,
    ) -> Result<Bytes, Box<Failure>> {
        let mut kept = Kept { chunk, from: 0, to: 0, copy: BytesMut::new() };
        let mut at = 0;
        while let Some(length) = self.splitter.event_end(&kept.chunk[at..])? {
            let block = &kept.chunk[at..at + length];
            at += length;
            if self.held.is_empty() {
                // A bare LF may be the second half of the previous event's end, and shares its lot.
                if block != b"\n" {
                    self.last = judge(block);
                }
                kept.block(self.last, at - length, at);
            } else {
                let mut held = std::mem::take(&mut self.held);
                held.extend_from_slice(block);
                self.last = judge(&held);
                if self.last == Verdict::Keep {
                    kept.copy = held;
                }
                (kept.from, kept.to) = (at, at);
            }
        }
        self.held.extend_from_slice(&kept.chunk[at..]);
        Ok(kept.into_bytes())
    }

    /// The bytes after the last whole event; the stream is over.
    pub(crate) fn take_rest(&mut self) -> Bytes {
        self.held.split().freeze()
    }
}

// === impl Kept ===

impl Kept {
    fn block(&mut self, verdict: Verdict, from: usize, to: usize) {
        match verdict {
            Verdict::Keep if self.to == from => self.to = to,
            Verdict::Keep => {
                self.copy.extend_from_slice(&self.chunk[self.from..self.to]);
                (self.from, self.to) = (from, to);
            }
            Verdict::Drop if self.from == self.to => (self.from, self.to) = (to, to),
            Verdict::Drop => {}
        }
    }

    fn into_bytes(mut self) -> Bytes {
        if self.copy.is_empty() {
            self.chunk.truncate(self.to);
            self.chunk.advance(self.from);
            return self.chunk;
        }
        self.copy.extend_from_slice(&self.chunk[self.from..self.to]);
        self.copy.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Drops events whose data starts with `-`; returns what passed, and how many pieces shared the chunk's memory.
    fn pass(pieces: &[&[u8]]) -> (String, usize, String) {
        let mut passing = Passing::default();
        let (mut out, mut n_shared) = (Vec::new(), 0);
        for piece in pieces {
            let chunk = Bytes::copy_from_slice(piece);
            let judge = |block: &[u8]| if block.starts_with(b"data: -") { Verdict::Drop } else { Verdict::Keep };
            let passed = passing.push(chunk.clone(), judge).expect("small events");
            n_shared += usize::from(!passed.is_empty() && passed.as_ptr() == chunk.as_ptr());
            out.extend_from_slice(&passed);
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        (text(&out), n_shared, text(&passing.take_rest()))
    }

    #[test]
    fn any_split_passes_the_same_bytes() {
        let cases = [
            ("data: a\n\ndata: b\n\n", "data: a\n\ndata: b\n\n", ""),
            ("data: a\n\ndata: -b\n\n\ndata: c\n\ndata: hal", "data: a\n\ndata: c\n\n", "data: hal"),
            ("data: -a\r\n\r\ndata: b\r\n\r\ndata: -c\r\n\r\n", "data: b\r\n\r\n", ""),
            ("data: -a\r\rdata: b\r\rdata: -c\r\r", "data: b\r\r", ""),
            ("\n: c\n\ndata: -\n\ndata: 1\n\ndata: -\n\ndata: 2\n\n", "\n: c\n\ndata: 1\n\ndata: 2\n\n", ""),
        ];
        for (stream, passed, rest) in cases {
            for first in 0..=stream.len() {
                for second in first..=stream.len() {
                    let bytes = stream.as_bytes();
                    let got = pass(&[&bytes[..first], &bytes[first..second], &bytes[second..]]);
                    assert_eq!((got.0.as_str(), got.2.as_str()), (passed, rest), "{stream:?} at {first}, {second}");
                }
            }
        }
    }

    #[test]
    fn a_chunk_of_whole_events_is_not_copied() {
        let (_, n_shared, _) =
            pass(&[b"data: a\n\n", b"data: b\n\ndata: c\n\n", b"data: d\n\ndata: -e\n\n", b"data: f\n\ndata: half"]);
        assert_eq!(n_shared, 4);
    }
}
