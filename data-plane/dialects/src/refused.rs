//! What upstreams say when they refuse, read leniently: OpenAI's error object, and what other vendors and their proxies send
//! in its place. Dialects whose owners document another form read that themselves and fall back to this.

use std::time::Duration;

use gateway_ir::failure::{Code, Failure};
use serde_json::{Map, Value};

use crate::patience;

/// Longest message kept of an upstream's own words, in bytes.
const MAX_MESSAGE: usize = 4096;

/// What an upstream said about an error, wherever in its body it said it.
struct Said {
    message: String,
    kind: Option<String>,
    code: Option<String>,
    param: Option<String>,
    /// A status inside the body; the only one there is where the answer began with 200.
    status: Option<u16>,
    /// When to come back.
    after: Option<Duration>,
}

/// An error answer of an upstream.
pub(crate) fn decode(status: u16, body: &[u8]) -> Failure {
    match serde_json::from_slice(body).ok().as_ref().and_then(said) {
        Some(said) => said.into_failure(status),
        None => Failure::from_upstream_status(status, plain_message(status, body)),
    }
}

/// An error that came where a reply should be, in a body or event that began with status 200. `None` if `data` holds none.
pub(crate) fn inside(data: &[u8]) -> Option<Box<Failure>> {
    let body: Value = serde_json::from_slice(data).ok()?;
    let error = body.get("error").or_else(|| body.get("x_groq")?.get("error")).filter(|error| !error.is_null());
    let said = match error {
        Some(error) => said(error),
        None if body.get("choices").is_none() && body.get("object").is_none_or(|object| object == "error") => {
            said(&body)
        }
        None => None,
    }?;
    let status = said.status.unwrap_or(Code::UpstreamError.row().status);
    Some(Box::new(said.into_failure(status)))
}

/// Reads an error object, a body that holds one, or a bare text.
fn said(body: &Value) -> Option<Said> {
    match body {
        Value::Array(bodies) => said(bodies.first()?),
        Value::String(message) => Some(Said::from_message(message)),
        Value::Object(body) => match body.get("error") {
            Some(Value::Object(error)) => from_object(error),
            Some(Value::String(message)) => Some(Said { status: status(body), ..Said::from_message(message) }),
            _ => from_object(body),
        },
        _ => None,
    }
}

fn from_object(error: &Map<String, Value>) -> Option<Said> {
    let message = ["message", "detail", "Message", "error_message", "errors"]
        .iter()
        .find_map(|name| message(error.get(*name)?))?;
    let word = |name: &str| match error.get(name)? {
        Value::String(word) => Some(word.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let kind = word("type").or_else(|| error.get("status")?.as_str().map(str::to_owned));
    Some(Said {
        message: with_cause(message, error),
        kind,
        code: word("code"),
        param: word("param"),
        status: status(error),
        after: error.get("details").and_then(patience::delay),
    })
}

fn message(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        // FastAPI: `[{"loc": …, "msg": …}]`.
        Value::Array(details) => match details.first()?.get("msg").or_else(|| details.first()?.get("message")) {
            Some(Value::String(text)) => Some(text.clone()),
            _ => Some(value.to_string()),
        },
        other => Some(other.to_string()),
    }
}

/// OpenRouter hides the provider's own words in `metadata.raw`, as text that is often JSON again.
fn with_cause(message: String, error: &Map<String, Value>) -> String {
    let Some(raw) = error.get("metadata").and_then(|metadata| metadata.get("raw")?.as_str()) else { return message };
    let cause = match serde_json::from_str::<Value>(raw) {
        Ok(inner) => said(&inner).map(|said| said.message),
        Err(_) => Some(raw.to_owned()),
    };
    match cause {
        Some(cause) if !cause.is_empty() && cause != message => format!("{message}: {cause}"),
        _ => message,
    }
}

fn status(error: &Map<String, Value>) -> Option<u16> {
    let numbers = ["status", "status_code", "code"].iter().filter_map(|name| match error.get(*name)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    });
    numbers.filter_map(|number| u16::try_from(number).ok()).find(|status| (400..600).contains(status))
}

/// For bodies that are not JSON. A page of HTML helps nobody.
fn plain_message(status: u16, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    if text.is_empty() {
        return format!("the upstream answered with status {status} and no explanation");
    }
    if text.starts_with('<') {
        return format!("the upstream answered with status {status} and a page instead of an error");
    }
    cut(text.to_owned())
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_MESSAGE));
    text
}

// === impl Said ===

impl Said {
    fn from_message(message: &str) -> Self {
        Self { message: message.to_owned(), kind: None, code: None, param: None, status: None, after: None }
    }

    fn into_failure(self, status: u16) -> Failure {
        let mut failure = Failure::from_upstream_status(status, cut(self.message));
        failure.upstream_type = self.kind;
        failure.upstream_code = self.code;
        failure.param = self.param;
        let is_limit = matches!(failure.code, Code::UpstreamRateLimited | Code::UpstreamOverloaded) || status == 503;
        let in_words = || patience::said(&failure.message).filter(|_| is_limit);
        failure.retry_after = self.after.or_else(in_words);
        failure
    }
}

#[cfg(test)]
mod tests {
    use gateway_ir::failure::Retry;

    use super::*;

    #[test]
    fn understands_what_upstreams_say() {
        type Case = (u16, &'static str, &'static str, Option<&'static str>, Option<&'static str>);
        let cases: &[Case] = &[
            (400, r#"{"error":{"message":"bad","type":"t","code":"c","param":"p"}}"#, "bad", Some("t"), Some("c")),
            (400, r#"{"error":{"message":"bad","code":400}}"#, "bad", None, Some("400")),
            (404, r#"{"error":"no such model"}"#, "no such model", None, None),
            (
                422,
                r#"{"detail":[{"loc":["body"],"msg":"field required","type":"missing"}]}"#,
                "field required",
                None,
                None,
            ),
            (
                400,
                r#"{"object":"error","message":"too long","type":"BadRequestError","code":400}"#,
                "too long",
                Some("BadRequestError"),
                Some("400"),
            ),
            (
                429,
                r#"[{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED"}}]"#,
                "slow down",
                Some("RESOURCE_EXHAUSTED"),
                Some("429"),
            ),
            (
                400,
                r#"{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"error\":{\"message\":\"max 8k\"}}"}}}"#,
                "Provider returned error: max 8k",
                None,
                Some("400"),
            ),
            (502, "<html>", "the upstream answered with status 502 and a page instead of an error", None, None),
            (503, "", "the upstream answered with status 503 and no explanation", None, None),
            (500, "boom\n", "boom", None, None),
        ];
        for (status, body, message, kind, code) in cases {
            let failure = decode(*status, body.as_bytes());
            assert_eq!(
                (
                    failure.status,
                    failure.message.as_ref(),
                    failure.upstream_type.as_deref(),
                    failure.upstream_code.as_deref()
                ),
                (*status, *message, *kind, *code),
                "{body}"
            );
        }
    }

    #[test]
    fn when_to_come_back_is_read_where_it_is_said() {
        let info = r#"[{"error":{"code":429,"message":"m","details":[{"retryDelay":"34.5s"}]}}]"#;
        let words =
            r#"{"error":{"message":"Rate limit reached. Please try again in 2s.","code":"rate_limit_exceeded"}}"#;
        for (status, body, expected) in [(429, info, Some(34_500)), (429, words, Some(2000)), (400, words, None)] {
            let failure = decode(status, body.as_bytes());
            assert_eq!(failure.retry_after.map(|after| after.as_millis()), expected, "{status} {body}");
        }
    }

    #[test]
    fn finds_errors_inside_replies() {
        let groq = br#"{"error":{"message":"failed","type":"invalid_request_error","code":"tool_use_failed","status_code":400}}"#;
        let failure = inside(groq).expect("an error");
        assert_eq!((failure.code, failure.status, failure.retry), (Code::UpstreamRefused, 400, Retry::Never));
        let plain = inside(br#"{"error":"out of memory"}"#).expect("an error");
        assert_eq!((plain.code, plain.status), (Code::UpstreamError, 502));
        assert!(inside(br#"{"object":"error","message":"no","code":"x"}"#).is_some());
        for reply in [r#"{"choices":[],"error":null}"#, r#"{"object":"chat.completion","message":"x"}"#, "{}", "x"] {
            assert!(inside(reply.as_bytes()).is_none(), "{reply}");
        }
    }
}
