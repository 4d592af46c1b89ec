//! Bodies of requests as they are stored and shown: JSON, compressed. What is no text is base64, so that nothing is guessed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway_store::bodies::BodyRow;
use gateway_wire::v1::{BodyPart, LogBody};
use serde_json::{Value, json};

/// Fast, and most of what there is to gain in prompts.
const LEVEL: i32 = 1;

pub(super) fn row(body: LogBody) -> std::io::Result<BodyRow> {
    let document = json!({"request": body.request.map(part), "response": body.response.map(part)});
    let document = zstd::encode_all(document.to_string().as_bytes(), LEVEL)?;
    Ok(BodyRow { id: body.id, started_ms: body.started_unix_ms, document })
}

fn part(part: BodyPart) -> Value {
    let (text, base64) = match std::str::from_utf8(&part.content) {
        Ok(text) => (Some(text), None),
        // Cut within a character.
        Err(error) if error.error_len().is_none() && part.truncated => {
            (std::str::from_utf8(&part.content[..error.valid_up_to()]).ok(), None)
        }
        Err(_) => (None, Some(STANDARD.encode(&part.content))),
    };
    json!({
        "content_type": part.content_type,
        "bytes": part.total_bytes,
        "truncated": part.truncated,
        "redacted": part.redacted,
        "withheld": part.withheld,
        "text": text,
        "base64": base64,
    })
}

/// The way back.
pub(crate) fn document(row: &BodyRow) -> Option<Value> {
    serde_json::from_slice(&zstd::decode_all(row.document.as_slice()).ok()?).ok()
}
