//! What a request's body says about memory, and the body that says it all itself. One scan; nothing is built.

use std::ops::Range;

use bytes::Bytes;
use gateway_ir::facts::{Edit, splice};
use gateway_ir::failure::Failure;
use gateway_ir::json::{self, Member};

use super::items;

/// The members that matter.
#[derive(Debug)]
pub(super) struct Asked {
    /// On unless the client says no, as at OpenAI.
    pub(super) stored: bool,
    /// To be made whether its client stays or not.
    pub(super) background: bool,
    background_at: Range<usize>,
    pub(super) previous: Option<String>,
    /// The conversation that it is part of, in place of a previous response.
    pub(super) conversation: Option<String>,
    /// Where it says what it goes on from.
    earlier_at: Range<usize>,
    input_at: Option<Range<usize>>,
}

// === impl Asked ===

impl Asked {
    /// `body` is a JSON object, as has been seen before.
    pub(super) fn read(body: &[u8]) -> Result<Self, Box<Failure>> {
        let (mut store, mut previous, mut input, mut background, mut conversation) = (None, None, None, None, None);
        let mut twice = None;
        let mut once = |slot: &mut Option<Range<usize>>, name: &'static str, value: Range<usize>| {
            if slot.replace(value).is_some() {
                twice = Some(name);
            }
        };
        let _ = json::scan_object(body, |member: Member<'_>| {
            if member.is("store") {
                once(&mut store, "store", member.value);
            } else if member.is("previous_response_id") {
                once(&mut previous, "previous_response_id", member.value);
            } else if member.is("input") {
                once(&mut input, "input", member.value);
            } else if member.is("background") {
                once(&mut background, "background", member.value);
            } else if member.is("conversation") {
                once(&mut conversation, "conversation", member.value);
            }
        });
        if let Some(name) = twice {
            return Err(Box::new(Failure::invalid(format!("`{name}` is given twice")).at(name)));
        }
        let stored = store.is_none_or(|at| &body[at] != b"false");
        let background_at = background.unwrap_or_default();
        let background = match &body[background_at.clone()] {
            b"true" => true,
            b"" | b"false" | b"null" => false,
            _ => return Err(Box::new(Failure::invalid("`background` must be true or false").at("background"))),
        };
        if background && !stored {
            let message = "`background` needs `store`: the response is asked for later";
            return Err(Box::new(Failure::invalid(message).at("store")));
        }
        let previous_at = previous.filter(|at| &body[at.clone()] != b"null").unwrap_or_default();
        let previous = match body[previous_at.clone()] {
            [] => None,
            ref raw => match json::string(raw) {
                Some(id) if !id.is_empty() => Some(id.into_owned()),
                _ => {
                    let message = "`previous_response_id` must be the id of a response";
                    return Err(Box::new(Failure::invalid(message).at("previous_response_id")));
                }
            },
        };
        let conversation_at = conversation.filter(|at| &body[at.clone()] != b"null").unwrap_or_default();
        let conversation = named(&body[conversation_at.clone()])?;
        if conversation.is_some() && previous.is_some() {
            let message =
                "`conversation` and `previous_response_id` exclude each other: a conversation has its responses in it";
            return Err(Box::new(Failure::invalid(message).at("conversation")));
        }
        let earlier_at = if conversation.is_some() { conversation_at } else { previous_at };
        Ok(Self { stored, background, background_at, previous, conversation, earlier_at, input_at: input })
    }

    /// The same without `background`, for upstreams, which answer while they are listened to.
    pub(super) fn in_foreground(&self, body: &Bytes) -> Bytes {
        splice(body, vec![Edit { at: self.background_at.clone(), with: Bytes::from_static(b"false") }]).concat().into()
    }

    /// The client's own items.
    pub(super) fn input(&self, body: &[u8]) -> Bytes {
        self.input_at.clone().map_or_else(|| Bytes::from_static(b"[]"), |at| items::listed(&body[at]))
    }

    /// The body that asks the same without a previous response or a conversation: `all` are its items, those of earlier turns before its own.
    pub(super) fn with_items(&self, body: &Bytes, all: &Bytes) -> Bytes {
        let mut edits = Vec::with_capacity(2);
        let null = match &self.input_at {
            Some(at) => {
                edits.push(Edit { at: at.clone(), with: all.clone() });
                Bytes::from_static(b"null")
            }
            None => [b"null,\"input\":", all.as_ref()].concat().into(),
        };
        edits.push(Edit { at: self.earlier_at.clone(), with: null });
        splice(body, edits).concat().into()
    }
}

/// The conversation that a request names, by its id or as an object with it.
fn named(raw: &[u8]) -> Result<Option<String>, Box<Failure>> {
    if raw.is_empty() {
        return Ok(None);
    }
    let mut within = None;
    let _ = json::scan_object(raw, |member| {
        if member.is("id") {
            within = Some(member.value);
        }
    });
    let id = json::string(within.map_or(raw, |at| &raw[at]));
    match id.filter(|id| !id.is_empty()) {
        Some(id) => Ok(Some(id.into_owned())),
        None => {
            let message = "`conversation` must be the id of a conversation, or an object with its `id`";
            Err(Box::new(Failure::invalid(message).at("conversation")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_says_whether_it_is_kept_and_what_it_goes_on_from() {
        let cases = [
            (r#"{"model":"m"}"#, Ok((true, None))),
            (r#"{"store":null,"previous_response_id":null}"#, Ok((true, None))),
            (r#"{"store": false ,"previous_response_id":"resp_\u0061"}"#, Ok((false, Some("resp_a")))),
            (r#"{"previous_response_id":7}"#, Err("previous_response_id")),
            (r#"{"previous_response_id":""}"#, Err("previous_response_id")),
            (r#"{"store":true,"st\u006fre":false}"#, Err("store")),
            (r#"{"store":true,"background":true}"#, Ok((true, None))),
            (r#"{"store":false,"background":false}"#, Ok((false, None))),
            (r#"{"store":false,"background":true}"#, Err("store")),
            (r#"{"background":"auto"}"#, Err("background")),
            (r#"{"conversation":null,"previous_response_id":"r"}"#, Ok((true, Some("r")))),
            (r#"{"conversation":{"id":"c"},"previous_response_id":"r"}"#, Err("conversation")),
            (r#"{"conversation":{"name":"c"}}"#, Err("conversation")),
            (r#"{"conversation":7}"#, Err("conversation")),
        ];
        for (body, expected) in cases {
            let found = Asked::read(body.as_bytes());
            let found = found.as_ref().map(|asked| (asked.stored, asked.previous.as_deref()));
            assert_eq!(found.map_err(|failure| failure.param.as_deref().unwrap_or_default()), expected, "{body}");
        }
    }

    #[test]
    fn earlier_items_stand_before_the_new_ones() {
        let earlier: &[u8] = br#"[{"a":1}]"#;
        let cases = [
            (
                r#"{"input":"hi","model":"m","previous_response_id":"r"}"#,
                r#"{"input":[{"a":1},{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]}],"model":"m","previous_response_id":null}"#,
            ),
            (r#"{"previous_response_id": "r","input":[2]}"#, r#"{"previous_response_id": null,"input":[{"a":1},2]}"#),
            (r#"{"previous_response_id":"r"}"#, r#"{"previous_response_id":null,"input":[{"a":1}]}"#),
            (r#"{"conversation":{"id":"c"}, "input":[2]}"#, r#"{"conversation":null, "input":[{"a":1},2]}"#),
        ];
        for (body, expected) in cases {
            let body = Bytes::from_static(body.as_bytes());
            let asked = Asked::read(&body).expect("sound");
            let all = items::joined(&[earlier, &asked.input(&body)]);
            assert_eq!(asked.with_items(&body, &all), expected);
        }
    }
}
