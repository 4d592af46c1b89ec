//! Writes JSON objects and arrays straight into a byte buffer: names, commas, nesting. Builds no tree. Knows no dialect.

use bytes::{BufMut as _, BytesMut};
use gateway_ir::json::Specials;

/// An object being written; the closing brace is written by whoever opened it.
pub(crate) struct Object<'o> {
    out: &'o mut BytesMut,
    first: bool,
}

/// An array being written.
pub(crate) struct Array<'o> {
    out: &'o mut BytesMut,
    first: bool,
}

/// Writes one object. `members` may end early with an error; what has been written then is to be thrown away.
pub(crate) fn object<R>(out: &mut BytesMut, members: impl FnOnce(&mut Object<'_>) -> R) -> R {
    out.extend_from_slice(b"{");
    let result = members(&mut Object { out, first: true });
    out.extend_from_slice(b"}");
    result
}

// === impl Object ===

impl Object<'_> {
    pub(crate) fn string(&mut self, name: &str, text: &str) {
        quoted(self.member(name), text);
    }

    /// `json` must be one JSON value.
    pub(crate) fn raw(&mut self, name: &str, json: &str) {
        self.member(name).extend_from_slice(json.as_bytes());
    }

    pub(crate) fn boolean(&mut self, name: &str, value: bool) {
        self.raw(name, if value { "true" } else { "false" });
    }

    /// `null` where there is no text.
    pub(crate) fn string_or_null(&mut self, name: &str, text: Option<&str>) {
        match text {
            Some(text) => self.string(name, text),
            None => self.raw(name, "null"),
        }
    }

    pub(crate) fn unsigned(&mut self, name: &str, number: u64) {
        unsigned(self.member(name), number);
    }

    pub(crate) fn object<R>(&mut self, name: &str, members: impl FnOnce(&mut Object<'_>) -> R) -> R {
        object(self.member(name), members)
    }

    pub(crate) fn array<R>(&mut self, name: &str, elements: impl FnOnce(&mut Array<'_>) -> R) -> R {
        let out = self.member(name);
        out.extend_from_slice(b"[");
        let result = elements(&mut Array { out, first: true });
        out.extend_from_slice(b"]");
        result
    }

    fn member(&mut self, name: &str) -> &mut BytesMut {
        if !std::mem::take(&mut self.first) {
            self.out.extend_from_slice(b",");
        }
        quoted(self.out, name);
        self.out.extend_from_slice(b":");
        self.out
    }
}

// === impl Array ===

impl Array<'_> {
    pub(crate) fn string(&mut self, text: &str) {
        quoted(self.element(), text);
    }

    /// `json` must be one JSON value.
    pub(crate) fn raw(&mut self, json: &str) {
        self.element().extend_from_slice(json.as_bytes());
    }

    pub(crate) fn object<R>(&mut self, members: impl FnOnce(&mut Object<'_>) -> R) -> R {
        object(self.element(), members)
    }

    fn element(&mut self) -> &mut BytesMut {
        if !std::mem::take(&mut self.first) {
            self.out.extend_from_slice(b",");
        }
        self.out
    }
}

/// Line ends in JSON that was taken over as it stood. They can only stand between its tokens, and would cut an event of a stream
/// in two; spaces take their place.
pub(crate) fn one_line(json: &mut [u8]) {
    let mut from = 0;
    while let Some(at) = memchr::memchr2(b'\n', b'\r', &json[from..]) {
        json[from + at] = b' ';
        from += at + 1;
    }
}

/// A decimal number.
pub(crate) fn unsigned(out: &mut BytesMut, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Names and words of no more bytes are looked at byte by byte, which costs less than a search for what is special.
const SHORT: usize = 24;

/// A JSON string with its quotes.
pub(crate) fn quoted(out: &mut BytesMut, text: &str) {
    // With room for what is written behind it.
    out.reserve(text.len() + 4);
    if text.len() <= SHORT && text.bytes().all(|byte| ESCAPES[usize::from(byte)] == 0) {
        out.put_u8(b'"');
        out.put_slice(text.as_bytes());
        out.put_u8(b'"');
        return;
    }
    out.extend_from_slice(b"\"");
    escaped(out, text);
    out.extend_from_slice(b"\"");
}

/// The inside of a JSON string. Only what RFC 8259 demands is escaped, so that text keeps its size.
pub(crate) fn escaped(out: &mut BytesMut, text: &str) {
    let (text, mut at) = (text.as_bytes(), 0);
    let mut specials = Specials::of(text);
    loop {
        let special = specials.next_from(at);
        out.extend_from_slice(&text[at..special]);
        let Some(byte) = text.get(special) else { return };
        at = special + 1;
        match ESCAPES[usize::from(*byte)] {
            b'u' => {
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
            letter => out.extend_from_slice(&[b'\\', letter]),
        }
    }
}

/// The letter behind the backslash, `u` for the long form; of bytes that stand for themselves nothing is asked.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = b'u';
        control += 1;
    }
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    table[b'\t' as usize] = b't';
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let every: String = (0..0x250_u32).filter_map(char::from_u32).chain("\u{2028}😀\u{10ffff}".chars()).collect();
        for text in ["", "plain", "\"\\\n\r\t\u{0}\u{1f}", every.as_str()] {
            let mut out = BytesMut::new();
            object(&mut out, |object| {
                object.string(text, text);
                object.unsigned("n", u64::MAX);
                object.array("a", |array| {
                    array.string(text);
                    array.raw("[]");
                    array.object(|object| object.unsigned("zero", 0));
                });
            });
            let read: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
            let expected = serde_json::json!({text: text, "n": u64::MAX, "a": [text, [], {"zero": 0}]});
            assert_eq!(read, expected);
        }
    }
}
