//! Ready-made answers in the providers' wire formats, with usage, small and legible. Not a model of any provider's quirks:
//! recorded traffic covers those.

pub mod anthropic;
pub mod gemini;
pub mod openai;

use bytes::Bytes;

/// One SSE event; `name` is the `event:` field where the format has one.
pub(crate) fn event(name: Option<&str>, data: &serde_json::Value) -> Bytes {
    match name {
        Some(name) => Bytes::from(format!("event: {name}\ndata: {data}\n\n")),
        None => Bytes::from(format!("data: {data}\n\n")),
    }
}

/// The pieces a text streams in: words with their trailing space.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}

/// What the scripted models say about a prompt's size; the same arithmetic in both formats so that tests can compare them.
pub fn prompt_tokens(body: &serde_json::Value) -> u64 {
    body["messages"].to_string().len().div_ceil(4) as u64
}
