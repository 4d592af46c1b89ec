//! How many tokens a text is in a byte-pair vocabulary: exactly what OpenAI's `tiktoken` counts, without special tokens.
//!
//! The crates that do this bring 8 MB of vocabularies in base64, or automata of more, and a merge that is quadratic in the length of a
//! word. Here are the two vocabularies that are in use in 1.2 MB, read when first needed, and a merge of n log n.

mod classes;
mod pieces;
mod ranks;
mod merge;

use gateway_model::catalog::Vocabulary;

use self::merge::Scratch;
use self::pieces::Pieces;
use self::ranks::Ranks;

/// What counting a text has cost, in looks at its characters and in the vocabulary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub n_tokens: u64,
    pub n_steps: u64,
}

/// Time and memory linear in the text, but for a logarithm of the longest word. The first call for a vocabulary reads it, some 20 ms.
pub fn count(vocabulary: Vocabulary, text: &str) -> Counted {
    let ranks = Ranks::of(vocabulary);
    let mut pieces = Pieces::new(vocabulary, text);
    let mut scratch = Scratch::default();
    let mut counted = Counted::default();
    for piece in pieces.by_ref() {
        counted.n_tokens += scratch.n_tokens(ranks, piece.as_bytes());
    }
    counted.n_steps = pieces.n_steps() + scratch.n_steps();
    counted
}

#[cfg(test)]
mod tests;
