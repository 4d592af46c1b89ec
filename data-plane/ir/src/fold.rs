//! Events → whole reply. The only place that knows how pieces add up.

use serde_json::value::RawValue;

use crate::event::{CitationKind, Event, FinishReason};
use crate::failure::Failure;
use crate::usage::Usage;

/// A whole reply.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub id: String,
    pub model: String,
    pub created: Option<i64>,
    pub choices: Vec<Choice>,
    pub usage: Option<Usage>,
    pub meta: Vec<(String, Box<RawValue>)>,
    /// The upstream's own terminal mark was seen. Without it the reply is cut.
    pub ended: bool,
    pub error: Option<Box<Failure>>,
}

/// One choice: its blocks in the order in which they began.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub index: u32,
    pub blocks: Vec<Block>,
    pub finish: Option<FinishReason>,
    pub stop_sequence: Option<String>,
    pub logprobs: Vec<Box<RawValue>>,
}

#[derive(Clone, Debug)]
pub enum Block {
    Text { text: String, citations: Vec<(CitationKind, Box<RawValue>)> },
    Refusal { text: String },
    Reasoning { text: String, signature: Option<String> },
    RedactedReasoning { data: String },
    ToolCall { call: u32, id: String, name: String, arguments: String },
    Opaque { kind: String, json: Box<RawValue> },
}

/// Folds events as they come. `finish` gives what has been seen so far, whole or not.
#[derive(Default)]
pub struct Fold {
    reply: Reply,
}

/// The fold of a finished sequence.
pub fn fold(events: impl IntoIterator<Item = Event>) -> Reply {
    let mut fold = Fold::default();
    for event in events {
        fold.push(event);
    }
    fold.finish()
}

// === impl Fold ===

impl Fold {
    pub fn push(&mut self, event: Event) {
        match event {
            Event::Start { id, model, created } => {
                self.reply.id = id;
                self.reply.model = model;
                self.reply.created = created;
            }
            Event::Text { choice, text } => self.text(choice, &text),
            Event::Refusal { choice, text } => match self.choice(choice).blocks.last_mut() {
                Some(Block::Refusal { text: whole }) => whole.push_str(&text),
                _ => self.choice(choice).blocks.push(Block::Refusal { text }),
            },
            Event::Reasoning { choice, text } => match self.choice(choice).blocks.last_mut() {
                Some(Block::Reasoning { text: whole, signature: None }) => whole.push_str(&text),
                _ => self.choice(choice).blocks.push(Block::Reasoning { text, signature: None }),
            },
            Event::ReasoningSignature { choice, signature } => match self.choice(choice).blocks.last_mut() {
                Some(Block::Reasoning { signature: slot @ None, .. }) => *slot = Some(signature),
                _ => {
                    let block = Block::Reasoning { text: String::new(), signature: Some(signature) };
                    self.choice(choice).blocks.push(block);
                }
            },
            Event::RedactedReasoning { choice, data } => {
                self.choice(choice).blocks.push(Block::RedactedReasoning { data });
            }
            Event::ToolCallStart { choice, call, id, name } => {
                let block = Block::ToolCall { call, id, name, arguments: String::new() };
                self.choice(choice).blocks.push(block);
            }
            Event::ToolCallArguments { choice, call, json } => self.arguments(choice, call, &json),
            Event::Citation { choice, kind, json } => self.citation(choice, kind, json),
            Event::Logprobs { choice, json } => self.choice(choice).logprobs.push(json),
            Event::Opaque { choice, kind, json } => self.choice(choice).blocks.push(Block::Opaque { kind, json }),
            Event::Usage(usage) => self.reply.usage = Some(usage),
            Event::Finish { choice, reason, stop_sequence } => {
                let choice = self.choice(choice);
                choice.finish = Some(reason);
                choice.stop_sequence = stop_sequence;
            }
            Event::Meta { name, json } => match self.reply.meta.iter_mut().find(|(known, _)| *known == name) {
                Some((_, slot)) => *slot = json,
                None => self.reply.meta.push((name, json)),
            },
            Event::Error(failure) => self.reply.error = Some(failure),
            Event::End => self.reply.ended = true,
        }
    }

    pub fn finish(self) -> Reply {
        self.reply
    }

    fn choice(&mut self, index: u32) -> &mut Choice {
        let position = match self.reply.choices.binary_search_by_key(&index, |choice| choice.index) {
            Ok(position) => position,
            Err(position) => {
                self.reply.choices.insert(position, Choice { index, ..Choice::default() });
                position
            }
        };
        &mut self.reply.choices[position]
    }

    fn text(&mut self, choice: u32, text: &str) {
        match self.choice(choice).blocks.last_mut() {
            Some(Block::Text { text: whole, .. }) => whole.push_str(text),
            _ => self.choice(choice).blocks.push(Block::Text { text: text.to_owned(), citations: Vec::new() }),
        }
    }

    fn arguments(&mut self, choice: u32, wanted: u32, json: &str) {
        let blocks = &mut self.choice(choice).blocks;
        let found = blocks.iter_mut().rev().find_map(|block| match block {
            Block::ToolCall { call, arguments, .. } if *call == wanted => Some(arguments),
            _ => None,
        });
        match found {
            Some(arguments) => arguments.push_str(json),
            None => {
                let (id, name) = (String::new(), String::new());
                blocks.push(Block::ToolCall { call: wanted, id, name, arguments: json.to_owned() });
            }
        }
    }

    fn citation(&mut self, choice: u32, kind: CitationKind, json: Box<RawValue>) {
        let blocks = &mut self.choice(choice).blocks;
        let found = blocks.iter_mut().rev().find_map(|block| match block {
            Block::Text { citations, .. } => Some(citations),
            _ => None,
        });
        match found {
            Some(citations) => citations.push((kind, json)),
            None => blocks.push(Block::Text { text: String::new(), citations: vec![(kind, json)] }),
        }
    }
}

// === impl Reply ===

impl Reply {
    /// All visible text of the first choice; for counting and logs.
    pub fn text(&self) -> String {
        let blocks = self.choices.first().map(|choice| choice.blocks.as_slice()).unwrap_or_default();
        blocks.iter().filter_map(|block| if let Block::Text { text, .. } = block { Some(text.as_str()) } else { None }).collect()
    }
}
