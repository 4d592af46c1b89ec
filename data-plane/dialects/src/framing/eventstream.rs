//! AWS event streams: binary messages with headers and checksums,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html>.

use gateway_ir::failure::{Code, Failure};

/// A longer message is refused.
const MAX_MESSAGE: usize = 16 << 20;
/// Two lengths and their checksum.
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;

/// Cuts a stream into its messages.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    held: Vec<u8>,
}

/// One message, its texts and its content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// `:message-type`: `event`, `exception` or `error`.
    pub(crate) kind: &'a str,
    /// `:event-type`, `:exception-type` or `:error-code`.
    pub(crate) name: &'a str,
    pub(crate) payload: &'a [u8],
}

// === impl Messages ===

impl Messages {
    /// Feeds a chunk; `visit` sees each whole message whose checksums hold.
    pub(crate) fn push(
        &mut self,
        chunk: &[u8],
        mut visit: impl FnMut(Message<'_>) -> Result<(), Box<Failure>>,
    ) -> Result<(), Box<Failure>> {
        self.held.extend_from_slice(chunk);
        let mut from = 0;
        while let Some(length) = length(&self.held[from..])? {
            let Some(bytes) = self.held.get(from..from + length) else { break };
            visit(read(bytes)?)?;
            from += length;
        }
        self.held.drain(..from);
        Ok(())
    }
}

/// The length of the message that begins here; `None` until its prelude is whole.
fn length(bytes: &[u8]) -> Result<Option<usize>, Box<Failure>> {
    let Some(prelude) = bytes.get(..PRELUDE) else { return Ok(None) };
    if crc32fast::hash(&prelude[..8]) != number(&prelude[8..]) {
        return Err(garbage("the checksum of a message's beginning is wrong"));
    }
    let length = number(prelude) as usize;
    if !(PRELUDE + CHECKSUM..=MAX_MESSAGE).contains(&length) {
        return Err(garbage("a message has an impossible length"));
    }
    Ok(Some(length))
}

fn read(bytes: &[u8]) -> Result<Message<'_>, Box<Failure>> {
    let (body, checksum) = bytes.split_at(bytes.len() - CHECKSUM);
    if crc32fast::hash(body) != number(checksum) {
        return Err(garbage("the checksum of a message is wrong"));
    }
    let end = PRELUDE.saturating_add(number(&body[4..]) as usize);
    let (Some(mut headers), Some(payload)) = (body.get(PRELUDE..end), body.get(end..)) else {
        return Err(garbage("a message's headers are longer than the message"));
    };
    let mut message = Message { payload, ..Message::default() };
    while !headers.is_empty() {
        let (name, value, rest) = header(headers).ok_or_else(|| garbage("a message's headers are damaged"))?;
        match name {
            b":message-type" => message.kind = value,
            b":event-type" | b":exception-type" | b":error-code" => message.name = value,
            _ => {}
        }
        headers = rest;
    }
    Ok(message)
}

/// Name, text (empty for other types) and what follows.
fn header(bytes: &[u8]) -> Option<(&[u8], &str, &[u8])> {
    let (n_name, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*n_name))?;
    let (kind, rest) = rest.split_first()?;
    let fixed = match kind {
        0 | 1 => 0,
        2 => 1,
        3 => 2,
        4 => 4,
        5 | 8 => 8,
        9 => 16,
        6 | 7 => {
            let (length, rest) = rest.split_at_checked(2)?;
            let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([length[0], length[1]])))?;
            return Some((name, std::str::from_utf8(value).unwrap_or_default(), rest));
        }
        _ => return None,
    };
    Some((name, "", rest.get(fixed..)?))
}

/// The first four bytes as a number. Callers have checked that they are there.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn garbage(what: &'static str) -> Box<Failure> {
    Box::new(Failure::new(Code::UpstreamGarbage, format!("the upstream's event stream is damaged: {what}")))
}

/// A message as AWS would send it, an `event` or an `exception`. Tests and fuzzing make their streams of these.
pub fn message(kind: &str, name: &str, payload: &[u8]) -> Vec<u8> {
    let mut headers = Vec::new();
    let of = if kind == "event" { ":event-type" } else { ":exception-type" };
    for (header, value) in [(":message-type", kind), (of, name), (":content-type", "application/json")] {
        headers.push(header.len() as u8);
        headers.extend_from_slice(header.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&(value.len() as u16).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&((PRELUDE + headers.len() + payload.len() + CHECKSUM) as u32).to_be_bytes());
    bytes.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    bytes.extend_from_slice(&headers);
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    type Seen = Vec<(String, String, Vec<u8>)>;

    fn read_all(pieces: &[&[u8]]) -> Result<Seen, Box<Failure>> {
        let (mut messages, mut seen) = (Messages::default(), Vec::new());
        for piece in pieces {
            messages.push(piece, |message| {
                seen.push((message.kind.to_owned(), message.name.to_owned(), message.payload.to_vec()));
                Ok(())
            })?;
        }
        Ok(seen)
    }

    #[test]
    fn messages_are_the_same_however_they_are_split() {
        let stream =
            [message("event", "messageStart", b"{}"), message("exception", "throttlingException", b"")].concat();
        let expected = read_all(&[&stream]).expect("sound");
        assert_eq!(expected[0], ("event".to_owned(), "messageStart".to_owned(), b"{}".to_vec()));
        assert_eq!(expected[1].1, "throttlingException");
        for at in 0..=stream.len() {
            assert_eq!(read_all(&[&stream[..at], &stream[at..]]).expect("sound"), expected, "split at {at}");
        }
    }

    #[test]
    fn any_change_is_noticed() {
        let stream = message("event", "contentBlockDelta", br#"{"delta":{"text":"x"}}"#);
        for at in 0..stream.len() {
            let mut changed = stream.clone();
            changed[at] ^= 1;
            assert!(read_all(&[&changed]).map_or(true, |seen| seen.is_empty()), "byte {at}");
        }
        assert!(read_all(&[&[0; 64]]).is_err());
    }
}
