//! Whole replies of an upstream → events.

use gateway_ir::dialect::Dialect;
use gateway_ir::event::{CitationKind, Event, FinishReason};
use gateway_ir::failure::Failure;
use gateway_ir::usage::{Tier, Usage};
use serde_json::value::RawValue;

use super::{error, usage};
use crate::reading::{elements, garbage, members, members_of, text, unsigned};

pub(super) fn decode(body: &[u8]) -> Result<Vec<Event>, Box<Failure>> {
    let (mut status, mut output, mut head) = (None, None, Head::default());
    members(body, |name, raw| match name {
        "status" => status = text(raw),
        "output" => output = Some(raw),
        _ => head.read(name, raw),
    })
    .map_err(|cause| garbage(format!("the upstream's reply is no response object: {cause}")))?;
    if matches!(status.as_deref(), Some("failed" | "cancelled")) || output.is_none() {
        return Ok(vec![Event::Error(error::inside(body))]);
    }
    let mut events = vec![head.start()];
    let mut n_calls = 0;
    if let Some(output) = output {
        elements(output, |item| item_events(item, &mut n_calls, &mut events));
    }
    head.end(n_calls, &mut events);
    Ok(events)
}

/// The members of a response object that are not its output.
#[derive(Default)]
pub(super) struct Head {
    id: String,
    model: String,
    created: Option<i64>,
    reason: Option<String>,
    usage: Option<Usage>,
    tier: Tier,
}

// === impl Head ===

impl Head {
    pub(super) fn of(response: &RawValue) -> Self {
        let mut head = Self::default();
        members_of(response, |name, raw| head.read(name, raw));
        head
    }

    fn read(&mut self, name: &str, raw: &RawValue) {
        match name {
            "id" => self.id = text(raw).unwrap_or_default().into_owned(),
            "model" => self.model = text(raw).unwrap_or_default().into_owned(),
            "created_at" => self.created = unsigned(raw).and_then(|seconds| i64::try_from(seconds).ok()),
            "usage" => self.usage = usage::read(raw),
            "service_tier" => self.tier = text(raw).map(|tier| Tier::parse(&tier)).unwrap_or_default(),
            "incomplete_details" => members_of(raw, |name, value| {
                if name == "reason" {
                    self.reason = text(value).map(std::borrow::Cow::into_owned);
                }
            }),
            _ => {}
        }
    }

    pub(super) fn start(&self) -> Event {
        Event::Start { id: self.id.clone(), model: self.model.clone(), created: self.created }
    }

    /// Usage, why it stopped, and the end.
    pub(super) fn end(&self, n_calls: u32, events: &mut Vec<Event>) {
        events.extend(self.usage.map(|usage| Event::Usage(Usage { tier: self.tier, ..usage })));
        let reason = match self.reason.as_deref() {
            Some("max_output_tokens") => FinishReason::Length,
            Some("content_filter") => FinishReason::ContentFilter,
            Some(other) => FinishReason::Other(other.to_owned()),
            None if n_calls > 0 => FinishReason::ToolCalls,
            None => FinishReason::Stop,
        };
        events.push(Event::Finish { choice: 0, reason, stop_sequence: None });
        events.push(Event::End);
    }
}

fn item_events(item: &RawValue, n_calls: &mut u32, events: &mut Vec<Event>) {
    let choice = 0;
    let (mut kind, mut content, mut summary) = (None, None, None);
    members_of(item, |name, raw| match name {
        "type" => kind = text(raw),
        "content" => content = Some(raw),
        "summary" => summary = Some(raw),
        _ => {}
    });
    match kind.as_deref() {
        Some("message") => {
            if let Some(content) = content {
                elements(content, |part| part_events(part, events));
            }
        }
        Some("reasoning") => {
            for list in [summary, content].into_iter().flatten() {
                elements(list, |part| {
                    members_of(part, |name, raw| {
                        if name == "text" {
                            events.extend(text(raw).map(|text| Event::Reasoning { choice, text: text.into_owned() }));
                        }
                    });
                });
            }
        }
        Some("function_call") => {
            let (id, name, arguments) = call(item);
            events.push(Event::ToolCallStart { choice, call: *n_calls, id, name });
            if !arguments.is_empty() {
                events.push(Event::ToolCallArguments { choice, call: *n_calls, json: arguments });
            }
            *n_calls += 1;
        }
        // Tools that the provider ran itself are not the client's to run.
        Some(kind) => {
            let (kind, dialect) = (kind.to_owned(), Dialect::OpenAiResponses);
            events.push(Event::Opaque { choice, kind, json: item.to_owned(), dialect });
        }
        None => {}
    }
}

/// Id, name and arguments of a `function_call` item.
pub(super) fn call(item: &RawValue) -> (String, String, String) {
    let (mut id, mut called, mut arguments) = (String::new(), String::new(), String::new());
    members_of(item, |name, raw| {
        let said = || text(raw).unwrap_or_default().into_owned();
        match name {
            "call_id" => id = said(),
            "name" => called = said(),
            "arguments" => arguments = said(),
            _ => {}
        }
    });
    (id, called, arguments)
}

fn part_events(part: &RawValue, events: &mut Vec<Event>) {
    let choice = 0;
    let mut annotations = Vec::new();
    members_of(part, |name, raw| match name {
        "text" => events.extend(text(raw).map(|text| Event::Text { choice, text: text.into_owned() })),
        "refusal" => events.extend(text(raw).map(|text| Event::Refusal { choice, text: text.into_owned() })),
        "annotations" => elements(raw, |annotation| annotations.push(annotation)),
        _ => {}
    });
    annotations.into_iter().for_each(|annotation| events.extend(citation(annotation)));
}

/// A page of the web, in the form that OpenAI's chat dialect has for it.
pub(super) fn citation(annotation: &RawValue) -> Option<Event> {
    let mut is_url = false;
    members_of(annotation, |name, raw| is_url |= name == "type" && text(raw).as_deref() == Some("url_citation"));
    let mut inner: serde_json::Map<String, serde_json::Value> = serde_json::from_str(annotation.get()).ok()?;
    inner.remove("type");
    let said = serde_json::json!({"type": "url_citation", "url_citation": inner});
    let json = serde_json::value::to_raw_value(&said).ok()?;
    is_url.then_some(Event::Citation { choice: 0, kind: CitationKind::OpenAi, json })
}
