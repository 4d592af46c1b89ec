//! Messages → `systemInstruction` and alternating `contents`: neighbours of one role are one, results of tools come with the
//! name of the function that was called, because Gemini knows no ids for them.

use std::collections::HashMap;

use gateway_ir::chat::{ChatRequest, Content, Part, Role, ToolResult};
use gateway_ir::failure::Failure;
use gateway_ir::json;
use serde_json::value::RawValue;

use super::{SELF, media};
use crate::dropped::Dropped;
use crate::signed_id;
use crate::writer::{Array, Object};

/// What is said, in Gemini's order.
pub(super) struct Conversation<'r> {
    system: Vec<&'r str>,
    turns: Vec<Turn<'r>>,
}

struct Turn<'r> {
    role: &'static str,
    parts: Vec<Piece<'r>>,
}

enum Piece<'r> {
    Said(&'r Part),
    Answer { name: &'r str, result: &'r ToolResult },
    Own(&'r RawValue),
}

/// Orders the messages of a request. Names what had to be left out.
pub(super) fn plan<'r>(request: &'r ChatRequest, dropped: &mut Dropped) -> Result<Conversation<'r>, Box<Failure>> {
    let mut system = Vec::new();
    let mut turns: Vec<Turn<'r>> = Vec::with_capacity(request.messages.len());
    let mut names: HashMap<&str, &str> = HashMap::new();
    for message in &request.messages {
        dropped.note_if(message.name.is_some(), "messages[].name");
        let role = match message.role {
            Role::System | Role::Developer => {
                system.extend(message.parts.iter().filter_map(|part| text(&part.content)));
                let is_media = message.parts.iter().any(|part| text(&part.content).is_none());
                dropped.note_if(is_media, "messages[].content (of a system message)");
                continue;
            }
            Role::User | Role::Tool => "user",
            Role::Assistant => "model",
        };
        let mut parts = Vec::with_capacity(message.parts.len());
        for part in &message.parts {
            parts.extend(piece(part, &mut names, dropped));
        }
        match turns.last_mut() {
            _ if parts.is_empty() => {}
            Some(last) if last.role == role => last.parts.extend(parts),
            _ => turns.push(Turn { role, parts }),
        }
    }
    if turns.is_empty() && system.is_empty() {
        let message = "`messages` says nothing: every message in it is empty; give at least one with text";
        return Err(Box::new(Failure::invalid(message).at("messages")));
    }
    Ok(Conversation { system, turns })
}

fn text(content: &Content) -> Option<&str> {
    match content {
        Content::Text(text) | Content::Refusal(text) => Some(text),
        _ => None,
    }
}

fn piece<'r>(part: &'r Part, names: &mut HashMap<&'r str, &'r str>, dropped: &mut Dropped) -> Option<Piece<'r>> {
    dropped.note_if(part.cache.is_some(), "cache_control");
    match &part.content {
        // A signature may sit on an empty text.
        Content::Text(text) | Content::Refusal(text) if text.is_empty() && part.extra.of(SELF).is_empty() => None,
        Content::ToolCall(call) => {
            names.insert(signed_id::plain(&call.id), &call.name);
            Some(Piece::Said(part))
        }
        Content::ToolResult(result) => match names.get(signed_id::plain(&result.call_id)) {
            Some(name) => Some(Piece::Answer { name, result }),
            None => {
                dropped.note("messages[] (tool result without its call)");
                None
            }
        },
        // Thoughts of earlier turns: Gemini keeps its own in the signatures of the calls, others' mean nothing to it.
        Content::Reasoning(_) => None,
        Content::Opaque { json, dialect, .. } if *dialect == SELF => Some(Piece::Own(json)),
        Content::Opaque { kind, .. } => {
            dropped.note(format!("messages[].content ({kind})"));
            None
        }
        _ => Some(Piece::Said(part)),
    }
}

pub(super) fn write(conversation: &Conversation<'_>, body: &mut Object<'_>) {
    let Conversation { system, turns } = conversation;
    // Only instructions: they are the question then.
    let is_question = turns.is_empty();
    if !system.is_empty() && !is_question {
        body.object("systemInstruction", |instruction| {
            instruction.array("parts", |parts| {
                system.iter().for_each(|text| parts.object(|part| part.string("text", text)));
            });
        });
    }
    body.array("contents", |contents| {
        if is_question {
            contents.object(|content| {
                content.string("role", "user");
                content.array("parts", |parts| {
                    system.iter().for_each(|text| parts.object(|part| part.string("text", text)));
                });
            });
        }
        for turn in turns {
            contents.object(|content| {
                content.string("role", turn.role);
                content.array("parts", |parts| turn.parts.iter().for_each(|piece| write_piece(piece, parts)));
            });
        }
    });
}

fn write_piece(piece: &Piece<'_>, parts: &mut Array<'_>) {
    match piece {
        Piece::Own(json) => parts.raw(json.get()),
        Piece::Answer { name, result } => write_answer(name, result, parts),
        Piece::Said(said) => parts.object(|part| {
            write_said(&said.content, part);
            said.extra.of(SELF).iter().for_each(|(name, raw)| part.raw(name, raw.get()));
        }),
    }
}

fn write_said(said: &Content, part: &mut Object<'_>) {
    match said {
        Content::Text(text) | Content::Refusal(text) => part.string("text", text),
        Content::Image(image) => media::write(image, "image/jpeg", part),
        Content::Audio(audio) => media::write(audio, "audio/wav", part),
        Content::Document(document) => media::write(&document.media, "application/pdf", part),
        Content::ToolCall(call) => {
            part.object("functionCall", |object| {
                object.string("name", &call.name);
                let is_object = json::scan_object(call.arguments.as_bytes(), |_| ()).is_ok();
                object.raw("args", if is_object { call.arguments.trim() } else { "{}" });
            });
            if let (_, Some(signature)) = signed_id::split(&call.id) {
                part.string("thoughtSignature", &signature);
            }
        }
        // Planned as pieces of their own.
        Content::ToolResult(_) | Content::Reasoning(_) | Content::Opaque { .. } => {}
    }
}

/// An object stays what it is; a text is the function's `output`, or its `error`. Media follow as parts of their own.
fn write_answer(name: &str, result: &ToolResult, parts: &mut Array<'_>) {
    let texts: Vec<&str> = result.parts.iter().filter_map(|part| text(&part.content)).collect();
    let said = texts.join("\n");
    let failed = result.is_error == Some(true);
    parts.object(|part| {
        part.object("functionResponse", |response| {
            response.string("name", name);
            let is_object = !failed && json::scan_object(said.as_bytes(), |_| ()).is_ok();
            if is_object {
                response.raw("response", said.trim());
            } else {
                response.object("response", |object| object.string(if failed { "error" } else { "output" }, &said));
            }
        });
    });
    for part in &result.parts {
        match &part.content {
            Content::Image(image) => parts.object(|part| media::write(image, "image/jpeg", part)),
            Content::Audio(audio) => parts.object(|part| media::write(audio, "audio/wav", part)),
            Content::Document(document) => parts.object(|part| media::write(&document.media, "application/pdf", part)),
            _ => {}
        }
    }
}
