//! Output items as clients see them, whole and while they grow.

use gateway_ir::event::CitationKind;
use serde_json::value::RawValue;

use crate::reading::{members_of, text};
use crate::writer::{Array, Object};

/// A sealed or growing item of the output.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) id: String,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Message { text: String, refusal: String, annotations: Vec<String> },
    Reasoning { text: String },
    Call { call_id: String, name: String, arguments: String },
}

/// `in_progress` while it grows, then `completed`, or `incomplete` where the reply broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    Completed,
    Incomplete,
}

// === impl Item ===

impl Item {
    pub(super) fn write(&self, status: Status, object: &mut Object<'_>) {
        object.string("id", &self.id);
        match &self.kind {
            Kind::Message { text, refusal, annotations } => {
                object.string("type", "message");
                object.string("status", status.word());
                object.string("role", "assistant");
                object.array("content", |content| {
                    let is_growing = status == Status::InProgress;
                    if !is_growing && (!text.is_empty() || refusal.is_empty()) {
                        content.object(|part| write_text(text, annotations, part));
                    }
                    if !is_growing && !refusal.is_empty() {
                        content.object(|part| write_refusal(refusal, part));
                    }
                });
            }
            Kind::Reasoning { text } => {
                object.string("type", "reasoning");
                object.array("summary", |summary| {
                    if !text.is_empty() {
                        summary.object(|part| write_summary(text, part));
                    }
                });
            }
            Kind::Call { call_id, name, arguments, .. } => {
                object.string("type", "function_call");
                object.string("status", status.word());
                object.string("call_id", call_id);
                object.string("name", name);
                object.string("arguments", arguments);
            }
        }
    }
}

pub(super) fn write_text(text: &str, annotations: &[String], part: &mut Object<'_>) {
    part.string("type", "output_text");
    part.string("text", text);
    part.array("annotations", |array| annotations.iter().for_each(|annotation| array.raw(annotation)));
    part.raw("logprobs", "[]");
}

pub(super) fn write_refusal(refusal: &str, part: &mut Object<'_>) {
    part.string("type", "refusal");
    part.string("refusal", refusal);
}

pub(super) fn write_summary(text: &str, part: &mut Object<'_>) {
    part.string("type", "summary_text");
    part.string("text", text);
}

/// A citation as an annotation on the text from `start` to `end` (in characters); `None` where it names no page.
pub(super) fn annotation(kind: CitationKind, json: &RawValue, start: usize, end: usize) -> Option<String> {
    let (mut url, mut title, mut nested) = (None, None, None);
    members_of(json, |name, value| match name {
        "url" => url = text(value),
        "title" => title = text(value),
        "url_citation" => nested = Some(value),
        _ => {}
    });
    let (mut from, mut to) = (start as u64, end as u64);
    if let (CitationKind::OpenAi, Some(nested)) = (kind, nested) {
        members_of(nested, |name, value| match name {
            "url" => url = text(value),
            "title" => title = text(value),
            "start_index" => from = value.get().parse().unwrap_or(from),
            "end_index" => to = value.get().parse().unwrap_or(to),
            _ => {}
        });
    }
    let url = url?;
    let title = title.as_deref().unwrap_or(&url);
    let said =
        serde_json::json!({"type": "url_citation", "start_index": from, "end_index": to, "url": url, "title": title});
    Some(said.to_string())
}

/// All items; what cuts a reply short cuts its last item.
pub(super) fn write_all(items: &[Item], last: Status, output: &mut Array<'_>) {
    for (at, item) in items.iter().enumerate() {
        let status = if at + 1 == items.len() { last } else { Status::Completed };
        output.object(|object| item.write(status, object));
    }
}

// === impl Status ===

impl Status {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Incomplete => "incomplete",
        }
    }
}
