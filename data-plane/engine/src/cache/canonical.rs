//! A body in one spelling: bodies that say the same are the same bytes, whatever white space, escapes and order of members they are
//! written with. Different bodies are never the same bytes.
//!
//! Numbers are kept as they are spelled: `1` and `1.0` may be two things to somebody. So is the order of `properties`, which models
//! follow in what they write.

use gateway_ir::json::{self, MAX_DEPTH};

/// Objects may be put in order as long as that moves this many times the body's size, so that nesting costs nobody much time.
const MAX_MOVES: usize = 16;
const FREE_MOVES: usize = 64 * 1024;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The body itself.
    Top {
        named_in_path: bool,
    },
    /// `stream_options`.
    StreamOptions,
    /// `properties` of a schema.
    Properties,
    Other,
}

/// A member, as it is written: from its name's first byte, from behind its name, to its end.
#[derive(Clone, Copy)]
struct Member {
    from: usize,
    named: usize,
    to: usize,
}

struct Writer<'a> {
    text: &'a [u8],
    at: usize,
    out: Vec<u8>,
    /// Of the objects that are open, innermost last.
    members: Vec<Member>,
    /// Bytes that may still be moved.
    moves: usize,
}

/// `None` where the body asks for something that is kept elsewhere or changes it, and where it is no JSON or too tangled.
pub(super) fn written(body: &[u8], named_in_path: bool) -> Option<Vec<u8>> {
    let mut writer = Writer {
        text: body,
        at: 0,
        out: Vec::with_capacity(body.len() + body.len() / 4),
        members: Vec::new(),
        moves: body.len().saturating_mul(MAX_MOVES).saturating_add(FREE_MOVES),
    };
    writer.space();
    writer.value(Place::Top { named_in_path }, 0)?;
    Some(writer.out)
}

// === impl Place ===

impl Place {
    /// The place of a member's value.
    fn within(self, name: &str) -> Self {
        match (self, name) {
            (Self::Top { named_in_path: false }, "stream_options") => Self::StreamOptions,
            (Self::Properties, _) => Self::Other,
            (_, "properties") => Self::Properties,
            _ => Self::Other,
        }
    }

    /// Whether a member says only how the answer is told, or what is said better elsewhere. `written` is its value in our spelling.
    fn leaves_out(self, name: &str, value: &[u8], written: &[u8]) -> bool {
        match self {
            Self::Top { named_in_path: false } => match name {
                "model" | "stream" => true,
                "stream_options" => value == b"null" || written == b"{}",
                _ => false,
            },
            Self::StreamOptions => name == "include_usage",
            _ => false,
        }
    }

    /// Whether the answer is more than an answer: it changes what is kept somewhere, or depends on it, or is sound, which is not kept.
    fn is_stateful(self, name: &str, value: &[u8]) -> bool {
        if !matches!(self, Self::Top { .. }) || value == b"null" {
            return false;
        }
        match name {
            "store" | "background" => value != b"false",
            "previous_response_id" | "conversation" | "container" | "cachedContent" | "cached_content" | "audio" => {
                true
            }
            // A text is a prompt itself, an object names one that may be changed.
            "prompt" => value.starts_with(b"{"),
            _ => false,
        }
    }
}

// === impl Writer ===

impl<'a> Writer<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn value(&mut self, place: Place, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().and_then(|text| self.text(&text)),
            b'{' if depth < MAX_DEPTH => self.object(place, depth + 1),
            b'[' if depth < MAX_DEPTH => self.array(depth + 1),
            b'{' | b'[' => None,
            _ => self.word(),
        }
    }

    fn object(&mut self, place: Place, depth: usize) -> Option<()> {
        self.at += 1;
        self.out.push(b'{');
        let first = self.members.len();
        while self.comes_next(b'}')? {
            let from = self.out.len();
            let name = self.string()?;
            self.text(&name)?;
            let named = self.out.len();
            self.space();
            self.at += usize::from(self.peek()? == b':');
            self.space();
            let start = self.at;
            self.value(place.within(&name), depth)?;
            let value = &self.text[start..self.at];
            if place.is_stateful(&name, value) {
                return None;
            }
            if place.leaves_out(&name, value, &self.out[named..]) {
                self.out.truncate(from);
            } else {
                self.members.push(Member { from, named, to: self.out.len() });
            }
        }
        if place != Place::Properties {
            self.put_in_order(first)?;
        }
        self.members.truncate(first);
        self.out.push(b'}');
        Some(())
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.at += 1;
        self.out.push(b'[');
        while self.comes_next(b']')? {
            self.value(Place::Other, depth)?;
        }
        self.out.push(b']');
        Some(())
    }

    /// Whether there is another member or element; else passes the end.
    fn comes_next(&mut self, end: u8) -> Option<bool> {
        self.space();
        if self.peek()? == b',' {
            self.at += 1;
            self.space();
        }
        let is_over = self.peek()? == end;
        self.at += usize::from(is_over);
        Some(!is_over)
    }

    /// Members of the same name stay in the order in which they came: readers differ in which of them they believe.
    fn put_in_order(&mut self, first: usize) -> Option<()> {
        let (out, members) = (&mut self.out, &mut self.members[first..]);
        if members.is_sorted_by_key(|member| &out[member.from..member.named]) {
            return Some(());
        }
        let start = members.first()?.from;
        self.moves = self.moves.checked_sub(out.len() - start)?;
        members.sort_by(|a, b| out[a.from..a.named].cmp(&out[b.from..b.named]));
        let pieces: Vec<&[u8]> = members.iter().map(|member| &out[member.from..member.to]).collect();
        let sorted = pieces.concat();
        out.truncate(start);
        out.extend_from_slice(&sorted);
        Some(())
    }

    /// Without its escapes. `None` for one that is no text, such as half of a surrogate pair.
    fn string(&mut self) -> Option<std::borrow::Cow<'a, str>> {
        let start = self.at;
        if self.peek()? != b'"' {
            return None;
        }
        self.at += 1;
        loop {
            let rest = self.text.get(self.at..)?;
            let found = memchr::memchr2(b'"', b'\\', rest)?;
            self.at += found + if rest[found] == b'"' { 1 } else { 2 };
            if rest[found] == b'"' {
                return json::string(&self.text[start..self.at]);
            }
        }
    }

    /// Its length first, so that no text looks like something else.
    fn text(&mut self, text: &str) -> Option<()> {
        self.out.push(b'"');
        self.out.extend_from_slice(&u32::try_from(text.len()).ok()?.to_le_bytes());
        self.out.extend_from_slice(text.as_bytes());
        Some(())
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> Option<()> {
        let rest = &self.text[self.at..];
        let is_end = |byte: &u8| !byte.is_ascii_alphanumeric() && !matches!(byte, b'+' | b'-' | b'.');
        let length = rest.iter().position(is_end).unwrap_or(rest.len());
        if length == 0 {
            return None;
        }
        self.at += length;
        self.out.extend_from_slice(&rest[..length]);
        self.out.push(b';');
        Some(())
    }
}
