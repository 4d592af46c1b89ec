//! Calls and their results, put together again: each result right behind its call, ids that were lost found by position, and what
//! has no partner left out. A sound conversation, which is nearly every one, is only looked at.

use gateway_ir::chat::{Content, Message, Part, Role};
use gateway_ir::dialect::Dialect;
use gateway_ir::extra::Extra;
use gateway_ir::json;
use serde_json::value::RawValue;

use crate::reading::members_of;
use crate::{call_id, signed_id};

const LONELY_RESULT: &str = "messages[] (tool result without its call)";
const LONELY_CALL: &str = "messages[].tool_calls[] (without its result)";

/// A result on its way to its call.
struct Answer {
    /// The place of its message among all.
    at: usize,
    call_id: String,
    message: Message,
}

/// A message that says something, and the answers to its calls.
struct Turn {
    at: usize,
    message: Message,
    /// The calls that no answer has been found for.
    open: Vec<Open>,
    answers: Vec<Answer>,
}

/// A call's id as the client wrote it, and as it is now: an id that comes twice in a turn is replaced the second time.
struct Open {
    said: String,
    id: String,
}

pub(super) fn repair(messages: &mut Vec<Message>, repaired: &mut Vec<String>) {
    if is_sound(messages) || messages.iter().any(refers_to_what_is_stored) {
        return;
    }
    join_callers(messages);
    if is_sound(messages) {
        return;
    }
    let (mut turns, answers) = taken_apart(std::mem::take(messages));
    let lonely = by_id(answers, &mut turns);
    let lonely = by_position(lonely, &mut turns);
    let mut note = |name: &str| {
        if !repaired.iter().any(|known| known == name) {
            repaired.push(name.to_owned());
        }
    };
    if !lonely.is_empty() {
        note(LONELY_RESULT);
    }
    for Turn { mut message, open, answers, .. } in turns {
        let was_empty = message.parts.is_empty();
        for call in &open {
            note(LONELY_CALL);
            let call = message.parts.iter().rposition(|part| call_id(part).is_some_and(|id| id == call.id));
            call.map(|call| message.parts.remove(call));
        }
        if was_empty || !message.parts.is_empty() {
            messages.push(message);
        }
        messages.extend(answers.into_iter().map(|answer| answer.message));
    }
}

/// Neighbours that both call are one turn: Anthropic reads them so, and the results of all come behind the last.
fn join_callers(messages: &mut Vec<Message>) {
    messages.dedup_by(|next, message| {
        let calls = |message: &Message| {
            message.role == Role::Assistant && message.parts.iter().any(|part| call_id(part).is_some())
        };
        let is_one = calls(message) && calls(next);
        if is_one {
            message.parts.append(&mut next.parts);
        }
        is_one
    });
}

fn is_sound(messages: &[Message]) -> bool {
    let mut open: Vec<String> = Vec::new();
    for message in messages {
        if message.role != Role::Tool {
            if !open.is_empty() {
                return false;
            }
            for id in message.parts.iter().filter_map(call_id) {
                if open.contains(&id) {
                    return false;
                }
                open.push(id);
            }
            continue;
        }
        for part in &message.parts {
            let Content::ToolResult(result) = &part.content else { continue };
            let Some(call) = open.iter().position(|id| *id == signed_id::plain(&result.call_id)) else { return false };
            open.swap_remove(call);
        }
    }
    open.is_empty()
}

/// Calls may stand in what the vendor has stored, so that their results have no call here.
fn refers_to_what_is_stored(message: &Message) -> bool {
    message.parts.iter().any(|part| matches!(&part.content, Content::Opaque { kind, .. } if kind == "item_reference"))
}

/// The id of a call that the client answers. A call of OpenAI's custom tools is one too.
fn call_id(part: &Part) -> Option<String> {
    match &part.content {
        Content::ToolCall(call) => Some(signed_id::plain(&call.id).to_owned()),
        Content::Opaque { kind, json, dialect: Dialect::OpenAiChat } if kind == "tool_calls" => id_of(json),
        _ => None,
    }
}

fn id_of(json: &RawValue) -> Option<String> {
    let mut id = None;
    members_of(json, |name, value| {
        if name == "id" {
            id = json::string(value.get().as_bytes()).map(Into::into);
        }
    });
    id
}

/// Turns without results, and the results one by one, in their order.
fn taken_apart(messages: Vec<Message>) -> (Vec<Turn>, Vec<Answer>) {
    let (mut turns, mut answers) = (Vec::with_capacity(messages.len()), Vec::new());
    for (at, mut message) in messages.into_iter().enumerate() {
        if message.role != Role::Tool {
            let open = opened(&mut message.parts);
            turns.push(Turn { at, message, open, answers: Vec::new() });
            continue;
        }
        let is_alone = message.parts.len() == 1;
        let (name, extra) = if is_alone { (message.name, message.extra) } else { (None, Extra::default()) };
        for part in message.parts {
            let Content::ToolResult(result) = &part.content else { continue };
            let call_id = signed_id::plain(&result.call_id).to_owned();
            let message = Message { name: name.clone(), extra: extra.clone(), ..Message::new(Role::Tool, vec![part]) };
            answers.push(Answer { at, call_id, message });
        }
    }
    (turns, answers)
}

/// The calls of a turn, each with an id of its own.
fn opened(parts: &mut [Part]) -> Vec<Open> {
    let mut open: Vec<Open> = Vec::new();
    for part in parts {
        let Some(said) = call_id(part) else { continue };
        let mut id = said.clone();
        // What only the vendor can read keeps its id.
        if let Content::ToolCall(call) = &mut part.content
            && open.iter().any(|other| other.id == said)
        {
            id = call_id::call_id(&[&said, &open.len().to_string()]);
            let (_, signature) = signed_id::split(&call.id);
            call.id = signature.map_or_else(|| id.clone(), |signature| signed_id::join(&id, &signature));
        }
        open.push(Open { said, id });
    }
    open
}

/// Gives each result to the nearest call before it that has its id, else to one behind it. Returns the others.
fn by_id(answers: Vec<Answer>, turns: &mut [Turn]) -> Vec<Answer> {
    let mut lonely = Vec::new();
    for mut answer in answers {
        let n_before = turns.partition_point(|turn| turn.at < answer.at);
        let (before, behind) = turns.split_at_mut(n_before);
        let found = before.iter_mut().rev().chain(behind).find_map(|turn| {
            let call = turn.open.iter().position(|call| call.said == answer.call_id)?;
            Some((turn, call))
        });
        match found {
            Some((turn, call)) => {
                answer.belongs_to(turn.open.remove(call));
                turn.answers.push(answer);
            }
            None => lonely.push(answer),
        }
    }
    lonely
}

/// Some clients lose or rename ids. If as many results as calls are left without a partner before the next calls, they belong
/// together in order. Returns the others.
fn by_position(mut lonely: Vec<Answer>, turns: &mut [Turn]) -> Vec<Answer> {
    let callers: Vec<usize> =
        (0..turns.len()).filter(|index| turns[*index].message.parts.iter().any(is_call)).collect();
    for (position, caller) in callers.iter().copied().enumerate() {
        let end = callers.get(position + 1).map_or(usize::MAX, |next| turns[*next].at);
        let turn = &mut turns[caller];
        // One that has the id of a call here is the second for it.
        let ids: Vec<String> = turn.message.parts.iter().filter_map(call_id).collect();
        let is_near = |answer: &Answer| (turn.at..end).contains(&answer.at) && !ids.contains(&answer.call_id);
        if turn.open.is_empty() || lonely.iter().filter(|answer| is_near(answer)).count() != turn.open.len() {
            continue;
        }
        let (near, others) = lonely.into_iter().partition(is_near);
        lonely = others;
        let near: Vec<Answer> = near;
        for (mut answer, call) in near.into_iter().zip(std::mem::take(&mut turn.open)) {
            answer.belongs_to(call);
            turn.answers.push(answer);
        }
    }
    lonely
}

fn is_call(part: &Part) -> bool {
    call_id(part).is_some()
}

// === impl Answer ===

impl Answer {
    fn belongs_to(&mut self, call: Open) {
        if let Some(Part { content: Content::ToolResult(result), .. }) = self.message.parts.first_mut() {
            result.call_id = call.id;
        }
    }
}
