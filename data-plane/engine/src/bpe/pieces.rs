//! The words that a text falls into before its tokens are made: the patterns that `tiktoken` publishes for its vocabularies, as one
//! pass without a regular expression. No piece is looked at more than a few times over, whatever the text.

use gateway_model::catalog::Vocabulary;

use super::classes::{BREAK, CASELESS, Class, LETTER, LOWER, MARK, NUMBER, SPACE, UPPER, class};

/// The pieces of a text, in order; together they are the text.
pub(super) struct Pieces<'a> {
    vocabulary: Vocabulary,
    rest: &'a str,
    n_steps: u64,
}

/// What the second and the third letter of a contraction may be, after its apostrophe.
const CONTRACTIONS: [&str; 7] = ["s", "t", "re", "ve", "m", "ll", "d"];

// === impl Pieces ===

impl<'a> Pieces<'a> {
    pub(super) fn new(vocabulary: Vocabulary, text: &'a str) -> Self {
        Self { vocabulary, rest: text, n_steps: 0 }
    }

    pub(super) fn n_steps(&self) -> u64 {
        self.n_steps
    }

    fn class_at(&mut self, at: usize) -> Option<(char, Class)> {
        self.n_steps += 1;
        self.rest[at..].chars().next().map(|character| (character, class(character)))
    }

    /// The end of the characters from `at` that are of one of these classes.
    fn run(&mut self, at: usize, of: Class) -> usize {
        let mut end = at;
        while let Some((character, class)) = self.class_at(end)
            && class & of != 0
        {
            end += character.len_utf8();
        }
        end
    }

    /// Behind a first character that is neither a letter nor a number nor the end of a line, which may belong to a word.
    fn behind_prefix(&mut self) -> Option<usize> {
        let (character, class) = self.class_at(0)?;
        (class & (LETTER | NUMBER | BREAK) == 0).then(|| character.len_utf8())
    }

    /// `[^\r\n\p{L}\p{N}]?\p{L}+`
    fn word(&mut self) -> Option<usize> {
        let start = self.behind_prefix().unwrap_or(0);
        let end = self.run(start, LETTER);
        (end > start).then_some(end)
    }

    /// Words that end where lower case does, with a contraction behind. What may stand before one may be a mark, which may also begin
    /// it.
    fn cased_word(&mut self) -> Option<usize> {
        let prefix = self.behind_prefix();
        let end = prefix.and_then(|start| self.cased(start)).or_else(|| self.cased(0));
        let end = end.or_else(|| self.capitals(prefix.unwrap_or(0)))?;
        Some(self.contraction(end).unwrap_or(end))
    }

    /// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`: where no lower case follows, to the last letter without case.
    fn cased(&mut self, start: usize) -> Option<usize> {
        let (mut end, mut last_caseless) = (start, None);
        while let Some((character, class)) = self.class_at(end)
            && class & (UPPER | CASELESS | MARK) != 0
        {
            end += character.len_utf8();
            if class & UPPER == 0 {
                last_caseless = Some(end);
            }
        }
        let lower_end = self.run(end, LOWER | CASELESS | MARK);
        if lower_end > end { Some(lower_end) } else { last_caseless }
    }

    /// The same with lower case that may be missing.
    fn capitals(&mut self, start: usize) -> Option<usize> {
        let end = self.run(start, UPPER | CASELESS | MARK);
        (end > start).then_some(end)
    }

    /// The end of a contraction that begins at `at`, in upper or lower case.
    fn contraction(&mut self, at: usize) -> Option<usize> {
        let behind = self.rest[at..].strip_prefix('\'')?;
        self.n_steps += 1;
        let is_here = |letters: &&&str| {
            behind.get(..letters.len()).is_some_and(|start| start.eq_ignore_ascii_case(letters))
                || (**letters == "s" && behind.starts_with('ſ'))
        };
        let letters = CONTRACTIONS.iter().find(is_here)?;
        let n_bytes = if *letters == "s" { behind.chars().next()?.len_utf8() } else { letters.len() };
        Some(at + 1 + n_bytes)
    }

    /// `\p{N}{1,3}`
    fn number(&mut self) -> Option<usize> {
        let mut end = 0;
        for _ in 0..3 {
            match self.class_at(end) {
                Some((digit, class)) if class & NUMBER != 0 => end += digit.len_utf8(),
                _ => break,
            }
        }
        (end > 0).then_some(end)
    }

    /// ` ?[^\s\p{L}\p{N}]+` and what ends lines behind it; in the newer vocabulary slashes too.
    fn signs(&mut self) -> Option<usize> {
        let start = usize::from(self.rest.starts_with(' '));
        let mut end = start;
        while let Some((character, class)) = self.class_at(end)
            && class & (SPACE | LETTER | NUMBER) == 0
        {
            end += character.len_utf8();
        }
        if end == start {
            return None;
        }
        let takes_slashes = self.vocabulary == Vocabulary::O200k;
        while let Some((character, class)) = self.class_at(end)
            && (class & BREAK != 0 || (takes_slashes && character == '/'))
        {
            end += 1;
        }
        Some(end)
    }

    /// To the end of its last line; else all but the last space, which belongs to what follows. Called where nothing else is.
    fn spaces(&mut self) -> usize {
        let (mut end, mut last_start, mut last_break) = (0, 0, None);
        while let Some((character, class)) = self.class_at(end)
            && class & SPACE != 0
        {
            last_start = end;
            end += character.len_utf8();
            if class & BREAK != 0 {
                last_break = Some(end);
            }
        }
        let is_all = end == self.rest.len();
        match last_break {
            Some(_) if is_all && self.vocabulary == Vocabulary::Cl100k => end,
            Some(last_break) => last_break,
            None if is_all || last_start == 0 => end,
            None => last_start,
        }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let word = match self.vocabulary {
            Vocabulary::O200k => self.cased_word(),
            Vocabulary::Cl100k => self.contraction(0).or_else(|| self.word()),
        };
        let end = word.or_else(|| self.number()).or_else(|| self.signs()).unwrap_or_else(|| self.spaces());
        let (piece, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(piece)
    }
}
