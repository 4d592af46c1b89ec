//! Walks over texts that are known to be JSON: what has been proven once is not proven again on every level below.
//!
//! The evidence is the type: a [`RawValue`] is made by a parser only, or here, of a part of another one.

use std::borrow::Cow;
use std::iter;

use serde::Deserialize as _;
use serde::de::value::{BorrowedStrDeserializer, Error, MapDeserializer};
use serde::de::{Deserializer, Visitor};
use serde_json::value::RawValue;

use super::Specials;

/// Calls `visit` with the name, as it is written with its quotes, and the value of each member of the object; anything but an
/// object has none. Costs one pass over the text, whatever is nested in it.
pub fn members<'a>(object: &'a RawValue, mut visit: impl FnMut(&'a RawValue, &'a RawValue)) {
    let mut walk = Walk::into(object);
    if !object.get().starts_with('{') {
        return;
    }
    while let Some(name) = walk.value() {
        let Some(value) = walk.value() else { return };
        visit(name, value);
    }
}

/// Calls `visit` with each element; anything but an array has none.
pub fn elements<'a>(array: &'a RawValue, mut visit: impl FnMut(&'a RawValue)) {
    let mut walk = Walk::into(array);
    if !array.get().starts_with('[') {
        return;
    }
    while let Some(value) = walk.value() {
        visit(value);
    }
}

/// What a string says, its escapes undone; `None` if it is no string, or escapes half a character.
pub fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    match memchr::memchr(b'\\', inner.as_bytes()) {
        None => Some(Cow::Borrowed(inner)),
        Some(first) => unescaped(inner, first).map(Cow::Owned),
    }
}

/// `text` without its escapes, whose first is at `escape`; `None` if one of them is half a character. In a string nothing else
/// is special, and what an escape says of itself is passed over with it.
fn unescaped(text: &str, mut escape: usize) -> Option<String> {
    let mut escapes = Specials::of(text.as_bytes());
    let (mut plain, mut at) = (String::with_capacity(text.len()), 0);
    while escape < text.len() {
        plain.push_str(&text[at..escape]);
        let (said, length) = character(&text[escape..])?;
        plain.push(said);
        at = escape + length;
        escape = escapes.next_from(at);
    }
    plain.push_str(&text[at..]);
    Some(plain)
}

/// The character that the escape at the start of `text` stands for, and the escape's length (RFC 8259, section 7).
fn character(text: &str) -> Option<(char, usize)> {
    let said = match text.as_bytes().get(1)? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'u' => return utf16(text),
        other => char::from(*other),
    };
    Some((said, 2))
}

/// The character of one `\uXXXX`, or of two that are a surrogate pair.
fn utf16(text: &str) -> Option<(char, usize)> {
    const LENGTH: usize = r"\uXXXX".len();
    let unit = |from: usize| u16::from_str_radix(text.get(from + 2..from + LENGTH)?, 16).ok();
    let first = unit(0)?;
    if let Some(said) = char::from_u32(first.into()) {
        return Some((said, LENGTH));
    }
    let pair = [first, text[LENGTH..].starts_with(r"\u").then(|| unit(LENGTH))??];
    let said = char::decode_utf16(pair).next()?.ok()?;
    Some((said, 2 * LENGTH))
}

/// Goes from value to value on one level.
struct Walk<'a> {
    text: &'a str,
    at: usize,
    specials: Specials<'a>,
}

// === impl Walk ===

impl<'a> Walk<'a> {
    /// Behind the bracket that opens an object or array.
    fn into(raw: &'a RawValue) -> Self {
        let text = raw.get();
        Self { text, at: 1, specials: Specials::of(text.as_bytes()) }
    }

    /// The next value, or name, of this level; `None` at its end.
    fn value(&mut self) -> Option<&'a RawValue> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at)?, b' ' | b'\n' | b'\r' | b'\t' | b',' | b':') {
            self.at += 1;
        }
        let start = self.at;
        self.at = self.end_of_value(start);
        // Nothing at all: the bracket that ends this level.
        (self.at > start).then(|| part(&self.text[start..self.at]))
    }

    /// Where the value ends that starts at `at`.
    fn end_of_value(&mut self, mut at: usize) -> usize {
        let (bytes, mut depth) = (self.text.as_bytes(), 0_usize);
        while let Some(byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'"' => at = self.end_of_string(at),
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth == 0 => return at - 1,
                b'}' | b']' => depth -= 1,
                _ if depth == 0 => return end_of_word(bytes, at),
                _ => continue,
            }
            if depth == 0 {
                return at;
            }
        }
        at
    }

    /// Behind the closing quote of the string whose inside goes on at `at`.
    fn end_of_string(&mut self, mut at: usize) -> usize {
        let bytes = self.text.as_bytes();
        loop {
            at = self.specials.next_from(at);
            match bytes.get(at) {
                None => return bytes.len(),
                Some(b'"') => return at + 1,
                // The backslash and what it escapes.
                Some(_) => at = (at + 2).min(bytes.len()),
            }
        }
    }
}

/// Behind the last byte of the number or literal that goes on at `at`.
fn end_of_word(bytes: &[u8], at: usize) -> usize {
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
    bytes[at..].iter().position(ends).map_or(bytes.len(), |length| at + length)
}

/// A part of a text that is known to be JSON, which is one value, as such.
pub(super) fn part(text: &str) -> &RawValue {
    <&RawValue>::deserialize(Part(text)).expect("raw values are taken as they are told by any deserializer")
}

/// Tells serde a raw value in the one way it takes it: as a map of one, named as it asks.
struct Part<'a>(&'a str);

// === impl Part ===

impl<'de> Deserializer<'de> for Part<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(MapDeserializer::new(iter::once((name, BorrowedStrDeserializer::new(self.0)))))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// What the walk finds on every level, put together again.
    fn rebuilt(raw: &RawValue) -> Value {
        match raw.get().as_bytes()[0] {
            b'{' => {
                let mut found = serde_json::Map::new();
                members(raw, |name, value| {
                    found.insert(string(name).expect("a string").into_owned(), rebuilt(value));
                });
                Value::Object(found)
            }
            b'[' => {
                let mut found = Vec::new();
                elements(raw, |value| found.push(rebuilt(value)));
                Value::Array(found)
            }
            b'"' => Value::String(string(raw).expect("a string").into_owned()),
            _ => serde_json::from_str(raw.get()).expect("a number or a literal"),
        }
    }

    fn check(text: &str) {
        let raw: &RawValue = serde_json::from_str(text).expect("JSON");
        assert_eq!(rebuilt(raw), serde_json::from_str::<Value>(text).expect("JSON"), "{text}");
    }

    fn json() -> impl Strategy<Value = Value> {
        let text = prop_oneof![".{0,8}", "[a\"\\\\{}\\[\\],: \n\u{e9}]{0,80}"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i32>().prop_map(Value::from),
            text.clone().prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 40, 6, move |below| {
            prop_oneof![
                prop::collection::vec(below.clone(), 0..6).prop_map(Value::Array),
                prop::collection::vec((text.clone(), below), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn finds_what_a_parser_finds(value in json()) {
            check(&value.to_string());
            check(&format!("{value:#}"));
        }
    }

    proptest! {
        #[test]
        fn undoes_escapes_as_a_parser_does(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..12)) {
            let text = format!("\"{}\"", pieces.concat());
            let raw: &RawValue = serde_json::from_str(&text).expect("JSON");
            prop_assert_eq!(string(raw).map(Cow::into_owned), serde_json::from_str::<String>(&text).ok());
        }
    }

    const PIECES: &[&str] = &[
        "a",
        "\u{e9}",
        "\u{1f600}",
        r"\n",
        r"\t",
        r"\r",
        r"\b",
        r"\f",
        r"\/",
        r"\\",
        r#"\""#,
        r"\u0041",
        r"\u00e9",
        r"\u0000",
        r"\ud83d\ude00",
        r"\uD83D",
        r"\ude00",
        "u0041",
    ];

    #[test]
    fn finds_what_a_parser_finds_however_it_is_spaced() {
        let long = "x".repeat(100);
        for text in [
            "{}",
            " [ ] ",
            "{ \"a\" : 1 , \"b\" :\t[ 1 ,-2.5e+3, true ,null ] }",
            r#"{"a":"\"","b":"\\","c":{"d":"]}"},"":""}"#,
            r#"["\ud83d\ude00","\u0000"]"#,
            &format!(r#"{{"a":"{long}","b":"{long}\"{long}\\","c":0}}"#),
        ] {
            check(text);
        }
    }

    #[test]
    fn half_a_character_is_no_string() {
        let raw: &RawValue = serde_json::from_str(r#""\ud800""#).expect("JSON");
        assert_eq!(string(raw), None);
        assert_eq!(string(serde_json::from_str(r#"["a"]"#).expect("JSON")), None);
    }
}
