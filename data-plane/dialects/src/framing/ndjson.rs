//! Newline-delimited JSON: one value per line, whatever the chunk boundaries.

use gateway_ir::failure::{Code, Failure};

/// A longer line is refused.
const MAX_LINE: usize = 8 << 20;

/// Splits a stream into its lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// The beginning of a line whose end has not come.
    held: Vec<u8>,
}

// === impl Lines ===

impl Lines {
    /// Feeds a chunk; `visit` sees each whole line that is not empty.
    pub(crate) fn push(
        &mut self,
        chunk: &[u8],
        mut visit: impl FnMut(&[u8]) -> Result<(), Box<Failure>>,
    ) -> Result<(), Box<Failure>> {
        let mut rest = chunk;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            rest = after;
            if self.held.is_empty() {
                told(line, &mut visit)?;
            } else {
                self.hold(line)?;
                let whole = std::mem::take(&mut self.held);
                told(&whole, &mut visit)?;
            }
        }
        self.hold(rest)
    }

    /// The stream is over; a last line needs no end.
    pub(crate) fn finish(
        &mut self,
        mut visit: impl FnMut(&[u8]) -> Result<(), Box<Failure>>,
    ) -> Result<(), Box<Failure>> {
        told(&std::mem::take(&mut self.held), &mut visit)
    }

    fn hold(&mut self, piece: &[u8]) -> Result<(), Box<Failure>> {
        if self.held.len() + piece.len() > MAX_LINE {
            return Err(Box::new(Failure::new(
                Code::UpstreamGarbage,
                "a line of the upstream's stream is larger than 8 MiB",
            )));
        }
        self.held.extend_from_slice(piece);
        Ok(())
    }
}

fn told(line: &[u8], visit: &mut impl FnMut(&[u8]) -> Result<(), Box<Failure>>) -> Result<(), Box<Failure>> {
    let line = line.trim_ascii();
    if line.is_empty() { Ok(()) } else { visit(line) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_the_same_however_they_are_split() {
        let stream = "{\"a\":1}\r\n\n  {\"b\":\"漢字\"}\n{\"c\":3}".as_bytes();
        for at in 0..=stream.len() {
            let mut lines = Lines::default();
            let mut seen = Vec::new();
            let mut visit = |line: &[u8]| {
                seen.push(String::from_utf8(line.to_vec()).expect("whole letters"));
                Ok(())
            };
            lines.push(&stream[..at], &mut visit).expect("short lines");
            lines.push(&stream[at..], &mut visit).expect("short lines");
            lines.finish(&mut visit).expect("short lines");
            assert_eq!(seen, ["{\"a\":1}", "{\"b\":\"漢字\"}", "{\"c\":3}"], "split at {at}");
        }
        let mut lines = Lines::default();
        assert!((0..9).any(|_| lines.push(&vec![b'x'; 1 << 20], |_| Ok(())).is_err()), "an endless line is refused");
    }
}
