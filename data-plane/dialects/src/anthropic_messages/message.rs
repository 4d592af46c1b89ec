//! What whole messages and streamed ones have in common: usage, reasons to stop, side details. Both directions.

use gateway_ir::event::{Event, FinishReason};
use gateway_ir::usage::{Tier, Usage};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::fields::{Fields, Path};
use crate::writer::Object;

/// Side details travel as `Event::Meta` under this prefix, so that no other dialect takes them for its own.
const META: &str = "anthropic.";

/// Usage as said so far. In a stream `message_delta` overrides what `message_start` said, member by member.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reported {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
    output_tokens_details: Option<OutputDetails>,
    #[serde(deserialize_with = "tier")]
    service_tier: Option<Tier>,
}

/// Whatever is said there, the tokens beside it count.
fn tier<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Tier>, D::Error> {
    let said = <&RawValue>::deserialize(deserializer)?;
    Ok(said.get().strip_prefix('"').and_then(|word| word.strip_suffix('"')).map(Tier::parse))
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct CacheCreation {
    ephemeral_5m_input_tokens: Option<u64>,
    ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

// === impl Reported ===

impl Reported {
    /// Takes over what `raw` says. False if it is no usage object; then nothing has changed.
    pub(super) fn update(&mut self, raw: &RawValue) -> bool {
        let Ok(Some(later)) = serde_json::from_str::<Option<Self>>(raw.get()) else { return false };
        *self = Self {
            input_tokens: later.input_tokens.or(self.input_tokens),
            output_tokens: later.output_tokens.or(self.output_tokens),
            cache_read_input_tokens: later.cache_read_input_tokens.or(self.cache_read_input_tokens),
            cache_creation_input_tokens: later.cache_creation_input_tokens.or(self.cache_creation_input_tokens),
            cache_creation: later.cache_creation.or(self.cache_creation),
            output_tokens_details: later.output_tokens_details.or(self.output_tokens_details),
            service_tier: later.service_tier.or(self.service_tier),
        };
        true
    }

    /// In disjoint classes. Anthropic counts cache reads and writes outside `input_tokens`, thinking inside `output_tokens`.
    pub(super) fn usage(&self) -> Usage {
        let split = self.cache_creation.unwrap_or_default();
        let (short, long) =
            (split.ephemeral_5m_input_tokens.unwrap_or(0), split.ephemeral_1h_input_tokens.unwrap_or(0));
        let written = self.cache_creation_input_tokens.unwrap_or_else(|| short.saturating_add(long));
        let cache_write_1h = long.min(written);
        Usage {
            input: self.input_tokens.unwrap_or(0),
            cache_read: self.cache_read_input_tokens.unwrap_or(0),
            cache_write: written - cache_write_1h,
            cache_write_1h,
            output: self.output_tokens.unwrap_or(0),
            reasoning: self.output_tokens_details.unwrap_or_default().thinking_tokens.unwrap_or(0),
            tier: self.service_tier.unwrap_or_default(),
            ..Usage::default()
        }
    }
}

/// Usage of a message: the event, and what it says beyond tokens as details.
pub(super) fn usage_events(reported: &mut Reported, raw: &RawValue, events: &mut Vec<Event>) {
    if !reported.update(raw) {
        return;
    }
    events.push(Event::Usage(reported.usage()));
    if let Ok(mut fields) = Fields::read(raw, &Path::ROOT) {
        for known in [
            "input_tokens",
            "output_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
            "cache_creation",
            "output_tokens_details",
        ] {
            fields.take(known);
        }
        meta_events("usage.", fields, events);
    }
}

/// Members nobody took, as details that only an Anthropic client sees again.
pub(super) fn meta_events(prefix: &str, fields: Fields<'_, '_>, events: &mut Vec<Event>) {
    let said = fields.rest().filter(|(_, json)| json.get() != "null");
    events.extend(said.map(|(name, json)| Event::Meta { name: [META, prefix, &name].concat(), json }));
}

/// The details that belong under `prefix` (`""` = the message, `"usage."` = its usage).
pub(super) fn details<'m>(
    meta: &'m [(String, Box<RawValue>)],
    prefix: &'static str,
) -> impl Iterator<Item = (&'m str, &'m RawValue)> {
    meta.iter().filter_map(move |(name, json)| {
        let name = name.strip_prefix(META)?.strip_prefix(prefix)?;
        (!name.contains('.')).then_some((name, json.as_ref()))
    })
}

pub(super) fn write_usage(object: &mut Object<'_>, usage: &Usage, meta: &[(String, Box<RawValue>)]) {
    object.unsigned("input_tokens", usage.input);
    object.unsigned("cache_creation_input_tokens", usage.cache_write.saturating_add(usage.cache_write_1h));
    object.unsigned("cache_read_input_tokens", usage.cache_read);
    if usage.cache_write_1h > 0 {
        object.object("cache_creation", |split| {
            split.unsigned("ephemeral_5m_input_tokens", usage.cache_write);
            split.unsigned("ephemeral_1h_input_tokens", usage.cache_write_1h);
        });
    }
    object.unsigned("output_tokens", usage.output);
    if usage.reasoning > 0 {
        object.object("output_tokens_details", |details| details.unsigned("thinking_tokens", usage.reasoning));
    }
    for (name, json) in details(meta, "usage.") {
        object.raw(name, json.get());
    }
}

/// `stop_reason` → why it stopped.
pub(super) fn finish_reason(said: &str) -> FinishReason {
    match said {
        "end_turn" => FinishReason::Stop,
        "stop_sequence" => FinishReason::StopSequence,
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        // `compaction`: the turn stands still behind its summary, and goes on when it is sent back.
        "pause_turn" | "compaction" => FinishReason::Pause,
        "refusal" => FinishReason::Refusal,
        other => FinishReason::Other(other.to_owned()),
    }
}

/// Why it stopped → `stop_reason`. `refused`: the answer itself is a refusal, whatever the reason says.
pub(super) fn stop_reason(reason: &FinishReason, refused: bool) -> &str {
    match reason {
        FinishReason::Stop if refused => "refusal",
        FinishReason::Stop => "end_turn",
        FinishReason::StopSequence => "stop_sequence",
        FinishReason::Length => "max_tokens",
        FinishReason::ToolCalls => "tool_use",
        FinishReason::ContentFilter | FinishReason::Refusal => "refusal",
        FinishReason::Pause => "pause_turn",
        FinishReason::Other(said) => said,
    }
}
