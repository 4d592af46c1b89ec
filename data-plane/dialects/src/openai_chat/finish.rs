//! Finish reasons: OpenAI's words and those that compatible servers use instead.

use gateway_ir::event::FinishReason;

/// `None` for an empty word, which some servers send in every chunk.
pub(super) fn read(reason: &str) -> Option<FinishReason> {
    Some(match reason {
        "" => return None,
        "stop" | "eos" | "end_turn" => FinishReason::Stop,
        "length" | "max_tokens" | "model_length" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_calls" | "function_call" | "tool_use" => FinishReason::ToolCalls,
        "content_filter" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.to_owned()),
    })
}

/// OpenAI's word. A reason nobody knows is passed on as said: any replacement could make a broken reply look whole.
pub(crate) fn word(reason: &FinishReason) -> &str {
    match reason {
        FinishReason::Stop | FinishReason::StopSequence | FinishReason::Pause => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter | FinishReason::Refusal => "content_filter",
        FinishReason::Other(word) => word,
    }
}

/// The word for a client that asked in the form before tools.
pub(super) fn spoken(word: &str, functions: bool) -> &str {
    if functions && word == "tool_calls" { "function_call" } else { word }
}
