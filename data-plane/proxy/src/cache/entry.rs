//! One reply that is kept: the very bytes that its client was sent, and what is known beside them. Told in another form it is
//! read and written anew, by the dialect's own decoder and encoder.

use std::sync::Arc;

use bytes::Bytes;
use gateway_dialects::dialect::ClientDialect;
use gateway_dialects::framing::array::StreamForm;
use gateway_ir::event::{Event, FinishReason};
use gateway_ir::fold::{Block, Reply, fold};
use gateway_ir::usage::Usage;
use serde_json::value::RawValue;

/// How a reply is told to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Stream {
        form: StreamForm,
        /// With OpenAI's last event, which tells usage.
        include_usage: bool,
    },
}

/// A reply, as it was told.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) bytes: Bytes,
    pub(crate) form: Form,
    /// As the upstream told it, or as it was charged.
    pub(crate) usage: Option<Usage>,
    /// In nano-dollars; `None` where it had no price.
    pub(crate) cost: Option<i64>,
    pub(crate) provider: Arc<str>,
    /// The upstream's own name of it.
    pub(crate) model: Arc<str>,
    /// What the upstream could not be told.
    pub(crate) dropped: Vec<String>,
    /// Unix milliseconds.
    pub(crate) made_ms: i64,
    /// Gone from then on, in Unix milliseconds.
    pub(crate) until_ms: i64,
}

// === impl Entry ===

impl Entry {
    /// What it takes, in bytes, apart from what any entry takes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + self.dropped.iter().map(|name| name.len() + size_of::<String>()).sum::<usize>()
    }

    /// As it was told, where it was told in this form.
    pub(crate) fn in_form(&self, form: Form) -> Option<Bytes> {
        (self.form == form).then(|| self.bytes.clone())
    }

    /// What it says, to be told in another form; with its usage, also where its client was not told it.
    pub(crate) fn reply(&self, dialect: &dyn ClientDialect) -> Option<Reply> {
        let reply = read(dialect, self.form, &self.bytes)?;
        let usage = reply.usage.or(self.usage);
        Some(Reply { usage, ..reply })
    }
}

/// Whether these bytes are a reply to give to somebody else: whole, and an answer. What a filter or the model itself refused may be
/// answered the next time.
pub(super) fn is_answer(dialect: &dyn ClientDialect, form: Form, bytes: &[u8]) -> bool {
    let is_end = |reason: &FinishReason| {
        use FinishReason::{Length, Stop, StopSequence, ToolCalls};
        matches!(reason, Stop | StopSequence | Length | ToolCalls)
    };
    let is_refusal = |block: &Block| matches!(block, Block::Refusal { text } if !text.is_empty());
    read(dialect, form, bytes).is_some_and(|reply| {
        !reply.choices.is_empty()
            && reply
                .choices
                .iter()
                .all(|choice| choice.finish.as_ref().is_some_and(is_end) && !choice.blocks.iter().any(is_refusal))
    })
}

/// `None` where they cannot be read, or hold an error.
fn read(dialect: &dyn ClientDialect, form: Form, bytes: &[u8]) -> Option<Reply> {
    let events = match form {
        Form::Json => dialect.decode_reply(bytes).ok()?,
        Form::Stream { form: StreamForm::Events, .. } => events(dialect, [bytes])?,
        Form::Stream { form: StreamForm::Array, .. } => {
            let elements: Vec<&RawValue> = serde_json::from_slice(bytes).ok()?;
            let framed = elements.into_iter().flat_map(|element| ["data: ", element.get(), "\n\n"]);
            events(dialect, framed.map(str::as_bytes))?
        }
    };
    Some(fold(events)).filter(|reply| reply.error.is_none())
}

fn events<'a>(dialect: &dyn ClientDialect, chunks: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<Event>> {
    let (mut decoder, mut events) = (dialect.stream_decoder(), Vec::new());
    for chunk in chunks {
        decoder.push(chunk, &mut events).ok()?;
    }
    decoder.finish(&mut events).ok()?;
    Some(events)
}
