//! Objects that count, read as they arrive: usage is the one thing that is read of every reply that only passes.

use gateway_ir::json::Specials;

/// An object deeper than this is read by others.
const DEEPEST: usize = 2;

/// Calls `visit` for each member of the object at the beginning of `text`, and of the objects directly in it: with the name of the member that it is
/// a part of, empty for the object's own; its name; and what it counts, `None` for what is no whole number.
///
/// One pass over few bytes, which proves them on the way. `None` where there is more in it than what usage is written with (escapes, lists,
/// fractions, further levels) or it is no JSON: then what was visited says nothing, and a parser has to look.
pub(crate) fn of_object<'a>(text: &'a [u8], mut visit: impl FnMut(&'a [u8], &'a [u8], Option<u64>)) -> Option<()> {
    Reader { text, at: 0, specials: Specials::of(text) }.object(b"", 1, &mut visit)
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    specials: Specials<'a>,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn object(
        &mut self,
        of: &'a [u8],
        depth: usize,
        visit: &mut impl FnMut(&'a [u8], &'a [u8], Option<u64>),
    ) -> Option<()> {
        self.expect(b'{')?;
        if self.next_is(b'}') {
            return Some(());
        }
        loop {
            let name = self.string()?;
            self.expect(b':')?;
            self.space();
            match self.text.get(self.at)? {
                b'{' if depth < DEEPEST => {
                    // Of all members of one name the last one counts, whatever it is.
                    visit(of, name, None);
                    self.object(name, depth + 1, visit)?;
                }
                _ => {
                    let count = self.value()?;
                    visit(of, name, count);
                }
            }
            if self.next_is(b'}') {
                return Some(());
            }
            self.expect(b',')?;
        }
    }

    fn value(&mut self) -> Option<Option<u64>> {
        match self.text.get(self.at)? {
            b'0'..=b'9' => self.count().map(Some),
            b'"' => self.string().map(|_| None),
            b'n' => self.word(b"null"),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            _ => None,
        }
    }

    /// A whole number that fits; a zero stands alone.
    fn count(&mut self) -> Option<u64> {
        let text = &self.text[self.at..];
        let (mut length, mut count) = (0, 0_u64);
        while let Some(digit @ b'0'..=b'9') = text.get(length) {
            count = count.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
            length += 1;
        }
        self.at += length;
        let leads_with_zero = text[0] == b'0' && length > 1;
        let goes_on = matches!(text.get(length)?, b'.' | b'e' | b'E');
        (!leads_with_zero && !goes_on).then_some(count)
    }

    fn word(&mut self, word: &[u8]) -> Option<Option<u64>> {
        self.text[self.at..].starts_with(word).then(|| self.at += word.len())?;
        Some(None)
    }

    /// What is between the quotes, where nothing in it is escaped.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let (start, end) = (self.at, self.specials.next_from(self.at));
        self.at = end + 1;
        (*self.text.get(end)? == b'"').then(|| &self.text[start..end])
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.next_is(byte).then_some(())
    }

    /// Steps over it.
    fn next_is(&mut self, byte: u8) -> bool {
        self.space();
        let is = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(is);
        is
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;
    use crate::reading::{members_of, unsigned};

    type Told = Vec<(String, String, Option<u64>)>;

    fn told(text: &[u8]) -> Option<Told> {
        let mut told = Vec::new();
        let name = |name: &[u8]| String::from_utf8(name.to_vec()).expect("UTF-8");
        of_object(text, |of, member, count| told.push((name(of), name(member), count)))?;
        Some(told)
    }

    /// What a parser makes of the same.
    fn parsed(text: &[u8]) -> Option<Told> {
        let raw: &RawValue = serde_json::Deserializer::from_slice(text).into_iter().next()?.ok()?;
        let mut told = Vec::new();
        members_of(raw, |name, value| {
            told.push((String::new(), name.to_owned(), unsigned(value)));
            members_of(value, |inner, value| told.push((name.to_owned(), inner.to_owned(), unsigned(value))));
        });
        Some(told)
    }

    #[test]
    fn what_is_more_than_counts_is_left_to_others() {
        for text in [
            r#"{"a":1,"b":{"c":2,"d":null},"e":"f","g":true}x"#,
            r#" { "a" : 18446744073709551615 , "b" : { } } "#,
            r#"{"ä":1,"a":0,"b":{"c":0}}"#,
            "{}",
        ] {
            assert_eq!(told(text.as_bytes()), parsed(text.as_bytes()), "{text}");
            assert!(told(text.as_bytes()).is_some(), "{text}");
        }
        for text in [
            r#"{"a":18446744073709551616}"#,
            r#"{"a":1.0}"#,
            r#"{"a":1e3}"#,
            r#"{"a":-1}"#,
            r#"{"a":01}"#,
            r#"{"a":[]}"#,
            r#"{"a":{"b":{}}}"#,
            r#"{"\u0061":1}"#,
            "{\"a\n\":1}",
            r#"{"a":1,}"#,
            r#"{"a":1"#,
            r#"{"a":"#,
            r#"{"a":1"b":2}"#,
            r#"{"a":nul}"#,
            r#"{"a"1}"#,
            "[]",
            "",
        ] {
            assert_eq!(told(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        /// Whatever it reads, a parser reads the same.
        #[test]
        fn agrees_with_a_parser(
            text in r#"\{("[a-c]{1,2}" ?: ?([0-9]{1,3}|null|"[a-z]"|\{("[a-c]":[0-9]{1,2})?\}) ?,? ?){0,4}\}"#,
            at in 0..40_usize,
            byte in prop::sample::select(b"{}[]\",:.e-0 1\\\x1f\x7f".to_vec()),
        ) {
            let mut text = text.into_bytes();
            if let Some(told) = told(&text) {
                prop_assert_eq!(Some(told), parsed(&text));
            }
            if let Some(one) = text.get_mut(at) {
                *one = byte;
            }
            if let Some(told) = told(&text) {
                prop_assert_eq!(Some(told), parsed(&text));
            }
        }
    }
}
