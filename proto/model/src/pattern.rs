//! Regular expressions as configurations may hold them: bounded in length and in what they compile to, so that none takes the
//! memory of a node. Matching is linear in the text, whatever the pattern (<https://docs.rs/regex>).

use regex::{Regex, RegexBuilder};

/// Characters of a pattern.
const MAX_LENGTH: usize = 1024;
/// Bytes of a compiled one. A word's worth of ordinary patterns takes a few kilobytes.
const MAX_SIZE: usize = 256 * 1024;

/// Compiles `text`, or says what is wrong with it.
pub fn regex(text: &str) -> Result<Regex, String> {
    if text.len() > MAX_LENGTH {
        return Err(format!("is too long for a regular expression; {MAX_LENGTH} bytes are the most"));
    }
    RegexBuilder::new(text).size_limit(MAX_SIZE).dfa_size_limit(MAX_SIZE).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            format!("is a regular expression that takes more than {} KiB; write it shorter", MAX_SIZE / 1024)
        }
        other => {
            let reason = other.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("is no regular expression: {reason}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_compile_or_explodes_is_refused() {
        for fine in ["", "^gpt-[0-9]+$", "(?i)claude|opus", &"x".repeat(1024)] {
            assert!(regex(fine).is_ok(), "{fine}");
        }
        let cases = [("(", "no regular expression: unclosed group"), (r"\w{200}{200}", "takes more than 256 KiB")];
        for (text, expected) in cases {
            let refused = regex(text).expect_err(text);
            assert!(refused.contains(expected), "{refused}");
        }
        assert!(regex(&"x".repeat(1025)).is_err_and(|reason| reason.contains("too long")));
    }
}
