//! `price`: what a provider charges for a model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::unit::{Usd, UsdPerMillion};

/// USD, by class. Tokens: cache classes without a price of their own are charged like `input`, audio and image tokens like `input` and
/// `output`. A request is charged by its tokens where they were counted and `input_per_1m` or `output_per_1m` is here, else by the
/// unit that it used. What was used and has no price makes the cost of the request unknown, not zero. A model without a price here has
/// the one of its vendor's public list, where the catalogue knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Default: `provider/model`.
    #[serde(default)]
    pub name: String,
    pub provider: String,
    /// The upstream's own model name; `*` for every model of the provider without a price of its own.
    pub model: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_per_1m: Option<UsdPerMillion>,
    /// Output that was spent on reasoning. Default: like `output_per_1m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_audio_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_audio_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_image_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_image_per_1m: Option<UsdPerMillion>,
    /// Each picture made, whatever its size and quality.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_image: Option<Usd>,
    /// Each picture read, where embeddings of pictures are charged by the piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_input_image: Option<Usd>,
    /// A minute of a recording that is read, to the millisecond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_audio_minute: Option<Usd>,
    /// Characters of a text that is spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_1m_characters: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_1k_searches: Option<Usd>,
    /// For the whole of a request whose prompt is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_prompt: Option<LongPrompt>,
    /// The same with several bounds: the highest one that a prompt is above holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub long_prompts: Vec<LongPrompt>,
    /// For requests that the vendor served in another service tier than the ordinary one, by what its reply says. A tier that is not here is
    /// charged like the ordinary one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiers: Option<Tiers>,
    /// Of work in batches, in percent of these. Default: what the catalogue says of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_percent: Option<u16>,
}

/// What a long prompt is, and what is charged for it. Classes that are left open are charged as for short ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LongPrompt {
    /// Tokens of the prompt, those from and for caches included.
    pub above_tokens: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h_per_1m: Option<UsdPerMillion>,
}

/// Service tiers that vendors charge for apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tiers {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<TierPrice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flex: Option<TierPrice>,
}

/// What a service tier costs: so many percent of every ordinary rate, or rates of its own. Of those, what is left open is charged as
/// in the ordinary tier for a short prompt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TierPrice {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_audio_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_audio_per_1m: Option<UsdPerMillion>,
    /// Long prompts in this tier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub long_prompts: Vec<LongPrompt>,
}

// === impl TierPrice ===

impl TierPrice {
    pub(crate) fn has_rates(&self) -> bool {
        let classes = [
            self.input_per_1m,
            self.output_per_1m,
            self.reasoning_per_1m,
            self.cache_read_per_1m,
            self.cache_write_per_1m,
            self.cache_write_1h_per_1m,
            self.input_audio_per_1m,
            self.output_audio_per_1m,
        ];
        classes.iter().any(Option::is_some) || !self.long_prompts.is_empty()
    }
}

// === impl Tiers ===

impl Tiers {
    /// Those that are there, by their names.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, &TierPrice)> {
        let all = [("priority", &self.priority), ("flex", &self.flex)];
        all.into_iter().filter_map(|(name, price)| Some((name, price.as_ref()?)))
    }
}

// === impl Price ===

impl Price {
    /// Every bound with what is charged above it, in the order that they were written in.
    pub fn all_long_prompts(&self) -> impl Iterator<Item = &LongPrompt> {
        self.long_prompt.iter().chain(&self.long_prompts)
    }

    pub fn is_by_tokens(&self) -> bool {
        self.input_per_1m.is_some() || self.output_per_1m.is_some()
    }

    pub(crate) fn is_by_units(&self) -> bool {
        let pieces = [self.per_image, self.per_input_image, self.per_audio_minute, self.per_1k_searches];
        self.per_1m_characters.is_some() || pieces.iter().any(Option::is_some)
    }
}
