//! A plan in the words of each dialect that upstreams speak: small writers after the vendors' documentation, for tests.

use gateway_ir::dialect::Dialect as Id;
use serde_json::Value;

use super::plan::{Call, Piece, Plan, Shape};

mod openai;
mod anthropic;
mod responses;
mod google;
mod frames;
mod lines;

/// The whole stream of an upstream. Exhaustive: a new dialect is not tested without its writer.
pub(crate) fn stream(id: Id, plan: &Plan, shape: &Shape) -> Vec<u8> {
    match id {
        Id::OpenAiChat => openai::chat(plan, shape),
        Id::OpenAiCompletions => openai::completions(plan, shape),
        Id::OpenAiResponses => responses::stream(plan, shape),
        Id::AnthropicMessages => anthropic::stream(plan, shape),
        Id::GeminiGenerate => google::stream(plan, shape),
        Id::CohereV2 => lines::cohere(plan, shape),
        Id::OllamaChat => lines::ollama(plan, shape),
        Id::BedrockConverse => frames::stream(plan),
    }
}

/// Writes server-sent events.
struct Sse<'s> {
    shape: &'s Shape,
    text: String,
}

// === impl Sse ===

impl<'s> Sse<'s> {
    fn new(shape: &'s Shape) -> Self {
        Self { shape, text: String::new() }
    }

    fn data(&mut self, data: &Value) {
        self.raw(&format!("data: {data}\n\n"));
    }

    /// With an `event:` line of the data's type.
    fn named(&mut self, data: &Value) {
        let name = data["type"].as_str().expect("every event here has a type");
        self.raw(&format!("event: {name}\ndata: {data}\n\n"));
    }

    fn raw(&mut self, event: &str) {
        if self.shape.noise {
            self.text.push_str(": keep alive\n\n");
        }
        self.text.push_str(event);
    }

    fn into_bytes(self) -> Vec<u8> {
        self.text.replace('\n', self.shape.line_end).into_bytes()
    }
}

/// The pieces of parallel calls in the order in which they are sent: which call, whether it begins, what comes of its arguments.
fn in_turns<'c>(calls: &'c [Call], shape: &Shape) -> Vec<(usize, bool, &'c str)> {
    let pieces_of = |at: usize| {
        let pieces = calls[at].arguments.iter().map(move |piece| (at, false, piece.as_str()));
        std::iter::once((at, true, "")).chain(pieces)
    };
    let mut pieces: Vec<_> = (0..calls.len()).flat_map(|at| pieces_of(at).enumerate()).collect();
    if shape.interleaved {
        // Stable, so that each call's own pieces keep their order.
        pieces.sort_by_key(|(turn, _)| *turn);
    }
    pieces.into_iter().map(|(_, piece)| piece).collect()
}

fn texts(piece: &Piece) -> &[String] {
    match piece {
        Piece::Text(texts) | Piece::Refusal(texts) | Piece::Thought(texts) => texts,
        Piece::Calls(_) => &[],
    }
}
