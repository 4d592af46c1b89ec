//! `usageMetadata` ⇄ disjoint classes.

use gateway_ir::usage::{Tier, Usage};
use serde_json::value::RawValue;

use crate::reading::{elements, members_of, text, unsigned};
use crate::writer::Object;

/// Prompts of tools that Google ran count as prompt; thoughts stand outside the candidates' tokens. Cached tokens are a part
/// of the prompt.
pub(super) fn read(raw: &RawValue) -> Usage {
    let (mut prompt, mut tools, mut cached, mut candidates, mut thoughts) = (0, 0, 0, 0, 0);
    let (mut read, mut made) = (Media::default(), Media::default());
    let mut tier = Tier::default();
    members_of(raw, |name, value| {
        let count = || unsigned(value).unwrap_or(0);
        match name {
            "promptTokenCount" => prompt = count(),
            "toolUsePromptTokenCount" => tools = count(),
            "cachedContentTokenCount" => cached = count(),
            "candidatesTokenCount" => candidates = count(),
            "thoughtsTokenCount" => thoughts = count(),
            "promptTokensDetails" => read = Media::read(value),
            "candidatesTokensDetails" => made = Media::read(value),
            "serviceTier" | "trafficType" => {
                tier = tier.max(text(value).map(|word| self::tier(&word)).unwrap_or_default())
            }
            _ => {}
        }
    });
    let cache_read = cached.min(prompt);
    Usage {
        input: (prompt - cache_read).saturating_add(tools),
        cache_read,
        output: candidates.saturating_add(thoughts),
        reasoning: thoughts,
        input_audio: read.audio.min(prompt),
        output_audio: made.audio.min(candidates),
        input_image: read.image.min(prompt),
        output_image: made.image.min(candidates),
        tier,
        ..Usage::default()
    }
}

/// `SERVICE_TIER_PRIORITY` of one of Google's platforms is `ON_DEMAND_PRIORITY` of the other.
fn tier(word: &str) -> Tier {
    let word = word.rsplit('_').next().unwrap_or(word);
    Tier::parse(word)
}

/// Tokens that are not of texts.
#[derive(Default)]
struct Media {
    audio: u64,
    image: u64,
}

// === impl Media ===

impl Media {
    /// Those in `[{"modality": "AUDIO", "tokenCount": 3}, …]`.
    fn read(details: &RawValue) -> Self {
        let mut media = Self::default();
        elements(details, |detail| {
            let (mut modality, mut count) = (None, 0);
            members_of(detail, |name, value| match name {
                "modality" => modality = text(value),
                "tokenCount" => count = unsigned(value).unwrap_or(0),
                _ => {}
            });
            match modality.as_deref() {
                Some("AUDIO") => media.audio = media.audio.saturating_add(count),
                Some("IMAGE") => media.image = media.image.saturating_add(count),
                _ => {}
            }
        });
        media
    }
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
    let (read, made) = ((usage.input_audio, usage.input_image), (usage.output_audio, usage.output_image));
    write_media("promptTokensDetails", prompt, read, object);
    write_media("candidatesTokensDetails", candidates, made, object);
}

fn write_media(name: &str, total: u64, (audio, image): (u64, u64), object: &mut Object<'_>) {
    if (audio, image) == (0, 0) {
        return;
    }
    object.array(name, |details| {
        let text = total.saturating_sub(audio).saturating_sub(image);
        for (modality, count) in [("TEXT", text), ("AUDIO", audio), ("IMAGE", image)] {
            if modality == "TEXT" || count > 0 {
                details.object(|detail| {
                    detail.string("modality", modality);
                    detail.unsigned("tokenCount", count);
                });
            }
        }
    });
}
