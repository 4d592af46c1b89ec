//! Every dialect that upstreams speak, as the stream of one short answer, and every dialect that clients speak, as one question.

use bytes::{BufMut, Bytes, BytesMut};
use gateway_fake::reply::{anthropic, openai};
use gateway_fake::{Gate, Script};
use serde_json::{Value, json};

use crate::gateway::provider_at;

/// What every upstream here says, a word per event.
pub(crate) const TEXT: &str = "alpha beta gamma";
/// What every upstream here counts as the prompt.
pub(crate) const N_PROMPT: u64 = 7;

/// One upstream's answer.
pub(crate) struct Wire {
    pub(crate) kind: &'static str,
    more: &'static str,
    media_type: &'static str,
    events: Vec<Bytes>,
}

/// One client's question.
pub(crate) struct Client {
    pub(crate) path: &'static str,
    prompt: (&'static str, Value),
    text: &'static str,
    n_prompt: &'static str,
}

// === impl Wire ===

impl Wire {
    pub(crate) fn all() -> Vec<Self> {
        let sse = |kind, events| Self { kind, more: "", media_type: "text/event-stream", events };
        vec![
            sse("openai-compatible", openai::stream("own-name", TEXT, N_PROMPT)),
            sse("openai-completions", completions()),
            sse("anthropic", anthropic::stream("own-name", TEXT, N_PROMPT)),
            sse("gemini", gemini()),
            sse("cohere", cohere()),
            Self { media_type: "application/x-ndjson", ..sse("ollama", ollama()) },
            Self {
                media_type: "application/vnd.amazon.eventstream",
                more: "aws: {region: us-east-1}",
                ..sse("bedrock", bedrock())
            },
        ]
    }

    /// The wire on which a client's own dialect is spoken, so that bytes may pass.
    pub(crate) fn of_client(client: &Client) -> Self {
        let sse = |kind, events| Self { kind, more: "", media_type: "text/event-stream", events };
        match client.path {
            "/v1/chat/completions" => sse("openai-compatible", openai::stream("own-name", TEXT, N_PROMPT)),
            "/v1/completions" => sse("openai-compatible", completions()),
            "/v1/messages" => sse("anthropic", anthropic::stream("own-name", TEXT, N_PROMPT)),
            "/v1/responses" => sse("openai", responses()),
            other => panic!("no wire for {other}"),
        }
    }

    /// `quirks` as YAML: `[stream_only]`.
    pub(crate) fn config(&self, url: &str, quirks: &str) -> String {
        let more = [self.more, &format!("quirks: {quirks}")].map(str::to_owned);
        provider_at(self.kind, url, &more.into_iter().filter(|more| !more.is_empty()).collect::<Vec<_>>().join(", "))
    }

    pub(crate) fn speaks_chat(&self) -> bool {
        self.events.iter().any(|event| has(event, "chat.completion.chunk"))
    }

    pub(crate) fn script(&self) -> Script {
        self.events.iter().fold(self.head(), |script, event| script.chunk(event)).end()
    }

    /// Stands at `gate` behind the event that has the first word.
    pub(crate) fn held_behind_the_first_word(&self, gate: &Gate) -> Script {
        let first = self.events.iter().position(|event| has(event, "alpha")).expect("the first word is an event's");
        let (said, rest) = self.events.split_at(first + 1);
        let script = said.iter().fold(self.head(), |script, event| script.chunk(event)).wait(gate);
        rest.iter().fold(script, |script, event| script.chunk(event)).end()
    }

    /// The same provider under another name, for configurations of several; `more` are further members.
    pub(crate) fn provider(&self, name: &str, url: &str, more: &str) -> String {
        let more = [self.more, more]
            .iter()
            .filter(|more| !more.is_empty())
            .map(|more| format!(", {more}"))
            .collect::<String>();
        format!(
            "  - {{name: {name}, kind: {}, base_url: \"{url}\", api_key: k, allow_private_networks: true{more}}}\n",
            self.kind
        )
    }

    /// Breaks off behind the event that has `word`.
    pub(crate) fn cut_behind(&self, word: &str) -> Script {
        let last = self.events.iter().position(|event| has(event, word)).expect("the word is an event's");
        self.events[..=last].iter().fold(self.head(), |script, event| script.chunk(event)).end()
    }

    fn head(&self) -> Script {
        Script::new().head(200, &[("content-type", self.media_type), ("transfer-encoding", "chunked")])
    }
}

// === impl Client ===

impl Client {
    pub(crate) fn all() -> [Self; 4] {
        let messages = json!([{"role": "user", "content": "hi"}]);
        [
            Self {
                path: "/v1/chat/completions",
                prompt: ("messages", messages.clone()),
                text: "/choices/0/message/content",
                n_prompt: "/usage/prompt_tokens",
            },
            Self {
                path: "/v1/completions",
                prompt: ("prompt", "hi".into()),
                text: "/choices/0/text",
                n_prompt: "/usage/prompt_tokens",
            },
            Self {
                path: "/v1/messages",
                prompt: ("messages", messages),
                text: "/content/0/text",
                n_prompt: "/usage/input_tokens",
            },
            Self {
                path: "/v1/responses",
                prompt: ("input", "hi".into()),
                text: "/output/0/content/0/text",
                n_prompt: "/usage/input_tokens",
            },
        ]
    }

    pub(crate) fn question(&self, stream: bool) -> Value {
        let (name, prompt) = &self.prompt;
        json!({"model": "m", "max_tokens": 9, "stream": stream, *name: prompt})
    }

    /// Text and prompt tokens of a whole reply.
    pub(crate) fn told<'a>(&self, reply: &'a Value) -> (Option<&'a str>, Option<u64>) {
        let at = |place: &str| reply.pointer(place);
        (at(self.text).and_then(Value::as_str), at(self.n_prompt).and_then(Value::as_u64))
    }
}

pub(crate) fn has(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

fn data(value: &Value) -> Bytes {
    format!("data: {value}\n\n").into()
}

fn words() -> impl Iterator<Item = &'static str> {
    TEXT.split_inclusive(' ')
}

pub(crate) fn completions() -> Vec<Bytes> {
    let chunk = |text: &str, reason: Value| {
        data(&json!({"id": "cmpl-fake", "object": "text_completion", "created": 1, "model": "own-name",
            "choices": [{"text": text, "index": 0, "logprobs": null, "finish_reason": reason}]}))
    };
    let usage = json!({"prompt_tokens": N_PROMPT, "completion_tokens": 3, "total_tokens": N_PROMPT + 3});
    let last = json!({"id": "cmpl-fake", "object": "text_completion", "created": 1, "model": "own-name", "choices": [],
        "usage": usage});
    let mut events: Vec<Bytes> = words().map(|word| chunk(word, Value::Null)).collect();
    events.extend([chunk("", "stop".into()), data(&last), "data: [DONE]\n\n".into()]);
    events
}

fn gemini() -> Vec<Bytes> {
    let chunk = |text: &str, finish: Option<&str>| {
        let mut candidate = json!({"content": {"role": "model", "parts": [{"text": text}]}, "index": 0});
        if let Some(finish) = finish {
            candidate["finishReason"] = finish.into();
        }
        let usage = json!({"promptTokenCount": N_PROMPT, "candidatesTokenCount": 3, "totalTokenCount": N_PROMPT + 3});
        Bytes::from(format!(
            "data: {}\r\n\r\n",
            json!({"candidates": [candidate], "modelVersion": "own-name", "usageMetadata": usage})
        ))
    };
    words().map(|word| chunk(word, None)).chain([chunk("", Some("STOP"))]).collect()
}

fn cohere() -> Vec<Bytes> {
    let delta = |word| json!({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": word}}}});
    let begin = [
        json!({"type": "message-start", "id": "x", "delta": {"message": {"role": "assistant"}}}),
        json!({"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}}),
    ];
    let usage = json!({"tokens": {"input_tokens": N_PROMPT, "output_tokens": 3}});
    let end = [
        json!({"type": "content-end", "index": 0}),
        json!({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}}),
    ];
    begin.into_iter().chain(words().map(delta)).chain(end).map(|event| data(&event)).collect()
}

fn ollama() -> Vec<Bytes> {
    let line = |text: &str, done: bool| {
        let mut line = json!({"model": "own-name", "created_at": "2024-05-24T21:02:00Z", "done": done,
            "message": {"role": "assistant", "content": text}});
        if done {
            line["done_reason"] = "stop".into();
            line["prompt_eval_count"] = N_PROMPT.into();
            line["eval_count"] = 3.into();
        }
        Bytes::from(format!("{line}\n"))
    };
    words().map(|word| line(word, false)).chain([line("", true)]).collect()
}

fn responses() -> Vec<Bytes> {
    let event = |number: usize, mut event: Value| {
        event["sequence_number"] = number.into();
        let name = event["type"].as_str().expect("every event has a type").to_owned();
        Bytes::from(format!("event: {name}\ndata: {event}\n\n"))
    };
    let response = |status: &str, output: Value, usage: Value| {
        json!({"id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "own-name",
            "output": output, "usage": usage})
    };
    let item = |content: Value| json!([{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}]);
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
    let in_progress = response("in_progress", json!([]), Value::Null);
    let usage = json!({"input_tokens": N_PROMPT, "output_tokens": 3, "total_tokens": N_PROMPT + 3});
    let whole = response("completed", item(json!([part(TEXT)])), usage);
    let place = |kind: &str| json!({"type": kind, "item_id": "msg_1", "output_index": 0, "content_index": 0});
    let with = |kind: &str, name: &str, value: Value| {
        let mut event = place(kind);
        event[name] = value;
        event
    };
    let mut events = vec![
        json!({"type": "response.created", "response": in_progress}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": item(json!([]))[0]}),
        with("response.content_part.added", "part", part("")),
    ];
    events.extend(words().map(|word| with("response.output_text.delta", "delta", word.into())));
    events.extend([
        with("response.output_text.done", "text", TEXT.into()),
        with("response.content_part.done", "part", part(TEXT)),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item(json!([part(TEXT)]))[0]}),
        json!({"type": "response.completed", "response": whole}),
    ]);
    events.into_iter().enumerate().map(|(number, value)| event(number, value)).collect()
}

fn bedrock() -> Vec<Bytes> {
    let delta = |word| frame("contentBlockDelta", &json!({"contentBlockIndex": 0, "delta": {"text": word}}));
    let usage = json!({"inputTokens": N_PROMPT, "outputTokens": 3, "totalTokens": N_PROMPT + 3});
    let end = [
        frame("contentBlockStop", &json!({"contentBlockIndex": 0})),
        frame("messageStop", &json!({"stopReason": "end_turn"})),
        frame("metadata", &json!({"usage": usage, "metrics": {"latencyMs": 1}})),
    ];
    let start = frame("messageStart", &json!({"role": "assistant"}));
    std::iter::once(start).chain(words().map(delta)).chain(end).collect()
}

/// One message of an AWS event stream.
pub(crate) fn frame(name: &str, payload: &Value) -> Bytes {
    let payload = payload.to_string();
    let mut headers = BytesMut::new();
    for (key, value) in [(":event-type", name), (":content-type", "application/json"), (":message-type", "event")] {
        headers.put_u8(u8::try_from(key.len()).expect("short"));
        headers.put_slice(key.as_bytes());
        headers.put_u8(7);
        headers.put_u16(u16::try_from(value.len()).expect("short"));
        headers.put_slice(value.as_bytes());
    }
    let mut message = BytesMut::new();
    message.put_u32(u32::try_from(16 + headers.len() + payload.len()).expect("short"));
    message.put_u32(u32::try_from(headers.len()).expect("short"));
    message.put_u32(crc32fast::hash(&message));
    message.put_slice(&headers);
    message.put_slice(payload.as_bytes());
    message.put_u32(crc32fast::hash(&message));
    message.freeze()
}
