//! `finishReason` and `blockReason` ⇄ why it stopped.

use gateway_ir::event::FinishReason;

/// The model called what was not declared. The caller gets the call and can say so.
pub(super) const UNDECLARED_CALL: &str = "unexpected_tool_call";

pub(super) fn reason(said: &str) -> FinishReason {
    match said {
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

/// Google's words for ends that others have no word for; they come back as they went.
const OWN: [&str; 9] = [
    "MALFORMED_FUNCTION_CALL",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
    "MALFORMED_RESPONSE",
    "NO_IMAGE",
    "IMAGE_OTHER",
    "OTHER",
    "FINISH_REASON_UNSPECIFIED",
];

/// The other way. A turn that waits for results has stopped, as Google sees it; a paused one is no finished answer.
pub(super) fn word(reason: &FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::StopSequence | FinishReason::ToolCalls => "STOP",
        FinishReason::Length => "MAX_TOKENS",
        FinishReason::ContentFilter | FinishReason::Refusal => "SAFETY",
        FinishReason::Pause => "OTHER",
        FinishReason::Other(said) => OWN.iter().find(|own| own.eq_ignore_ascii_case(said)).copied().unwrap_or("OTHER"),
    }
}
