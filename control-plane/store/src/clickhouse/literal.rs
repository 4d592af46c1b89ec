//! Values as they stand in a statement: version 18.16 binds none. This is the only place where one becomes text.

use std::fmt::Write as _;

/// A text, whatever is in it.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for letter in text.chars() {
        match letter {
            '\'' | '\\' => quoted.extend(['\\', letter]),
            '\0' => quoted.push_str("\\0"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            letter => quoted.push(letter),
        }
    }
    quoted.push('\'');
    quoted
}

/// A whole number. One below zero would be a minus and a number, of which the least has none.
pub(crate) fn number(number: i64) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = if number < 0 { write!(text, "toInt64('{number}')") } else { write!(text, "{number}") };
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What stands between the quotes, as ClickHouse reads it; `None` where the text ends before its end or not at all.
    fn read(literal: &str) -> Option<String> {
        let inner = literal.strip_prefix('\'')?.strip_suffix('\'')?;
        let mut letters = inner.chars();
        let mut text = String::new();
        while let Some(letter) = letters.next() {
            match letter {
                '\'' => return None,
                '\\' => text.push(match letters.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    '0' => '\0',
                    other => other,
                }),
                other => text.push(other),
            }
        }
        Some(text)
    }

    proptest! {
        #[test]
        fn a_text_stays_between_its_quotes(text in r"(\PC|['\\\x00\n\r\x1b%`;?{}-])*") {
            prop_assert_eq!(read(&quoted(&text)), Some(text));
        }
    }

    #[test]
    fn values_are_written() {
        for (text, expected) in
            [("", "''"), (r"a\'b", r"'a\\\'b'"), ("a\0'; --", r"'a\0\'; --'"), ("%_\u{1F600}", "'%_\u{1F600}'")]
        {
            assert_eq!(quoted(text), expected);
        }
        assert_eq!(number(0), "0");
        assert_eq!(number(i64::MIN), "toInt64('-9223372036854775808')");
    }
}
