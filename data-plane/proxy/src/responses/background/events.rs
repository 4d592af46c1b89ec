//! What the events of a reply say about the response that is made of them, and how they are told: under the response's own id, counted
//! from zero without a gap.

use bytes::Bytes;
use gateway_ir::json;
use serde_json::{Value, json};

/// One event of a reply.
#[derive(Debug)]
pub(super) enum Heard {
    /// The response as it stands now.
    Standing(Value),
    /// The response as it has become; the event's name goes on.
    Ended(&'static str, Value),
    /// The reply cannot be finished: `response.error`.
    Broken(Value),
    /// A piece of it, which goes on as it came; its name.
    Piece(String),
}

/// Reads the data of an event. `None` for what is no event of a response.
pub(super) fn heard(data: &[u8]) -> Option<Heard> {
    let (mut kind, mut has_response) = (None, false);
    let scanned = json::scan_object(data, |member| {
        if member.is("type") {
            kind = Some(member.value);
        } else if member.is("response") {
            has_response = true;
        }
    });
    scanned.ok()?;
    let kind = json::string(&data[kind?])?;
    let response = || Some(serde_json::from_slice::<Value>(data).ok()?["response"].take());
    Some(match kind.as_ref() {
        "error" => Heard::Broken(error(data)),
        "response.completed" => Heard::Ended("response.completed", response()?),
        "response.incomplete" => Heard::Ended("response.incomplete", response()?),
        "response.failed" => Heard::Ended("response.failed", response()?),
        _ if has_response => Heard::Standing(response()?),
        _ => Heard::Piece(kind.into_owned()),
    })
}

/// `response.error` for an error in a stream, or for the body of a refusal.
pub(super) fn error(told: &[u8]) -> Value {
    let told: Value = serde_json::from_slice(told).unwrap_or_default();
    let told = told.get("error").filter(|error| error.is_object()).unwrap_or(&told);
    let code = ["code", "type"].into_iter().find_map(|name| told[name].as_str()).unwrap_or("server_error");
    json!({"code": code, "message": told["message"].as_str().unwrap_or("the reply could not be finished")})
}

/// A piece with its number.
pub(super) fn piece(name: &str, data: &[u8], number: usize) -> Bytes {
    let mut at = None;
    let _ = json::scan_object(data, |member| {
        if member.is("sequence_number") {
            at = Some(member.value);
        }
    });
    let number = number.to_string();
    let data = match at {
        Some(at) => [&data[..at.start], number.as_bytes(), &data[at.end..]].concat(),
        None => {
            let inside = data.trim_ascii_start().strip_prefix(b"{").unwrap_or_default();
            let comma: &[u8] = if inside.trim_ascii_start().starts_with(b"}") { b"" } else { b"," };
            [b"{\"sequence_number\":", number.as_bytes(), comma, inside].concat()
        }
    };
    written(name, &data)
}

/// An event that tells the whole response.
pub(super) fn whole(name: &str, response: &Value, number: usize) -> Bytes {
    let data = json!({"type": name, "sequence_number": number, "response": response});
    written(name, data.to_string().as_bytes())
}

fn written(name: &str, data: &[u8]) -> Bytes {
    [b"event: ", name.as_bytes(), b"\ndata: ", data, b"\n\n"].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_under_their_own_numbers() {
        for (data, number, expected) in [
            (r#"{"type":"a","sequence_number":7,"delta":"x"}"#, 12, r#"{"type":"a","sequence_number":12,"delta":"x"}"#),
            (r#"{"type":"a"}"#, 3, r#"{"sequence_number":3,"type":"a"}"#),
            ("{ }", 0, r#"{"sequence_number":0 }"#),
        ] {
            let expected = format!("event: n\ndata: {expected}\n\n");
            assert_eq!(piece("n", data.as_bytes(), number), expected.as_bytes(), "{data}");
        }
    }

    #[test]
    fn what_an_event_says_is_heard() {
        let cases = [
            (r#"{"type":"response.created","response":{"id":1}}"#, Some("Standing(Object {\"id\": Number(1)})")),
            (r#"{"type":"response.completed","response":{}}"#, Some("Ended(\"response.completed\", Object {})")),
            (
                r#"{"type":"response.output_text.delta","delta":"response.completed"}"#,
                Some("Piece(\"response.output_text.delta\")"),
            ),
            (
                r#"{"type":"error","code":"c","message":"m","sequence_number":1}"#,
                Some("Broken(Object {\"code\": String(\"c\"), \"message\": String(\"m\")})"),
            ),
            ("[DONE]", None),
            ("{}", None),
        ];
        for (data, expected) in cases {
            let found = heard(data.as_bytes()).map(|heard| format!("{heard:?}"));
            assert_eq!(found.as_deref(), expected, "{data}");
        }
        assert_eq!(error(br#"{"error":{"type":"t","message":"m","code":null}}"#), json!({"code": "t", "message": "m"}));
    }
}
