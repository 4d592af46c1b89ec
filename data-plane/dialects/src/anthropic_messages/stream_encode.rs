//! Events → the stream an Anthropic client reads: blocks one after the other, with rising indexes, each opened and closed once.
//!
//! Text leaves event by event. Only the finish waits, for the usage that Anthropic puts beside it. Calls whose arguments come
//! interleaved cannot be told so; [`crate::sequence`] holds back what comes while a call's arguments are not whole.

use bytes::{BufMut, BytesMut};
use gateway_ir::dialect::Dialect;
use gateway_ir::event::{CitationKind, Event, FinishReason};
use gateway_ir::failure::{Code, Failure};
use gateway_ir::usage::Usage;
use serde_json::value::RawValue;

use super::{error, message, reply};
use crate::dialect::{ReplyContext, StreamEncoder};
use crate::sequence::Sequence;
use crate::writer;

/// Encoder of one stream. Anthropic knows one choice; events of others are passed over.
pub(super) struct Encoder {
    context: ReplyContext,
    sequence: Sequence,
    writing: Writing,
    over: bool,
}

/// What has been written and what is owed.
#[derive(Default)]
struct Writing {
    started: bool,
    open: Option<Open>,
    n_blocks: u64,
    refused: bool,
    usage: Usage,
    meta: Vec<(String, Box<RawValue>)>,
    finish: Option<(FinishReason, Option<String>)>,
}

/// The block that is open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    /// `cited`: a citation was written; text behind it belongs to a new block.
    Text {
        cited: bool,
    },
    Thinking,
    ToolUse {
        call: u32,
    },
}

// === impl Encoder ===

impl Encoder {
    pub(super) fn new(context: &ReplyContext) -> Self {
        let (sequence, writing) = (Sequence::default(), Writing::default());
        Self { context: context.clone(), sequence, writing, over: false }
    }
}

impl StreamEncoder for Encoder {
    fn push(&mut self, event: &Event, out: &mut BytesMut) {
        if self.over {
            return;
        }
        match event {
            Event::Error(failure) => return self.fail(failure, out),
            // The caller says `end`.
            Event::End | Event::Logprobs { .. } => return,
            Event::Start { id, model, .. } => return self.writing.start(id, model, &self.context, out),
            Event::Usage(usage) => return self.writing.usage = *usage,
            Event::Meta { name, json } => return self.writing.keep_detail(name, json),
            _ => {}
        }
        self.writing.start("", "", &self.context, out);
        let Self { sequence, writing, .. } = self;
        sequence.push(event, &mut |event| writing.write(event, out));
    }

    fn end(&mut self, out: &mut BytesMut) {
        if self.over {
            return;
        }
        self.writing.start("", "", &self.context, out);
        let Self { sequence, writing, .. } = self;
        sequence.release(&mut |event| writing.write(event, out));
        if sequence.lost_arguments() {
            let message = "the upstream went on with a tool call that it had finished; the call cannot be trusted";
            return self.fail(&Failure::new(Code::UpstreamGarbage, message), out);
        }
        self.over = true;
        self.writing.end(out);
    }

    fn fail(&mut self, failure: &Failure, out: &mut BytesMut) {
        if !std::mem::replace(&mut self.over, true) {
            error::write_event(failure, out);
        }
    }
}

// === impl Writing ===

impl Writing {
    /// Once. Usage is what is known so far, most often nothing yet; `message_delta` says it again.
    fn start(&mut self, id: &str, model: &str, context: &ReplyContext, out: &mut BytesMut) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        out.put_slice(b"event: message_start\ndata: ");
        writer::object(out, |event| {
            event.string("type", "message_start");
            event.object("message", |object| {
                object.string("id", &reply::message_id(id, context));
                object.string("type", "message");
                object.string("role", "assistant");
                object.string("model", if model.is_empty() { &context.model } else { model });
                object.array("content", |_| ());
                object.raw("stop_reason", "null");
                object.raw("stop_sequence", "null");
                object.object("usage", |object| message::write_usage(object, &self.usage, &[]));
            });
        });
        out.put_slice(b"\n\n");
    }

    /// Details are few; a later one replaces an earlier one of the same name.
    fn keep_detail(&mut self, name: &str, json: &RawValue) {
        match self.meta.iter_mut().find(|(known, _)| known == name) {
            Some((_, slot)) => *slot = json.to_owned(),
            None => self.meta.push((name.to_owned(), json.to_owned())),
        }
    }

    /// Writes one event of the first choice, whose turn it is.
    fn write(&mut self, event: &Event, out: &mut BytesMut) {
        match event {
            Event::Text { text, .. } | Event::Refusal { text, .. } => {
                self.refused |= matches!(event, Event::Refusal { .. });
                if !text.is_empty() {
                    self.open_text(out);
                    self.delta("text_delta", "text", text, out);
                }
            }
            Event::Citation { kind: CitationKind::Anthropic, json, .. } => {
                if !matches!(self.open, Some(Open::Text { .. })) {
                    self.open_text(out);
                }
                self.open = Some(Open::Text { cited: true });
                self.delta_with(out, |out| {
                    out.put_slice(b"\"citations_delta\",\"citation\":");
                    out.put_slice(json.get().as_bytes());
                });
            }
            Event::Reasoning { text, .. } if !text.is_empty() => {
                self.open_thinking(out);
                self.delta("thinking_delta", "thinking", text, out);
            }
            Event::ReasoningSignature { signature, .. } => {
                self.open_thinking(out);
                self.delta("signature_delta", "signature", signature, out);
                self.close(out);
            }
            Event::RedactedReasoning { data, .. } => {
                self.whole_block(out, |out| {
                    out.put_slice(b"{\"type\":\"redacted_thinking\",\"data\":");
                    writer::quoted(out, data);
                    out.put_u8(b'}');
                });
            }
            Event::Opaque { json, dialect: Dialect::AnthropicMessages, .. } => {
                self.whole_block(out, |out| out.put_slice(json.get().as_bytes()));
            }
            Event::ToolCallStart { call, id, name, .. } => self.open_tool_use(*call, id, name, out),
            Event::ToolCallArguments { call, json, .. } => {
                if self.open != Some(Open::ToolUse { call: *call }) {
                    self.open_tool_use(*call, "", "", out);
                }
                if !json.is_empty() {
                    self.delta("input_json_delta", "partial_json", json, out);
                }
            }
            Event::Finish { reason, stop_sequence, .. } => {
                self.close(out);
                self.finish = Some((reason.clone(), stop_sequence.clone()));
            }
            _ => {}
        }
    }

    fn open_text(&mut self, out: &mut BytesMut) {
        if self.open != Some(Open::Text { cited: false }) {
            self.open(Open::Text { cited: false }, out, |out| out.put_slice(b"{\"type\":\"text\",\"text\":\"\"}"));
        }
    }

    fn open_thinking(&mut self, out: &mut BytesMut) {
        if self.open != Some(Open::Thinking) {
            let block = b"{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}";
            self.open(Open::Thinking, out, |out| out.put_slice(block));
        }
    }

    fn open_tool_use(&mut self, call: u32, id: &str, name: &str, out: &mut BytesMut) {
        self.open(Open::ToolUse { call }, out, |out| {
            out.put_slice(b"{\"type\":\"tool_use\",\"id\":");
            writer::quoted(out, id);
            out.put_slice(b",\"name\":");
            writer::quoted(out, name);
            out.put_slice(b",\"input\":{}}");
        });
    }

    fn whole_block(&mut self, out: &mut BytesMut, block: impl FnOnce(&mut BytesMut)) {
        // What is opened here is closed at once, so that its kind does not matter.
        self.open(Open::Thinking, out, block);
        self.close(out);
    }

    /// Closes the block before and starts the next.
    fn open(&mut self, kind: Open, out: &mut BytesMut, block: impl FnOnce(&mut BytesMut)) {
        self.close(out);
        out.put_slice(b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":");
        writer::unsigned(out, self.n_blocks);
        out.put_slice(b",\"content_block\":");
        let from = out.len();
        block(out);
        writer::one_line(&mut out[from..]);
        out.put_slice(b"}\n\n");
        self.open = Some(kind);
        self.n_blocks += 1;
    }

    fn close(&mut self, out: &mut BytesMut) {
        if self.open.take().is_some() {
            out.put_slice(b"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":");
            writer::unsigned(out, self.n_blocks - 1);
            out.put_slice(b"}\n\n");
        }
    }

    /// A delta of the open block that continues one text.
    fn delta(&mut self, kind: &str, name: &str, text: &str, out: &mut BytesMut) {
        self.delta_with(out, |out| {
            out.reserve(text.len() + 64);
            out.put_u8(b'"');
            out.put_slice(kind.as_bytes());
            out.put_slice(b"\",\"");
            out.put_slice(name.as_bytes());
            out.put_slice(b"\":");
            writer::quoted(out, text);
        });
    }

    /// `rest` writes what follows `"type":` in the delta.
    fn delta_with(&mut self, out: &mut BytesMut, rest: impl FnOnce(&mut BytesMut)) {
        out.put_slice(b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":");
        writer::unsigned(out, self.n_blocks - 1);
        out.put_slice(b",\"delta\":{\"type\":");
        let from = out.len();
        rest(out);
        writer::one_line(&mut out[from..]);
        out.put_slice(b"}}\n\n");
    }

    fn end(&mut self, out: &mut BytesMut) {
        self.close(out);
        let (reason, stop_sequence) = self.finish.take().unwrap_or((FinishReason::Stop, None));
        out.put_slice(b"event: message_delta\ndata: ");
        let from = out.len();
        writer::object(out, |event| {
            event.string("type", "message_delta");
            event.object("delta", |delta| {
                delta.string("stop_reason", message::stop_reason(&reason, self.refused));
                delta.string_or_null("stop_sequence", stop_sequence.as_deref());
                for (name, json) in message::details(&self.meta, "") {
                    delta.raw(name, json.get());
                }
            });
            event.object("usage", |object| message::write_usage(object, &self.usage, &self.meta));
        });
        writer::one_line(&mut out[from..]);
        out.put_slice(b"\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    }
}
