//! Events into a client's stream of `text_completion`s.

use bytes::{BufMut, BytesMut};
use gateway_ir::event::Event;
use gateway_ir::failure::Failure;
use gateway_ir::usage::Usage;
use serde_json::value::RawValue;

use super::{logprobs, reply};
use crate::dialect::{ReplyContext, StreamEncoder};
use crate::openai_chat::reply::{created, is_free};
use crate::openai_chat::stream_encode::END;
use crate::openai_chat::{error, usage};
use crate::writer::{Object, object, one_line};

/// State of one stream.
pub(super) struct Encoder {
    context: ReplyContext,
    id: String,
    model: String,
    created: u64,
    /// Details beside the answer, told with the next chunk.
    waiting: Vec<(String, Box<RawValue>)>,
    choices: Vec<Choice>,
    usage: Option<Usage>,
    /// The last word is said.
    closed: bool,
}

#[derive(Default)]
struct Choice {
    index: u32,
    is_finished: bool,
    /// Told with the text they belong to.
    logprobs: Option<Box<RawValue>>,
    /// Characters whose logprobs have been told.
    n_told: usize,
}

// === impl Encoder ===

impl Encoder {
    pub(super) fn new(context: ReplyContext) -> Self {
        Self {
            id: reply::id("", &context).into_owned(),
            model: context.model.clone(),
            created: created(None, &context),
            context,
            waiting: Vec::new(),
            choices: Vec::with_capacity(1),
            usage: None,
            closed: false,
        }
    }

    fn choice(&mut self, index: u32) -> &mut Choice {
        let position = self.choices.iter().position(|choice| choice.index == index).unwrap_or_else(|| {
            self.choices.push(Choice { index, ..Choice::default() });
            self.choices.len() - 1
        });
        &mut self.choices[position]
    }

    /// Writes an event whose object `write` fills behind what every one begins with.
    fn event(&mut self, out: &mut BytesMut, write: impl FnOnce(&mut Object<'_>)) {
        out.put_slice(b"data: ");
        let from = out.len();
        object(out, |body| {
            body.string("id", &self.id);
            body.string("object", "text_completion");
            body.unsigned("created", self.created);
            body.string("model", &self.model);
            write(body);
            for (name, json) in self.waiting.drain(..) {
                body.raw(&name, json.get());
            }
        });
        one_line(&mut out[from..]);
        out.put_slice(b"\n\n");
    }

    /// A chunk with one choice; nothing after the choice's finish.
    fn chunk(&mut self, index: u32, text: &str, reason: Option<&str>, out: &mut BytesMut) {
        let choice = self.choice(index);
        if choice.is_finished {
            return;
        }
        choice.is_finished = reason.is_some();
        let (pieces, mut n_told) = (Vec::from_iter(choice.logprobs.take()), choice.n_told);
        let asks_usage = self.context.include_usage;
        self.event(out, |body| {
            body.array("choices", |choices| {
                choices.object(|object| {
                    object.string("text", text);
                    object.unsigned("index", index.into());
                    n_told = logprobs::write(&pieces, n_told, object);
                    object.string_or_null("finish_reason", reason);
                });
            });
            if asks_usage {
                body.raw("usage", "null");
            }
        });
        self.choice(index).n_told = n_told;
    }
}

impl StreamEncoder for Encoder {
    fn push(&mut self, event: &Event, out: &mut BytesMut) {
        if self.closed {
            return;
        }
        match event {
            // The id of a stream never changes, whatever comes later.
            Event::Start { id, model, created: at } if self.choices.is_empty() => {
                self.id = reply::id(id, &self.context).into_owned();
                self.model = if model.is_empty() { self.context.model.clone() } else { model.clone() };
                self.created = created(*at, &self.context);
            }
            Event::Text { choice, text } | Event::Refusal { choice, text } => self.chunk(*choice, text, None, out),
            Event::Logprobs { choice, json } => self.choice(*choice).logprobs = Some(json.clone()),
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Finish { choice, reason, .. } => self.chunk(*choice, "", Some(reply::word(reason)), out),
            Event::Meta { name, json } if is_free(name) => {
                self.waiting.retain(|(known, _)| known != name);
                self.waiting.push((name.clone(), json.clone()));
            }
            Event::Error(failure) => self.fail(failure, out),
            // This dialect has no words for thoughts, calls and citations.
            _ => {}
        }
    }

    fn end(&mut self, out: &mut BytesMut) {
        if self.closed {
            return;
        }
        let unfinished: Vec<u32> =
            self.choices.iter().filter(|choice| !choice.is_finished).map(|choice| choice.index).collect();
        for choice in unfinished {
            self.chunk(choice, "", Some("stop"), out);
        }
        if let Some(usage) = self.usage.filter(|_| self.context.include_usage) {
            self.event(out, |body| {
                body.raw("choices", "[]");
                usage::write(Some(usage), body);
            });
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
