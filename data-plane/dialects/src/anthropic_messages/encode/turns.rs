//! Messages → `system` and alternating turns, as Anthropic wants them: adjacent turns of one role are one, tool results come
//! first in the turn after their calls, every call has its result.

use std::borrow::Cow;
use std::collections::HashSet;

use gateway_ir::chat::{ChatRequest, Message, Role};
use gateway_ir::failure::Failure;
use serde_json::value::RawValue;

use super::SELF;
use super::blocks::{self, Block, Kind};
use crate::dropped::Dropped;

/// What is said, in Anthropic's order.
pub(super) struct Conversation<'r> {
    pub(super) system: Vec<Block<'r>>,
    pub(super) turns: Vec<Turn<'r>>,
}

pub(super) struct Turn<'r> {
    pub(super) role: &'static str,
    pub(super) blocks: Vec<Block<'r>>,
    pub(super) extra: &'r [(String, Box<RawValue>)],
}

/// Orders the messages of a request. Names what had to be left out; refuses what cannot be said at all.
pub(super) fn plan<'r>(request: &'r ChatRequest, dropped: &mut Dropped) -> Result<Conversation<'r>, Box<Failure>> {
    let mut system = Vec::new();
    let mut turns = Vec::with_capacity(request.messages.len());
    for message in &request.messages {
        dropped.note_if(message.name.is_some(), "messages[].name");
        for name in message.extra.lost_in(SELF) {
            dropped.note(format!("messages[].{name}"));
        }
        let mut blocks = Vec::with_capacity(message.parts.len());
        for part in &message.parts {
            blocks::push(&mut blocks, part, dropped)?;
        }
        let role = match message.role {
            Role::System | Role::Developer if !stands_in_messages(message) => {
                join_system(&mut system, blocks);
                continue;
            }
            Role::System | Role::Developer => "system",
            Role::User | Role::Tool => "user",
            Role::Assistant => "assistant",
        };
        turns.push(Turn { role, blocks, extra: message.extra.of(SELF) });
    }
    let mut turns = merge(turns);
    pair_calls(&mut turns, dropped);
    let mut turns = merge(turns);
    trim_prefill(&mut turns);
    if turns.is_empty() {
        // Only instructions: they are the question then.
        if system.is_empty() {
            let message = "`messages` says nothing: every message in it is empty; give at least one with text";
            return Err(Box::new(Failure::invalid(message).at("messages")));
        }
        turns.push(Turn { role: "user", blocks: std::mem::take(&mut system), extra: &[] });
    }
    Ok(Conversation { system, turns })
}

/// An Anthropic client wrote it among the messages, not at the top.
fn stands_in_messages(message: &Message) -> bool {
    message.extra.of(SELF).iter().any(|(name, _)| name == "role")
}

/// Instructions of different messages become one text with a blank line between, unless a cache mark ends the first.
fn join_system<'r>(system: &mut Vec<Block<'r>>, blocks: Vec<Block<'r>>) {
    let mut is_first = true;
    for block in blocks {
        let joined = match (system.last_mut().filter(|_| is_first), &block.kind) {
            (Some(last), Kind::Text(text)) if last.is_open_text() && block.extra.is_empty() => match &mut last.kind {
                Kind::Text(whole) => {
                    let whole = whole.to_mut();
                    whole.push_str("\n\n");
                    whole.push_str(text);
                    last.cache = block.cache;
                    true
                }
                _ => false,
            },
            _ => false,
        };
        if !joined {
            system.push(block);
        }
        is_first = false;
    }
}

/// Empty turns go, neighbours of one role become one (unless either has fields of its own), results go to the front.
fn merge(turns: Vec<Turn<'_>>) -> Vec<Turn<'_>> {
    let mut merged: Vec<Turn<'_>> = Vec::with_capacity(turns.len());
    for turn in turns.into_iter().filter(|turn| !turn.blocks.is_empty()) {
        match merged.last_mut() {
            Some(last) if last.role == turn.role && last.extra.is_empty() && turn.extra.is_empty() => {
                last.blocks.extend(turn.blocks);
            }
            _ => merged.push(turn),
        }
    }
    for turn in &mut merged {
        turn.blocks.sort_by_key(|block| !matches!(block.kind, Kind::ToolResult { .. }));
    }
    merged
}

/// Removes calls without a result in the next turn, and results that answer nothing. A decoded conversation is sound, but not
/// all of it could be said; Anthropic refuses what is not paired.
fn pair_calls(turns: &mut [Turn<'_>], dropped: &mut Dropped) {
    let talk: Vec<usize> = (0..turns.len()).filter(|index| turns[*index].role != "system").collect();
    // The calls of the turn before.
    let mut open: HashSet<String> = HashSet::new();
    for (position, index) in talk.iter().copied().enumerate() {
        turns[index].blocks.retain(|block| {
            let is_orphan = block.answers().is_some_and(|id| !open.remove(id));
            dropped.note_if(is_orphan, "messages[] (tool result without its call)");
            !is_orphan
        });
        let calls: Vec<String> =
            turns[index].blocks.iter().filter_map(|block| block.calls().map(str::to_owned)).collect();
        let mut answered = HashSet::new();
        if let Some(next) = talk.get(position + 1) {
            let next = &turns[*next].blocks;
            answered = next.iter().filter_map(|block| block.answers().map(str::to_owned)).collect();
        }
        turns[index].blocks.retain(|block| {
            let is_orphan = block.calls().is_some_and(|id| !answered.contains(id));
            dropped.note_if(is_orphan, "messages[].tool_calls[] (without its result)");
            !is_orphan
        });
        open = calls.into_iter().filter(|id| answered.contains(id)).collect();
    }
}

/// A last turn of the assistant is continued by the model, which refuses one that ends in white space.
fn trim_prefill(turns: &mut [Turn<'_>]) {
    let Some(last) = turns.last_mut().filter(|turn| turn.role == "assistant") else { return };
    if let Some(Block { kind: Kind::Text(text), .. }) = last.blocks.last_mut() {
        let trimmed = text.trim_end().len();
        match text {
            Cow::Borrowed(text) => *text = &text[..trimmed],
            Cow::Owned(text) => text.truncate(trimmed),
        }
    }
}

// === impl Conversation ===

impl Conversation<'_> {
    /// Whether thinking may begin here. Anthropic wants a tool loop that thinks to have begun with thinking, and a prefilled
    /// answer cannot think.
    pub(super) fn allows_new_thinking(&self) -> bool {
        match self.turns.as_slice() {
            [.., last] if last.role == "assistant" => false,
            [.., call, answer] if answer.blocks.iter().any(|block| matches!(block.kind, Kind::ToolResult { .. })) => {
                matches!(call.blocks.first(), Some(Block { kind: Kind::Thinking(_) | Kind::RedactedThinking(_), .. }))
            }
            _ => true,
        }
    }
}
