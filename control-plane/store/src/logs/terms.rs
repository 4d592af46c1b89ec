//! What a record is found by beside its columns: terms (`team=core`) and the words of its texts, a line each.

use crate::db::line;

/// Of one record; what is beyond is not found by it.
const MAX_TERMS: usize = 64;
const MAX_WORDS: usize = 64;
/// Letters of a word that count.
const MAX_WORD: usize = 40;

/// Collected while a record is read.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    terms: Vec<String>,
    words: Vec<String>,
}

// === impl Terms ===

impl Terms {
    /// What is empty is not there.
    pub fn put(&mut self, field: &str, value: &str) {
        if !value.is_empty() && self.terms.len() < MAX_TERMS {
            self.terms.push(term(field, value));
        }
    }

    /// Whatever may be looked for without saying where.
    pub fn say(&mut self, text: &str) {
        for word in words(text) {
            if self.words.len() < MAX_WORDS && !self.words.contains(&word) {
                self.words.push(word);
            }
        }
    }

    /// As a column takes it.
    pub fn into_text(self) -> String {
        let words = self.words.iter().map(|word| format!("~{word}"));
        self.terms.iter().cloned().chain(words).collect::<Vec<_>>().join("\n")
    }
}

/// A term is one line.
pub(super) fn term(field: &str, value: &str) -> String {
    format!("{field}={}", line(value))
}

/// Letters and digits that stand together, in small letters.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word.chars().take(MAX_WORD).flat_map(char::to_lowercase).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_one_line_each() {
        let mut terms = Terms::default();
        terms.put("team", "core");
        terms.put("user", "");
        terms.put("tag", "a\nteam=other\0");
        terms.say("Rate-limited: the LIMIT `rpm` of rate");
        assert_eq!(terms.into_text(), "team=core\ntag=a team=other \n~rate\n~limited\n~the\n~limit\n~rpm\n~of");
        let mut many = Terms::default();
        (0..1000).for_each(|number| many.put("tag", &"x".repeat(number)));
        (0..1000).for_each(|number| many.say(&format!("w{number}")));
        assert_eq!(many.into_text().lines().count(), MAX_TERMS + MAX_WORDS);
    }
}
