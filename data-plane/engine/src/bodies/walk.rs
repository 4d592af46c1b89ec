//! A document from its beginning to where it ends or was cut, with the parts that are hidden replaced. What is no JSON is `None` where
//! members are to be hidden in it: nobody could say where they are.

use super::HIDDEN;
use super::looks::Looks;
use super::places::{Level, Places};

/// Documents in texts of documents (what tools are called with): so deep, and not deeper.
const MAX_NESTING: usize = 4;
/// Members that hold a document piece by piece, in a stream.
const PIECES: [&str; 2] = ["arguments", "partial_json"];

struct Walk<'a> {
    rest: &'a [u8],
    is_cut: bool,
    places: &'a Places,
    looks: &'a Looks,
    levels: Vec<Level>,
    out: Vec<u8>,
    n_hidden: u32,
    /// A name has been read, and that its value follows.
    is_told: bool,
    /// How many texts one is in.
    nesting: usize,
    is_stream: bool,
}

/// It is no JSON.
struct Unreadable;

pub(super) fn json(document: &[u8], is_cut: bool, places: &Places, looks: &Looks) -> Option<(Vec<u8>, u32)> {
    read((document, is_cut), places, looks, (0, false))
}

/// Event by event; what is no data passes by its looks.
pub(super) fn events(stream: &[u8], is_cut: bool, places: &Places, looks: &Looks) -> Option<(Vec<u8>, u32)> {
    let (mut out, mut n_hidden) = (Vec::with_capacity(stream.len()), 0);
    let mut lines = stream.split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let is_last = lines.peek().is_none();
        let data = line.strip_prefix(b"data:").map(<[u8]>::trim_ascii);
        let (hidden, n_here) = match data {
            Some(data) if data.first().is_some_and(|first| matches!(first, b'{' | b'[')) && data != b"[DONE]" => {
                let ending = &line[line.trim_ascii_end().len()..];
                let (data, n_here) = read((data, is_cut && is_last), places, looks, (0, true))?;
                ([b"data: ", data.as_slice(), ending].concat(), n_here)
            }
            // Data that go on from the line before, or are no JSON.
            Some(data) if !data.is_empty() && data != b"[DONE]" && !places.is_empty() => return None,
            _ => looks.hidden_in(line),
        };
        out.extend_from_slice(&hidden);
        n_hidden += n_here;
    }
    Some((out, n_hidden))
}

fn read(
    (document, is_cut): (&[u8], bool),
    places: &Places,
    looks: &Looks,
    (nesting, is_stream): (usize, bool),
) -> Option<(Vec<u8>, u32)> {
    let (levels, out) = (Vec::new(), Vec::with_capacity(document.len()));
    let mut walk =
        Walk { rest: document, is_cut, places, looks, levels, out, n_hidden: 0, is_told: false, nesting, is_stream };
    match walk.run() {
        Ok(()) => Some((walk.out, walk.n_hidden)),
        Err(Unreadable) if places.is_empty() => Some(looks.hidden_in(document)),
        Err(Unreadable) => None,
    }
}

// === impl Walk ===

impl<'a> Walk<'a> {
    fn run(&mut self) -> Result<(), Unreadable> {
        while let Some(byte) = self.rest.first() {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.copy(1),
                b':' => {
                    self.is_told = true;
                    self.copy(1);
                }
                b',' => {
                    match self.levels.last_mut() {
                        Some(Level::Array(number)) => *number += 1,
                        Some(Level::Object(member)) => *member = None,
                        // Documents one behind another.
                        None => {}
                    }
                    self.copy(1);
                }
                b'}' | b']' => {
                    let opened = self.levels.pop().ok_or(Unreadable)?;
                    if matches!(opened, Level::Array(_)) != (*byte == b']') {
                        return Err(Unreadable);
                    }
                    self.copy(1);
                }
                b'"' if matches!(self.levels.last(), Some(Level::Object(None))) => self.name()?,
                _ if matches!(self.levels.last(), Some(Level::Object(_))) && !std::mem::take(&mut self.is_told) => {
                    return Err(Unreadable);
                }
                _ if self.places.hide(&self.levels) => {
                    self.skip()?;
                    self.hidden();
                }
                b'{' => {
                    self.levels.push(Level::Object(None));
                    self.copy(1);
                }
                b'[' => {
                    self.levels.push(Level::Array(0));
                    self.copy(1);
                }
                b'"' => self.text()?,
                _ => self.scalar(),
            }
        }
        if self.levels.is_empty() || self.is_cut { Ok(()) } else { Err(Unreadable) }
    }

    fn name(&mut self) -> Result<(), Unreadable> {
        self.is_told = false;
        let (quoted, is_whole) = self.quoted();
        if is_whole {
            let name: String = serde_json::from_slice(quoted).map_err(|_| Unreadable)?;
            if let Some(Level::Object(member)) = self.levels.last_mut() {
                *member = Some(name);
            }
        } else if !self.is_cut {
            return Err(Unreadable);
        }
        let (name, n_hidden) = self.looks.hidden_in(quoted);
        self.out.extend_from_slice(&name);
        self.n_hidden += n_hidden;
        Ok(())
    }

    /// A value that is a text, which may itself hold a document.
    fn text(&mut self) -> Result<(), Unreadable> {
        let (quoted, is_whole) = self.quoted();
        if !is_whole && !self.is_cut {
            return Err(Unreadable);
        }
        if self.places.has_names() && self.is_piece() {
            self.hidden();
            return Ok(());
        }
        let has_escapes = memchr::memchr(b'\\', quoted).is_some();
        if is_whole && !has_escapes && !seems_document(&quoted[1..]) {
            let (text, n_hidden) = self.looks.hidden_in(quoted);
            self.out.extend_from_slice(&text);
            self.n_hidden += n_hidden;
            return Ok(());
        }
        let text = if is_whole { serde_json::from_slice::<String>(quoted).ok() } else { closed(quoted) };
        let hidden = text.and_then(|text| self.hide_in(&text, is_whole));
        match hidden {
            Some((_, 0)) => self.out.extend_from_slice(quoted),
            Some((text, n_hidden)) => {
                // A text is JSON.
                let mut text = serde_json::to_vec(&String::from_utf8_lossy(&text)).unwrap_or_default();
                text.truncate(if is_whole { text.len() } else { text.len().saturating_sub(1) });
                self.out.extend_from_slice(&text);
                self.n_hidden += n_hidden;
            }
            // Half a character, say, which JSON may hold and a text not.
            None => self.hidden(),
        }
        Ok(())
    }

    /// `None`: it cannot be read as what it seems to be, or is too deep.
    fn hide_in(&self, text: &str, is_whole: bool) -> Option<(Vec<u8>, u32)> {
        if !self.places.has_names() || !seems_document(text.as_bytes()) {
            return Some(self.looks.hidden_in(text.as_bytes()));
        }
        if !is_whole || self.nesting == MAX_NESTING {
            return None;
        }
        if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
            return Some(self.looks.hidden_in(text.as_bytes()));
        }
        read((text.as_bytes(), false), self.places, self.looks, (self.nesting + 1, false))
    }

    /// Whether one is in a member that streams tell piece by piece.
    fn is_piece(&self) -> bool {
        self.is_stream
            && matches!(self.levels.last(), Some(Level::Object(Some(name))) if PIECES.contains(&name.as_str()))
    }

    /// A number or a word. A number that is hidden becomes a text.
    fn scalar(&mut self) {
        let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r' | b'"' | b'{' | b'[');
        let n_bytes = self.rest.iter().position(is_end).unwrap_or(self.rest.len()).max(1);
        let (scalar, rest) = self.rest.split_at(n_bytes);
        self.rest = rest;
        match self.looks.hide(scalar) {
            Some(_) => self.hidden(),
            None => self.out.extend_from_slice(scalar),
        }
    }

    /// Over one value, to its end or to where the document is cut.
    fn skip(&mut self) -> Result<(), Unreadable> {
        let mut depth = 0_usize;
        while let Some(byte) = self.rest.first() {
            match byte {
                b'"' => {
                    self.quoted();
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.rest = &self.rest[1..];
                }
                // Of what holds the value: a scalar ends before it.
                b'}' | b']' | b',' if depth == 0 => return Ok(()),
                b'}' | b']' => {
                    depth -= 1;
                    self.rest = &self.rest[1..];
                }
                _ => self.rest = &self.rest[1..],
            }
            let is_scalar = !matches!(byte, b'"' | b'}' | b']');
            if depth == 0 && !is_scalar {
                return Ok(());
            }
        }
        if self.is_cut || depth == 0 { Ok(()) } else { Err(Unreadable) }
    }

    /// A text with its quotes, and whether its end is here.
    fn quoted(&mut self) -> (&'a [u8], bool) {
        let mut at = 1;
        while let Some(found) = self.rest.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
            at += found;
            if self.rest[at] == b'"' {
                let (quoted, rest) = self.rest.split_at(at + 1);
                self.rest = rest;
                return (quoted, true);
            }
            at += 2;
        }
        (std::mem::take(&mut self.rest), false)
    }

    fn copy(&mut self, n_bytes: usize) {
        let (copied, rest) = self.rest.split_at(n_bytes);
        self.out.extend_from_slice(copied);
        self.rest = rest;
    }

    fn hidden(&mut self) {
        self.out.push(b'"');
        self.out.extend_from_slice(HIDDEN.as_bytes());
        self.out.push(b'"');
        self.n_hidden += 1;
    }
}

fn seems_document(text: &[u8]) -> bool {
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// A text whose end is not here, without an escape that was cut.
fn closed(quoted: &[u8]) -> Option<String> {
    let last = &quoted[quoted.len().saturating_sub(12)..];
    let mut ends = (0..=last.len()).map(|n_less| &quoted[..quoted.len() - n_less]).filter(|text| !text.is_empty());
    ends.find_map(|text| serde_json::from_slice(&[text, b"\""].concat()).ok())
}
