//! One pass over a JSON text: proves it well-formed (RFC 8259) and shows the members of its top-level object. Builds nothing.
//!
//! This is what the request path runs on every body, so that a 200 KB prompt costs a scan and not a tree.

mod specials;
pub mod known;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use serde_json::value::RawValue;

pub use self::specials::{Specials, is_plain};

/// Deepest nesting accepted; deeper texts are refused before they can cost a stack.
pub const MAX_DEPTH: usize = 128;

/// A member of the top-level object. Offsets are into the scanned text.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// The name as written between its quotes; escapes are not undone (see [`Member::is`]).
    pub name: &'a [u8],
    /// The value, without surrounding white space.
    pub value: Range<usize>,
}

/// What was found somewhere below a top-level member: marks, and a number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Below {
    pub bits: u8,
    pub n_bytes: usize,
}

/// Where and why a text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub offset: usize,
    pub reason: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.reason, self.offset)
    }
}

/// A text that has been scanned to its end: who reads it needs no proof again.
#[derive(Clone, Debug, Default)]
pub struct Document(Bytes);

/// Scans `text`, which must be one JSON object and nothing after it, and calls `visit` for each top-level member in order.
pub fn scan_object<'a>(text: &'a [u8], mut visit: impl FnMut(Member<'a>)) -> Result<(), Fault> {
    scan(text, |_, _| Below::default(), |member, _| visit(member)).map(drop)
}

/// The same, looking at the name and the value of every member below as well. What `look` finds there is given to `visit` in one.
pub fn scan_object_below<'a>(
    body: &'a Bytes,
    look: impl Fn(&[u8], &[u8]) -> Below + Copy,
    visit: impl FnMut(Member<'a>, Below),
) -> Result<Document, Fault> {
    scan(body, look, visit).map(|object| Document(body.slice(object)))
}

/// Where the object is.
fn scan<'a>(
    text: &'a [u8],
    look: impl Fn(&[u8], &[u8]) -> Below + Copy,
    mut visit: impl FnMut(Member<'a>, Below),
) -> Result<Range<usize>, Fault> {
    as_text(text)?;
    let mut scanner = Scanner::over(text, look);
    scanner.space();
    if scanner.peek() != Some(b'{') {
        return scanner.fault("expected a JSON object");
    }
    let start = scanner.at;
    scanner.members(1, &mut |name, value, below| visit(Member { name, value }, below))?;
    let object = start..scanner.at;
    scanner.space();
    if scanner.at == text.len() { Ok(object) } else { scanner.fault("something follows the JSON document") }
}

/// The one JSON value that `text` is, proven; what is below it needs no proof again (see [`known`]).
pub fn prove(text: &[u8]) -> Result<&RawValue, Fault> {
    let checked = as_text(text)?;
    let mut scanner = Scanner::over(text, |_, _| Below::default());
    scanner.space();
    let start = scanner.at;
    scanner.value(0)?;
    let value = start..scanner.at;
    scanner.space();
    if scanner.at == text.len() {
        Ok(known::part(&checked[value]))
    } else {
        scanner.fault("something follows the JSON document")
    }
}

fn as_text(bytes: &[u8]) -> Result<&str, Fault> {
    simdutf8::compat::from_utf8(bytes).map_err(|bad| Fault { offset: bad.valid_up_to(), reason: "not valid UTF-8" })
}

/// Undoes the escapes of a string value, quotes included in `raw`. `None` if it is no string.
pub fn string(raw: &[u8]) -> Option<std::borrow::Cow<'_, str>> {
    let inner = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if memchr::memchr(b'\\', inner).is_none() {
        return std::str::from_utf8(inner).ok().map(Into::into);
    }
    serde_json::from_slice::<String>(raw).ok().map(Into::into)
}

// === impl Document ===

impl Document {
    /// Costs a look at its UTF-8. `null` where nothing was scanned.
    pub fn raw(&self) -> &RawValue {
        match as_text(&self.0) {
            Ok(text) if !text.is_empty() => known::part(text),
            _ => RawValue::NULL,
        }
    }
}

// === impl Member ===

impl Member<'_> {
    /// Whether this member has the given (plain ASCII) name, however its letters were escaped.
    pub fn is(&self, name: &str) -> bool {
        if self.name == name.as_bytes() {
            return true;
        }
        memchr::memchr(b'\\', self.name).is_some() && {
            let quoted = [b"\"", self.name, b"\""].concat();
            string(&quoted).is_some_and(|plain| plain == name)
        }
    }
}

struct Scanner<'a, L> {
    text: &'a [u8],
    at: usize,
    specials: Specials<'a>,
    look: L,
    /// Found since the last top-level member.
    below: Below,
}

// === impl Below ===

impl Below {
    fn with(self, other: Self) -> Self {
        Self { bits: self.bits | other.bits, n_bytes: self.n_bytes + other.n_bytes }
    }
}

// === impl Scanner ===

impl<'a, L: Fn(&[u8], &[u8]) -> Below + Copy> Scanner<'a, L> {
    fn over(text: &'a [u8], look: L) -> Self {
        Self { text, at: 0, specials: Specials::of(text), look, below: Below::default() }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn fault<T>(&self, reason: &'static str) -> Result<T, Fault> {
        Err(Fault { offset: self.at, reason })
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{') => {
                let (text, look, mut found) = (self.text, self.look, Below::default());
                self.members(depth + 1, &mut |name, value, _| found = found.with(look(name, &text[value])))?;
                self.below = self.below.with(found);
                Ok(())
            }
            Some(b'[') => self.elements(depth + 1),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => self.fault("expected a value"),
            None => self.fault("the document ends too early"),
        }
    }

    fn members(&mut self, depth: usize, visit: &mut dyn FnMut(&'a [u8], Range<usize>, Below)) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return self.fault("nested too deeply");
        }
        self.at += 1;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.fault("expected a member name in quotes");
            }
            let name_start = self.at + 1;
            self.string()?;
            let name = &self.text[name_start..self.at - 1];
            self.space();
            if self.peek() != Some(b':') {
                return self.fault("expected `:` after a member name");
            }
            self.at += 1;
            self.space();
            let start = self.at;
            self.value(depth)?;
            let below = if depth == 1 { std::mem::take(&mut self.below) } else { Below::default() };
            visit(name, start..self.at, below);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.fault("expected `,` or `}`"),
            }
            self.space();
        }
    }

    fn elements(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return self.fault("nested too deeply");
        }
        self.at += 1;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth)?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.fault("expected `,` or `]`"),
            }
            self.space();
        }
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<(), Fault> {
        if !self.text[self.at..].starts_with(word) {
            return self.fault("expected a value");
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return self.fault("expected a digit"),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.some_digits()?;
        }
        Ok(())
    }

    fn some_digits(&mut self) -> Result<(), Fault> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return self.fault("expected a digit");
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
    }

    /// From the opening quote to after the closing one.
    fn string(&mut self) -> Result<(), Fault> {
        self.at += 1;
        loop {
            self.at = self.specials.next_from(self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return self.fault("a control character must be escaped in a string"),
                None => return self.fault("a string is not closed"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let rest = &self.text[self.at + 1..];
        match rest.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') if rest.len() >= 5 && rest[1..5].iter().all(u8::is_ascii_hexdigit) => self.at += 6,
            _ => return self.fault("unknown escape in a string"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: &str) -> Result<Vec<(String, String)>, Fault> {
        let mut found = Vec::new();
        scan_object(text.as_bytes(), |member| {
            let name = String::from_utf8_lossy(member.name).into_owned();
            found.push((name, text[member.value].to_owned()));
        })?;
        Ok(found)
    }

    #[test]
    fn shows_top_level_members_only() {
        let found = members(r#" {"a" : {"b":[1,2,{"a":"}"}]} , "c":"x\"y","d":-1.5e+3,"e":null } "#).expect("valid");
        let expected = [("a", r#"{"b":[1,2,{"a":"}"}]}"#), ("c", r#""x\"y""#), ("d", "-1.5e+3"), ("e", "null")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn agrees_with_serde_json_on_what_is_json() {
        let long = "x".repeat(100);
        let cases = [
            "",
            "{",
            "{}",
            "[]",
            "1",
            "{}x",
            "{}{}",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":+1}"#,
            r#"{"a":1e}"#,
            r#"{"a":-}"#,
            r#"{"a":tru}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\u12g4"}"#,
            r#"{"a":"\u12"}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":"b"#,
            r#"{'a':1}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":[1 2]}"#,
            r#"{"a":{"b":1}"#,
            r#"{"a":nullx}"#,
            r#"{"a" 1}"#,
            "\u{feff}{}",
            r#"{"a":"é\u00e9"}"#,
        ];
        for case in cases.into_iter().map(str::to_owned).chain([format!(r#"{{"a":"{long}","b":"{long}\"{long}"}}"#)]) {
            let theirs = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&case).is_ok();
            assert_eq!(members(&case).is_ok(), theirs, "{case}");
            for text in [case.clone(), format!(" [1, {case} , \"\\ud800\"]\n")] {
                let theirs = serde_json::from_str::<&RawValue>(&text).map(RawValue::get);
                assert_eq!(prove(text.as_bytes()).map(RawValue::get).ok(), theirs.ok(), "{text}");
            }
        }
    }

    #[test]
    fn refuses_bad_utf8_and_deep_nesting() {
        assert_eq!(scan_object(b"{\"a\":\"\xff\"}", |_| ()), Err(Fault { offset: 6, reason: "not valid UTF-8" }));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        assert_eq!(members(&deep).map_err(|fault| fault.reason), Err("nested too deeply"));
        let fine = format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
        assert!(members(&fine).is_ok());
    }

    #[test]
    fn an_escaped_name_is_still_the_name() {
        let mut hits = 0;
        scan_object(br#"{"mod\u0065l":1,"model":2,"modal":3}"#, |member| hits += usize::from(member.is("model")))
            .expect("valid");
        assert_eq!(hits, 2);
    }
}
