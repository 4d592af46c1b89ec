//! The conversation for an upstream: one message after the other, tool results as messages of their own.

use gateway_ir::chat::{Content, Message, Part, Role, ToolCall, ToolResult};
use gateway_ir::dialect::Dialect;
use gateway_ir::extra::Extra;
use gateway_ir::failure::Failure;

use super::{Context, content, foreign_name, unsupported};
use crate::signed_id;
use crate::writer::{Array, Object};

/// Media that came with tool results, which can only be text: told by the user right after them.
type Attached<'m> = Vec<(&'m str, &'m Part)>;

/// What an assistant's message is made of.
#[derive(Default)]
struct Assistant<'m> {
    thinking: String,
    content: Vec<&'m Part>,
    refusal: String,
    calls: Vec<&'m Content>,
}

pub(super) fn write(
    messages: &[Message],
    array: &mut Array<'_>,
    context: &mut Context<'_>,
) -> Result<(), Box<Failure>> {
    let mut attached = Attached::new();
    for (index, message) in messages.iter().enumerate() {
        let results = message.parts.iter().filter_map(|part| match &part.content {
            Content::ToolResult(result) => Some(result),
            _ => None,
        });
        let mut has_results = false;
        for result in results {
            refuse_tools(index, context)?;
            array.object(|object| write_result(result, message, object, &mut attached, context))?;
            has_results = true;
        }
        let is_last_result = !messages.get(index + 1).is_some_and(|next| next.role == Role::Tool);
        if is_last_result && !attached.is_empty() {
            write_attached(std::mem::take(&mut attached), index, array, context)?;
        }
        match message.role {
            Role::Tool => {}
            Role::Assistant => write_assistant(message, index, array, context)?,
            Role::System | Role::Developer | Role::User => {
                let parts: Vec<&Part> =
                    message.parts.iter().filter(|part| !matches!(part.content, Content::ToolResult(_))).collect();
                if !(parts.is_empty() && has_results) {
                    write_plain(message, &parts, index, array, context)?;
                }
            }
        }
    }
    Ok(())
}

fn write_plain(
    message: &Message,
    parts: &[&Part],
    index: usize,
    array: &mut Array<'_>,
    context: &mut Context<'_>,
) -> Result<(), Box<Failure>> {
    let role = match message.role {
        Role::Developer if !context.upstream.quirks.no_developer_role => "developer",
        Role::System | Role::Developer => "system",
        Role::User | Role::Assistant | Role::Tool => "user",
    };
    array.object(|object| {
        object.string("role", role);
        content::write(parts, index, object, context)?;
        write_name(message, object);
        context.extra(&message.extra, "messages", object);
        Ok(())
    })
}

fn write_assistant(
    message: &Message,
    index: usize,
    array: &mut Array<'_>,
    context: &mut Context<'_>,
) -> Result<(), Box<Failure>> {
    let assistant = Assistant::of(message, context);
    if !assistant.calls.is_empty() {
        refuse_tools(index, context)?;
    }
    array.object(|object| {
        object.string("role", "assistant");
        if assistant.content.is_empty() && !(assistant.calls.is_empty() && assistant.refusal.is_empty()) {
            object.raw("content", "null");
        } else {
            content::write(&assistant.content, index, object, context)?;
        }
        if !assistant.thinking.is_empty() {
            object.string("reasoning_content", &assistant.thinking);
        }
        if !assistant.refusal.is_empty() {
            object.string("refusal", &assistant.refusal);
        }
        write_name(message, object);
        if !assistant.calls.is_empty() {
            object.array("tool_calls", |calls| assistant.calls.iter().for_each(|call| write_call(call, calls)));
        }
        context.extra(&message.extra, "messages", object);
        Ok(())
    })
}

fn write_call(call: &Content, calls: &mut Array<'_>) {
    match call {
        Content::ToolCall(ToolCall { id, name, arguments }) => calls.object(|object| {
            object.string("id", signed_id::plain(id));
            object.string("type", "function");
            object.object("function", |function| {
                function.string("name", name);
                function.string("arguments", if arguments.is_empty() { "{}" } else { arguments });
            });
        }),
        Content::Opaque { json, .. } => calls.raw(json.get()),
        _ => {}
    }
}

fn write_result<'m>(
    result: &'m ToolResult,
    message: &'m Message,
    object: &mut Object<'_>,
    attached: &mut Attached<'m>,
    context: &mut Context<'_>,
) -> Result<(), Box<Failure>> {
    object.string("role", "tool");
    object.string("tool_call_id", signed_id::plain(&result.call_id));
    // Documented is text alone; who wrote more in this dialect knows the server.
    let can_stay = |part: &Part| context.is_native || matches!(part.content, Content::Text(_) | Content::Opaque { .. });
    let (texts, others): (Vec<&Part>, Vec<&Part>) = result.parts.iter().partition(|part| can_stay(part));
    content::write(&texts, 0, object, context)?;
    attached.extend(others.into_iter().map(|part| (result.call_id.as_str(), part)));
    if result.is_error == Some(true) {
        context.drop("messages.is_error");
    }
    write_name(message, object);
    let none = Extra::default();
    let is_alone = message.parts.len() == 1;
    context.extra(if is_alone { &message.extra } else { &none }, "messages", object);
    Ok(())
}

fn write_attached(
    attached: Attached<'_>,
    index: usize,
    array: &mut Array<'_>,
    context: &mut Context<'_>,
) -> Result<(), Box<Failure>> {
    let mut parts = Vec::with_capacity(2 * attached.len());
    for (call_id, part) in attached {
        parts.push(Part::text(format!("Part of the result of tool call {call_id}:")));
        parts.push(part.clone());
    }
    array.object(|object| {
        object.string("role", "user");
        content::write(&parts.iter().collect::<Vec<_>>(), index, object, context)
    })
}

fn write_name(message: &Message, object: &mut Object<'_>) {
    if let Some(name) = &message.name {
        object.string("name", name);
    }
}

/// A conversation in which tools were used makes no sense without them.
fn refuse_tools(index: usize, context: &Context<'_>) -> Result<(), Box<Failure>> {
    if context.upstream.quirks.no_tools {
        return Err(unsupported(
            "the upstream knows no tools, and the conversation has tool calls",
            format!("messages[{index}]"),
        ));
    }
    Ok(())
}

// === impl Assistant ===

impl<'m> Assistant<'m> {
    fn of(message: &'m Message, context: &mut Context<'_>) -> Self {
        let mut assistant = Self::default();
        let has_details = message.extra.of(Dialect::OpenAiChat).iter().any(|(name, _)| name == "reasoning_details");
        for part in &message.parts {
            match &part.content {
                // Sealed thinking is of use to the provider that made it; where the client kept the details, they go as they are.
                Content::Reasoning(thinking) if thinking.signature.is_some() || thinking.redacted.is_some() => {
                    if !has_details {
                        context.drop("messages.thinking");
                    }
                }
                Content::Reasoning(thinking) => assistant.thinking.push_str(&thinking.text),
                Content::Refusal(text) => assistant.refusal.push_str(text),
                Content::ToolCall(_) => assistant.calls.push(&part.content),
                Content::Opaque { kind, .. } if kind == "tool_calls" && foreign_name(&part.content).is_none() => {
                    assistant.calls.push(&part.content);
                }
                Content::ToolResult(_) => {}
                _ => assistant.content.push(part),
            }
        }
        assistant
    }
}
