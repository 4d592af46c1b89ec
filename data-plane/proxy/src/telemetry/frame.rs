//! One record in a file: length, CRC-32, kind, payload. Pure; knows no file.
//!
//! A file that was cut at any byte reads as the records before the cut.

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request was admitted; the payload is what is charged should it never settle.
    Started,
    /// A request has settled: its number (8 bytes, little endian), then the event.
    Settled,
    /// A request is over: its number in the log (8 bytes, little endian), then the record.
    Logged,
    /// What a request asked and was answered: as [`Kind::Logged`].
    Body,
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// A record, and how many bytes it takes.
    Frame(Kind, &'a [u8], usize),
    /// The beginning of a record, or nothing.
    Incomplete,
    /// No record of ours can begin like this.
    Damaged,
}

const LENGTH: usize = 4;
const CRC: usize = 4;
const HEAD: usize = LENGTH + CRC + 1;

/// No event is larger; a length beyond this is damage and not a reason to allocate.
pub(super) const MAX_PAYLOAD: usize = 64 * 1024;
/// The same of bodies: two that are as large as may be, and what is said of them.
const MAX_BODY: usize = 3 * 1024 * 1024;

/// Replaces the buffer's content by one record. False, and nothing is usable, if the payload is too large.
pub(super) fn write(buffer: &mut Vec<u8>, kind: Kind, payload: impl FnOnce(&mut Vec<u8>)) -> bool {
    buffer.clear();
    buffer.resize(HEAD, 0);
    buffer[HEAD - 1] = kind.tag();
    payload(buffer);
    let n_payload = buffer.len() - HEAD;
    let crc = crc32fast::hash(&buffer[HEAD - 1..]);
    buffer[LENGTH..LENGTH + CRC].copy_from_slice(&crc.to_le_bytes());
    match u32::try_from(n_payload) {
        Ok(length) if n_payload <= kind.max_payload() => {
            buffer[..LENGTH].copy_from_slice(&length.to_le_bytes());
            true
        }
        _ => false,
    }
}

pub(super) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else { return Parsed::Incomplete };
    let length = u32::from_le_bytes(*length) as usize;
    if length > MAX_BODY {
        return Parsed::Damaged;
    }
    let Some((crc, rest)) = rest.split_first_chunk::<CRC>() else { return Parsed::Incomplete };
    match rest.first().map(|tag| Kind::of(*tag)) {
        Some(Some(kind)) if length <= kind.max_payload() => {}
        Some(_) => return Parsed::Damaged,
        None => return Parsed::Incomplete,
    }
    let Some(content) = rest.get(..=length) else { return Parsed::Incomplete };
    if crc32fast::hash(content) != u32::from_le_bytes(*crc) {
        return Parsed::Damaged;
    }
    match Kind::of(content[0]) {
        Some(kind) => Parsed::Frame(kind, &content[1..], HEAD + length),
        None => Parsed::Damaged,
    }
}

// === impl Kind ===

impl Kind {
    fn tag(self) -> u8 {
        match self {
            Self::Started => 1,
            Self::Settled => 2,
            Self::Logged => 3,
            Self::Body => 4,
        }
    }

    fn max_payload(self) -> usize {
        if self == Self::Body { MAX_BODY } else { MAX_PAYLOAD }
    }

    fn of(tag: u8) -> Option<Self> {
        [Self::Started, Self::Settled, Self::Logged, Self::Body].into_iter().find(|kind| kind.tag() == tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_is_incomplete_and_every_flip_is_seen() {
        let mut bytes = Vec::new();
        assert!(write(&mut bytes, Kind::Settled, |buffer| buffer.extend_from_slice(b"an event")));
        assert_eq!(parse(&bytes), Parsed::Frame(Kind::Settled, b"an event", bytes.len()));
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Parsed::Incomplete, "cut at {cut}");
        }
        for at in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            assert!(!matches!(parse(&flipped), Parsed::Frame(..)), "bit {at}");
        }
    }

    #[test]
    fn a_payload_beyond_the_bound_is_refused() {
        let mut bytes = Vec::new();
        assert!(!write(&mut bytes, Kind::Started, |buffer| buffer.resize(buffer.len() + MAX_PAYLOAD + 1, b'x')));
        assert!(write(&mut bytes, Kind::Started, |buffer| buffer.resize(buffer.len() + MAX_PAYLOAD, b'x')));
    }
}
