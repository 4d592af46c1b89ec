//! Logprobs: this dialect's parallel lists to and from the chat dialect's list of entries, which is the canonical form.
//!
//! What the lists cannot say comes out empty: a token without a number (the first of an echoed prompt) has no entry, the bytes of
//! a token that is no text are not given.

use bytes::BytesMut;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::reading::{elements, members_of, text};
use crate::writer::{Object, object};

/// How OpenAI writes tokens that are a part of a character.
const BYTES: &str = "bytes:";

/// The lists, in OpenAI's order.
#[derive(Default)]
struct Lists {
    tokens: Vec<Value>,
    token_logprobs: Vec<Value>,
    top_logprobs: Vec<Value>,
    text_offset: Vec<Value>,
}

/// Canonical entries of an upstream's lists; `None` for what is neither.
pub(super) fn read(raw: &RawValue) -> Option<Box<RawValue>> {
    let lists: Map<String, Value> = serde_json::from_str(raw.get()).ok()?;
    if lists.contains_key("content") {
        // A server that writes the newer form here, too.
        return Some(raw.to_owned());
    }
    let list = |name: &str| lists.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let (numbers, tops) = (list("token_logprobs"), list("top_logprobs"));
    let entries = list("tokens").iter().enumerate().filter_map(|(at, token)| {
        let mut entry = entry(token.as_str()?, numbers.get(at)?)?;
        let top = tops.get(at).and_then(Value::as_object);
        let top = top.into_iter().flatten().filter_map(|(token, number)| self::entry(token, number));
        entry.insert("top_logprobs".to_owned(), top.map(Value::Object).collect());
        Some(Value::Object(entry))
    });
    to_raw_value(&json!({"content": entries.collect::<Vec<_>>(), "refusal": null})).ok()
}

fn entry(token: &str, number: &Value) -> Option<Map<String, Value>> {
    let bytes = if token.starts_with(BYTES) { Value::Null } else { json!(token.as_bytes()) };
    let mut entry = Map::new();
    entry.insert("token".to_owned(), token.into());
    entry.insert("logprob".to_owned(), number.is_number().then(|| number.clone())?);
    entry.insert("bytes".to_owned(), bytes);
    Some(entry)
}

/// Writes `logprobs` for a client: the lists of all `pieces`, or null where there are none. `offset` is the place of the first
/// token in the reply's text, in characters; returned is the place behind the last.
pub(super) fn write(pieces: &[Box<RawValue>], offset: usize, choice: &mut Object<'_>) -> usize {
    let mut offset = offset;
    let mut lists = Lists::default();
    for piece in pieces {
        members_of(piece, |name, list| {
            if name == "content" {
                elements(list, |entry| lists.add(entry, &mut offset));
            }
        });
    }
    if lists.tokens.is_empty() {
        choice.raw("logprobs", "null");
        return offset;
    }
    // Without alternatives, as with `logprobs: 0`, OpenAI has no list of them.
    let has_tops = lists.top_logprobs.iter().any(|top| top.as_object().is_some_and(|top| !top.is_empty()));
    let top_logprobs = if has_tops { Value::Array(lists.top_logprobs) } else { Value::Null };
    let mut out = BytesMut::new();
    object(&mut out, |object| {
        object.raw("tokens", &Value::Array(lists.tokens).to_string());
        object.raw("token_logprobs", &Value::Array(lists.token_logprobs).to_string());
        object.raw("top_logprobs", &top_logprobs.to_string());
        object.raw("text_offset", &Value::Array(lists.text_offset).to_string());
    });
    choice.raw("logprobs", std::str::from_utf8(&out).expect("only text was written"));
    offset
}

// === impl Lists ===

impl Lists {
    fn add(&mut self, entry: &RawValue, offset: &mut usize) {
        let (mut token, mut number, mut tops) = (String::new(), Value::Null, Map::new());
        members_of(entry, |name, value| match name {
            "token" => token = text(value).unwrap_or_default().into_owned(),
            "logprob" => number = serde_json::from_str(value.get()).unwrap_or_default(),
            "top_logprobs" => elements(value, |top| {
                let (mut token, mut number) = (None, Value::Null);
                members_of(top, |name, value| match name {
                    "token" => token = text(value),
                    "logprob" => number = serde_json::from_str(value.get()).unwrap_or_default(),
                    _ => {}
                });
                tops.extend(token.map(|token| (token.into_owned(), number)));
            }),
            _ => {}
        });
        self.text_offset.push((*offset).into());
        *offset += token.chars().count();
        self.tokens.push(token.into());
        self.token_logprobs.push(number);
        self.top_logprobs.push(tops.into());
    }
}
