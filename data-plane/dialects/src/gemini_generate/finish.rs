//! `finishReason` and `blockReason` → why it stopped.

use gateway_ir::event::FinishReason;

/// `has_calls`: Gemini says `STOP` also where it waits for the results of its calls.
pub(super) fn reason(said: &str, has_calls: bool) -> FinishReason {
    match said {
        "STOP" if has_calls => FinishReason::ToolCalls,
        "STOP" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        "SAFETY"
        | "RECITATION"
        | "LANGUAGE"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION"
        | "MODEL_ARMOR" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.to_ascii_lowercase()),
    }
}
