//! Patterns over names: `*` stands for any characters, `/` among them. Everything else is literal and case counts.

/// A compiled pattern. Matching allocates nothing and takes time linear in the name for patterns with one `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// The literal pieces between the stars; `a*b` has two, a pattern without a star one.
    pieces: Box<[Box<str>]>,
}

// === impl Glob ===

impl Glob {
    pub fn new(pattern: &str) -> Self {
        Self { pieces: pattern.split('*').map(Box::from).collect() }
    }

    /// As people wrote it.
    pub fn pattern(&self) -> String {
        self.pieces.join("*")
    }

    /// The one name that it stands for; `None` where there are more.
    pub(crate) fn literal(&self) -> Option<&str> {
        match &self.pieces[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    pub fn matches(&self, name: &str) -> bool {
        let [first, middle @ .., last] = &self.pieces[..] else {
            return self.pieces.first().is_some_and(|only| **only == *name);
        };
        let Some(mut rest) = name.strip_prefix(&**first) else { return false };
        // The leftmost place of each piece leaves the most room for those behind it.
        for piece in middle {
            match rest.find(&**piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        rest.ends_with(&**last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_is_any_characters() {
        let cases = [
            ("*", &["", "gpt", "openai/gpt"][..], &[][..]),
            ("gpt-4o", &["gpt-4o"], &["gpt-4o-mini", "GPT-4o", ""]),
            ("gpt-*", &["gpt-", "gpt-4o", "gpt-a/b"], &["gpt", "xgpt-4"]),
            ("*/gpt-*", &["openai/gpt-4", "a/b/gpt-"], &["gpt-4", "openai/gpt"]),
            ("a*b*c", &["abc", "aXbYc", "abbc", "abcbc"], &["acb", "ab", "ac"]),
            ("aa*aa", &["aaaa", "aaXaa"], &["aa", "aaa"]),
            ("", &[""], &["a"]),
        ];
        for (pattern, matching, others) in cases {
            let glob = Glob::new(pattern);
            assert_eq!(glob.pattern(), pattern);
            matching.iter().for_each(|name| assert!(glob.matches(name), "`{pattern}` must match `{name}`"));
            others.iter().for_each(|name| assert!(!glob.matches(name), "`{pattern}` must not match `{name}`"));
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_regex(pattern in "[ab*]{0,8}", name in "[ab]{0,10}") {
            let regex = regex::Regex::new(&format!("^{}$", pattern.replace('*', ".*"))).expect("a valid regex");
            prop_assert_eq!(Glob::new(&pattern).matches(&name), regex.is_match(&name));
        }
    }
}
