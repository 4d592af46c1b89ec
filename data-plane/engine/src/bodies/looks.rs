//! What is hidden by how it looks: keys, addresses of mail, numbers of cards. In bytes, so that it does not matter what they are.

use std::sync::LazyLock;

use gateway_model::bodies::Pattern;
use memchr::memmem;
use regex::bytes::{Captures, Regex};

use super::HIDDEN;

/// Which of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looks {
    keys: bool,
    emails: bool,
    cards: bool,
}

/// Our own, whatever a rule says.
static OWN: LazyLock<Regex> = LazyLock::new(|| built(r"(?-u)gw_(?:virt|master|join)_[A-Za-z0-9]{16,}"));

/// Those that say by their beginning what they are, JSON web tokens, private keys.
static KEYS: LazyLock<Regex> = LazyLock::new(|| {
    built(concat!(
        r"(?-u)-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\z)",
        r"|\b(?:sk-[A-Za-z0-9_-]{16,}|[rs]k_(?:live|test)_[A-Za-z0-9]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}",
        r"|AIza[A-Za-z0-9_-]{30,}|gh[oprsu]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}",
        r"|glpat-[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{20,}|gsk_[A-Za-z0-9]{20,}|npm_[A-Za-z0-9]{30,}",
        r"|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?)",
    ))
});

static EMAILS: LazyLock<Regex> =
    LazyLock::new(|| built(r"(?-u)[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,24}"));

static CARDS: LazyLock<Regex> = LazyLock::new(|| built(r"(?-u)\b[0-9](?:[ -]?[0-9]){12,18}\b"));

fn built(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern of ours")
}

// === impl Looks ===

impl Looks {
    /// Builds what it needs, so that no request does.
    pub(super) fn compile(written: Option<&[Pattern]>) -> Self {
        let has = |pattern| written.unwrap_or(&Pattern::ALL).contains(&pattern);
        for pattern in [&OWN, &KEYS, &EMAILS, &CARDS] {
            LazyLock::force(pattern);
        }
        Self { keys: has(Pattern::Keys), emails: has(Pattern::Emails), cards: has(Pattern::Cards) }
    }

    /// The text without what is hidden in it, and how often.
    pub(super) fn hidden_in(self, text: &[u8]) -> (Vec<u8>, u32) {
        match self.hide(text) {
            Some(hidden) => hidden,
            None => (text.to_vec(), 0),
        }
    }

    /// `None`: there is nothing to hide.
    pub(super) fn hide(self, text: &[u8]) -> Option<(Vec<u8>, u32)> {
        let mut hidden: Option<(Vec<u8>, u32)> = None;
        let wanted = [(true, &OWN), (self.keys, &KEYS), (self.emails, &EMAILS), (self.cards, &CARDS)];
        for (_, pattern) in wanted.into_iter().filter(|(is_wanted, _)| *is_wanted) {
            let is_card = std::ptr::eq(pattern, &CARDS);
            let before = hidden.as_ref().map_or(text, |(text, _)| text);
            let mut n_here = 0;
            let after = pattern.replace_all(before, |found: &Captures<'_>| {
                let found = &found[0];
                if is_card && !has_check_digit(found) {
                    return found.to_vec();
                }
                n_here += 1;
                HIDDEN.as_bytes().to_vec()
            });
            if n_here > 0 {
                let after = after.into_owned();
                hidden = Some((after, hidden.map_or(0, |(_, n_before)| n_before) + n_here));
            }
        }
        hidden
    }

    /// Without what may be the beginning of something that is to be hidden and was cut.
    pub(super) fn whole_words(self, first: &[u8]) -> &[u8] {
        let is_of_word = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b'{' | b'[' | b'\\');
        let is_of_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b' ' | b'-');
        let end = first.iter().rposition(|byte| !is_of_word(byte)).map_or(0, |at| at + 1);
        let end = match self.cards {
            true => first[..end].iter().rposition(|byte| !is_of_number(byte)).map_or(0, |at| at + 1),
            false => end,
        };
        &first[..end]
    }
}

/// By Luhn's rule; 13 to 19 digits, with what stands between them.
fn has_check_digit(number: &[u8]) -> bool {
    let digits = number.iter().rev().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0'));
    let sum: u32 = digits
        .enumerate()
        .map(|(at, digit)| match at % 2 {
            0 => digit,
            _ if digit > 4 => digit * 2 - 9,
            _ => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Puts something else where the secret is; returns how often it was there.
pub(super) fn take_out(content: &mut Vec<u8>, secret: &[u8]) -> u32 {
    let found: Vec<usize> = memmem::find_iter(content, secret).collect();
    for at in found.iter().rev() {
        content.splice(at..&(at + secret.len()), HIDDEN.bytes());
    }
    u32::try_from(found.len()).unwrap_or(u32::MAX)
}
