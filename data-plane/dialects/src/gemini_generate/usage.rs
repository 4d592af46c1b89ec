//! `usageMetadata` → disjoint classes.

use gateway_ir::usage::Usage;
use serde_json::value::RawValue;

use crate::reading::{elements, members_of, text, unsigned};

/// Prompts of tools that Google ran count as prompt; thoughts stand outside the candidates' tokens. Cached tokens are a part
/// of the prompt.
pub(super) fn read(raw: &RawValue) -> Usage {
    let (mut prompt, mut tools, mut cached, mut candidates, mut thoughts) = (0, 0, 0, 0, 0);
    let (mut input_audio, mut output_audio) = (0, 0);
    members_of(raw, |name, value| {
        let count = || unsigned(value).unwrap_or(0);
        match name {
            "promptTokenCount" => prompt = count(),
            "toolUsePromptTokenCount" => tools = count(),
            "cachedContentTokenCount" => cached = count(),
            "candidatesTokenCount" => candidates = count(),
            "thoughtsTokenCount" => thoughts = count(),
            "promptTokensDetails" => input_audio = audio(value),
            "candidatesTokensDetails" => output_audio = audio(value),
            _ => {}
        }
    });
    let cache_read = cached.min(prompt);
    Usage {
        input: (prompt - cache_read).saturating_add(tools),
        cache_read,
        output: candidates.saturating_add(thoughts),
        reasoning: thoughts,
        input_audio: input_audio.min(prompt),
        output_audio: output_audio.min(candidates),
        ..Usage::default()
    }
}

/// Tokens of the audio in `[{"modality": "AUDIO", "tokenCount": 3}, …]`.
fn audio(details: &RawValue) -> u64 {
    let mut total = 0_u64;
    elements(details, |detail| {
        let (mut is_audio, mut count) = (false, 0);
        members_of(detail, |name, value| match name {
            "modality" => is_audio = text(value).as_deref() == Some("AUDIO"),
            "tokenCount" => count = unsigned(value).unwrap_or(0),
            _ => {}
        });
        total = total.saturating_add(if is_audio { count } else { 0 });
    });
    total
}
