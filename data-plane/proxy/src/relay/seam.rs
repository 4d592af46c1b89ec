//! Where the rest of a reply meets what was said before: what the second target repeats of it is left out, but only where that is
//! certain, because text that is told twice is a blemish and text that is lost is a lie.
//!
//! The rule. A target that goes on from a turn may begin by repeating *all* of it; one that was asked in words to go on may begin
//! by repeating the end of it. Either is taken for a repetition only if it is at least [`CERTAIN`] bytes long and, where it is not
//! all, stands nowhere else in what was said. Where the catalogue says that a vendor repeats the turn, no length is too short. White
//! space that was taken off the turn's end, as vendors want it, was said already. Everything else is told as it comes.

use std::mem::take;

/// A shorter repetition may be meant.
const CERTAIN: usize = 32;

/// How the second target was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To continue a turn of the assistant, which ends in no white space.
    Prefill { echo: bool },
    /// To continue a text.
    Prompt,
    /// In words.
    Asked,
    /// For everything, because nothing had been said.
    Anew,
}

/// What the beginning of the rest is held against.
#[derive(Debug)]
pub(super) struct Seam {
    /// What the target was given to go on from.
    given: String,
    way: Way,
    /// What has come while it may still be a repetition.
    held: String,
    /// Where in `given` that may begin; `None`: nothing has come.
    candidates: Option<Vec<usize>>,
    /// What was said behind `given`, as far as it has not come again.
    behind: String,
    is_over: bool,
}

// === impl Seam ===

impl Seam {
    pub(super) fn new(said: &str, way: Way) -> Self {
        let n_given = if let Way::Prefill { .. } = way { said.trim_end().len() } else { said.len() };
        Self {
            given: said[..n_given].to_owned(),
            way,
            held: String::new(),
            candidates: None,
            behind: said[n_given..].to_owned(),
            is_over: false,
        }
    }

    /// What of the rest is new, as far as that is certain by now.
    pub(super) fn push(&mut self, text: String) -> String {
        if self.is_over || text.is_empty() {
            return text;
        }
        self.held.push_str(&text);
        let candidates = self.candidates.get_or_insert_with(|| candidates(&self.given, self.way));
        candidates.retain(|from| {
            let end = &self.given[*from..];
            end.starts_with(&self.held) || self.held.starts_with(end)
        });
        let may_be_more = candidates.iter().any(|from| self.given.len() - from > self.held.len());
        if may_be_more { String::new() } else { self.decide() }
    }

    /// What was held; nothing that belongs to it can follow.
    pub(super) fn flush(&mut self) -> String {
        if self.is_over { String::new() } else { self.decide() }
    }

    fn decide(&mut self) -> String {
        let whole = self.candidates.iter().flatten().filter(|from| self.held.starts_with(&self.given[**from..]));
        let repeated = whole.copied().find(|from| self.given.find(&self.given[*from..]) == Some(*from));
        let mut new = take(&mut self.held);
        if let Some(from) = repeated {
            new.drain(..self.given.len() - from);
        }
        let again = new.chars().zip(self.behind.chars()).take_while(|(new, said)| new == said);
        let n_again: usize = again.map(|(c, _)| c.len_utf8()).sum();
        self.behind.drain(..n_again);
        new.drain(..n_again);
        // More of the white space may follow.
        self.is_over = self.behind.is_empty() || !new.is_empty();
        self.candidates = Some(Vec::new());
        new
    }
}

/// Where a repetition may begin, the longest first.
fn candidates(given: &str, way: Way) -> Vec<usize> {
    let is_certain = |from: &usize| given.len() - from >= CERTAIN;
    match way {
        Way::Prefill { echo } if !given.is_empty() && (echo || is_certain(&0)) => vec![0],
        Way::Asked => given.char_indices().map(|(at, _)| at).take_while(is_certain).collect(),
        Way::Prefill { .. } | Way::Prompt | Way::Anew => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFILL: Way = Way::Prefill { echo: false };
    const SAID: &str = "The river rises in the hills, and then it runs to the sea";

    /// The new text, however it is cut into pieces.
    fn check(said: &str, way: Way, rest: &str, expected: &str) {
        for size in 1..=rest.chars().count().max(1) {
            let (mut seam, mut told) = (Seam::new(said, way), String::new());
            let chars: Vec<char> = rest.chars().collect();
            for piece in chars.chunks(size) {
                told.push_str(&seam.push(piece.iter().collect()));
            }
            told.push_str(&seam.flush());
            assert_eq!(told, expected, "{said:?} {way:?} {rest:?} in pieces of {size}");
        }
    }

    #[test]
    fn only_what_is_certain_is_left_out() {
        let twice = format!("{SAID}. {SAID}");
        let repeated = format!("{SAID} and on");
        let cases = [
            // Nothing is repeated.
            (SAID, PREFILL, " and on", " and on"),
            (SAID, Way::Asked, " and on", " and on"),
            (SAID, Way::Anew, SAID, SAID),
            // All of it.
            (SAID, PREFILL, &repeated, " and on"),
            (SAID, Way::Asked, &repeated, " and on"),
            (SAID, Way::Prompt, &repeated, &repeated),
            // The end of it: a target that goes on by itself means what it says.
            (SAID, Way::Asked, "and then it runs to the sea and on", "and then it runs to the sea and on"),
            (SAID, Way::Asked, "hills, and then it runs to the sea and on", " and on"),
            (SAID, PREFILL, "hills, and then it runs to the sea and on", "hills, and then it runs to the sea and on"),
            // Half of a repetition is none.
            (SAID, Way::Asked, "hills, and then it runs to the", "hills, and then it runs to the"),
            (SAID, PREFILL, "The river rises in the hills, or so", "The river rises in the hills, or so"),
            // What stands there twice may come a third time.
            (&twice, Way::Asked, &repeated, &repeated),
            (
                "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,",
                Way::Asked,
                "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,",
                "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,",
            ),
            // Short ones may be meant, unless the vendor is known to.
            ("ha", PREFILL, "ha ha", "ha ha"),
            ("ha", Way::Prefill { echo: true }, "ha ha", " ha"),
            // White space that the turn could not end in.
            ("one\n\n", PREFILL, "\n\ntwo", "two"),
            ("one\n\n", PREFILL, " two", " two"),
            ("one \n", PREFILL, " two", "two"),
            ("one\n\n", PREFILL, "two", "two"),
            ("one\n", Way::Asked, "\ntwo", "\ntwo"),
            ("ha \n", Way::Prefill { echo: true }, "ha \nho", "ho"),
            // Letters of several bytes.
            (
                "Der Fluß entspringt in den Hügeln und fließt",
                Way::Asked,
                "in den Hügeln und fließt – ja",
                "in den Hügeln und fließt – ja",
            ),
            (
                "Der Fluß entspringt in den Hügeln und fließt",
                Way::Asked,
                "entspringt in den Hügeln und fließt – ja",
                " – ja",
            ),
        ];
        for (said, way, rest, expected) in cases {
            check(said, way, rest, expected);
        }
    }
}
