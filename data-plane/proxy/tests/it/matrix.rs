//! Every endpoint against everything that can be wrong with a request, an upstream or a client. An endpoint joins by a row.

mod bodies;
mod clients;
mod upstreams;

use gateway_fake::Upstream;
use serde_json::Value;

use crate::gateway::{Answer, Gateway, KEY, UPSTREAM_KEY, read};

/// An endpoint, and a request that nothing is wrong with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoint {
    pub(crate) path: &'static str,
    content: Content,
    shape: Shape,
    lane: Lane,
    streams: Streams,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Json(&'static str),
    /// A form whose file is the field of this name.
    Form(&'static str),
}

/// How its callers are told of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    OpenAi,
    Anthropic,
    Gemini,
}

/// What becomes of a request on the way to an upstream of OpenAI's dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// It goes as it is, but for the model.
    Passes,
    Translated,
    /// The gateway answers by itself.
    Answered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Streams {
    Never,
    /// Where the body says so.
    Asked,
    Always,
}

const CHAT: &str = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
const MESSAGES: &str = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}"#;
const INPUT: &str = r#"{"model":"m","input":"hi"}"#;
const CONTENTS: &str = r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#;
const QUERY: &str = r#"{"model":"m","query":"q","documents":["a","b"]}"#;

const fn json(path: &'static str, body: &'static str, lane: Lane, streams: Streams) -> Endpoint {
    Endpoint { path, content: Content::Json(body), shape: Shape::OpenAi, lane, streams }
}

const fn form(path: &'static str, file: &'static str) -> Endpoint {
    Endpoint { path, content: Content::Form(file), shape: Shape::OpenAi, lane: Lane::Passes, streams: Streams::Never }
}

/// `json` for callers of another vendor's API.
const fn like(shape: Shape, path: &'static str, body: &'static str, lane: Lane, streams: Streams) -> Endpoint {
    Endpoint { path, content: Content::Json(body), shape, lane, streams }
}

pub(crate) const ENDPOINTS: &[Endpoint] = &[
    json("/v1/chat/completions", CHAT, Lane::Passes, Streams::Asked),
    json("/v1/completions", r#"{"model":"m","prompt":"hi"}"#, Lane::Passes, Streams::Asked),
    json("/v1/responses", INPUT, Lane::Translated, Streams::Asked),
    json("/v1/responses/input_tokens", INPUT, Lane::Answered, Streams::Never),
    like(Shape::Anthropic, "/v1/messages", MESSAGES, Lane::Translated, Streams::Asked),
    like(Shape::Anthropic, "/anthropic/v1/messages", MESSAGES, Lane::Translated, Streams::Asked),
    like(Shape::Anthropic, "/v1/messages/count_tokens", MESSAGES, Lane::Answered, Streams::Never),
    like(Shape::Anthropic, "/anthropic/v1/messages/count_tokens", MESSAGES, Lane::Answered, Streams::Never),
    like(Shape::Gemini, "/v1beta/models/m:generateContent", CONTENTS, Lane::Translated, Streams::Never),
    like(Shape::Gemini, "/v1beta/models/m:streamGenerateContent", CONTENTS, Lane::Translated, Streams::Always),
    like(Shape::Gemini, "/v1beta/models/m:countTokens", CONTENTS, Lane::Answered, Streams::Never),
    json("/v1/embeddings", INPUT, Lane::Passes, Streams::Never),
    json("/v1/rerank", QUERY, Lane::Passes, Streams::Never),
    json("/v2/rerank", QUERY, Lane::Translated, Streams::Never),
    json("/v1/moderations", INPUT, Lane::Passes, Streams::Never),
    json("/v1/images/generations", r#"{"model":"m","prompt":"hi"}"#, Lane::Passes, Streams::Never),
    form("/v1/images/edits", "image"),
    form("/v1/images/variations", "image"),
    form("/v1/audio/transcriptions", "file"),
    form("/v1/audio/translations", "file"),
    json("/v1/audio/speech", r#"{"model":"m","input":"hi","voice":"alloy"}"#, Lane::Passes, Streams::Never),
];

/// Endpoints without a body, which have nothing to be wrong in it, and conversations, whose bodies have tests of their own.
const BODILESS: &[&str] = &[
    "/v1/conversations",
    "/v1/conversations/",
    "/v1/models",
    "/v1/models/",
    "/anthropic/v1/models",
    "/anthropic/v1/models/",
    "/v1alpha/models",
    "/v1alpha/models/",
    "/v1alpha/",
    "/v1beta/",
    "/anthropic/",
    "/v1/",
];

const BOUNDARY: &str = "----x";
const FORM: &str = "multipart/form-data; boundary=----x";

// === impl Endpoint ===

impl Endpoint {
    /// The model stands in the path.
    fn is_named(&self) -> bool {
        self.shape == Shape::Gemini
    }

    fn good(&self) -> (&'static str, Vec<u8>) {
        match self.content {
            Content::Json(body) => ("application/json", body.as_bytes().to_vec()),
            Content::Form(file) => (FORM, form_of(&[("model", "m")], file)),
        }
    }

    /// The good request with members added to its JSON.
    fn with(&self, members: &str) -> Vec<u8> {
        let Content::Json(body) = self.content else { unreachable!("{} takes a form", self.path) };
        format!("{{{members},{}", &body[1..]).into_bytes()
    }

    async fn send(&self, gateway: &Gateway, kind: &str, body: Vec<u8>) -> Answer {
        let request = gateway.client().post(gateway.url(self.path)).bearer_auth(KEY);
        read(request.header("content-type", kind).body(body)).await
    }

    /// An error in the caller's dialect that gives nothing away.
    fn check(&self, case: &str, answer: &Answer, upstream: &Upstream) {
        let case = format!("{}, {case}: {} {}", self.path, answer.status, answer.text);
        let body: Value = serde_json::from_str(&answer.text).unwrap_or_else(|error| panic!("{case}: {error}"));
        let error = &body["error"];
        assert!(error["message"].as_str().is_some_and(|message| message.len() > 5), "{case}");
        match self.shape {
            Shape::OpenAi => {
                assert!(
                    error["type"].is_string() && error.get("code").is_some() && error.get("param").is_some(),
                    "{case}"
                );
            }
            Shape::Anthropic => assert!(body["type"] == "error" && error["type"].is_string(), "{case}"),
            Shape::Gemini => assert!(error["code"] == answer.status && error["status"].is_string(), "{case}"),
        }
        for secret in [UPSTREAM_KEY, KEY, &upstream.addr().to_string()] {
            assert!(!answer.text.contains(secret), "`{secret}` in {case}");
        }
        assert!(answer.header("x-gateway-request-id").is_some(), "{case}");
    }
}

/// A form of fields and then one file.
fn form_of(fields: &[(&str, &str)], file: &str) -> Vec<u8> {
    let mut form = String::new();
    for (name, value) in fields {
        form.push_str(&format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"));
    }
    let disposition = format!("Content-Disposition: form-data; name=\"{file}\"; filename=\"a.bin\"");
    form.push_str(&format!("--{BOUNDARY}\r\n{disposition}\r\n\r\nRIFF\r\n--{BOUNDARY}--\r\n"));
    form.into_bytes()
}

#[test]
fn every_path_has_its_row() {
    let source = include_str!("../../src/ingress.rs");
    let code = source.split("#[cfg(test)]").next().expect("a beginning");
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let literals = code.flat_map(|line| line.split('"').skip(1).step_by(2)).filter(|text| text.starts_with('/'));
    let paths = literals.filter(|path| path.starts_with("/v") || path.starts_with("/anthropic"));
    let known = |path: &&str| ENDPOINTS.iter().any(|row| row.path.starts_with(*path)) || BODILESS.contains(path);
    let missing: Vec<&str> = paths.filter(|path| !known(path)).collect();
    assert!(missing.is_empty(), "give these a row in ENDPOINTS, or name them in BODILESS: {missing:?}");
}
