//! Events → whole reply. The only place that knows how pieces add up.

use serde_json::value::RawValue;

use crate::dialect::Dialect;
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
    Opaque { kind: String, json: Box<RawValue>, dialect: Dialect },
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

/// The events of a whole reply, so that it can be told as a stream. `fold(unfold(reply))` is the reply.
pub fn unfold(reply: &Reply) -> Vec<Event> {
    let mut events = vec![Event::Start { id: reply.id.clone(), model: reply.model.clone(), created: reply.created }];
    events.extend(reply.meta.iter().map(|(name, json)| Event::Meta { name: name.clone(), json: json.clone() }));
    for choice in &reply.choices {
        for block in &choice.blocks {
            unfold_block(choice.index, block, &mut events);
        }
        events.extend(choice.logprobs.iter().map(|json| Event::Logprobs { choice: choice.index, json: json.clone() }));
        if let Some(reason) = &choice.finish {
            let stop_sequence = choice.stop_sequence.clone();
            events.push(Event::Finish { choice: choice.index, reason: reason.clone(), stop_sequence });
        }
    }
    events.extend(reply.usage.map(Event::Usage));
    events.extend(reply.error.clone().map(Event::Error));
    if reply.ended {
        events.push(Event::End);
    }
    events
}

fn unfold_block(choice: u32, block: &Block, events: &mut Vec<Event>) {
    match block {
        Block::Text { text, citations } => {
            events.push(Event::Text { choice, text: text.clone() });
            for (kind, json) in citations {
                events.push(Event::Citation { choice, kind: *kind, json: json.clone() });
            }
        }
        Block::Refusal { text } => events.push(Event::Refusal { choice, text: text.clone() }),
        Block::Reasoning { text, signature } => {
            events.push(Event::Reasoning { choice, text: text.clone() });
            events.extend(signature.clone().map(|signature| Event::ReasoningSignature { choice, signature }));
        }
        Block::RedactedReasoning { data } => {
            events.push(Event::RedactedReasoning { choice, data: data.clone() });
        }
        Block::ToolCall { call, id, name, arguments } => {
            events.push(Event::ToolCallStart { choice, call: *call, id: id.clone(), name: name.clone() });
            if !arguments.is_empty() {
                events.push(Event::ToolCallArguments { choice, call: *call, json: arguments.clone() });
            }
        }
        Block::Opaque { kind, json, dialect } => {
            events.push(Event::Opaque { choice, kind: kind.clone(), json: json.clone(), dialect: *dialect });
        }
    }
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
            Event::Opaque { choice, kind, json, dialect } => {
                self.choice(choice).blocks.push(Block::Opaque { kind, json, dialect });
            }
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

    /// A citation ends the text it stands on; what follows is a text of its own.
    fn text(&mut self, choice: u32, text: &str) {
        match self.choice(choice).blocks.last_mut() {
            Some(Block::Text { text: whole, citations }) if citations.is_empty() => whole.push_str(text),
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
        blocks
            .iter()
            .filter_map(|block| if let Block::Text { text, .. } = block { Some(text.as_str()) } else { None })
            .collect()
    }
}
