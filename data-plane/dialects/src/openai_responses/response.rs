//! The response object as clients see it, whole and inside the events that open and close a stream.

use bytes::{Bytes, BytesMut};
use gateway_ir::event::{CitationKind, FinishReason};
use gateway_ir::fold::{Block, Reply};
use gateway_ir::usage::Usage;

use super::item::{self, Item, Kind, Status};
use super::usage;
use crate::dialect::ReplyContext;
use crate::writer::{Object, object};

/// What is known of a response beside its items.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) model: String,
    pub(super) created: i64,
    stored: bool,
    previous: Option<String>,
    conversation: Option<String>,
}

// === impl Head ===

impl Head {
    /// Ids of other dialects are not given on: a client could ask for them.
    pub(super) fn new(model: &str, created: Option<i64>, context: &ReplyContext) -> Self {
        Self {
            id: format!("resp_{}", context.request_id.replace('-', "")),
            model: if model.is_empty() { context.model.clone() } else { model.to_owned() },
            created: created.unwrap_or(context.created),
            stored: context.stored,
            previous: context.previous.clone(),
            conversation: context.conversation.clone(),
        }
    }

    /// The id of the item at `index`.
    pub(super) fn item_id(&self, prefix: &str, index: usize) -> String {
        format!("{prefix}_{}_{index}", self.id.trim_start_matches("resp_"))
    }

    /// `finish`: why it stopped, once it has.
    pub(super) fn write(
        &self,
        items: &[Item],
        finish: Option<&FinishReason>,
        usage: Option<&Usage>,
        object: &mut Object<'_>,
    ) {
        let cut = finish.and_then(cut_short);
        let status = finish.map_or(Status::InProgress, settled);
        object.string("id", &self.id);
        object.string("object", "response");
        object.raw("created_at", &self.created.to_string());
        object.string("status", status.word());
        object.raw("background", "false");
        object.raw("error", "null");
        match cut {
            Some(reason) => object.object("incomplete_details", |details| details.string("reason", reason)),
            None => object.raw("incomplete_details", "null"),
        }
        object.raw("instructions", "null");
        object.raw("max_output_tokens", "null");
        object.string("model", &self.model);
        object.array("output", |output| item::write_all(items, status, output));
        object.raw("parallel_tool_calls", "true");
        object.string_or_null("previous_response_id", self.previous.as_deref());
        match &self.conversation {
            Some(id) => object.object("conversation", |conversation| conversation.string("id", id)),
            None => object.raw("conversation", "null"),
        }
        object.raw("reasoning", r#"{"effort":null,"summary":null}"#);
        object.raw("store", if self.stored { "true" } else { "false" });
        object.raw("temperature", "null");
        object.raw("text", r#"{"format":{"type":"text"}}"#);
        object.string("tool_choice", "auto");
        object.raw("tools", "[]");
        object.raw("top_p", "null");
        object.string("truncation", "disabled");
        match usage {
            Some(usage) => object.object("usage", |object| usage::write(usage, object)),
            None => object.raw("usage", "null"),
        }
        object.raw("user", "null");
        object.raw("metadata", "{}");
    }
}

/// Why a response is incomplete; `None` for one that is not.
pub(super) fn cut_short(reason: &FinishReason) -> Option<&'static str> {
    match reason {
        FinishReason::Length => Some("max_output_tokens"),
        FinishReason::ContentFilter | FinishReason::Refusal => Some("content_filter"),
        _ => None,
    }
}

/// The status of a response, and of its last item, once it has stopped.
pub(super) fn settled(reason: &FinishReason) -> Status {
    if cut_short(reason).is_some() { Status::Incomplete } else { Status::Completed }
}

/// Writes a whole reply. There is one choice; the first counts.
pub(super) fn encode(reply: &Reply, context: &ReplyContext) -> Bytes {
    let head = Head::new(&reply.model, reply.created, context);
    let (blocks, finish) = match reply.choices.first() {
        Some(choice) => (choice.blocks.as_slice(), choice.finish.clone()),
        None => (&[][..], None),
    };
    let mut items: Vec<Item> = Vec::new();
    for block in blocks {
        add(block, &head, &mut items);
    }
    let mut out = BytesMut::with_capacity(2048);
    let finish = finish.unwrap_or(FinishReason::Stop);
    object(&mut out, |object| head.write(&items, Some(&finish), reply.usage.as_ref(), object));
    out.freeze()
}

/// Texts and refusals that follow one another are one message.
fn add(block: &Block, head: &Head, items: &mut Vec<Item>) {
    let index = items.len();
    match block {
        Block::Text { text: more, citations } => {
            let Kind::Message { text, annotations, .. } = message(head, items) else { return };
            let start = text.chars().count();
            text.push_str(more);
            let end = start + more.chars().count();
            let said = |(kind, json): &(CitationKind, Box<_>)| item::annotation(*kind, json, start, end);
            annotations.extend(citations.iter().filter_map(said));
        }
        Block::Refusal { text: more } => {
            if let Kind::Message { refusal, .. } = message(head, items) {
                refusal.push_str(more);
            }
        }
        Block::Reasoning { text, .. } if !text.is_empty() => {
            items.push(Item { id: head.item_id("rs", index), kind: Kind::Reasoning { text: text.clone() } });
        }
        Block::ToolCall { id, name, arguments, .. } => items.push(Item {
            id: head.item_id("fc", index),
            kind: Kind::Call {
                call_id: id.clone(),
                name: name.clone(),
                arguments: if arguments.is_empty() { "{}".to_owned() } else { arguments.clone() },
            },
        }),
        Block::Reasoning { .. } | Block::RedactedReasoning { .. } | Block::Opaque { .. } => {}
    }
}

/// The message that is being spoken, or a new one.
fn message<'i>(head: &Head, items: &'i mut Vec<Item>) -> &'i mut Kind {
    if !matches!(items.last(), Some(Item { kind: Kind::Message { .. }, .. })) {
        let kind = Kind::Message { text: String::new(), refusal: String::new(), annotations: Vec::new() };
        items.push(Item { id: head.item_id("msg", items.len()), kind });
    }
    let last = items.len() - 1;
    &mut items[last].kind
}
