//! Cohere's events and Ollama's lines.

use serde_json::{Value, json};

use super::{Sse, texts};
use crate::pairs::plan::{Piece, Plan, Shape, Word, value};

pub(super) fn cohere(plan: &Plan, shape: &Shape) -> Vec<u8> {
    let mut sse = Sse::new(shape);
    let event =
        |kind: &str, index: usize, message: Value| json!({"type": kind, "index": index, "delta": {"message": message}});
    sse.named(
        &json!({"type": "message-start", "id": "x1", "delta": {"message": {"role": "assistant", "content": []}}}),
    );
    let mut n_calls = 0;
    for (index, piece) in plan.pieces.iter().enumerate() {
        let member = if matches!(piece, Piece::Thought(_)) { "thinking" } else { "text" };
        if let Piece::Calls(calls) = piece {
            for call in calls {
                let start =
                    json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}});
                sse.named(&event("tool-call-start", n_calls, json!({"tool_calls": start})));
                for arguments in &call.arguments {
                    let more = json!({"tool_calls": {"function": {"arguments": arguments}}});
                    sse.named(&event("tool-call-delta", n_calls, more));
                }
                sse.named(&json!({"type": "tool-call-end", "index": n_calls}));
                n_calls += 1;
            }
            continue;
        }
        sse.named(&event("content-start", index, json!({"content": {"type": member, member: ""}})));
        for text in texts(piece) {
            sse.named(&event("content-delta", index, json!({"content": {member: text}})));
        }
        sse.named(&json!({"type": "content-end", "index": index}));
    }
    let reason = match plan.finish {
        Word::Stop => "COMPLETE",
        Word::Length => "MAX_TOKENS",
        Word::Calls => "TOOL_CALL",
        Word::Filtered => "ERROR_TOXIC",
    };
    let usage = &plan.usage;
    let counts = json!({"billed_units": {"input_tokens": 1, "output_tokens": 1}, "cached_tokens": usage.cache_read,
        "tokens": {"input_tokens": usage.prompt(), "output_tokens": usage.output}});
    sse.named(&json!({"type": "message-end", "delta": {"finish_reason": reason, "usage": counts}}));
    sse.into_bytes()
}

pub(super) fn ollama(plan: &Plan, shape: &Shape) -> Vec<u8> {
    let mut out = String::new();
    // A line ends with LF there; some proxies put a CR before it.
    let end = if shape.line_end == "\r\n" { "\r\n" } else { "\n" };
    let mut line = |mut line: Value| {
        line["model"] = "m1".into();
        line["created_at"] = "2024-05-24T21:02:00Z".into();
        out.push_str(&format!("{line}{end}"));
        if shape.noise {
            out.push_str(end);
        }
    };
    for piece in &plan.pieces {
        for text in texts(piece) {
            let message = match piece {
                Piece::Thought(_) => json!({"role": "assistant", "content": "", "thinking": text}),
                _ => json!({"role": "assistant", "content": text}),
            };
            line(json!({"message": message, "done": false}));
        }
        let Piece::Calls(calls) = piece else { continue };
        for call in calls {
            let mut said = json!({"function": {"name": call.name, "arguments": value(&call.arguments.concat())}});
            if shape.ids {
                said["id"] = call.id.clone().into();
            }
            line(json!({"message": {"role": "assistant", "content": "", "tool_calls": [said]}, "done": false}));
        }
    }
    let reason = if plan.finish == Word::Length { "length" } else { "stop" };
    line(json!({"message": {"role": "assistant", "content": ""}, "done": true, "done_reason": reason,
        "prompt_eval_count": plan.usage.prompt(), "eval_count": plan.usage.output}));
    out.into_bytes()
}
