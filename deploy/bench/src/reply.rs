//! The load generator's HTTP/1.1 reader: follows one reply through arbitrary reads, counting instead of keeping. As cheap as
//! it can be, because it shares its core with the upstream.

use memchr::{memchr, memmem};

/// Where in a reply we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Fixed(usize),
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    Trailer,
    Done,
}

/// One reply being read.
#[derive(Debug)]
pub struct Reply {
    state: State,
    /// Bytes of an element that has not arrived whole: the head, a chunk's size line.
    pending: Vec<u8>,
    pub status: u16,
    pub keep_alive: bool,
    /// Body bytes so far.
    pub n_bytes: u64,
    /// Blank lines in the body so far: the events of an event stream.
    pub n_events: u64,
    /// The body's last byte so far: a blank line may be split between two reads.
    last: u8,
    /// The beginning of the body of an error reply.
    pub sample: Vec<u8>,
}

const MAX_PENDING: usize = 64 * 1024;
const SAMPLE: usize = 300;

// === impl Reply ===

impl Reply {
    pub fn new() -> Self {
        Self {
            state: State::Head,
            pending: Vec::new(),
            status: 0,
            keep_alive: true,
            n_bytes: 0,
            n_events: 0,
            last: 0,
            sample: Vec::new(),
        }
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes what was read; an error is a reply that this reader, or HTTP, does not know.
    pub fn feed(&mut self, mut data: &[u8]) -> Result<(), String> {
        while !data.is_empty() {
            data = match self.state {
                State::Head => self.head(data)?,
                State::Fixed(left) => {
                    let (body, rest) = data.split_at(left.min(data.len()));
                    self.body(body);
                    self.state = if body.len() == left { State::Done } else { State::Fixed(left - body.len()) };
                    rest
                }
                State::ChunkSize => self.chunk_size(data)?,
                State::Chunk(left) => {
                    let (body, rest) = data.split_at(left.min(data.len()));
                    self.body(body);
                    self.state = if body.len() == left { State::ChunkEnd } else { State::Chunk(left - body.len()) };
                    rest
                }
                State::ChunkEnd => match self.line(data)? {
                    (Some(_), rest) => {
                        self.state = State::ChunkSize;
                        rest
                    }
                    (None, rest) => rest,
                },
                State::Trailer => match self.line(data)? {
                    (Some(line), rest) => {
                        if line.is_empty() {
                            self.state = State::Done;
                        }
                        rest
                    }
                    (None, rest) => rest,
                },
                State::Done => return Err("bytes after the reply's end".to_owned()),
            };
        }
        Ok(())
    }

    fn head<'d>(&mut self, data: &'d [u8]) -> Result<&'d [u8], String> {
        // The usual case is a head that arrives whole; only a split one is copied together.
        let already = self.pending.len();
        self.pending.extend_from_slice(data);
        let Some(end) = memmem::find(&self.pending, b"\r\n\r\n") else {
            return if self.pending.len() > MAX_PENDING { Err("the head is too large".to_owned()) } else { Ok(&[]) };
        };
        let head = String::from_utf8_lossy(&self.pending[..end]).to_ascii_lowercase();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        self.status = status.ok_or("no status line")?;
        let mut framing = None;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            match (name, value.trim()) {
                ("content-length", value) => {
                    framing = Some(State::Fixed(value.parse().map_err(|_| "content-length is not a number")?));
                }
                ("transfer-encoding", "chunked") => framing = Some(State::ChunkSize),
                ("connection", "close") => self.keep_alive = false,
                _ => {}
            }
        }
        self.state = match framing.ok_or("neither content-length nor chunked")? {
            State::Fixed(0) => State::Done,
            framing => framing,
        };
        self.pending.clear();
        Ok(&data[end + 4 - already..])
    }

    fn chunk_size<'d>(&mut self, data: &'d [u8]) -> Result<&'d [u8], String> {
        let (line, rest) = self.line(data)?;
        if let Some(line) = line {
            let size = std::str::from_utf8(&line).ok().and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
            self.state = match size.ok_or("a chunk size is not hexadecimal")? {
                0 => State::Trailer,
                size => State::Chunk(size),
            };
        }
        Ok(rest)
    }

    /// The next line without its end, once it is whole, and what follows it.
    fn line<'d>(&mut self, data: &'d [u8]) -> Result<(Option<Vec<u8>>, &'d [u8]), String> {
        match memchr(b'\n', data) {
            Some(at) => {
                let mut line = std::mem::take(&mut self.pending);
                line.extend_from_slice(&data[..at]);
                if line.pop_if(|byte| *byte == b'\r').is_none() {
                    return Err("a line does not end with CRLF".to_owned());
                }
                Ok((Some(line), &data[at + 1..]))
            }
            None if self.pending.len() + data.len() > MAX_PENDING => Err("a line is too long".to_owned()),
            None => {
                self.pending.extend_from_slice(data);
                Ok((None, &[]))
            }
        }
    }

    fn body(&mut self, data: &[u8]) {
        self.n_bytes += data.len() as u64;
        if self.status != 200 && self.sample.len() < SAMPLE {
            self.sample.extend_from_slice(&data[..data.len().min(SAMPLE)]);
        }
        for at in memchr::memchr_iter(b'\n', data) {
            let before = if at == 0 { self.last } else { data[at - 1] };
            self.n_events += u64::from(before == b'\n');
        }
        if let Some(last) = data.last() {
            self.last = *last;
        }
    }
}

impl Default for Reply {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::Reply;

    /// Reads `wire` in pieces of every size and expects the same each time: status, body bytes, events.
    fn check(wire: &str, expected: Result<(u16, u64, u64), &str>) {
        for size in 1..=wire.len() {
            let mut reply = Reply::new();
            let fed = wire.as_bytes().chunks(size).try_for_each(|piece| reply.feed(piece));
            match (fed, expected) {
                (Ok(()), Ok(expected)) => {
                    assert!(reply.is_done(), "not done at pieces of {size}: {wire:?}");
                    assert_eq!((reply.status, reply.n_bytes, reply.n_events), expected, "pieces of {size}: {wire:?}");
                }
                (Err(error), Err(expected)) => assert_eq!(error, expected, "{wire:?}"),
                (fed, expected) => panic!("pieces of {size}: got {fed:?}, expected {expected:?}: {wire:?}"),
            }
        }
    }

    #[test]
    fn reads_replies_however_they_are_split() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Ok((200, 5, 0)));
        check("HTTP/1.1 204 No\r\ncontent-length: 0\r\n\r\n", Ok((204, 0, 0)));
        let stream = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let stream = format!("{stream}9\r\ndata: a\n\n\r\n13\r\ndata: b\n\ndata: c\n\n\n\r\n0\r\nx: y\r\n\r\n");
        check(&stream, Ok((200, 28, 4)));
        check("HTTP/1.1 200 OK\r\n\r\n", Err("neither content-length nor chunked"));
        check("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", Err("a chunk size is not hexadecimal"));
        check("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab", Err("bytes after the reply's end"));
    }
}
