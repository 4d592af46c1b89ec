//! Gemini's chunks: no terminal mark, usage in every chunk, calls whole.

use serde_json::{Value, json};

use super::{Sse, texts};
use crate::pairs::plan::{Piece, Place, Plan, Shape, Word, value};

pub(super) fn stream(plan: &Plan, shape: &Shape) -> Vec<u8> {
    let mut sse = Sse::new(shape);
    let usage = &plan.usage;
    let whole = json!({"promptTokenCount": usage.prompt(), "cachedContentTokenCount": usage.cache_read,
        "candidatesTokenCount": usage.output - usage.reasoning, "thoughtsTokenCount": usage.reasoning});
    let so_far = if shape.usage == Place::Before { whole.clone() } else { json!({"promptTokenCount": usage.prompt()}) };
    let chunk = |candidate: Option<Value>, usage: &Value| {
        let candidates: Vec<Value> = candidate.into_iter().collect();
        json!({"candidates": candidates, "modelVersion": "m1", "responseId": "r1", "usageMetadata": usage})
    };
    let said = |part: Value| json!({"content": {"role": "model", "parts": [part]}, "index": 0});
    for piece in &plan.pieces {
        for text in texts(piece) {
            let part = match piece {
                Piece::Thought(_) => json!({"text": text, "thought": true}),
                _ => json!({"text": text}),
            };
            sse.data(&chunk(Some(said(part)), &so_far));
        }
        let Piece::Calls(calls) = piece else { continue };
        let call = |call: &crate::pairs::plan::Call| {
            let mut said = json!({"name": call.name, "args": value(&call.arguments.concat())});
            if shape.ids {
                said["id"] = call.id.clone().into();
            }
            json!({"functionCall": said})
        };
        let parts: Vec<Value> = calls.iter().map(call).collect();
        // Parallel calls come in one chunk or in several.
        match shape.interleaved {
            true => sse.data(&chunk(Some(json!({"content": {"role": "model", "parts": parts}, "index": 0})), &so_far)),
            false => parts.into_iter().for_each(|part| sse.data(&chunk(Some(said(part)), &so_far))),
        }
    }
    let reason = match plan.finish {
        Word::Stop | Word::Calls => "STOP",
        Word::Length => "MAX_TOKENS",
        Word::Filtered => "SAFETY",
    };
    let counts = if shape.usage == Place::After { &so_far } else { &whole };
    sse.data(&chunk(Some(json!({"finishReason": reason, "index": 0})), counts));
    if shape.usage == Place::After {
        sse.data(&chunk(None, &whole));
    }
    sse.into_bytes()
}
