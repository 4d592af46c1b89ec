//! `usageMetadata` ⇄ disjoint classes.

use gateway_ir::usage::Usage;
use serde_json::value::RawValue;

use crate::reading::{elements, members_of, text, unsigned};
use crate::writer::Object;

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

/// The other way. What was written to a cache counts as prompt, which is all that Google has a word for.
pub(super) fn write(usage: &Usage, object: &mut Object<'_>) {
    let prompt = usage.prompt();
    let reasoning = usage.reasoning.min(usage.output);
    let candidates = usage.output - reasoning;
    let mut count = |name: &str, count: u64, is_always: bool| {
        if is_always || count > 0 {
            object.unsigned(name, count);
        }
    };
    count("promptTokenCount", prompt, true);
    count("candidatesTokenCount", candidates, true);
    count("totalTokenCount", usage.total(), true);
    count("cachedContentTokenCount", usage.cache_read, false);
    count("thoughtsTokenCount", reasoning, false);
    write_audio("promptTokensDetails", prompt, usage.input_audio, object);
    write_audio("candidatesTokensDetails", candidates, usage.output_audio, object);
}

fn write_audio(name: &str, total: u64, audio: u64, object: &mut Object<'_>) {
    if audio == 0 {
        return;
    }
    object.array(name, |details| {
        for (modality, count) in [("TEXT", total.saturating_sub(audio)), ("AUDIO", audio)] {
            details.object(|detail| {
                detail.string("modality", modality);
                detail.unsigned("tokenCount", count);
            });
        }
    });
}
