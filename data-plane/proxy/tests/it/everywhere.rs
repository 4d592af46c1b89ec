//! What holds at every endpoint alike: bad input, upstreams that refuse, clients that leave.

use std::time::Duration;

use gateway_fake::reply::openai;
use gateway_fake::{Ending, Gate, PATIENCE, Script, Upstream};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::gateway::{Answer, Gateway, KEY, openai_at, read};
use crate::multipart::{BOUNDARY, form};

/// In whose words an endpoint tells errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    OpenAi,
    Anthropic,
    Gemini,
}

struct Place {
    path: &'static str,
    words: Words,
    asked: Asked,
}

enum Asked {
    Json(Value),
    /// The text fields; a file goes along under this name.
    Form(&'static [(&'static str, &'static str)], &'static str),
}

fn places() -> Vec<Place> {
    let messages = json!([{"role": "user", "content": "hi"}]);
    let content = json!({"role": "user", "parts": [{"text": "hi"}]});
    let json = |path, words, body| Place { path, words, asked: Asked::Json(body) };
    let form = |path, fields, file| Place { path, words: Words::OpenAi, asked: Asked::Form(fields, file) };
    let (openai, gemini) = (Words::OpenAi, Words::Gemini);
    let ranked = json!({"model": "m", "query": "q", "documents": ["a", "b"]});
    vec![
        json("/v1/chat/completions", openai, json!({"model": "m", "messages": messages})),
        json("/v1/completions", openai, json!({"model": "m", "prompt": "hi"})),
        json("/v1/responses", openai, json!({"model": "m", "input": "hi"})),
        json("/v1/messages", Words::Anthropic, json!({"model": "m", "max_tokens": 5, "messages": messages})),
        json("/v1beta/models/m:generateContent", gemini, json!({"contents": [content]})),
        json("/v1beta/models/m:embedContent", gemini, json!({"content": content})),
        json("/v1beta/models/m:batchEmbedContents", gemini, json!({"requests": [{"content": content}]})),
        json("/v1/embeddings", openai, json!({"model": "m", "input": "hi"})),
        json("/v1/rerank", openai, ranked.clone()),
        json("/v2/rerank", openai, ranked),
        json("/v1/moderations", openai, json!({"model": "m", "input": "hi"})),
        json("/v1/images/generations", openai, json!({"model": "m", "prompt": "a cat"})),
        json("/v1/audio/speech", openai, json!({"model": "m", "input": "hi", "voice": "alloy"})),
        form("/v1/images/edits", &[("model", "m"), ("prompt", "a cat")], "image"),
        form("/v1/images/variations", &[("model", "m")], "image"),
        form("/v1/audio/transcriptions", &[("model", "m")], "file"),
        form("/v1/audio/translations", &[("model", "m")], "file"),
    ]
}

// === impl Place ===

impl Place {
    fn to(&self, gateway: &Gateway) -> RequestBuilder {
        let post = gateway.client().post(gateway.url(self.path));
        if self.words == Words::Gemini { post.header("x-goog-api-key", KEY) } else { post.bearer_auth(KEY) }
    }

    fn whole(&self, gateway: &Gateway) -> RequestBuilder {
        match &self.asked {
            Asked::Json(body) => self.to(gateway).json(body),
            Asked::Form(fields, file) => self.form(gateway, written(fields, file)),
        }
    }

    fn form(&self, gateway: &Gateway, body: Vec<u8>) -> RequestBuilder {
        self.to(gateway).header("content-type", format!("multipart/form-data; boundary={BOUNDARY}")).body(body)
    }

    /// Requests that are wrong, and what is answered.
    fn wrong(&self, gateway: &Gateway) -> Vec<(&'static str, RequestBuilder, u16)> {
        let json = |body: &'static str| self.to(gateway).header("content-type", "application/json").body(body);
        let mut wrong = vec![
            ("another type", self.to(gateway).header("content-type", "text/csv").body("a,b"), 415),
            ("half an object", json("{"), 400),
            ("no object", json("[1]"), 400),
            ("no text", json("\u{0}"), 400),
        ];
        match &self.asked {
            Asked::Json(body) if self.words != Words::Gemini => {
                let mut none = body.clone();
                none.as_object_mut().expect("an object").remove("model");
                let mut unknown = body.clone();
                unknown["model"] = json!("nobody-has-it");
                wrong.push(("no model", self.to(gateway).json(&none), 400));
                wrong.push(("a model that nobody has", self.to(gateway).json(&unknown), 404));
            }
            Asked::Json(_) => {}
            Asked::Form(fields, file) => {
                let whole = written(fields, file);
                let many: Vec<(&str, Option<&str>)> = (0..2000).map(|_| ("x", Some("y"))).collect();
                let no_boundary = self.to(gateway).header("content-type", "multipart/form-data").body("--x--");
                wrong.push(("no boundary", no_boundary, 400));
                wrong.push(("no part", self.form(gateway, b"nothing of the kind".to_vec()), 400));
                wrong.push(("half a form", self.form(gateway, whole[..whole.len() / 3].to_vec()), 400));
                wrong.push(("no model", self.form(gateway, form(&[("prompt", Some("x"))], b"")), 400));
                wrong.push(("too many parts", self.form(gateway, form(&many, b"")), 400));
            }
        }
        wrong
    }

    /// Whether a refusal is in the words that callers of this path read.
    fn is_told(&self, answer: &Answer) -> bool {
        let body = answer.json();
        let (error, id) = (&body["error"], answer.header("x-gateway-request-id"));
        let is_told = match self.words {
            Words::OpenAi => error["type"].is_string(),
            Words::Anthropic => body["type"] == "error" && error["type"].is_string(),
            Words::Gemini => error["status"].is_string() && error["code"] == answer.status,
        };
        is_told && error["message"].as_str().is_some_and(|message| message.len() > 5) && id.is_some()
    }
}

fn written(fields: &[(&'static str, &'static str)], file: &'static str) -> Vec<u8> {
    let mut all: Vec<(&str, Option<&str>)> = fields.iter().map(|(name, value)| (*name, Some(*value))).collect();
    all.push((file, None));
    form(&all, b"RIFF\x00\x01")
}

/// Nobody takes a provider for broken by what these tests make it do.
fn config(upstream: &Upstream) -> String {
    let config = openai_at(&upstream.url()).replace("retry: {", "breaker: {enabled: false}, retry: {");
    format!("settings: {{server: {{max_body: 64KiB}}}}\n{config}")
}

#[tokio::test]
async fn bad_input_is_refused_at_every_endpoint() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|_| Script::json(500, &json!({"error": {"message": "asked for nothing"}})));
    let gateway = Gateway::start(&config(&upstream)).await;
    for place in places() {
        for (what, request, status) in place.wrong(&gateway) {
            let answer = read(request).await;
            assert_eq!(answer.status, status, "{} with {what}: {}", place.path, answer.text);
            assert!(place.is_told(&answer), "{} with {what}: {}", place.path, answer.text);
        }
        assert_eq!(upstream.requests().len(), 0, "{}", place.path);
    }
}

#[tokio::test]
async fn members_that_nobody_knows_are_no_fault_at_any_endpoint() {
    for place in places() {
        let Asked::Json(mut body) = place.asked else { continue };
        body["x_unknown"] = json!({"a": [1, null]});
        let upstream = Upstream::start().await;
        upstream.respond_with(|_| Script::json(503, &json!({"error": {"message": "it was asked"}})));
        let gateway = Gateway::start(&config(&upstream)).await;
        let answer = read(gateway.post(place.path, &body)).await;
        assert_eq!((answer.status, upstream.requests().len()), (503, 1), "{}: {}", place.path, answer.text);
    }
}

/// Before any of it is read, so that it need not be sent.
#[tokio::test]
async fn what_is_too_large_is_refused_by_its_length_at_every_endpoint() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&config(&upstream)).await;
    for place in places().into_iter().filter(|place| matches!(place.asked, Asked::Json(_))) {
        let mut stream = TcpStream::connect(gateway.url("").trim_start_matches("http://")).await.expect("a connection");
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n\
             content-length: 10000000000\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n",
            place.path
        );
        stream.write_all(head.as_bytes()).await.expect("written");
        let mut line = [0; 12];
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut line)).await.expect("in time").expect("a line");
        assert_eq!(String::from_utf8_lossy(&line), "HTTP/1.1 413", "{}", place.path);
    }
}

#[tokio::test]
async fn each_class_of_upstream_errors_is_told_at_every_endpoint() {
    for place in places() {
        let upstream = Upstream::start().await;
        let gateway = Gateway::start(&config(&upstream)).await;
        for (index, status) in [400, 401, 403, 404, 429, 500, 502, 503, 529].into_iter().enumerate() {
            let text = openai::error("some_type", "the upstream's own words").to_string();
            let length = text.len().to_string();
            let headers = [("content-type", "application/json"), ("retry-after", "7"), ("content-length", &length)];
            upstream.push(Script::new().head(status, &headers).write(text));
            let answer = read(place.whole(&gateway)).await;
            assert_eq!(answer.status, status, "{}: {}", place.path, answer.text);
            assert!(place.is_told(&answer), "{} {status}: {}", place.path, answer.text);
            assert!(answer.text.contains("the upstream's own words"), "{} {status}: {}", place.path, answer.text);
            let record = &gateway.records(index + 1).await[index];
            assert_eq!((&record["ending"], &record["status"]), (&json!("failed"), &json!(status)), "{record}");
        }
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_client_may_leave_any_endpoint_while_it_waits() {
    for place in places() {
        let (upstream, gate) = (Upstream::start().await, Gate::new());
        upstream.push(Script::new().wait(&gate));
        let gateway = Gateway::start(&config(&upstream)).await;
        tokio::select! {
            answer = place.whole(&gateway).timeout(Duration::from_secs(60)).send() => panic!("{}: {answer:?}", place.path),
            () = gate.reached(1) => {}
        }
        assert_eq!(upstream.ending(0).await, Ending::ClientLeft, "{}", place.path);
        let record = gateway.records(1).await.remove(0);
        assert_eq!((&record["ending"], &record["status"]), (&json!("client_gone"), &json!(499)), "{record}");
        gateway.stop().await;
    }
}
