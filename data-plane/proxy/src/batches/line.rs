//! The lines of a batch: reading those of its input, one at a time, finding what is wrong with them, and writing those of its
//! output (<https://platform.openai.com/docs/guides/batch>).

use std::collections::HashSet;
use std::io;

use bytes::Bytes;
use gateway_engine::count;
use gateway_engine::identity::Caller;
use gateway_engine::resolve::{self, Ask};
use gateway_engine::snapshot::Snapshot;
use gateway_ir::dialect::Dialect;
use gateway_ir::facts::Facts;
use gateway_ir::failure::Failure;
use gateway_ir::json::{self, Member};
use gateway_ir::task::Form;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use super::object::Fault;
use crate::clock;
use crate::ingress::Errand;

/// Requests of one batch, <https://platform.openai.com/docs/guides/batch>.
pub(super) const MAX_LINES: usize = 50_000;
/// Bytes of a `custom_id`.
const MAX_ID: usize = 512;
/// More faults of one batch are not told.
const MAX_FAULTS: usize = 100;

/// What batches can be for. Each is answered with one JSON document.
const ENDPOINTS: [(&str, Errand, Dialect); 8] = [
    ("/v1/chat/completions", Errand::Chat, Dialect::OpenAiChat),
    ("/v1/completions", Errand::Chat, Dialect::OpenAiCompletions),
    ("/v1/responses", Errand::Chat, Dialect::OpenAiResponses),
    ("/v1/messages", Errand::Chat, Dialect::AnthropicMessages),
    ("/v1/embeddings", Errand::Task(Form::OpenAiEmbeddings), Dialect::OpenAiChat),
    ("/v1/moderations", Errand::Task(Form::OpenAiModerations), Dialect::OpenAiChat),
    ("/v1/rerank", Errand::Task(Form::JinaRerank), Dialect::OpenAiChat),
    ("/v1/images/generations", Errand::Task(Form::OpenAiImages), Dialect::OpenAiChat),
];

/// Lines of a file, as they stand there.
pub(super) struct Lines {
    file: BufReader<tokio::fs::File>,
    n_read: usize,
    max_line: usize,
}

/// One line as it stands in the input.
pub(super) struct Read {
    /// Counted from 1, with the empty ones.
    pub(super) number: usize,
    pub(super) text: Bytes,
}

#[derive(Deserialize)]
struct Parts<'a> {
    custom_id: Option<String>,
    method: Option<String>,
    url: Option<String>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

/// A request of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) custom_id: String,
    pub(super) body: Bytes,
}

/// What judges the lines of one batch.
pub(super) struct Judge<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) caller: &'a Caller,
    pub(super) endpoint: &'a str,
    pub(super) provider: Option<&'a str>,
    pub(super) known: HashSet<String>,
    pub(super) faults: Vec<Fault>,
}

/// How the requests of an endpoint are answered; `None`: there are no batches for it.
pub(super) fn operation(endpoint: &str) -> Option<(Errand, Dialect)> {
    ENDPOINTS.iter().find(|(path, ..)| *path == endpoint).map(|(_, errand, dialect)| (*errand, *dialect))
}

pub(super) fn endpoints() -> String {
    ENDPOINTS.map(|(path, ..)| path).join(", ")
}

// === impl Lines ===

impl Lines {
    pub(super) fn new(file: tokio::fs::File, max_line: usize) -> Self {
        Self { file: BufReader::with_capacity(64 * 1024, file), n_read: 0, max_line }
    }

    /// The next line that is not empty. One that is too long is an error: what follows it cannot be told from it.
    pub(super) async fn next(&mut self) -> io::Result<Option<Read>> {
        loop {
            let mut text = Vec::new();
            let limit = self.max_line as u64 + 1;
            if (&mut self.file).take(limit).read_until(b'\n', &mut text).await? == 0 {
                return Ok(None);
            }
            self.n_read += 1;
            if text.last() == Some(&b'\n') {
                text.pop();
            } else if text.len() > self.max_line {
                let message = format!("line {} is longer than {} bytes", self.n_read, self.max_line);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            if !text.trim_ascii().is_empty() {
                return Ok(Some(Read { number: self.n_read, text: text.into() }));
            }
        }
    }
}

// === impl Wanted ===

impl Wanted {
    /// A line that was found to be sound.
    pub(super) fn read(line: &Bytes) -> Option<Self> {
        let parts: Parts<'_> = serde_json::from_slice(line).ok()?;
        let body = Bytes::copy_from_slice(parts.body?.get().as_bytes());
        Some(Self { custom_id: parts.custom_id?, body })
    }

    /// Its body, saying that no stream is wanted where the default is one.
    pub(super) fn unstreamed(&self) -> Bytes {
        let mut is_said = false;
        let scanned = json::scan_object(&self.body, |member: Member<'_>| is_said |= member.is("stream"));
        match scanned {
            // It has a member: without a model it would not have been taken.
            Ok(()) if !is_said => [b"{\"stream\":false,", &self.body[1..]].concat().into(),
            _ => self.body.clone(),
        }
    }
}

// === impl Judge ===

impl Judge<'_> {
    /// Looks at a line. False: so much is wrong that no more need be looked at.
    pub(super) fn look(&mut self, line: &Read) -> bool {
        if let Err((code, message, param)) = self.check(&line.text) {
            let (code, param) = (code.to_owned(), param.map(str::to_owned));
            self.faults.push(Fault { code, line: Some(line.number), message, param });
        }
        self.faults.len() < MAX_FAULTS
    }

    /// The whole file, once its lines have been looked at.
    pub(super) fn count(&mut self, n_lines: usize) {
        let (code, message) = match n_lines {
            0 if self.faults.is_empty() => ("empty_file", "the input file has no lines".to_owned()),
            n if n > MAX_LINES => ("too_many_requests", format!("the input file has more than {MAX_LINES} lines")),
            _ => return,
        };
        self.faults.push(Fault { code: code.to_owned(), line: None, message, param: None });
    }

    fn check(&mut self, line: &[u8]) -> Result<(), (&'static str, String, Option<&'static str>)> {
        let parts: Parts<'_> = serde_json::from_slice(line).map_err(|error| {
            ("invalid_json_line", format!("this line is no JSON object of a request: {error}"), None)
        })?;
        let missing = |name| ("missing_required_parameter", format!("`{name}` is missing"), Some(name));
        let id = parts.custom_id.filter(|id| !id.is_empty()).ok_or_else(|| missing("custom_id"))?;
        if id.len() > MAX_ID {
            let message = format!("`custom_id` is longer than {MAX_ID} bytes");
            return Err(("invalid_custom_id", message, Some("custom_id")));
        }
        if !self.known.insert(id) {
            let message = "another line before has this `custom_id`".to_owned();
            return Err(("duplicate_custom_id", message, Some("custom_id")));
        }
        if parts.method.ok_or_else(|| missing("method"))? != "POST" {
            return Err(("invalid_method", "`method` must be POST".to_owned(), Some("method")));
        }
        let url = parts.url.ok_or_else(|| missing("url"))?;
        if url != self.endpoint {
            let message = format!("`url` must be the batch's endpoint, `{}`, not `{url}`", self.endpoint);
            return Err(("invalid_url", message, Some("url")));
        }
        let body = parts.body.ok_or_else(|| missing("body"))?.get();
        self.asked(&body.to_owned().into())
            .map_err(|failure| (failure.code.name(), failure.message.into_owned(), Some("body")))
    }

    /// What any request is looked at for before it is sent.
    fn asked(&self, body: &Bytes) -> Result<(), Box<Failure>> {
        let facts = Facts::scan(body)?;
        if facts.stream == Some(true) {
            return Err(Box::new(Failure::invalid("a request of a batch cannot be streamed; leave `stream` out")));
        }
        let mut is_background = false;
        // It was scanned before.
        let _ = json::scan_object(body, |member: Member<'_>| {
            is_background |= member.is("background") && &body[member.value] == b"true";
        });
        if is_background {
            return Err(Box::new(Failure::invalid("a request of a batch cannot be made in the background as well")));
        }
        let headers = HeaderMap::new();
        let ask = Ask {
            needs: facts.needs,
            n_input: count::estimated(&facts, body.len()),
            unix_ms: clock::unix_ms(),
            forced_provider: self.provider,
            ..Ask::new(self.endpoint, &headers, &facts.model)
        };
        resolve::resolve(self.snapshot, &ask, self.caller).map(drop)
    }
}

/// A line of the output, or of the errors: what a request was answered.
pub(super) fn answered(custom_id: &str, status: u16, request_id: &str, body: &[u8]) -> String {
    // In one line, whatever the upstream's layout; what is no JSON is a text.
    let body = match serde_json::from_slice::<&RawValue>(body) {
        Ok(raw) if !raw.get().contains(['\n', '\r']) => raw.to_owned(),
        _ => {
            let value = serde_json::from_slice::<Value>(body);
            let value = value.unwrap_or_else(|_| String::from_utf8_lossy(body).into());
            serde_json::value::to_raw_value(&value).unwrap_or_else(|_| RawValue::NULL.to_owned())
        }
    };
    let (id, custom_id) = (format!("batch_req_{}", request_id.replace('-', "")), Value::from(custom_id));
    format!(
        "{{\"id\":\"{id}\",\"custom_id\":{custom_id},\"response\":{{\"status_code\":{status},\"request_id\":\"{request_id}\",\
         \"body\":{body}}},\"error\":null}}\n"
    )
}

/// A line of the errors: a request that got no answer.
pub(super) fn unanswered(custom_id: &str, id: &str, code: &str, message: &str) -> String {
    let id = format!("batch_req_{}", id.replace('-', ""));
    let error = json!({"code": code, "message": message});
    format!("{}\n", json!({"id": id, "custom_id": custom_id, "response": null, "error": error}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_is_a_path_of_that_operation() {
        use crate::ingress::{self, Operation};
        for (path, errand, dialect) in ENDPOINTS {
            let expected = match errand {
                Errand::Task(form) => Operation::Task(form),
                _ => Operation::Chat(dialect),
            };
            assert_eq!(ingress::operation(&http::Method::POST, path).ok(), Some(expected), "{path}");
        }
        assert!(operation("/v1/audio/speech").is_none() && operation("/v1/files").is_none());
    }

    #[test]
    fn answers_stand_in_one_line() {
        let body = b"{\n  \"n\": 1.0,\n \"text\": \"a\\nb\"}";
        for (body, expected) in [
            (&body[..], json!({"n": 1.0, "text": "a\nb"})),
            (b"{\"a\": 1}", json!({"a": 1})),
            (b"oh\nno", json!("oh\nno")),
            (b"", json!("")),
        ] {
            let line = answered("\"x\"\n", 200, "0-1", body);
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            let line: Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!((&line["response"]["body"], &line["custom_id"]), (&expected, &json!("\"x\"\n")));
            assert_eq!((&line["id"], &line["error"]), (&json!("batch_req_01"), &Value::Null));
        }
        let line: Value = serde_json::from_str(&unanswered("x", "0-1", "batch_expired", "late")).expect("JSON");
        assert_eq!((&line["response"], &line["error"]["code"]), (&Value::Null, &json!("batch_expired")));
    }

    #[test]
    fn a_body_that_says_nothing_of_streams_wants_none() {
        for (line, expected) in [
            (r#"{"custom_id":"a","body":{"model":"m"}}"#, r#"{"stream":false,"model":"m"}"#),
            (r#"{"custom_id":"a","body":{"stream":null}}"#, r#"{"stream":null}"#),
        ] {
            let wanted = Wanted::read(&Bytes::from(line)).expect("a request");
            assert_eq!(wanted.unstreamed(), expected.as_bytes());
        }
        assert_eq!(Wanted::read(&Bytes::from_static(b"{\"custom_id\":\"a\"}")), None);
    }
}
