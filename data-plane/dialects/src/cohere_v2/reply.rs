//! Whole replies → events.

use gateway_ir::event::Event;
use gateway_ir::failure::{Code, Failure};
use serde_json::value::RawValue;

use super::message;
use crate::call_id::call_id;
use crate::reading::{elements, garbage, members, members_of, text};
use crate::refused;

pub(super) fn decode(body: &[u8]) -> Result<Vec<Event>, Box<Failure>> {
    let (mut id, mut finish, mut message, mut usage) = (String::new(), None, None, None);
    members(body, |name, raw| match name {
        "id" => id = text(raw).unwrap_or_default().into_owned(),
        "finish_reason" => finish = text(raw),
        "message" => message = Some(raw),
        "usage" => usage = Some(raw),
        _ => {}
    })
    .map_err(|cause| garbage(format!("the upstream's reply is not what Cohere sends: {cause}")))?;
    let Some(message) = message.filter(|raw| raw.get().starts_with('{')) else {
        return Ok(vec![Event::Error(refused::inside(body).unwrap_or_else(no_message))]);
    };
    let mut events = vec![Event::Start { id: id.clone(), model: String::new(), created: None }];
    let (mut citations, mut n_calls) = (None, 0);
    members_of(message, |name, raw| match name {
        "tool_plan" => events.extend(text(raw).map(|text| Event::Reasoning { choice: 0, text: text.into_owned() })),
        "content" => elements(raw, |part| content(part, &mut events)),
        "tool_calls" => elements(raw, |call| whole_call(call, &id, &mut n_calls, &mut events)),
        "citations" => citations = Some(raw),
        _ => {}
    });
    if let Some(raw) = citations {
        message::citations(raw, &mut events);
    }
    events.extend(usage.map(|raw| Event::Usage(message::usage(raw))));
    match finish.as_deref() {
        Some("ERROR" | "TIMEOUT") => events.push(Event::Error(failed(None))),
        said => {
            let reason = message::finish_reason(said.unwrap_or("COMPLETE"));
            events.push(Event::Finish { choice: 0, reason, stop_sequence: None });
            events.push(Event::End);
        }
    }
    Ok(events)
}

fn no_message() -> Box<Failure> {
    garbage("the upstream's reply has no message")
}

/// The model gave up.
pub(super) fn failed(said: Option<&str>) -> Box<Failure> {
    let message = said.unwrap_or("the upstream could not finish its reply").to_owned();
    Box::new(Failure::new(Code::UpstreamError, message))
}

fn content(part: &RawValue, events: &mut Vec<Event>) {
    members_of(part, |name, raw| match name {
        "text" => events.extend(text(raw).map(|text| Event::Text { choice: 0, text: text.into_owned() })),
        "thinking" => events.extend(text(raw).map(|text| Event::Reasoning { choice: 0, text: text.into_owned() })),
        _ => {}
    });
}

fn whole_call(raw: &RawValue, reply: &str, n_calls: &mut u32, events: &mut Vec<Event>) {
    let call = Call::read(raw);
    call.begin(reply, *n_calls, events);
    if let Some(json) = call.arguments {
        events.push(Event::ToolCallArguments { choice: 0, call: *n_calls, json });
    }
    *n_calls += 1;
}

/// One element of `tool_calls`, whole or the beginning of one.
#[derive(Default)]
pub(super) struct Call {
    id: String,
    name: String,
    pub(super) arguments: Option<String>,
}

// === impl Call ===

impl Call {
    pub(super) fn read(raw: &RawValue) -> Self {
        let mut call = Self::default();
        members_of(raw, |name, value| match name {
            "id" => call.id = text(value).unwrap_or_default().into_owned(),
            "function" => members_of(value, |name, value| match name {
                "name" => call.name = text(value).unwrap_or_default().into_owned(),
                "arguments" => call.arguments = text(value).map(std::borrow::Cow::into_owned),
                _ => {}
            }),
            _ => {}
        });
        call
    }

    pub(super) fn begin(&self, reply: &str, number: u32, events: &mut Vec<Event>) {
        let id = match self.id.as_str() {
            "" => call_id(&[reply, &self.name, &number.to_string()]),
            id => id.to_owned(),
        };
        events.push(Event::ToolCallStart { choice: 0, call: number, id, name: self.name.clone() });
    }
}
