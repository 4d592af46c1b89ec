//! Bedrock's binary event stream.

use gateway_dialects::framing::eventstream;
use serde_json::{Value, json};

use super::texts;
use crate::pairs::plan::{Piece, Plan, Word};

pub(super) fn stream(plan: &Plan) -> Vec<u8> {
    let mut out = Vec::new();
    event("messageStart", &json!({"role": "assistant"}), &mut out);
    let mut index = 0;
    for piece in &plan.pieces {
        if let Piece::Calls(calls) = piece {
            for call in calls {
                let start = json!({"toolUse": {"toolUseId": call.id, "name": call.name}});
                event("contentBlockStart", &json!({"contentBlockIndex": index, "start": start}), &mut out);
                let deltas = call.arguments.iter().map(|json| json!({"toolUse": {"input": json}}));
                block(&mut index, deltas, &mut out);
            }
            continue;
        }
        let delta = |text: &String| match piece {
            Piece::Thought(_) => json!({"reasoningContent": {"text": text}}),
            _ => json!({"text": text}),
        };
        block(&mut index, texts(piece).iter().map(delta), &mut out);
    }
    let reason = match plan.finish {
        Word::Stop => "end_turn",
        Word::Length => "max_tokens",
        Word::Calls => "tool_use",
        Word::Filtered => "content_filtered",
    };
    let usage = &plan.usage;
    let counts = json!({"inputTokens": usage.input, "cacheReadInputTokens": usage.cache_read, "outputTokens": usage.output,
        "totalTokens": usage.total()});
    event("messageStop", &json!({"stopReason": reason}), &mut out);
    event("metadata", &json!({"usage": counts, "metrics": {"latencyMs": 1}}), &mut out);
    out
}

fn block(index: &mut u64, deltas: impl Iterator<Item = Value>, out: &mut Vec<u8>) {
    for delta in deltas {
        event("contentBlockDelta", &json!({"contentBlockIndex": *index, "delta": delta}), out);
    }
    event("contentBlockStop", &json!({"contentBlockIndex": *index}), out);
    *index += 1;
}

fn event(name: &str, payload: &Value, out: &mut Vec<u8>) {
    out.extend(eventstream::message("event", name, payload.to_string().as_bytes()));
}
