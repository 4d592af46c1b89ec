//! `price`: what a provider charges for a model.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::unit::UsdPerMillion;

/// USD per million tokens, by class. An absent class is charged like `input` (cache classes) or not at all. A model without a
/// price here has the one of its vendor's public list, where the catalogue knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Default: `provider/model`.
    #[serde(default)]
    pub name: String,
    pub provider: String,
    /// The upstream's own model name; `*` for every model of the provider without a price of its own.
    pub model: String,
    pub input_per_1m: UsdPerMillion,
    pub output_per_1m: UsdPerMillion,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_per_1m: Option<UsdPerMillion>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h_per_1m: Option<UsdPerMillion>,
}
