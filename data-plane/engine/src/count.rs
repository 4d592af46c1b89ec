//! A count of tokens where the upstream gave none. An estimate, marked as such wherever it is shown.

mod sample;

use gateway_ir::chat::{ChatRequest, Content, Part, ResponseFormat, Source, Tool};
use gateway_ir::facts::Facts;
use gateway_ir::usage::Usage;
use gateway_model::catalog::{Row, Vocabulary};

use self::sample::Sample;

/// How a model's vendor makes tokens of a text, as far as anybody has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    /// Of its tokens to those of the vocabulary.
    percent: u16,
}

/// Bytes of English text per token in the vocabularies that are common today. Other scripts have fewer bytes per token in
/// new vocabularies and more tokens per byte in old ones, and the JSON around the text counts in full, so the estimate is
/// rather too high than too low for a request and about right for a reply's text.
const BYTES_PER_TOKEN: u64 = 4;

/// What vendors add to a request, for the reply to begin.
const TOKENS_PER_REQUEST: u64 = 3;
/// What vendors add around each message, each part of another kind than text, and each tool.
const TOKENS_PER_ITEM: u64 = 4;
/// A picture in full detail, about the most that vendors count for one.
const TOKENS_PER_IMAGE: u64 = 1600;
/// Of recordings and documents: bytes as sent say little of what is in them, and nothing where they are only named.
const TOKENS_PER_FILE: u64 = 3000;

// === impl Tokenizer ===

impl Tokenizer {
    /// By what is declared: of the model by whoever configured it, of its name in the provider's row, of the provider.
    pub fn new(row: &Row, model: &str, declared: Option<Vocabulary>) -> Self {
        let of_profile =
            || row.profiles.iter().filter(|profile| profile.covers(model)).find_map(|profile| profile.vocabulary);
        match declared.or_else(of_profile) {
            Some(vocabulary) => Self { vocabulary, percent: 100 },
            None => Self { vocabulary: row.vocabulary.unwrap_or_default(), percent: row.token_percent.unwrap_or(100) },
        }
    }

    /// Rounded up.
    fn scaled(self, n_tokens: u64) -> u64 {
        n_tokens.saturating_mul(u64::from(self.percent)).div_ceil(100)
    }
}

/// Tokens of a request body and of a reply's content by their bytes, each rounded up. All of the prompt counts as uncached.
pub fn estimate(n_input_bytes: u64, n_output_bytes: u64) -> Usage {
    Usage {
        input: n_input_bytes.div_ceil(BYTES_PER_TOKEN),
        output: n_output_bytes.div_ceil(BYTES_PER_TOKEN),
        ..Usage::default()
    }
}

/// Tokens of a request body of so many bytes whose facts are known: the same, without the media in it.
pub fn estimated(facts: &Facts, n_bytes: usize) -> u64 {
    estimate(n_bytes.saturating_sub(facts.n_media_bytes) as u64, 0).input
}

/// Tokens of a whole request as `tokenizer` makes them of its texts, and not of its JSON: media count by the piece, not by their
/// bytes. Of long requests a sample is counted ([`Sample`]), drawn by `seed`.
pub fn prompt(request: &ChatRequest, tokenizer: Tokenizer, seed: u64) -> u64 {
    let mut n_bytes = 0;
    let n_other = walk(request, &mut |text| n_bytes += text.len());
    let mut sample = Sample::new(tokenizer.vocabulary, n_bytes, seed);
    walk(request, &mut |text| sample.add(text));
    tokenizer.scaled(sample.n_tokens().saturating_add(n_other))
}

/// Tokens of one text, on the same terms.
pub fn text(text: &str, tokenizer: Tokenizer, seed: u64) -> u64 {
    let mut sample = Sample::new(tokenizer.vocabulary, text.len(), seed);
    sample.add(text);
    tokenizer.scaled(sample.n_tokens())
}

/// The tokenizers that count each vocabulary once and at its highest: what none of `each` would exceed.
pub fn highest(each: impl Iterator<Item = Tokenizer>) -> impl Iterator<Item = Tokenizer> {
    let (mut newer, mut older): (Option<Tokenizer>, Option<Tokenizer>) = (None, None);
    for tokenizer in each {
        let slot = match tokenizer.vocabulary {
            Vocabulary::O200k => &mut newer,
            Vocabulary::Cl100k => &mut older,
        };
        if slot.is_none_or(|highest| highest.percent < tokenizer.percent) {
            *slot = Some(tokenizer);
        }
    }
    newer.into_iter().chain(older)
}

/// More than any request has in ordinary text; for what is too long to be read.
pub fn bound(n_bytes: usize) -> u64 {
    n_bytes.div_ceil(3) as u64
}

/// Shows every text, in order, and counts what is none.
fn walk<'a>(request: &'a ChatRequest, text: &mut impl FnMut(&'a str)) -> u64 {
    let mut n_other = TOKENS_PER_REQUEST;
    for message in &request.messages {
        n_other = n_other.saturating_add(TOKENS_PER_ITEM).saturating_add(parts(&message.parts, text));
    }
    for tool in &request.tools {
        match tool {
            Tool::Function(function) => {
                n_other = n_other.saturating_add(TOKENS_PER_ITEM);
                text(&function.name);
                function.description.as_deref().into_iter().for_each(&mut *text);
                function.parameters.as_deref().into_iter().for_each(|schema| text(schema.get()));
            }
            Tool::Opaque { json, .. } => text(json.get()),
        }
    }
    if let Some(ResponseFormat::JsonSchema { schema: Some(schema), .. }) = &request.response_format {
        text(schema.get());
    }
    n_other
}

fn parts<'a>(parts: &'a [Part], text: &mut impl FnMut(&'a str)) -> u64 {
    let mut n_other = 0_u64;
    for part in parts {
        let of_part = match &part.content {
            Content::Text(said) | Content::Refusal(said) => {
                text(said);
                0
            }
            Content::Reasoning(thinking) => {
                text(&thinking.text);
                0
            }
            Content::Image(_) => TOKENS_PER_IMAGE,
            Content::Audio(_) => TOKENS_PER_FILE,
            Content::Document(document) => match &document.media.source {
                Source::Text(said) => {
                    text(said);
                    0
                }
                Source::Base64(_) | Source::Url(_) | Source::FileId(_) => TOKENS_PER_FILE,
            },
            Content::ToolCall(call) => {
                text(&call.name);
                text(&call.arguments);
                TOKENS_PER_ITEM
            }
            Content::ToolResult(result) => TOKENS_PER_ITEM.saturating_add(self::parts(&result.parts, text)),
            Content::Opaque { json, .. } => {
                text(json.get());
                0
            }
        };
        n_other = n_other.saturating_add(of_part);
    }
    n_other
}

#[cfg(test)]
mod tests {
    use gateway_ir::chat::{Media, Message, Role};

    use super::*;

    #[test]
    fn a_prompt_is_counted_by_its_texts() {
        let image = Media { source: Source::Base64("A".repeat(1 << 20)), media_type: String::new(), detail: None };
        let cases = [
            (vec![], 3),
            (vec![Part::text("twelve bytes")], 3 + 4 + 3),
            (vec![Part::text("a"), Part::new(Content::Image(image))], 3 + 4 + 1 + 1600),
        ];
        for (parts, tokens) in cases {
            let messages = if parts.is_empty() { Vec::new() } else { vec![Message::new(Role::User, parts)] };
            let request = ChatRequest { messages, ..ChatRequest::default() };
            let plain = Tokenizer { vocabulary: Vocabulary::O200k, percent: 100 };
            assert_eq!(prompt(&request, plain, 0), tokens);
            assert_eq!(prompt(&request, Tokenizer { percent: 150, ..plain }, 0), (tokens * 3).div_ceil(2));
        }
    }

    #[test]
    fn rounds_up_and_never_overflows() {
        for (n_bytes, tokens) in [(0, 0), (1, 1), (4, 1), (5, 2), (u64::MAX, 1 << 62)] {
            let usage = estimate(n_bytes, n_bytes);
            assert_eq!((usage.input, usage.output, usage.total()), (tokens, tokens, 2 * tokens));
        }
    }
}
