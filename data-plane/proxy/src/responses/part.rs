//! The conversation that a response is a part of, written into the words of a vendor that knows nothing of it.

use bytes::{Bytes, BytesMut};
use gateway_dialects::framing::sse;
use gateway_ir::facts::{Edit, splice};
use gateway_ir::json;
use serde_json::json;

/// Of one reply.
#[derive(Debug)]
pub(super) struct Part {
    /// `response.conversation`.
    value: Bytes,
    events: sse::Parser,
}

// === impl Part ===

impl Part {
    pub(super) fn of(conversation: String) -> Self {
        Self { value: json!({"id": conversation}).to_string().into(), events: sse::Parser::default() }
    }

    /// The response object with it; anything else as it is.
    pub(super) fn response(&self, object: &Bytes) -> Bytes {
        let (mut known, mut first) = (None, None);
        let scanned = json::scan_object(object, |member| {
            first = first.or(Some(member.value.start));
            if member.is("conversation") {
                known = Some(member.value);
            }
        });
        let edit = match (scanned, known) {
            (Ok(()), Some(at)) => Edit { at, with: self.value.clone() },
            (Ok(()), None) if first.is_some() => {
                let brace = object.iter().position(|byte| *byte == b'{').unwrap_or_default() + 1;
                Edit { at: brace..brace, with: [b"\"conversation\":", &*self.value, b","].concat().into() }
            }
            _ => return object.clone(),
        };
        splice(object, vec![edit]).concat().into()
    }

    /// The events that end in the next bytes of a stream, those with a response object with it in there.
    pub(super) fn events(&mut self, chunk: &Bytes) -> Bytes {
        let mut events = std::mem::take(&mut self.events);
        let mut out = BytesMut::with_capacity(chunk.len() + 64);
        let parsed = events.push(chunk, |event| {
            if !event.name.is_empty() {
                out.extend_from_slice(&[b"event: ", event.name, b"\n"].concat());
            }
            for line in self.event(&event.data).split(|byte| *byte == b'\n') {
                out.extend_from_slice(&[b"data: ", line, b"\n"].concat());
            }
            out.extend_from_slice(b"\n");
            Ok(())
        });
        self.events = events;
        // What is no stream of events is the client's to refuse.
        if parsed.is_ok() { out.freeze() } else { chunk.clone() }
    }

    fn event(&self, data: &[u8]) -> Bytes {
        let data = Bytes::copy_from_slice(data);
        let mut response = None;
        let scanned = json::scan_object(&data, |member| {
            if member.is("response") {
                response = Some(member.value);
            }
        });
        match (scanned, response) {
            (Ok(()), Some(at)) => {
                let with = self.response(&data.slice(at.clone()));
                splice(&data, vec![Edit { at, with }]).concat().into()
            }
            _ => data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_names_its_conversation_wherever_it_stands() {
        let cases = [
            (r#"{"id":"r","conversation": null,"output":[]}"#, r#"{"id":"r","conversation": {"id":"c"},"output":[]}"#),
            (r#" {"id":"r"}"#, r#" {"conversation":{"id":"c"},"id":"r"}"#),
            ("{}", "{}"),
            ("[1]", "[1]"),
            (r#"{"id":"#, r#"{"id":"#),
        ];
        for (object, expected) in cases {
            assert_eq!(Part::of("c".to_owned()).response(&Bytes::from(object)), expected);
        }
    }

    #[test]
    fn events_are_told_on_with_it_wherever_they_are_cut() {
        let said = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\"}}\n\n\
            data: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n";
        let expected = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":\
            {\"conversation\":{\"id\":\"c\"},\"id\":\"r\"}}\n\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n";
        for at in 0..=said.len() {
            let mut part = Part::of("c".to_owned());
            let (head, tail) = said.split_at(at);
            let told = [part.events(&Bytes::from(head)), part.events(&Bytes::from(tail))].concat();
            assert_eq!(String::from_utf8_lossy(&told), expected, "{at}");
        }
    }
}
