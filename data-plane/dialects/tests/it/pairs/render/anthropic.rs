//! Anthropic's message events.

use serde_json::{Value, json};

use super::{Sse, texts};
use crate::pairs::plan::{Piece, Place, Plan, Shape, Word, value};

pub(super) fn stream(plan: &Plan, shape: &Shape) -> Vec<u8> {
    let mut sse = Sse::new(shape);
    let usage = &plan.usage;
    let counts = json!({"input_tokens": usage.input, "cache_read_input_tokens": usage.cache_read,
        "cache_creation_input_tokens": 0, "output_tokens": usage.output});
    // Some servers count only at the end, and say zeros before.
    let (first, last) = match shape.usage {
        Place::Before => (counts, json!({"output_tokens": usage.output})),
        Place::With | Place::After => (json!({"input_tokens": 0, "output_tokens": 0}), counts),
    };
    sse.named(&json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "m1",
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": first}}));
    if shape.noise {
        sse.named(&json!({"type": "ping"}));
    }
    let mut index = 0;
    for piece in &plan.pieces {
        match piece {
            Piece::Text(_) | Piece::Refusal(_) => {
                let deltas = texts(piece).iter().map(|text| json!({"type": "text_delta", "text": text}));
                block(&mut index, json!({"type": "text", "text": ""}), deltas, &mut sse);
            }
            Piece::Thought(_) => {
                let deltas = texts(piece).iter().map(|text| json!({"type": "thinking_delta", "thinking": text}));
                let signature = std::iter::once(json!({"type": "signature_delta", "signature": "c2ln"}));
                let start = json!({"type": "thinking", "thinking": "", "signature": ""});
                block(&mut index, start, deltas.chain(signature), &mut sse);
            }
            Piece::Calls(calls) => {
                for call in calls {
                    // What has no deltas stands in the start.
                    let input = if shape.chatty { value(&call.arguments.concat()) } else { json!({}) };
                    let pieces = if shape.chatty { &[] } else { call.arguments.as_slice() };
                    let deltas = pieces.iter().map(|json| json!({"type": "input_json_delta", "partial_json": json}));
                    let start = json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input});
                    block(&mut index, start, deltas, &mut sse);
                }
            }
        }
    }
    let reason = match plan.finish {
        Word::Stop => "end_turn",
        Word::Length => "max_tokens",
        Word::Calls => "tool_use",
        Word::Filtered => "refusal",
    };
    sse.named(
        &json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": last}),
    );
    sse.named(&json!({"type": "message_stop"}));
    sse.into_bytes()
}

fn block(index: &mut u64, start: Value, deltas: impl Iterator<Item = Value>, sse: &mut Sse<'_>) {
    sse.named(&json!({"type": "content_block_start", "index": *index, "content_block": start}));
    for delta in deltas {
        sse.named(&json!({"type": "content_block_delta", "index": *index, "delta": delta}));
    }
    sse.named(&json!({"type": "content_block_stop", "index": *index}));
    *index += 1;
}
