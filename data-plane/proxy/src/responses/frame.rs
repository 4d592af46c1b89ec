//! Messages of the WebSocket mode: what a client asks, and how it is told of errors.

use bytes::Bytes;
use gateway_ir::failure::Failure;
use serde_json::{Map, Value, json};

/// A `response.create`.
#[derive(Debug)]
pub(super) struct Create {
    /// The request as `POST` takes it. It streams, whatever it says.
    pub(super) body: Bytes,
    pub(super) model: String,
    pub(super) previous: Option<String>,
    /// Nothing is to be made yet; what the message says is gone on from later.
    pub(super) is_warm_up: bool,
}

// === impl Create ===

impl Create {
    /// The request stands in the message itself or below `response`.
    pub(super) fn read(message: &str) -> Result<Self, Box<Failure>> {
        let Ok(Value::Object(mut top)) = serde_json::from_str(message) else {
            return Err(Box::new(Failure::invalid("a message must be one JSON object")));
        };
        let kind = top.shift_remove("type");
        if kind.as_ref().and_then(Value::as_str) != Some("response.create") {
            return Err(Box::new(Failure::invalid("`type` must be `response.create`").at("type")));
        }
        let generate = top.shift_remove("generate");
        let mut request: Map<String, Value> = match top.shift_remove("response") {
            Some(Value::Object(nested)) => nested,
            Some(_) => return Err(Box::new(Failure::invalid("`response` must be an object").at("response"))),
            None => top,
        };
        let generate = request.shift_remove("generate").or(generate);
        // Names the message, not the request.
        request.shift_remove("event_id");
        request.insert("stream".to_owned(), true.into());
        let text = |name: &str| request.get(name).and_then(Value::as_str).map(str::to_owned);
        let (model, previous) = (text("model").unwrap_or_default(), text("previous_response_id"));
        let is_warm_up = generate == Some(Value::Bool(false));
        Ok(Self { model, previous, is_warm_up, body: Value::Object(request).to_string().into() })
    }
}

/// The message for an error answer: `body` is what `POST` would have been told.
pub(super) fn error(status: u16, body: &[u8]) -> String {
    let mut body: Value = serde_json::from_slice(body).unwrap_or_default();
    json!({"type": "error", "status": status, "error": body["error"].take()}).to_string()
}

/// The message for an error within a stream.
pub(super) fn error_within(event: &[u8]) -> String {
    let mut event: Value = serde_json::from_slice(event).unwrap_or_default();
    let error = json!({
        "type": "server_error",
        "code": event["code"].take(),
        "param": event["param"].take(),
        "message": event["message"].take(),
    });
    json!({"type": "error", "status": 502, "error": error, "sequence_number": event["sequence_number"]}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_a_request() {
        let cases = [
            (
                r#"{"type":"response.create","model":"m","input":[]}"#,
                Ok((r#"{"model":"m","input":[],"stream":true}"#, false)),
            ),
            (
                r#"{"type":"response.create","event_id":"e","response":{"model":"m","stream":false}}"#,
                Ok((r#"{"model":"m","stream":true}"#, false)),
            ),
            (r#"{"type":"response.create","generate":false,"event_id":"e"}"#, Ok((r#"{"stream":true}"#, true))),
            (r#"{"type":"response.create","response":{"generate":false}}"#, Ok((r#"{"stream":true}"#, true))),
            (r#"{"type":"response.create","response":7}"#, Err(Some("response"))),
            (r#"{"type":"response.cancel"}"#, Err(Some("type"))),
            (r#"{"model":"m"}"#, Err(Some("type"))),
            ("[]", Err(None)),
            ("{", Err(None)),
        ];
        for (message, expected) in cases {
            let found = Create::read(message);
            let found = found.as_ref().map(|create| (create.body.as_ref(), create.is_warm_up));
            let expected = expected.map(|(body, is_warm_up)| (body.as_bytes(), is_warm_up));
            assert_eq!(found.map_err(|failure| failure.param.as_deref()), expected, "{message}");
        }
    }
}
