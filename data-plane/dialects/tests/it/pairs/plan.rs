//! What a model says in one reply, before any dialect has put it into words, and what of it two dialects can carry.

use gateway_ir::dialect::Dialect as Id;
use gateway_ir::event::FinishReason;
use gateway_ir::fold::{Block, Reply};
use gateway_ir::usage::Usage;
use proptest::prelude::*;
use serde_json::{Value, json};

/// One reply of one choice.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) finish: Word,
    pub(crate) usage: Usage,
}

/// A block of the reply; texts in the pieces in which they are streamed.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Text(Vec<String>),
    Refusal(Vec<String>),
    Thought(Vec<String>),
    /// Parallel calls.
    Calls(Vec<Call>),
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The text of a JSON object; none at all stands for `{}`.
    pub(crate) arguments: Vec<String>,
}

/// Why it stopped, in the words that all dialects have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Stop,
    Length,
    Calls,
    Filtered,
}

/// How the reply is put into a stream, where a dialect leaves a choice.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) line_end: &'static str,
    /// Comments, pings and events nobody knows.
    pub(crate) noise: bool,
    pub(crate) usage: Place,
    /// A first chunk without choices, and the role in every chunk.
    pub(crate) chatty: bool,
    /// Pieces of parallel calls in turns.
    pub(crate) interleaved: bool,
    /// Calls have ids, where a dialect may do without.
    pub(crate) ids: bool,
}

/// Where usage stands, seen from the finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Before,
    With,
    After,
}

/// What a client understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) thought: String,
    /// Id (where it is the upstream's), name and arguments.
    pub(crate) calls: Vec<(Option<String>, String, Value)>,
    pub(crate) finish: Option<Word>,
    pub(crate) tokens: (u64, u64),
}

/// What a dialect has words for. Visible text is sayable in all; a refusal is text where there is no other word for it.
#[derive(Clone, Copy)]
struct Sayable {
    thoughts: bool,
    calls: bool,
    refusals: bool,
    filters: bool,
    /// Calls may come without ids.
    ids_are_optional: bool,
}

fn sayable(id: Id) -> Sayable {
    let all = Sayable { thoughts: true, calls: true, refusals: true, filters: true, ids_are_optional: false };
    match id {
        Id::OpenAiChat | Id::OpenAiResponses => all,
        Id::OpenAiCompletions => Sayable { thoughts: false, calls: false, refusals: false, ..all },
        Id::AnthropicMessages | Id::BedrockConverse | Id::CohereV2 => Sayable { refusals: false, ..all },
        Id::GeminiGenerate => Sayable { refusals: false, ids_are_optional: true, ..all },
        Id::OllamaChat => Sayable { refusals: false, filters: false, ids_are_optional: true, ..all },
    }
}

/// A text with what is hard: quotes, line ends, SSE words, several bytes per letter.
fn texts() -> impl Strategy<Value = Vec<String>> {
    let piece = prop::sample::select(vec![
        "\n\n",
        "data: ",
        "\r",
        "\"\\",
        "é漢🦀",
        "event: error",
        "{}",
        "a ",
        "[DONE]",
        "\u{2028}",
        "ha",
        "ha",
        ": ",
    ]);
    prop::collection::vec(prop::collection::vec(piece, 1..4).prop_map(|words| words.concat()), 1..4)
}

fn call() -> impl Strategy<Value = (String, Vec<String>)> {
    let members = prop::collection::vec(("[a-z]{1,3}", texts()), 0..3);
    ("[a-z]{1,8}", members, any::<prop::sample::Index>(), any::<bool>()).prop_map(|(name, members, at, none)| {
        let members: serde_json::Map<String, Value> =
            members.into_iter().map(|(name, texts)| (name, json!([texts.concat(), {"n": 1.5}]))).collect();
        if members.is_empty() && none {
            return (name, Vec::new());
        }
        let text = Value::Object(members).to_string();
        let middle = (0..=at.index(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let (first, second) = text.split_at(middle);
        (name, [first, second].into_iter().filter(|piece| !piece.is_empty()).map(str::to_owned).collect())
    })
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        4 => texts().prop_map(Piece::Text),
        1 => texts().prop_map(Piece::Refusal),
        2 => texts().prop_map(Piece::Thought),
        2 => prop::collection::vec(call(), 1..4).prop_map(|calls| {
            let call = |(name, arguments)| Call { id: String::new(), name, arguments };
            Piece::Calls(calls.into_iter().map(call).collect())
        }),
    ]
}

prop_compose! {
    pub(crate) fn plans()(
        mut pieces in prop::collection::vec(piece(), 0..5),
        finish in prop::sample::select(vec![Word::Stop, Word::Stop, Word::Length, Word::Filtered]),
        [input, cache_read, more, reasoning] in any::<[u16; 4]>(),
    ) -> Plan {
        let mut n_calls = 0;
        for piece in &mut pieces {
            if let Piece::Calls(calls) = piece {
                for call in calls {
                    call.id = format!("call_{n_calls}");
                    n_calls += 1;
                }
            }
        }
        let finish = if n_calls > 0 && finish == Word::Stop { Word::Calls } else { finish };
        let [input, cache_read, more, reasoning] = [input, cache_read, more, reasoning].map(u64::from);
        Plan { pieces, finish, usage: Usage { input, cache_read, output: more + reasoning, reasoning, ..Usage::default() } }
    }
}

prop_compose! {
    pub(crate) fn shapes()(
        line_end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        usage in prop::sample::select(vec![Place::Before, Place::With, Place::After]),
        [noise, chatty, interleaved, ids] in any::<[bool; 4]>(),
    ) -> Shape {
        Shape { line_end, noise, usage, chatty, interleaved, ids }
    }
}

// === impl Plan ===

impl Plan {
    /// What is left of it in the words of a dialect that an upstream speaks.
    pub(crate) fn sayable_in(&self, id: Id) -> Self {
        let sayable = sayable(id);
        let mut plan = self.clone();
        plan.pieces.retain(|piece| match piece {
            Piece::Thought(_) => sayable.thoughts,
            Piece::Calls(_) => sayable.calls,
            Piece::Text(_) | Piece::Refusal(_) => true,
        });
        for piece in &mut plan.pieces {
            if let (Piece::Refusal(texts), false) = (&mut *piece, sayable.refusals) {
                *piece = Piece::Text(std::mem::take(texts));
            }
        }
        let is_said = match self.finish {
            Word::Calls => sayable.calls,
            Word::Filtered => sayable.filters,
            Word::Stop | Word::Length => true,
        };
        let has_calls = plan.pieces.iter().any(|piece| matches!(piece, Piece::Calls(_)));
        plan.finish = match (is_said, has_calls) {
            (true, _) => self.finish,
            (false, true) => Word::Calls,
            (false, false) => Word::Stop,
        };
        plan
    }

    /// What a client must understand of this reply of an upstream.
    pub(crate) fn said(&self, upstream: Id, client: Id, shape: &Shape) -> Said {
        let (hears, has_ids) = (sayable(client), shape.ids || !sayable(upstream).ids_are_optional);
        let mut said = Said {
            text: String::new(),
            thought: String::new(),
            calls: Vec::new(),
            finish: Some(self.finish),
            tokens: (self.usage.prompt(), self.usage.output),
        };
        let mut refuses = false;
        for piece in &self.pieces {
            match piece {
                Piece::Text(texts) => said.text.extend(texts.iter().map(String::as_str)),
                Piece::Refusal(texts) => {
                    refuses = true;
                    said.text.extend(texts.iter().map(String::as_str));
                }
                Piece::Thought(texts) if hears.thoughts => said.thought.extend(texts.iter().map(String::as_str)),
                Piece::Calls(calls) if hears.calls => said.calls.extend(calls.iter().map(|call| {
                    (has_ids.then(|| call.id.clone()), call.name.clone(), value(&call.arguments.concat()))
                })),
                Piece::Thought(_) | Piece::Calls(_) => {}
            }
        }
        said.finish = Some(match self.finish {
            Word::Calls if !hears.calls => Word::Stop,
            // Anthropic's only word for a refusal is the reason to stop.
            Word::Stop if refuses && client == Id::AnthropicMessages => Word::Filtered,
            word => word,
        });
        said
    }
}

// === impl Said ===

impl Said {
    /// What the first choice of a reply says. Ids count where `ids` says so.
    pub(crate) fn of(reply: &Reply, ids: bool) -> Self {
        let (mut text, mut thought, mut calls) = (String::new(), String::new(), Vec::new());
        let choice = reply.choices.first();
        for block in choice.map(|choice| choice.blocks.as_slice()).unwrap_or_default() {
            match block {
                Block::Text { text: more, .. } | Block::Refusal { text: more } => text.push_str(more),
                Block::Reasoning { text: more, .. } => thought.push_str(more),
                Block::ToolCall { id, name, arguments, .. } => {
                    calls.push((ids.then(|| id.clone()), name.clone(), value(arguments)));
                }
                Block::RedactedReasoning { .. } | Block::Opaque { .. } => {}
            }
        }
        let finish = choice.and_then(|choice| choice.finish.as_ref()).and_then(|reason| match reason {
            FinishReason::Stop => Some(Word::Stop),
            FinishReason::Length => Some(Word::Length),
            FinishReason::ToolCalls => Some(Word::Calls),
            FinishReason::ContentFilter | FinishReason::Refusal => Some(Word::Filtered),
            FinishReason::StopSequence | FinishReason::Pause | FinishReason::Other(_) => None,
        });
        let usage = reply.usage.unwrap_or_default();
        Self { text, thought, calls, finish, tokens: (usage.prompt(), usage.output) }
    }
}

/// The arguments of a call as a value; none are `{}`.
pub(crate) fn value(arguments: &str) -> Value {
    let text = if arguments.is_empty() { "{}" } else { arguments };
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}
