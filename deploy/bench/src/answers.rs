//! What the mock upstream says: OpenAI chat completions and Anthropic messages, whole (about 1 KB) and as stream events.

use bytes::Bytes;
use serde_json::{Value, json};

const TEXT: &str = "The lighthouse keeper wrote every evening what the sea had done that day: how high it stood at noon, which \
    boats went out and which came home, what the wind tried and what it gave up. After forty years there were forty books. \
    Nobody had asked for them, and when the lamp was made automatic somebody from the harbour office came to throw them away; \
    she read one page, then one book, and then sent for a cart, because no instrument had ever measured that coast so well.";

/// The pieces of an event stream; `middle` is repeated.
#[derive(Clone, Debug)]
pub struct Stream {
    pub head: Bytes,
    pub middle: Bytes,
    pub tail: Vec<Bytes>,
}

pub fn openai_whole() -> Bytes {
    let message = json!({"role": "assistant", "content": TEXT, "refusal": null, "annotations": []});
    let usage = json!({"prompt_tokens": 240, "completion_tokens": 96, "total_tokens": 336,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0}});
    let whole = json!({"id": "chatcmpl-bench00000000000000000000000", "object": "chat.completion", "created": 1_763_600_000,
        "model": "bench-model", "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"}],
        "usage": usage, "service_tier": "default", "system_fingerprint": "fp_bench00000"});
    Bytes::from(whole.to_string())
}

pub fn anthropic_whole() -> Bytes {
    let usage = json!({"input_tokens": 240, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
        "output_tokens": 96, "service_tier": "standard"});
    let whole = json!({"id": "msg_bench0000000000000000000", "type": "message", "role": "assistant", "model": "bench-model",
        "content": [{"type": "text", "text": TEXT}], "stop_reason": "end_turn", "stop_sequence": null, "usage": usage});
    Bytes::from(whole.to_string())
}

pub fn openai_stream(with_usage: bool) -> Stream {
    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({"id": "chatcmpl-bench00000000000000000000000", "object": "chat.completion.chunk",
            "created": 1_763_600_000, "model": "bench-model", "service_tier": "default",
            "system_fingerprint": "fp_bench00000", "choices": choices, "usage": usage});
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let choice =
        |delta: Value, finish: Value| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
    let mut tail = vec![chunk(choice(json!({}), json!("stop")), Value::Null)];
    if with_usage {
        tail.push(chunk(json!([]), json!({"prompt_tokens": 240, "completion_tokens": 50, "total_tokens": 290})));
    }
    tail.push(Bytes::from_static(b"data: [DONE]\n\n"));
    Stream {
        head: chunk(choice(json!({"role": "assistant", "content": "", "refusal": null}), Value::Null), Value::Null),
        middle: chunk(choice(json!({"content": " lighthouse"}), Value::Null), Value::Null),
        tail,
    }
}

pub fn anthropic_stream() -> Stream {
    let event = |data: Value| format!("event: {}\ndata: {data}\n\n", data["type"].as_str().unwrap_or_default());
    let message = json!({"id": "msg_bench0000000000000000000", "type": "message", "role": "assistant",
        "model": "bench-model", "content": [], "stop_reason": null, "stop_sequence": null,
        "usage": {"input_tokens": 240, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1}});
    let head = event(json!({"type": "message_start", "message": message}))
        + &event(json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}));
    let delta = json!({"type": "text_delta", "text": " lighthouse"});
    let tail = event(json!({"type": "content_block_stop", "index": 0}))
        + &event(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
            "usage": {"output_tokens": 50}}))
        + &event(json!({"type": "message_stop"}));
    Stream {
        head: Bytes::from(head),
        middle: Bytes::from(event(json!({"type": "content_block_delta", "index": 0, "delta": delta}))),
        tail: vec![Bytes::from(tail)],
    }
}
