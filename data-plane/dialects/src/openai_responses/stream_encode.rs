//! Events → a client's stream. Each item is opened, grows and is closed in order; every event has its number and its name.
//!
//! Clients take one item after the other, so calls whose arguments come interleaved are put in order first.

use bytes::BytesMut;
use gateway_ir::event::{Event, FinishReason};
use gateway_ir::failure::{Code, Failure};
use gateway_ir::usage::Usage;

use super::error;
use super::item::{self, Item, Kind, Status};
use super::response::{Head, cut_short, settled};
use crate::dialect::{ReplyContext, StreamEncoder};
use crate::sequence::Sequence;
use crate::writer::{Object, object, one_line};

/// State of one stream. Responses have one choice; events of others are passed over.
pub(super) struct Encoder {
    sequence: Sequence,
    writing: Writing,
    closed: bool,
}

/// What has been written. It keeps what was said, because the terminal event repeats it.
struct Writing {
    context: ReplyContext,
    head: Option<Head>,
    sequence: u64,
    items: Vec<Item>,
    /// The last item is still growing; for a message, which of its parts is open.
    open: Option<Open>,
    finish: Option<FinishReason>,
    usage: Option<Usage>,
}

/// What grows, and how many characters of it citations have covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Text { n_cited: usize },
    Refusal { content_index: u64 },
    Reasoning,
    Call,
}

// === impl Encoder ===

impl Encoder {
    pub(super) fn new(context: ReplyContext) -> Self {
        Self { sequence: Sequence::default(), writing: Writing::new(context), closed: false }
    }
}

// === impl Writing ===

impl Writing {
    fn new(context: ReplyContext) -> Self {
        Self { context, head: None, sequence: 0, items: Vec::new(), open: None, finish: None, usage: None }
    }

    /// One event: its name, its type, what `write` adds, its number.
    fn event(&mut self, name: &str, out: &mut BytesMut, write: impl FnOnce(&Self, &mut Object<'_>)) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\ndata: ");
        let from = out.len();
        object(out, |event| {
            event.string("type", name);
            write(self, event);
            event.unsigned("sequence_number", self.sequence);
        });
        one_line(&mut out[from..]);
        out.extend_from_slice(b"\n\n");
        self.sequence += 1;
    }

    fn start(&mut self, model: &str, created: Option<i64>, out: &mut BytesMut) {
        if self.head.is_some() {
            return;
        }
        self.head = Some(Head::new(model, created, &self.context));
        for name in ["response.created", "response.in_progress"] {
            self.event(name, out, |this, event| this.write_response(None, event));
        }
    }

    fn write_response(&self, finish: Option<&FinishReason>, event: &mut Object<'_>) {
        if let Some(head) = &self.head {
            event.object("response", |object| head.write(&self.items, finish, self.usage.as_ref(), object));
        }
    }

    /// Opens an item behind the ones that are there.
    fn open_item(&mut self, prefix: &str, kind: Kind, open: Open, out: &mut BytesMut) {
        self.close(out);
        let id = self.head.as_ref().map(|head| head.item_id(prefix, self.items.len())).unwrap_or_default();
        self.items.push(Item { id, kind });
        self.open = Some(open);
        self.event("response.output_item.added", out, |this, event| this.write_item(Status::InProgress, event));
    }

    fn write_item(&self, status: Status, event: &mut Object<'_>) {
        if let Some(item) = self.items.last() {
            event.unsigned("output_index", self.items.len() as u64 - 1);
            event.object("item", |object| item.write(status, object));
        }
    }

    /// Which item and which part of it an event is about.
    fn write_place(&self, part: Option<(&str, u64)>, event: &mut Object<'_>) {
        if let Some(item) = self.items.last() {
            event.string("item_id", &item.id);
            event.unsigned("output_index", self.items.len() as u64 - 1);
            if let Some((name, index)) = part {
                event.unsigned(name, index);
            }
        }
    }

    fn text(&mut self, more: &str, out: &mut BytesMut) {
        if !matches!(self.open, Some(Open::Text { .. })) {
            let kind = Kind::Message { text: String::new(), refusal: String::new(), annotations: Vec::new() };
            self.open_item("msg", kind, Open::Text { n_cited: 0 }, out);
            self.event("response.content_part.added", out, |this, event| {
                this.write_place(Some(("content_index", 0)), event);
                event.object("part", |part| item::write_text("", &[], part));
            });
        }
        if let Some(Item { kind: Kind::Message { text, .. }, .. }) = self.items.last_mut() {
            text.push_str(more);
        }
        self.event("response.output_text.delta", out, |this, event| {
            this.write_place(Some(("content_index", 0)), event);
            event.string("delta", more);
            event.raw("logprobs", "[]");
        });
    }

    fn refusal(&mut self, more: &str, out: &mut BytesMut) {
        let content_index = match self.open {
            Some(Open::Refusal { content_index }) => content_index,
            Some(Open::Text { .. }) => {
                self.close_part(out);
                1
            }
            _ => {
                let kind = Kind::Message { text: String::new(), refusal: String::new(), annotations: Vec::new() };
                self.open_item("msg", kind, Open::Refusal { content_index: 0 }, out);
                0
            }
        };
        let place = Some(("content_index", content_index));
        if let Some(Item { kind: Kind::Message { refusal, .. }, .. }) = self.items.last_mut() {
            let is_first = refusal.is_empty();
            refusal.push_str(more);
            self.open = Some(Open::Refusal { content_index });
            if is_first {
                self.event("response.content_part.added", out, |this, event| {
                    this.write_place(place, event);
                    event.object("part", |part| item::write_refusal("", part));
                });
            }
        }
        self.event("response.refusal.delta", out, |this, event| {
            this.write_place(place, event);
            event.string("delta", more);
        });
    }

    fn reasoning(&mut self, more: &str, out: &mut BytesMut) {
        if self.open != Some(Open::Reasoning) {
            self.open_item("rs", Kind::Reasoning { text: String::new() }, Open::Reasoning, out);
            self.event("response.reasoning_summary_part.added", out, |this, event| {
                this.write_place(Some(("summary_index", 0)), event);
                event.object("part", |part| item::write_summary("", part));
            });
        }
        if let Some(Item { kind: Kind::Reasoning { text }, .. }) = self.items.last_mut() {
            text.push_str(more);
        }
        self.event("response.reasoning_summary_text.delta", out, |this, event| {
            this.write_place(Some(("summary_index", 0)), event);
            event.string("delta", more);
        });
    }

    fn arguments(&mut self, json: &str, out: &mut BytesMut) {
        let Some(Item { kind: Kind::Call { arguments, .. }, .. }) = self.items.last_mut() else { return };
        arguments.push_str(json);
        self.event("response.function_call_arguments.delta", out, |this, event| {
            this.write_place(None, event);
            event.string("delta", json);
        });
    }

    fn cite(&mut self, annotation: impl FnOnce(usize, usize) -> Option<String>, out: &mut BytesMut) {
        let Some(Open::Text { n_cited }) = self.open else { return };
        let Some(Item { kind: Kind::Message { text, annotations, .. }, .. }) = self.items.last_mut() else { return };
        let end = text.chars().count();
        let Some(annotation) = annotation(n_cited.min(end), end) else { return };
        let index = annotations.len() as u64;
        annotations.push(annotation.clone());
        self.event("response.output_text.annotation.added", out, |this, event| {
            this.write_place(Some(("content_index", 0)), event);
            event.unsigned("annotation_index", index);
            event.raw("annotation", &annotation);
        });
    }

    /// Closes the part of a message that is open.
    fn close_part(&mut self, out: &mut BytesMut) {
        match self.open {
            Some(Open::Text { .. }) => {
                self.event("response.output_text.done", out, |this, event| {
                    this.write_place(Some(("content_index", 0)), event);
                    if let Some(Item { kind: Kind::Message { text, .. }, .. }) = this.items.last() {
                        event.string("text", text);
                    }
                    event.raw("logprobs", "[]");
                });
                self.event("response.content_part.done", out, |this, event| {
                    this.write_place(Some(("content_index", 0)), event);
                    if let Some(Item { kind: Kind::Message { text, annotations, .. }, .. }) = this.items.last() {
                        event.object("part", |part| item::write_text(text, annotations, part));
                    }
                });
            }
            Some(Open::Refusal { content_index }) => {
                let place = Some(("content_index", content_index));
                self.event("response.refusal.done", out, |this, event| {
                    this.write_place(place, event);
                    if let Some(Item { kind: Kind::Message { refusal, .. }, .. }) = this.items.last() {
                        event.string("refusal", refusal);
                    }
                });
                self.event("response.content_part.done", out, |this, event| {
                    this.write_place(place, event);
                    if let Some(Item { kind: Kind::Message { refusal, .. }, .. }) = this.items.last() {
                        event.object("part", |part| item::write_refusal(refusal, part));
                    }
                });
            }
            Some(Open::Reasoning) => {
                self.event("response.reasoning_summary_text.done", out, |this, event| {
                    this.write_place(Some(("summary_index", 0)), event);
                    if let Some(Item { kind: Kind::Reasoning { text }, .. }) = this.items.last() {
                        event.string("text", text);
                    }
                });
                self.event("response.reasoning_summary_part.done", out, |this, event| {
                    this.write_place(Some(("summary_index", 0)), event);
                    if let Some(Item { kind: Kind::Reasoning { text }, .. }) = this.items.last() {
                        event.object("part", |part| item::write_summary(text, part));
                    }
                });
            }
            Some(Open::Call) => self.close_call(out),
            None => {}
        }
    }

    fn close_call(&mut self, out: &mut BytesMut) {
        if let Some(Item { kind: Kind::Call { arguments, .. }, .. }) = self.items.last_mut()
            && arguments.is_empty()
        {
            arguments.push_str("{}");
        }
        self.event("response.function_call_arguments.done", out, |this, event| {
            this.write_place(None, event);
            if let Some(Item { kind: Kind::Call { name, arguments, .. }, .. }) = this.items.last() {
                event.string("name", name);
                event.string("arguments", arguments);
            }
        });
    }

    /// Closes the item that is open.
    fn close(&mut self, out: &mut BytesMut) {
        if self.open.is_none() {
            return;
        }
        self.close_part(out);
        self.open = None;
        let status = self.finish.as_ref().map_or(Status::Completed, settled);
        self.event("response.output_item.done", out, |this, event| this.write_item(status, event));
    }

    fn write(&mut self, event: &Event, out: &mut BytesMut) {
        match event {
            Event::Text { text, .. } if !text.is_empty() => self.text(text, out),
            Event::Refusal { text, .. } if !text.is_empty() => self.refusal(text, out),
            Event::Reasoning { text, .. } if !text.is_empty() => self.reasoning(text, out),
            Event::ToolCallStart { id, name, .. } => {
                let (call_id, name) = (id.clone(), name.clone());
                let kind = Kind::Call { call_id, name, arguments: String::new() };
                self.open_item("fc", kind, Open::Call, out);
            }
            Event::ToolCallArguments { json, .. } if !json.is_empty() && self.open == Some(Open::Call) => {
                self.arguments(json, out)
            }
            Event::Citation { kind, json, .. } => {
                self.cite(|start, end| item::annotation(*kind, json, start, end), out);
            }
            Event::Finish { reason, .. } => self.finish = Some(reason.clone()),
            _ => {}
        }
    }

    fn end(&mut self, out: &mut BytesMut) {
        self.start("", None, out);
        self.close(out);
        let finish = self.finish.take().unwrap_or(FinishReason::Stop);
        let name = if cut_short(&finish).is_some() { "response.incomplete" } else { "response.completed" };
        self.event(name, out, |this, event| this.write_response(Some(&finish), event));
    }
}

impl StreamEncoder for Encoder {
    fn push(&mut self, event: &Event, out: &mut BytesMut) {
        if self.closed {
            return;
        }
        match event {
            Event::Start { model, created, .. } => return self.writing.start(model, *created, out),
            Event::Usage(usage) => return self.writing.usage = Some(*usage),
            // Written with the text they belong to, empty; the caller says `end` and `fail`.
            Event::Logprobs { .. } | Event::Meta { .. } | Event::End | Event::Error(_) => return,
            _ => {}
        }
        self.writing.start("", None, out);
        let Self { sequence, writing, .. } = self;
        sequence.push(event, &mut |event| writing.write(event, out));
    }

    fn end(&mut self, out: &mut BytesMut) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let Self { sequence, writing, .. } = self;
        sequence.release(&mut |event| writing.write(event, out));
        if sequence.lost_arguments() {
            let message = "the upstream went on with a tool call that it had finished; the call cannot be trusted";
            return error::event(&Failure::new(Code::UpstreamGarbage, message), writing.sequence, out);
        }
        writing.end(out);
    }

    fn fail(&mut self, failure: &Failure, out: &mut BytesMut) {
        if !std::mem::replace(&mut self.closed, true) {
            error::event(failure, self.writing.sequence, out);
        }
    }
}
