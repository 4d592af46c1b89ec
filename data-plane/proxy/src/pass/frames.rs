//! WebSocket frames as they pass, RFC 6455 section 5.2: held to their bounds, and the texts of the side that does not mask its
//! frames shown. The bytes stay as they are; extensions are never agreed on, so that they can be read.

use gateway_ir::failure::{Code, Failure};

/// A frame's payload, in bytes. OpenAI takes 15 MiB of sound in one event.
const MAX_FRAME: u64 = 16 * 1024 * 1024;
/// Longer texts pass without being shown.
const MAX_TEXT: usize = 4 * 1024 * 1024;
/// Two bytes, eight of length, four of mask.
const MAX_HEADER: usize = 14;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: Vec<u8>,
    /// Of the frame that is passing.
    n_left: u64,
    /// That frame is part of a text that is gathered.
    is_text: bool,
    is_last: bool,
    text: Vec<u8>,
    /// A text is under way: its continuations belong to it.
    in_text: bool,
}

// === impl Frames ===

impl Frames {
    /// Reads on; calls `show` with every text that is complete. Refuses what is no frame, or too large a one.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut show: impl FnMut(&[u8])) -> Result<(), Box<Failure>> {
        while !bytes.is_empty() {
            if self.n_left == 0 {
                self.header.push(bytes[0]);
                bytes = &bytes[1..];
                if self.begins()? && self.n_left == 0 {
                    self.ends(&mut show);
                }
                continue;
            }
            let n_bytes = usize::try_from(self.n_left).unwrap_or(usize::MAX).min(bytes.len());
            let (payload, rest) = bytes.split_at(n_bytes);
            if self.is_text && self.text.len() + n_bytes <= MAX_TEXT {
                self.text.extend_from_slice(payload);
            } else if self.is_text {
                (self.text, self.is_text, self.in_text) = (Vec::new(), false, false);
            }
            (bytes, self.n_left) = (rest, self.n_left - n_bytes as u64);
            if self.n_left == 0 {
                self.ends(&mut show);
            }
        }
        Ok(())
    }

    /// Whether nothing is under way: another frame may stand here.
    pub(super) fn is_between(&self) -> bool {
        self.n_left == 0 && self.header.is_empty()
    }

    /// Whether the header is whole; then a payload follows.
    fn begins(&mut self) -> Result<bool, Box<Failure>> {
        let [first, second, rest @ ..] = &self.header[..] else { return Ok(false) };
        let (is_masked, short) = (second & 0x80 != 0, second & 0x7f);
        let n_length = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if first & 0x70 != 0 {
            return Err(broken("a frame uses an extension that was not agreed on"));
        }
        if rest.len() < n_length + if is_masked { 4 } else { 0 } {
            debug_assert!(self.header.len() < MAX_HEADER);
            return Ok(false);
        }
        let long = rest[..n_length].iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
        let length = if n_length == 0 { u64::from(short) } else { long };
        if length > MAX_FRAME {
            return Err(broken("a frame is larger than 16 MiB"));
        }
        let (opcode, is_last) = (first & 0x0f, first & 0x80 != 0);
        self.is_text = !is_masked && (opcode == TEXT || opcode == CONTINUATION && self.in_text);
        (self.n_left, self.is_last) = (length, is_last);
        if opcode == TEXT {
            self.text.clear();
        }
        if self.is_text {
            self.in_text = true;
        }
        self.header.clear();
        Ok(true)
    }

    fn ends(&mut self, show: &mut impl FnMut(&[u8])) {
        if self.is_text && self.is_last {
            show(&self.text);
            self.text.clear();
            self.in_text = false;
        }
        self.is_text = false;
    }
}

fn broken(what: &str) -> Box<Failure> {
    Box::new(Failure::new(Code::InvalidRequest, format!("the WebSocket cannot be read on: {what}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = payload.len();
        let mut frame = match length {
            0..=125 => vec![first, u8::try_from(length).expect("small")],
            126..=0xffff => {
                [vec![first, 126], u16::try_from(length).expect("two bytes").to_be_bytes().to_vec()].concat()
            }
            _ => [vec![first, 127], (length as u64).to_be_bytes().to_vec()].concat(),
        };
        frame.extend_from_slice(payload);
        frame
    }

    fn texts(bytes: &[u8], n_bytes: usize) -> (Vec<Vec<u8>>, bool) {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        let read = bytes.chunks(n_bytes).try_for_each(|piece| frames.push(piece, |text| found.push(text.to_vec())));
        (found, read.is_ok() && frames.is_between())
    }

    #[test]
    fn texts_are_found_however_they_are_cut() {
        let long = vec![b'x'; 70_000];
        let masked = [vec![0x81, 0x82, 1, 2, 3, 4], b"ab".to_vec()].concat();
        let stream = [
            frame(0x81, b"one"),
            frame(0x01, b"t"),
            frame(0x89, b"ping"),
            frame(0x00, b"w"),
            frame(0x80, b"o"),
            frame(0x82, b"bytes"),
            frame(0x81, b""),
            masked,
            frame(0x81, &[b'y'; 300]),
            frame(0x81, &long),
            frame(0x88, &[3, 232]),
        ]
        .concat();
        for n_bytes in [1, 2, 7, 1000, stream.len()] {
            let (found, is_sound) = texts(&stream, n_bytes);
            assert_eq!(found, [&b"one"[..], b"two", b"", &[b'y'; 300], &long], "in pieces of {n_bytes}");
            assert!(is_sound);
        }
    }

    #[test]
    fn what_is_beyond_bounds_is_refused() {
        for bytes in [
            &[0xc1, 1, b'x'][..],
            &[0x82, 127, 0, 0, 0, 0, 1, 0, 0, 1],
            &[0x82, 0xff, 255, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
        ] {
            assert!(!texts(bytes, 3).1, "{bytes:?}");
        }
        let large = frame(0x81, &vec![b'x'; MAX_TEXT + 1]);
        assert_eq!(texts(&[large, frame(0x81, b"next")].concat(), 4096), (vec![b"next".to_vec()], true));
    }
}
