//! Whole replies → events.

use gateway_ir::dialect::Dialect;
use gateway_ir::event::Event;
use gateway_ir::failure::Failure;
use gateway_ir::usage::Usage;
use serde_json::value::RawValue;

use super::message;
use crate::reading::{elements, garbage, members, members_of, text};
use crate::refused;

pub(super) fn decode(body: &[u8]) -> Result<Vec<Event>, Box<Failure>> {
    let (mut output, mut stop, mut usage, mut tier) = (None, None, None, None);
    members(body, |name, raw| match name {
        "output" => members_of(raw, |name, value| output = if name == "message" { Some(value) } else { output }),
        "stopReason" => stop = text(raw),
        "usage" => usage = Some(raw),
        "serviceTier" => tier = Some(raw),
        _ => {}
    })
    .map_err(|cause| garbage(format!("the upstream's reply is not what Bedrock sends: {cause}")))?;
    let (Some(output), Some(stop)) = (output, stop) else {
        let failure = refused::inside(body).unwrap_or_else(|| garbage("the upstream's reply has no message"));
        return Ok(vec![Event::Error(failure)]);
    };
    let mut events = vec![Event::Start { id: String::new(), model: String::new(), created: None }];
    let mut n_calls = 0;
    members_of(output, |name, raw| {
        if name == "content" {
            elements(raw, |block| block_events(block, &mut n_calls, &mut events));
        }
    });
    events.extend(usage.map(|raw| Event::Usage(Usage { tier: message::tier(tier), ..message::usage(raw) })));
    events.push(Event::Finish { choice: 0, reason: message::finish_reason(&stop), stop_sequence: None });
    events.push(Event::End);
    Ok(events)
}

fn block_events(block: &RawValue, n_calls: &mut u32, events: &mut Vec<Event>) {
    let choice = 0;
    members_of(block, |kind, raw| match kind {
        "text" => events.extend(text(raw).map(|text| Event::Text { choice, text: text.into_owned() })),
        "reasoningContent" => reasoning(raw, events),
        "citationsContent" => cited(raw, events),
        "toolUse" if !is_server_tool(raw) => {
            let (id, name, input) = tool_use(raw);
            let json = input.map_or("{}", RawValue::get).to_owned();
            events.push(Event::ToolCallStart { choice, call: *n_calls, id, name });
            events.push(Event::ToolCallArguments { choice, call: *n_calls, json });
            *n_calls += 1;
        }
        // Tools that the provider ran itself are not the client's to run.
        other => events.push(Event::Opaque {
            choice,
            kind: other.to_owned(),
            json: block.to_owned(),
            dialect: Dialect::BedrockConverse,
        }),
    });
}

fn reasoning(raw: &RawValue, events: &mut Vec<Event>) {
    let choice = 0;
    members_of(raw, |name, value| match name {
        "reasoningText" => {
            let (mut said, mut signature) = (None, None);
            members_of(value, |name, value| match name {
                "text" => said = text(value),
                "signature" => signature = text(value),
                _ => {}
            });
            events.extend(said.map(|text| Event::Reasoning { choice, text: text.into_owned() }));
            let signed = |signature: std::borrow::Cow<'_, str>| Event::ReasoningSignature {
                choice,
                signature: signature.into_owned(),
            };
            events.extend(signature.map(signed));
        }
        "redactedContent" => {
            events.extend(text(value).map(|data| Event::RedactedReasoning { choice, data: data.into_owned() }));
        }
        _ => {}
    });
}

/// Text that is spoken with its sources.
fn cited(raw: &RawValue, events: &mut Vec<Event>) {
    let mut citations = Vec::new();
    members_of(raw, |name, value| match name {
        "content" => elements(value, |part| {
            members_of(part, |name, value| {
                if name == "text" {
                    events.extend(text(value).map(|text| Event::Text { choice: 0, text: text.into_owned() }));
                }
            });
        }),
        "citations" => elements(value, |citation| citations.push(citation)),
        _ => {}
    });
    citations.into_iter().for_each(|citation| message::citation(citation, events));
}

/// Whether a `toolUse` is one that the provider runs.
pub(super) fn is_server_tool(raw: &RawValue) -> bool {
    let mut is_server_tool = false;
    members_of(raw, |name, value| {
        is_server_tool |= name == "type" && text(value).as_deref() == Some("server_tool_use");
    });
    is_server_tool
}

/// Id, name and input.
pub(super) fn tool_use(raw: &RawValue) -> (String, String, Option<&RawValue>) {
    let (mut id, mut called, mut input) = (String::new(), String::new(), None);
    members_of(raw, |name, value| match name {
        "toolUseId" => id = text(value).unwrap_or_default().into_owned(),
        "name" => called = text(value).unwrap_or_default().into_owned(),
        "input" => input = Some(value).filter(|value| value.get() != "null"),
        _ => {}
    });
    (id, called, input)
}
