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

// === impl Price ===

impl Price {
    pub fn is_by_tokens(&self) -> bool {
        self.input_per_1m.is_some() || self.output_per_1m.is_some()
    }

    pub(crate) fn is_by_units(&self) -> bool {
        let pieces = [self.per_image, self.per_input_image, self.per_audio_minute, self.per_1k_searches];
        self.per_1m_characters.is_some() || pieces.iter().any(Option::is_some)
    }
}
