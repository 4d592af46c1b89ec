//! What is known of a model: its size, what it reads and makes, what it can do, its price. From the configuration, from its
//! provider's own list, or from the catalogue; what nobody has said is left open.

use std::fmt;
use std::ops::BitAnd;

/// A model as its provider lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// The provider's own name of it.
    pub model: String,
    pub known: Known,
}

/// Each fact by itself may be unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// `chat`, `completion`, `embedding`, `image`, `transcription`, `speech`, `rerank` or `moderation`.
    pub mode: Option<&'static str>,
    /// Largest prompt, in tokens.
    pub context_window: Option<u64>,
    /// Longest answer, in tokens.
    pub max_tokens: Option<u64>,
    pub reads: Option<Modalities>,
    pub makes: Option<Modalities>,
    pub vision: Option<bool>,
    pub tool_calls: Option<bool>,
    pub reasoning: Option<bool>,
    pub rates: Option<Rates>,
    /// When the vendor made it, in Unix seconds.
    pub created: Option<u64>,
}

/// Nano-dollars per million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    pub input: u64,
    pub output: u64,
    pub cache_read: Option<u64>,
    pub cache_write: Option<u64>,
}

/// Kinds of content.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Modalities(u8);

/// How a provider's list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `GET /models`, <https://platform.openai.com/docs/api-reference/models/list>, with the further members that others give.
    OpenAi,
    /// `GET /v1/models`, in pages, <https://docs.anthropic.com/en/api/models-list>.
    Anthropic,
    /// `GET /v1beta/models`, in pages, <https://ai.google.dev/api/models#method:-models.list>.
    Gemini,
    /// `GET /api/tags`, and `POST /api/show` for each, <https://docs.ollama.com/api/tags>.
    Ollama,
    /// `GET /v1/models`, in pages, <https://docs.cohere.com/reference/list-models>.
    Cohere,
    /// `GET /openai/deployments`, <https://learn.microsoft.com/azure/ai-foundry/openai/reference>.
    Azure,
    /// `GET /foundation-models`,
    /// <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_ListFoundationModels.html>.
    Bedrock,
    /// `GET /v1beta1/publishers/google/models`, in pages,
    /// <https://cloud.google.com/vertex-ai/docs/reference/rest/v1beta1/publishers.models/list>.
    Vertex,
}

// === impl Known ===

impl Known {
    /// Each fact of this one, and where there is none the other's.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            mode: self.mode.or(other.mode),
            context_window: self.context_window.or(other.context_window),
            max_tokens: self.max_tokens.or(other.max_tokens),
            reads: self.reads.or(other.reads),
            makes: self.makes.or(other.makes),
            vision: self.vision.or(other.vision),
            tool_calls: self.tool_calls.or(other.tool_calls),
            reasoning: self.reasoning.or(other.reasoning),
            rates: self.rates.or(other.rates),
            created: self.created.or(other.created),
        }
    }

    /// What a caller can count on whichever of the two answers: the smaller window, what both can do, the higher price.
    #[must_use]
    pub fn both(self, other: Self) -> Self {
        let smaller = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
        let each = |a: Option<bool>, b: Option<bool>| match (a, b) {
            (Some(a), Some(b)) => Some(a && b),
            (Some(false), None) | (None, Some(false)) => Some(false),
            _ => None,
        };
        let common = |a: Option<Modalities>, b: Option<Modalities>| Some(a? & b?);
        Self {
            mode: self.mode.filter(|mode| other.mode == Some(*mode)),
            context_window: smaller(self.context_window, other.context_window),
            max_tokens: smaller(self.max_tokens, other.max_tokens),
            reads: common(self.reads, other.reads),
            makes: common(self.makes, other.makes),
            vision: each(self.vision, other.vision),
            tool_calls: each(self.tool_calls, other.tool_calls),
            reasoning: each(self.reasoning, other.reasoning),
            rates: self.rates.and_then(|rates| Some(rates.higher(other.rates?))),
            created: None,
        }
    }
}

// === impl Rates ===

impl Rates {
    fn higher(self, other: Self) -> Self {
        let cache = |a: Option<u64>, b: Option<u64>| Some(a?.max(b?));
        Self {
            input: self.input.max(other.input),
            output: self.output.max(other.output),
            cache_read: cache(self.cache_read, other.cache_read),
            cache_write: cache(self.cache_write, other.cache_write),
        }
    }
}

// === impl Modalities ===

impl Modalities {
    const WORDS: [&'static str; 5] = ["text", "image", "audio", "video", "document"];

    /// Words that are none of ours are left out. `file` and `pdf` are how some write `document`.
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let bits = words.into_iter().filter_map(|word| {
            let word = if matches!(word, "file" | "pdf") { "document" } else { word };
            Self::WORDS.iter().position(|known| *known == word)
        });
        Self(bits.fold(0, |all, bit| all | 1 << bit))
    }

    pub fn words(self) -> impl Iterator<Item = &'static str> {
        (0..).zip(Self::WORDS).filter(move |(bit, _)| self.0 & (1_u8 << *bit) != 0).map(|(_, word)| word)
    }

    pub fn has(self, word: &str) -> bool {
        self.words().any(|known| known == word)
    }
}

impl BitAnd for Modalities {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Debug for Modalities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.words()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(context_window: Option<u64>, vision: Option<bool>, rates: Option<(u64, u64)>) -> Known {
        let rates = rates.map(|(input, output)| Rates { input, output, ..Rates::default() });
        Known { context_window, vision, rates, ..Known::default() }
    }

    #[test]
    fn the_nearer_word_stands_fact_by_fact() {
        let near = known(Some(8), None, None);
        let far = known(Some(9), Some(true), Some((1, 2)));
        assert_eq!(near.or(far), known(Some(8), Some(true), Some((1, 2))));
    }

    #[test]
    fn of_two_what_can_be_counted_on() {
        let cases = [
            (
                known(Some(8), Some(true), Some((1, 9))),
                known(Some(9), Some(true), Some((2, 3))),
                known(Some(8), Some(true), Some((2, 9))),
            ),
            (known(None, Some(false), None), known(Some(9), None, Some((2, 3))), known(Some(9), Some(false), None)),
            (known(None, Some(true), None), known(None, None, None), Known::default()),
        ];
        for (one, other, expected) in cases {
            assert_eq!(one.clone().both(other.clone()), expected);
            assert_eq!(other.both(one), expected);
        }
        let words = |words: &[&'static str]| Modalities::from_words(words.iter().copied());
        assert_eq!(words(&["text", "image", "smell"]) & words(&["file", "image"]), words(&["image"]));
        assert_eq!(words(&["pdf", "text"]).words().collect::<Vec<_>>(), ["text", "document"]);
    }
}
