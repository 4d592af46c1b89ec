//! Events into a client's stream of `chat.completion.chunk`s.
//!
//! The members that are the same in every chunk are rendered once; a chunk is written straight into the output.

use bytes::{BufMut, BytesMut};
use gateway_ir::dialect::Dialect;
use gateway_ir::event::Event;
use gateway_ir::failure::Failure;
use gateway_ir::usage::Usage;
use serde_json::value::RawValue;

use super::{annotation, error, finish, reasoning, reply, usage};
use crate::dialect::{ReplyContext, StreamEncoder};
use crate::writer::{Object, object, one_line, quoted, unsigned};

/// What ends a stream that is whole.
pub(crate) const END: &[u8] = b"data: [DONE]\n\n";

/// State of one stream.
pub(super) struct Encoder {
    context: ReplyContext,
    id: String,
    model: String,
    created: u64,
    /// `data: {` and the members every chunk begins with; empty until the first chunk.
    head: BytesMut,
    /// Details that OpenAI repeats in every chunk.
    repeated: Vec<(String, Box<RawValue>)>,
    /// Other details, told with the next chunk.
    waiting: Vec<(String, Box<RawValue>)>,
    choices: Vec<Choice>,
    usage: Option<Usage>,
    /// The last word is said.
    closed: bool,
}

#[derive(Default)]
struct Choice {
    index: u32,
    has_role: bool,
    is_finished: bool,
    /// The calls begun, and whether any piece of their arguments came.
    calls: Vec<(u32, bool)>,
    /// Told with the next chunk of the choice, which has the text they belong to.
    logprobs: Option<Box<RawValue>>,
    /// Characters of text so far, and how many of them citations have covered.
    n_chars: u64,
    n_cited: u64,
    n_sealed: u64,
}

// === impl Encoder ===

impl Encoder {
    pub(super) fn new(context: ReplyContext) -> Self {
        let id = reply::id("", &context).into_owned();
        let (model, created) = (context.model.clone(), reply::created(None, &context));
        let (repeated, waiting, choices) = (Vec::new(), Vec::new(), Vec::with_capacity(1));
        Self {
            context,
            id,
            model,
            created,
            head: BytesMut::new(),
            repeated,
            waiting,
            choices,
            usage: None,
            closed: false,
        }
    }

    fn meta(&mut self, name: &str, json: &RawValue) {
        if !reply::is_free(name) {
            return;
        }
        let is_repeated = matches!(name, "system_fingerprint" | "service_tier");
        let list = if is_repeated { &mut self.repeated } else { &mut self.waiting };
        list.retain(|(known, _)| known != name);
        list.push((name.to_owned(), json.to_owned()));
        self.head.clear();
    }

    fn render_head(&mut self) {
        let head = &mut self.head;
        head.put_slice(b"data: {\"id\":");
        quoted(head, &self.id);
        head.put_slice(b",\"object\":\"chat.completion.chunk\",\"created\":");
        unsigned(head, self.created);
        head.put_slice(b",\"model\":");
        quoted(head, &self.model);
        for (name, json) in &self.repeated {
            head.put_u8(b',');
            quoted(head, name);
            head.put_u8(b':');
            head.put_slice(json.get().as_bytes());
        }
    }

    fn choice(&mut self, index: u32) -> &mut Choice {
        let position = self.choices.iter().position(|choice| choice.index == index).unwrap_or_else(|| {
            self.choices.push(Choice { index, ..Choice::default() });
            self.choices.len() - 1
        });
        &mut self.choices[position]
    }

    /// Writes a chunk with one choice, whose delta `write` fills; nothing after the choice's finish.
    fn chunk(&mut self, index: u32, reason: Option<&str>, out: &mut BytesMut, write: impl FnOnce(&mut Object<'_>)) {
        let choice = self.choice(index);
        if choice.is_finished {
            return;
        }
        choice.is_finished = reason.is_some();
        let is_first = !std::mem::replace(&mut choice.has_role, true);
        let logprobs = choice.logprobs.take();
        let from = self.begin_chunk(out);
        out.put_slice(b",\"choices\":[{\"index\":");
        unsigned(out, index.into());
        out.put_slice(b",\"delta\":");
        object(out, |delta| {
            if is_first {
                delta.string("role", "assistant");
            }
            write(delta);
        });
        out.put_slice(b",\"logprobs\":");
        out.put_slice(logprobs.as_deref().map_or("null", RawValue::get).as_bytes());
        out.put_slice(b",\"finish_reason\":");
        match reason {
            Some(reason) => quoted(out, reason),
            None => out.put_slice(b"null"),
        }
        out.put_slice(if self.context.include_usage { b"}],\"usage\":null" } else { b"}]" });
        self.end_chunk(from, out);
    }

    /// Returns where it begins.
    fn begin_chunk(&mut self, out: &mut BytesMut) -> usize {
        if self.head.is_empty() {
            self.render_head();
        }
        let from = out.len();
        out.put_slice(&self.head);
        from
    }

    fn end_chunk(&mut self, from: usize, out: &mut BytesMut) {
        for (name, json) in self.waiting.drain(..) {
            out.put_u8(b',');
            quoted(out, &name);
            out.put_u8(b':');
            out.put_slice(json.get().as_bytes());
        }
        one_line(&mut out[from..]);
        out.put_slice(b"}\n\n");
    }

    fn call(&mut self, choice: u32, call: u32, out: &mut BytesMut, write: impl FnOnce(&mut Object<'_>)) {
        self.chunk(choice, None, out, |delta| {
            delta.array("tool_calls", |array| {
                array.object(|object| {
                    object.unsigned("index", call.into());
                    write(object);
                });
            });
        });
    }

    /// The form before tools has room for one call.
    fn function_call(&mut self, choice: u32, call: u32, name: Option<&str>, arguments: &str, out: &mut BytesMut) {
        if call > 0 {
            return;
        }
        self.chunk(choice, None, out, |delta| {
            delta.object("function_call", |function| {
                if let Some(name) = name {
                    function.string("name", name);
                }
                function.string("arguments", arguments);
            });
        });
    }

    fn call_start(&mut self, choice: u32, call: u32, id: &str, name: &str, out: &mut BytesMut) {
        self.choice(choice).calls.push((call, false));
        if self.context.functions {
            return self.function_call(choice, call, Some(name), "", out);
        }
        self.call(choice, call, out, |object| {
            object.string("id", id);
            object.string("type", "function");
            object.object("function", |function| {
                function.string("name", name);
                function.string("arguments", "");
            });
        });
    }

    fn arguments(&mut self, choice: u32, call: u32, json: &str, out: &mut BytesMut) {
        if let Some((_, has_arguments)) = self.choice(choice).calls.iter_mut().find(|(known, _)| *known == call) {
            *has_arguments = true;
        }
        if self.context.functions {
            return self.function_call(choice, call, None, json, out);
        }
        self.call(choice, call, out, |object| {
            object.object("function", |function| function.string("arguments", json));
        });
    }

    /// `reason` is `None` where the upstream ended properly without giving one.
    fn finish(&mut self, index: u32, reason: Option<&str>, out: &mut BytesMut) {
        let choice = self.choice(index);
        let has_role = choice.has_role;
        let reason = reason.unwrap_or(if choice.calls.is_empty() { "stop" } else { "tool_calls" });
        let without: Vec<u32> = choice.calls.iter().filter(|(_, has)| !has).map(|(call, _)| *call).collect();
        for call in without {
            self.arguments(index, call, "{}", out);
        }
        self.chunk(index, Some(finish::spoken(reason, self.context.functions)), out, |delta| {
            if !has_role {
                delta.string("content", "");
            }
        });
    }

    fn sealed(&mut self, choice: u32, out: &mut BytesMut, write: impl FnOnce(u64, &mut crate::writer::Array<'_>)) {
        let index = self.choice(choice).n_sealed;
        self.choice(choice).n_sealed += 1;
        self.chunk(choice, None, out, |delta| delta.array("reasoning_details", |array| write(index, array)));
    }
}

impl StreamEncoder for Encoder {
    fn push(&mut self, event: &Event, out: &mut BytesMut) {
        if self.closed {
            return;
        }
        match event {
            // The id of a stream never changes, whatever comes later.
            Event::Start { .. } if !self.choices.is_empty() => {}
            Event::Start { id, model, created } => {
                self.id = reply::id(id, &self.context).into_owned();
                self.model = if model.is_empty() { self.context.model.clone() } else { model.clone() };
                self.created = reply::created(*created, &self.context);
                self.head.clear();
            }
            Event::Text { choice, text } => {
                self.choice(*choice).n_chars += text.chars().count() as u64;
                self.chunk(*choice, None, out, |delta| delta.string("content", text));
            }
            Event::Refusal { choice, text } => self.chunk(*choice, None, out, |delta| delta.string("refusal", text)),
            Event::Reasoning { choice, text } => {
                self.chunk(*choice, None, out, |delta| delta.string("reasoning_content", text))
            }
            Event::ReasoningSignature { choice, signature } => {
                self.sealed(*choice, out, |index, array| reasoning::write_signed(index, "", Some(signature), array));
            }
            Event::RedactedReasoning { choice, data } => {
                self.sealed(*choice, out, |index, array| reasoning::write_encrypted(index, data, array));
            }
            Event::ToolCallStart { choice, call, id, name } => self.call_start(*choice, *call, id, name, out),
            Event::ToolCallArguments { choice, call, json } => self.arguments(*choice, *call, json, out),
            Event::Citation { choice, kind, json } => {
                if annotation::is_sayable(*kind, json) {
                    let state = self.choice(*choice);
                    let range = state.n_cited..state.n_chars;
                    state.n_cited = state.n_chars;
                    self.chunk(*choice, None, out, |delta| {
                        delta.array("annotations", |array| annotation::write(*kind, json, range, array));
                    });
                }
            }
            Event::Logprobs { choice, json } => self.choice(*choice).logprobs = Some(json.clone()),
            Event::Opaque { choice, kind, json, dialect: Dialect::OpenAiChat } => {
                self.chunk(*choice, None, out, |delta| delta.raw(kind, json.get()));
            }
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Finish { choice, reason, .. } => self.finish(*choice, Some(finish::word(reason)), out),
            Event::Meta { name, json } => self.meta(name, json),
            Event::Error(failure) => self.fail(failure, out),
            Event::Opaque { .. } | Event::End => {}
        }
    }

    fn end(&mut self, out: &mut BytesMut) {
        if self.closed {
            return;
        }
        let unfinished: Vec<u32> =
            self.choices.iter().filter(|choice| !choice.is_finished).map(|choice| choice.index).collect();
        for choice in unfinished {
            self.finish(choice, None, out);
        }
        if self.context.include_usage && self.usage.is_some() {
            let from = self.begin_chunk(out);
            out.put_slice(b",\"choices\":[],");
            let mut whole = BytesMut::new();
            object(&mut whole, |object| usage::write(self.usage, object));
            out.put_slice(&whole[1..whole.len() - 1]);
            self.end_chunk(from, out);
        }
        out.put_slice(END);
        self.closed = true;
    }

    fn fail(&mut self, failure: &Failure, out: &mut BytesMut) {
        if !std::mem::replace(&mut self.closed, true) {
            error::event(failure, out);
        }
    }
}
