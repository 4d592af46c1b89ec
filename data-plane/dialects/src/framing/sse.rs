//! Server-sent events, <https://html.spec.whatwg.org/multipage/server-sent-events.html>, as a push parser over bytes.
//!
//! Cuts and names; what stands in the data is the dialect's business. Accepts what the standard accepts (LF, CR and CRLF,
//! comments, data over several lines, a byte order mark, `data:` without a space), whatever the chunk boundaries.

use std::borrow::Cow;

use gateway_ir::failure::{Code, Failure};
use memchr::memchr2;

/// Longest event in bytes. One tool call with a large argument in one event stays far below; beyond it, it is garbage.
pub const MAX_EVENT: usize = 4 << 20;

/// A buffer that had to grow beyond this for one event is given back.
const KEPT_CAPACITY: usize = 64 << 10;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event that has data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event:` field, empty where there is none.
    pub name: &'a [u8],
    /// All `data:` lines; borrowed if there is one, as there nearly always is.
    pub data: Cow<'a, [u8]>,
}

/// Finds where events end in bytes that come in pieces. Keeps no bytes.
#[derive(Clone, Debug)]
pub struct Splitter {
    /// Nothing stands on the current line yet.
    at_line_start: bool,
    /// The last byte was a CR, which an LF may complete.
    after_cr: bool,
    /// Bytes of the event that is not whole yet.
    n_open: usize,
}

/// Whole events out of bytes that come in pieces. An event within one piece is not copied.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    splitter: Splitter,
    held: Vec<u8>,
    started: bool,
}

/// Reads one block: the lines of an event up to and including its blank line. `None` if they hold no data.
pub fn read_block(block: &[u8]) -> Option<Event<'_>> {
    let mut name: &[u8] = b"";
    let mut data: Option<Cow<'_, [u8]>> = None;
    let mut rest = block;
    while !rest.is_empty() {
        let line = match memchr2(b'\n', b'\r', rest) {
            Some(end) => {
                let line = &rest[..end];
                rest = &rest[end + 1..];
                line
            }
            None => std::mem::take(&mut rest),
        };
        if let Some(value) = field(line, b"data") {
            data = Some(match data {
                None => Cow::Borrowed(value),
                Some(lines) => {
                    let mut lines = lines.into_owned();
                    lines.push(b'\n');
                    lines.extend_from_slice(value);
                    Cow::Owned(lines)
                }
            });
        } else if let Some(value) = field(line, b"event") {
            name = value;
        }
    }
    data.filter(|data| !data.is_empty()).map(|data| Event { name, data })
}

fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(name)?;
    match rest.strip_prefix(b":") {
        Some(value) => Some(value.strip_prefix(b" ").unwrap_or(value)),
        None => rest.is_empty().then_some(rest),
    }
}

// === impl Splitter ===

impl Default for Splitter {
    fn default() -> Self {
        Self { at_line_start: true, after_cr: false, n_open: 0 }
    }
}

impl Splitter {
    /// The length of the first event in `bytes`, blank line included, or `None` if it goes on behind them: then all of them
    /// have been taken. Call it again with what follows.
    ///
    /// The LF of a CRLF whose CR ended the previous piece, and with it an event, comes as a block of its own.
    pub fn event_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Box<Failure>> {
        let end = self.scan(bytes);
        self.n_open += end.unwrap_or(bytes.len());
        if self.n_open > MAX_EVENT {
            let message = format!("the upstream sent a stream event of more than {MAX_EVENT} bytes");
            return Err(Box::new(Failure::new(Code::UpstreamGarbage, message)));
        }
        if end.is_some() {
            self.n_open = 0;
        }
        Ok(end)
    }

    fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        if !bytes.is_empty() && std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
            if self.n_open == 0 {
                return Some(1);
            }
            at = 1;
        }
        loop {
            let is_line_end = matches!(*bytes.get(at)?, b'\n' | b'\r');
            let is_blank = is_line_end && self.at_line_start;
            if !is_line_end {
                self.at_line_start = false;
                at += memchr2(b'\n', b'\r', &bytes[at..])?;
            }
            self.at_line_start = true;
            let is_cr = bytes[at] == b'\r';
            at += 1;
            self.after_cr = is_cr && at == bytes.len();
            at += usize::from(is_cr && bytes.get(at) == Some(&b'\n'));
            if is_blank {
                return Some(at);
            }
        }
    }
}

// === impl Parser ===

impl Parser {
    /// Feeds a chunk and calls `visit` for each event with data that it completes. Stops at the first error, after which the
    /// parser must be dropped.
    pub fn push<V>(&mut self, chunk: &[u8], mut visit: V) -> Result<(), Box<Failure>>
    where
        V: FnMut(Event<'_>) -> Result<(), Box<Failure>>,
    {
        let mut rest = chunk;
        while let Some(length) = self.splitter.event_end(rest)? {
            let (block, after) = rest.split_at(length);
            rest = after;
            if self.held.is_empty() {
                self.deliver(block, &mut visit)?;
            } else {
                let mut held = std::mem::take(&mut self.held);
                held.extend_from_slice(block);
                self.deliver(&held, &mut visit)?;
                if held.capacity() <= KEPT_CAPACITY {
                    held.clear();
                    self.held = held;
                }
            }
        }
        self.held.extend_from_slice(rest);
        Ok(())
    }

    /// The stream is over: what was held is delivered as if a blank line followed. It may be half an event.
    pub fn finish<V>(&mut self, mut visit: V) -> Result<(), Box<Failure>>
    where
        V: FnMut(Event<'_>) -> Result<(), Box<Failure>>,
    {
        let held = std::mem::take(&mut self.held);
        self.deliver(&held, &mut visit)
    }

    fn deliver<V>(&mut self, block: &[u8], visit: &mut V) -> Result<(), Box<Failure>>
    where
        V: FnMut(Event<'_>) -> Result<(), Box<Failure>>,
    {
        let is_first = !std::mem::replace(&mut self.started, true);
        let block = block.strip_prefix(BYTE_ORDER_MARK).filter(|_| is_first).unwrap_or(block);
        read_block(block).map_or(Ok(()), visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        let mut visit = |event: Event<'_>| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("whole characters");
            events.push((text(event.name), text(&event.data)));
            Ok(())
        };
        for piece in pieces {
            parser.push(piece, &mut visit).expect("small events");
        }
        parser.finish(&mut visit).expect("small events");
        events
    }

    fn check(stream: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(name, data)| ((*name).to_owned(), (*data).to_owned())).collect();
        let bytes = stream.as_bytes();
        assert_eq!(parse(&[bytes]), expected, "{stream:?} whole");
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(parse(&single), expected, "{stream:?} byte by byte");
        for at in 0..=bytes.len() {
            assert_eq!(parse(&[&bytes[..at], b"", &bytes[at..]]), expected, "{stream:?} split at {at}");
        }
    }

    #[test]
    fn reads_what_the_standard_allows() {
        check("", &[]);
        check("data: a\n\ndata:b\n\n", &[("", "a"), ("", "b")]);
        check("data: a\r\n\r\ndata: b\r\n\r\n", &[("", "a"), ("", "b")]);
        check("data: a\r\rdata: b\r\r", &[("", "a"), ("", "b")]);
        check("data: a\n\r\ndata: b\r\n\n\n\r\r\ndata: c\n\n", &[("", "a"), ("", "b"), ("", "c")]);
        check("\u{feff}data: a\n\n", &[("", "a")]);
        check(": hello\n\n:\n\nevent: ping\n\ndata\n\ndata: a\n\n", &[("", "a")]);
        check("event: x\nid: 7\nretry: 10\ndata:  two \ndata: lines\ndata:\n\n", &[("x", " two \nlines\n")]);
        check("data: 漢字🦀\n\n", &[("", "漢字🦀")]);
        check("data: a\n\ndata: unended", &[("", "a"), ("", "unended")]);
        check("datax: no\ndata : no\n\n", &[]);
    }

    #[test]
    fn an_event_within_one_chunk_is_borrowed() {
        let stream = b"data: one\n\ndata: two\n\ndata: a\ndata: b\n\n".as_slice();
        let mut borrowed = Vec::new();
        let visit = |event: Event<'_>| {
            borrowed.push(matches!(event.data, Cow::Borrowed(data) if stream.as_ptr_range().contains(&data.as_ptr())));
            Ok(())
        };
        Parser::default().push(stream, visit).expect("small events");
        assert_eq!(borrowed, [true, true, false]);
    }

    #[test]
    fn refuses_an_endless_event() {
        let piece = vec![b'x'; 1 << 20];
        let mut parser = Parser::default();
        let n_taken = (0..100).take_while(|_| parser.push(&piece, |_| Ok(())).is_ok()).count();
        assert_eq!(n_taken, MAX_EVENT >> 20);
        let whole = [b"data: ".as_slice(), &vec![b'x'; MAX_EVENT], b"\n\n"].concat();
        let refused = Parser::default().push(&whole, |_| Ok(())).expect_err("too long in one piece as well");
        assert_eq!(refused.code, Code::UpstreamGarbage);
    }
}
