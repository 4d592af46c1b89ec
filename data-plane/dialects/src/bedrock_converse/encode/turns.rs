//! Messages → `system` and alternating `messages`: neighbours of one role are one, results stand in the user's turn.

use gateway_ir::chat::{ChatRequest, Part, Role};
use gateway_ir::failure::Failure;

use super::blocks;
use crate::dropped::Dropped;
use crate::writer::Object;

/// What is said, in Bedrock's order.
pub(super) struct Conversation<'r> {
    system: Vec<&'r Part>,
    turns: Vec<(&'static str, Vec<&'r Part>)>,
}

/// Orders the messages of a request. Names what had to be left out; refuses what cannot be said at all.
pub(super) fn plan<'r>(request: &'r ChatRequest, dropped: &mut Dropped) -> Result<Conversation<'r>, Box<Failure>> {
    let mut system = Vec::new();
    let mut turns: Vec<(&'static str, Vec<&'r Part>)> = Vec::with_capacity(request.messages.len());
    for (index, message) in request.messages.iter().enumerate() {
        dropped.note_if(message.name.is_some(), "messages[].name");
        let mut parts = Vec::with_capacity(message.parts.len());
        for part in &message.parts {
            if blocks::is_sayable(part, index, dropped)? {
                parts.push(part);
            }
        }
        let role = match message.role {
            Role::System | Role::Developer => {
                system.extend(parts);
                continue;
            }
            Role::User | Role::Tool => "user",
            Role::Assistant => "assistant",
        };
        match turns.last_mut() {
            _ if parts.is_empty() => {}
            Some((last, all)) if *last == role => all.extend(parts),
            _ => turns.push((role, parts)),
        }
    }
    if turns.is_empty() {
        // Only instructions: they are the question then.
        if system.is_empty() {
            let message = "`messages` says nothing: every message in it is empty; give at least one with text";
            return Err(Box::new(Failure::invalid(message).at("messages")));
        }
        turns.push(("user", std::mem::take(&mut system)));
    }
    Ok(Conversation { system, turns })
}

pub(super) fn write(conversation: &Conversation<'_>, body: &mut Object<'_>) {
    body.array("messages", |messages| {
        for (role, parts) in &conversation.turns {
            messages.object(|message| {
                message.string("role", role);
                message.array("content", |content| parts.iter().for_each(|part| blocks::write(part, content)));
            });
        }
    });
    if !conversation.system.is_empty() {
        body.array("system", |system| conversation.system.iter().for_each(|part| blocks::write(part, system)));
    }
}
