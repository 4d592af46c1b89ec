//! A scripted vendor that has all of OpenAI's API: every resource answers in the form that the vendor documents, on its own path
//! and method, and on no other. Clients that check types find what the gateway loses on the way.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use gateway_fake::reply::openai;
use gateway_fake::{Received, Script};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_tungstenite::tungstenite::Message;

/// What every recording says and every reply is.
pub(crate) const TEXT: &str = "Grüße from the scripted account";
/// What it says as sound, and what it keeps as a file.
const SOUND_BYTES: usize = 200_000;
const PICTURE: &str = "aGVsbG8=";

/// Answers a request, or says 404 where the vendor has nothing.
pub(crate) fn answer(received: &Received) -> Script {
    let (path, query) = received.target.split_once('?').unwrap_or((&received.target, ""));
    let parts: Vec<&str> = path.trim_start_matches("/v1/").split('/').collect();
    let asked = Asked { received, query };
    match (received.method.as_str(), parts.as_slice()) {
        ("POST", ["chat", "completions"]) => asked.chat(),
        ("POST", ["completions"]) => asked.completion(),
        ("POST", ["embeddings"]) => asked.embeddings(),
        ("POST", ["moderations"]) => Script::json(200, &moderation()),
        ("POST", ["images", "generations"]) => asked.picture("image_generation"),
        ("POST", ["images", "edits"]) => asked.picture("image_edit"),
        ("POST", ["images", "variations"]) => asked.picture("image_variation"),
        ("POST", ["audio", "speech"]) => asked.speech(),
        ("POST", ["audio", "transcriptions" | "translations"]) => asked.transcription(),
        (method, ["responses", rest @ ..]) => asked.response(method, rest),
        (method, ["files", rest @ ..]) => asked.file(method, rest),
        (method, ["batches", rest @ ..]) => asked.batch(method, rest),
        (method, ["uploads" | "vector_stores" | "fine_tuning", ..]) => other(method, &parts),
        (method, _) => absent(method, path),
    }
}

fn absent(method: &str, path: &str) -> Script {
    Script::json(404, &openai::error("invalid_request_error", &format!("the account has no {method} {path}")))
}

fn list(items: &[Value]) -> Value {
    let id = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
    json!({"object": "list", "data": items, "has_more": false, "first_id": id(items.first()), "last_id": id(items.last())})
}

fn event(data: &Value) -> Bytes {
    Bytes::from(format!("event: {}\ndata: {data}\n\n", data["type"].as_str().expect("a type")))
}

struct Asked<'a> {
    received: &'a Received,
    query: &'a str,
}

// === impl Asked ===

impl Asked<'_> {
    /// A field of a form, or `None`.
    fn field(&self, name: &str) -> Option<String> {
        let form = String::from_utf8_lossy(&self.received.body);
        let (_, behind) = form.split_once(&format!("name=\"{name}\"\r\n\r\n"))?;
        behind.split_once("\r\n").map(|(value, _)| value.to_owned())
    }

    fn has_part(&self, name: &str) -> bool {
        String::from_utf8_lossy(&self.received.body).contains(&format!("name=\"{name}\"; filename="))
    }

    /// With a schema the answer is of that schema.
    fn chat(&self) -> Script {
        let has_schema = self.received.json()["response_format"]["type"] == "json_schema";
        openai::answer(self.received, if has_schema { r#"{"city":"Paris","rain":true}"# } else { TEXT })
    }

    fn completion(&self) -> Script {
        let body = self.received.json();
        let part = |text: &str, finish: Value| {
            json!({"id": "cmpl-1", "object": "text_completion", "created": 1, "model": body["model"],
                "choices": [{"index": 0, "text": text, "logprobs": null, "finish_reason": finish}]})
        };
        if body["stream"] != true {
            let mut whole = part(TEXT, json!("stop"));
            whole["usage"] = json!({"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8});
            return Script::json(200, &whole);
        }
        let words = TEXT.split_inclusive(' ').map(|word| part(word, Value::Null));
        let mut events: Vec<Bytes> = words.map(|part| format!("data: {part}\n\n").into()).collect();
        events.push(format!("data: {}\n\ndata: [DONE]\n\n", part("", json!("stop"))).into());
        Script::sse(&events)
    }

    /// 0.5, -1, 2: as numbers, or as little-endian floats in base64.
    fn embeddings(&self) -> Script {
        let body = self.received.json();
        let vector = match body["encoding_format"].as_str() {
            Some("base64") => json!("AAAAPwAAgL8AAABA"),
            _ => json!([0.5, -1.0, 2.0]),
        };
        let n_inputs = body["input"].as_array().map_or(1, Vec::len);
        let data: Vec<Value> =
            (0..n_inputs).map(|at| json!({"object": "embedding", "index": at, "embedding": vector})).collect();
        let usage = json!({"prompt_tokens": 4, "total_tokens": 4});
        Script::json(200, &json!({"object": "list", "data": data, "model": body["model"], "usage": usage}))
    }

    fn picture(&self, kind: &str) -> Script {
        let is_form = self.received.header("content-type").is_some_and(|kind| kind.starts_with("multipart/"));
        let streams =
            if is_form { self.field("stream").as_deref() == Some("true") } else { self.received.wants_stream() };
        if is_form && !self.has_part("image") && !self.has_part("image[]") {
            return Script::json(400, &openai::error("invalid_request_error", "there is no image"));
        }
        let usage = json!({"input_tokens": 14, "output_tokens": 272, "total_tokens": 286,
            "input_tokens_details": {"text_tokens": 10, "image_tokens": 4}});
        if !streams {
            return Script::json(200, &json!({"created": 1, "data": [{"b64_json": PICTURE}], "usage": usage}));
        }
        let shared = json!({"b64_json": PICTURE, "background": "auto", "created_at": 1, "output_format": "png",
            "quality": "low", "size": "1024x1024"});
        let with = |kind: String, name: &str, value: Value| {
            let mut data = shared.clone();
            data["type"] = kind.into();
            data[name] = value;
            event(&data)
        };
        let partial = |at: u64| with(format!("{kind}.partial_image"), "partial_image_index", at.into());
        Script::sse(&[partial(0), partial(1), with(format!("{kind}.completed"), "usage", usage)])
    }

    /// Bytes in several pieces, or events.
    fn speech(&self) -> Script {
        if self.received.json()["stream_format"] == "sse" {
            let delta = json!({"type": "speech.audio.delta", "audio": PICTURE});
            let done = json!({"type": "speech.audio.done",
                "usage": {"input_tokens": 2, "output_tokens": 3, "total_tokens": 5}});
            return Script::sse(&[event(&delta), event(&done)]);
        }
        let sound: Vec<u8> = (0..SOUND_BYTES).map(|at| at.to_le_bytes()[0]).collect();
        let head = Script::new().head(200, &[("content-type", "audio/mpeg"), ("transfer-encoding", "chunked")]);
        sound.chunks(30_000).fold(head, Script::chunk).end()
    }

    fn transcription(&self) -> Script {
        if !self.has_part("file") {
            return Script::json(400, &openai::error("invalid_request_error", "there is no file"));
        }
        let usage = json!({"type": "tokens", "input_tokens": 37, "output_tokens": 9, "total_tokens": 46});
        if self.field("stream").as_deref() == Some("true") {
            let words =
                TEXT.split_inclusive(' ').map(|word| event(&json!({"type": "transcript.text.delta", "delta": word})));
            let done = json!({"type": "transcript.text.done", "text": TEXT, "usage": usage});
            return Script::sse(&words.chain([event(&done)]).collect::<Vec<_>>());
        }
        let plain = |kind: &str, text: String| Script::text(200, kind, text);
        match self.field("response_format").as_deref() {
            Some("text") => plain("text/plain; charset=utf-8", format!("{TEXT}\n")),
            Some("srt") => plain("text/plain; charset=utf-8", format!("1\n00:00:00,000 --> 00:00:02,500\n{TEXT}\n")),
            Some("vtt") => plain("text/vtt; charset=utf-8", format!("WEBVTT\n\n00:00.000 --> 00:02.500\n{TEXT}\n")),
            Some("verbose_json") => {
                let segment = json!({"id": 0, "seek": 0, "start": 0.0, "end": 2.5, "text": TEXT, "tokens": [1, 2],
                    "temperature": 0.0, "avg_logprob": -0.2, "compression_ratio": 1.0, "no_speech_prob": 0.01});
                let whole = json!({"task": "transcribe", "language": "english", "duration": 2.5, "text": TEXT,
                    "segments": [segment], "usage": {"type": "duration", "seconds": 3}});
                Script::json(200, &whole)
            }
            Some("diarized_json") => {
                let segment = json!({"id": "seg_1", "type": "transcript.text.segment", "start": 0.0, "end": 2.5,
                    "speaker": "A", "text": TEXT});
                let whole =
                    json!({"task": "transcribe", "duration": 2.5, "text": TEXT, "segments": [segment], "usage": usage});
                Script::json(200, &whole)
            }
            _ => Script::json(200, &json!({"text": TEXT, "usage": usage})),
        }
    }

    fn response(&self, method: &str, rest: &[&str]) -> Script {
        match (method, rest) {
            ("POST", []) if self.received.json()["stream"] == true => Script::sse(&response_events()),
            ("POST", []) | ("GET", ["resp_1"]) => Script::json(200, &response("completed")),
            ("POST", ["resp_1", "cancel"]) => Script::json(200, &response("cancelled")),
            ("POST", ["input_tokens"]) => {
                Script::json(200, &json!({"object": "response.input_tokens", "input_tokens": 11}))
            }
            ("DELETE", ["resp_1"]) => {
                Script::json(200, &json!({"id": "resp_1", "object": "response", "deleted": true}))
            }
            ("GET", ["resp_1", "input_items"]) => {
                let content = json!([{"type": "input_text", "text": "How is the weather?"}]);
                let item = json!({"id": "msg_0", "type": "message", "role": "user", "status": "completed", "content": content});
                Script::json(200, &list(&[item]))
            }
            _ => absent(method, &self.received.target),
        }
    }

    fn file(&self, method: &str, rest: &[&str]) -> Script {
        let file = json!({"id": "file-1", "object": "file", "bytes": 5, "created_at": 1, "filename": "in.jsonl",
            "purpose": "batch", "status": "processed"});
        match (method, rest) {
            ("POST", []) if self.field("purpose").is_some() && self.has_part("file") => Script::json(200, &file),
            ("GET", []) if self.query.contains("purpose=batch") => Script::json(200, &list(&[file])),
            ("GET", ["file-1"]) => Script::json(200, &file),
            ("GET", ["file-1", "content"]) => Script::text(200, "application/octet-stream", "{\"a\": 1}\n"),
            ("DELETE", ["file-1"]) => Script::json(200, &json!({"id": "file-1", "object": "file", "deleted": true})),
            _ => absent(method, &self.received.target),
        }
    }

    fn batch(&self, method: &str, rest: &[&str]) -> Script {
        let batch = |status: &str| {
            json!({"id": "batch_1", "object": "batch", "endpoint": "/v1/chat/completions", "input_file_id": "file-1",
                "completion_window": "24h", "created_at": 1, "status": status, "output_file_id": "file-2",
                "request_counts": {"total": 1, "completed": 1, "failed": 0}})
        };
        match (method, rest) {
            ("POST", []) if self.received.json()["input_file_id"] == "file-1" => {
                Script::json(200, &batch("validating"))
            }
            ("GET", []) => Script::json(200, &list(&[batch("completed")])),
            ("GET", ["batch_1"]) => Script::json(200, &batch("completed")),
            ("POST", ["batch_1", "cancel"]) => Script::json(200, &batch("cancelling")),
            _ => absent(method, &self.received.target),
        }
    }
}

fn response(status: &str) -> Value {
    let content = json!([{"type": "output_text", "text": TEXT, "annotations": []}]);
    let message =
        json!({"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content});
    let usage = json!({"input_tokens": 7, "output_tokens": 5, "total_tokens": 12,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}});
    json!({"id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "x", "output": [message],
        "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "usage": usage})
}

fn response_events() -> Vec<Bytes> {
    let whole = response("completed");
    let mut begun = response("in_progress");
    begun["output"] = json!([]);
    let (message, part) = (&whole["output"][0], &whole["output"][0]["content"][0]);
    let at = json!({"item_id": "msg_1", "output_index": 0, "content_index": 0});
    let mut events = vec![
        json!({"type": "response.created", "response": begun}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": message}),
        json!({"type": "response.content_part.added", "part": {"type": "output_text", "text": "", "annotations": []}}),
    ];
    events.extend(
        TEXT.split_inclusive(' ')
            .map(|word| json!({"type": "response.output_text.delta", "delta": word, "logprobs": []})),
    );
    events.extend([
        json!({"type": "response.output_text.done", "text": TEXT, "logprobs": []}),
        json!({"type": "response.content_part.done", "part": part}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": message}),
        json!({"type": "response.completed", "response": whole}),
    ]);
    let numbered = events.into_iter().enumerate().map(|(number, mut data)| {
        data["sequence_number"] = number.into();
        let kind = data["type"].as_str().unwrap_or_default();
        if kind.starts_with("response.content_part") || kind.starts_with("response.output_text") {
            for (name, value) in at.as_object().expect("an object") {
                data[name] = value.clone();
            }
        }
        event(&data)
    });
    numbered.collect()
}

fn moderation() -> Value {
    let names = [
        "harassment",
        "harassment/threatening",
        "hate",
        "hate/threatening",
        "illicit",
        "illicit/violent",
        "self-harm",
        "self-harm/instructions",
        "self-harm/intent",
        "sexual",
        "sexual/minors",
        "violence",
        "violence/graphic",
    ];
    let each = |value: Value| -> Value { names.iter().map(|name| (*name, value.clone())).collect() };
    let result = json!({"flagged": true, "categories": each(true.into()), "category_scores": each(0.5.into()),
        "category_applied_input_types": each(json!(["text"]))});
    json!({"id": "modr-1", "model": "x", "results": [result]})
}

/// Resources that the gateway passes without knowing them.
fn other(method: &str, parts: &[&str]) -> Script {
    let upload = |status: &str| {
        json!({"id": "upload_1", "object": "upload", "bytes": 5, "created_at": 1, "expires_at": 2, "filename": "a",
            "purpose": "batch", "status": status})
    };
    let counts = json!({"in_progress": 0, "completed": 1, "failed": 0, "cancelled": 0, "total": 1});
    let store = json!({"id": "vs_1", "object": "vector_store", "created_at": 1, "name": "n", "usage_bytes": 0,
        "file_counts": counts, "status": "completed", "last_active_at": 1, "metadata": {}});
    let said = match (method, parts) {
        ("POST", ["uploads"]) => upload("pending"),
        ("POST", ["uploads", "upload_1", "parts"]) => {
            json!({"id": "part_1", "object": "upload.part", "created_at": 1, "upload_id": "upload_1"})
        }
        ("POST", ["uploads", "upload_1", "complete"]) => upload("completed"),
        ("POST", ["vector_stores"]) | ("GET", ["vector_stores", "vs_1"]) => store,
        ("GET", ["vector_stores"]) => list(&[store]),
        ("DELETE", ["vector_stores", "vs_1"]) => {
            json!({"id": "vs_1", "object": "vector_store.deleted", "deleted": true})
        }
        ("GET", ["fine_tuning", "jobs"]) => list(&[]),
        _ => return absent(method, &parts.join("/")),
    };
    Script::json(200, &said)
}

/// The vendor's WebSockets, which a script of one answer cannot play: greets, and answers each event that asks for a response.
pub(crate) struct Realtime {
    pub(crate) url: String,
    accepting: AbortHandle,
}

// === impl Realtime ===

impl Realtime {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                    let session = json!({"type": "session.created", "event_id": "e1",
                        "session": {"type": "realtime", "object": "realtime.session", "id": "sess_1", "model": "x"}});
                    let _ = socket.send(Message::Text(session.to_string().into())).await;
                    while let Some(Ok(message)) = socket.next().await {
                        let Message::Text(text) = message else { continue };
                        let said: Value = serde_json::from_str(&text).unwrap_or_default();
                        for event in spoken(&said) {
                            let _ = socket.send(Message::Text(event.to_string().into())).await;
                        }
                    }
                });
            }
        });
        Self { url, accepting: accepting.abort_handle() }
    }
}

impl Drop for Realtime {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn spoken(said: &Value) -> Vec<Value> {
    if said["type"] != "response.create" {
        return Vec::new();
    }
    let at = |mut event: Value| {
        event["event_id"] = "e2".into();
        event["response_id"] = "resp_1".into();
        event["item_id"] = "item_1".into();
        event["output_index"] = 0.into();
        event["content_index"] = 0.into();
        event
    };
    let usage = json!({"total_tokens": 9, "input_tokens": 4, "output_tokens": 5,
        "input_token_details": {"text_tokens": 4, "audio_tokens": 0, "cached_tokens": 0},
        "output_token_details": {"text_tokens": 5, "audio_tokens": 0}});
    let response =
        json!({"id": "resp_1", "object": "realtime.response", "status": "completed", "output": [], "usage": usage});
    vec![
        at(json!({"type": "response.output_text.delta", "delta": TEXT})),
        at(json!({"type": "response.output_text.done", "text": TEXT})),
        json!({"type": "response.done", "event_id": "e3", "response": response}),
    ]
}
