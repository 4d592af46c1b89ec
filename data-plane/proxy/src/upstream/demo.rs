//! The built-in provider of kind `demo`: answers in the OpenAI chat form without leaving the process, so that a gateway
//! without any provider key can be tried. It never claims to be a model; it says what it is.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::json;

use super::UpstreamBody;

/// Pause between two words of a stream: slow enough to be seen, fast enough not to bore.
const PACE: Duration = Duration::from_millis(15);

const ANSWER: &str = "Hello from the demo provider built into this gateway. I am not a language model: I prove that your \
    request went through authentication, routing, accounting and streaming. Set OPENAI_API_KEY or ANTHROPIC_API_KEY and \
    start again, or add a provider with `gatewayctl apply -f gateway.yaml`, and real models answer here.";

/// A reply's pieces, paced where it streams.
pub(super) struct Script {
    pieces: VecDeque<Bytes>,
    pause: Option<Pin<Box<tokio::time::Sleep>>>,
}

/// The answer to an OpenAI chat request. `n_prompt_bytes` stands for its length in the made-up usage.
pub(crate) fn answer(
    request_id: &str,
    model: &str,
    stream: bool,
    n_prompt_bytes: usize,
    created: i64,
) -> Response<UpstreamBody> {
    let words: Vec<&str> = ANSWER.split_inclusive(' ').collect();
    let n_prompt = n_prompt_bytes.div_ceil(4);
    let usage =
        json!({"prompt_tokens": n_prompt, "completion_tokens": words.len(), "total_tokens": n_prompt + words.len()});
    let id = format!("chatcmpl-{request_id}");
    let (content_type, pieces) = if stream {
        let chunk = |delta: serde_json::Value, finish: Option<&str>| {
            let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
            event(
                &json!({"id": id, "object": "chat.completion.chunk", "created": created, "model": model, "choices": [choice]}),
            )
        };
        let mut pieces = VecDeque::with_capacity(words.len() + 4);
        pieces.push_back(chunk(json!({"role": "assistant", "content": ""}), None));
        pieces.extend(words.iter().map(|word| chunk(json!({"content": word}), None)));
        pieces.push_back(chunk(json!({}), Some("stop")));
        pieces
            .push_back(event(&json!({"id": id, "object": "chat.completion.chunk", "created": created, "model": model,
            "choices": [], "usage": usage})));
        pieces.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
        ("text/event-stream", pieces)
    } else {
        let message = json!({"role": "assistant", "content": ANSWER, "refusal": null});
        let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"});
        let whole = json!({"id": id, "object": "chat.completion", "created": created, "model": model, "choices": [choice],
            "usage": usage});
        ("application/json", VecDeque::from([Bytes::from(whole.to_string())]))
    };
    let mut response = Response::new(UpstreamBody::local(Script { pieces, pause: None }));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn event(value: &serde_json::Value) -> Bytes {
    Bytes::from(format!("data: {value}\n\n"))
}

// === impl Script ===

impl Script {
    pub(super) fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(pause) = &mut self.pause {
            std::task::ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        let piece = self.pieces.pop_front();
        if piece.is_some() && !self.pieces.is_empty() {
            self.pause = Some(Box::pin(tokio::time::sleep(PACE)));
        }
        Poll::Ready(piece)
    }
}
