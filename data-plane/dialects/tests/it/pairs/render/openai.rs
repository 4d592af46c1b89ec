//! OpenAI's chat chunks and legacy completions.

use serde_json::{Value, json};

use super::{Sse, in_turns, texts};
use crate::pairs::plan::{Piece, Place, Plan, Shape, Word};

pub(super) fn chat(plan: &Plan, shape: &Shape) -> Vec<u8> {
    let mut chunks = Chunks::new("chat.completion.chunk", "delta", plan, shape);
    let mut n_calls = 0;
    chunks.delta(json!({"role": "assistant", "content": ""}));
    for piece in &plan.pieces {
        let name = match piece {
            Piece::Text(_) => "content",
            Piece::Refusal(_) => "refusal",
            Piece::Thought(_) => "reasoning_content",
            Piece::Calls(calls) => {
                for (at, begins, arguments) in in_turns(calls, shape) {
                    let mut call = json!({"index": n_calls + at, "function": {"arguments": arguments}});
                    if begins {
                        call["id"] = calls[at].id.clone().into();
                        call["type"] = "function".into();
                        call["function"]["name"] = calls[at].name.clone().into();
                    }
                    chunks.delta(json!({"tool_calls": [call]}));
                }
                n_calls += calls.len();
                continue;
            }
        };
        for text in texts(piece) {
            let mut delta = json!({name: text});
            if shape.chatty {
                delta["role"] = "assistant".into();
                delta["tool_calls"] = json!([]);
            }
            chunks.delta(delta);
        }
    }
    chunks.finish(json!({}))
}

pub(super) fn completions(plan: &Plan, shape: &Shape) -> Vec<u8> {
    let mut chunks = Chunks::new("text_completion", "text", plan, shape);
    for text in plan.pieces.iter().flat_map(texts) {
        chunks.delta(text.as_str().into());
    }
    chunks.finish("".into())
}

struct Chunks<'p> {
    sse: Sse<'p>,
    plan: &'p Plan,
    object: &'static str,
    /// The member of a choice that has the news.
    member: &'static str,
}

// === impl Chunks ===

impl<'p> Chunks<'p> {
    fn new(object: &'static str, member: &'static str, plan: &'p Plan, shape: &'p Shape) -> Self {
        let mut chunks = Self { sse: Sse::new(shape), plan, object, member };
        if shape.chatty {
            chunks.sse.data(&json!({"id": "", "object": "", "created": 0, "model": "", "choices": []}));
        }
        if shape.usage == Place::Before {
            chunks.usage();
        }
        chunks
    }

    fn chunk(&mut self, choices: Value, usage: Value) {
        let object = self.object;
        self.sse.data(
            &json!({"id": "x1", "object": object, "created": 5, "model": "m1", "choices": choices, "usage": usage}),
        );
    }

    fn delta(&mut self, delta: Value) {
        self.chunk(json!([{"index": 0, self.member: delta, "finish_reason": null, "logprobs": null}]), Value::Null);
    }

    fn usage(&mut self) {
        let usage = self.counts();
        self.chunk(json!([]), usage);
    }

    fn counts(&self) -> Value {
        let usage = &self.plan.usage;
        json!({"prompt_tokens": usage.prompt(), "completion_tokens": usage.output, "total_tokens": usage.total(),
            "prompt_tokens_details": {"cached_tokens": usage.cache_read},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning}})
    }

    fn finish(mut self, nothing: Value) -> Vec<u8> {
        let reason = match self.plan.finish {
            Word::Stop => "stop",
            Word::Length => "length",
            Word::Calls => "tool_calls",
            Word::Filtered => "content_filter",
        };
        let place = self.sse.shape.usage;
        let usage = if place == Place::With { self.counts() } else { Value::Null };
        self.chunk(json!([{"index": 0, self.member: nothing, "finish_reason": reason, "logprobs": null}]), usage);
        if place == Place::After {
            self.usage();
        }
        self.sse.raw("data: [DONE]\n\n");
        self.sse.into_bytes()
    }
}
