//! Bedrock's binary event stream.

use bytes::{BufMut, BytesMut};
use serde_json::{Value, json};

use super::texts;
use crate::pairs::plan::{Piece, Plan, Word};

pub(super) fn stream(plan: &Plan) -> Vec<u8> {
    let mut out = BytesMut::new();
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
    out.to_vec()
}

fn block(index: &mut u64, deltas: impl Iterator<Item = Value>, out: &mut BytesMut) {
    for delta in deltas {
        event("contentBlockDelta", &json!({"contentBlockIndex": *index, "delta": delta}), out);
    }
    event("contentBlockStop", &json!({"contentBlockIndex": *index}), out);
    *index += 1;
}

fn event(name: &str, payload: &Value, out: &mut BytesMut) {
    out.extend_from_slice(&message("event", name, payload));
}

/// An `event` or an `exception`, <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html>.
pub(crate) fn message(kind: &str, name: &str, payload: &Value) -> BytesMut {
    let payload = payload.to_string();
    let mut headers = BytesMut::new();
    let of = if kind == "event" { ":event-type" } else { ":exception-type" };
    for (key, value) in [(of, name), (":content-type", "application/json"), (":message-type", kind)] {
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
    message
}
