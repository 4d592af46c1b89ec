//! `model`: a public model name and the targets behind it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::{Breaker, Retry, Timeouts};

/// A name that applications ask for. Up to 256 printable characters; case, `/`, `:` and `.` are allowed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// How targets are ordered for a request. Default `weighted`.
    #[serde(default)]
    pub strategy: Strategy,
    /// For `sticky`: the request header whose value keeps requests together. Default: the session's, else the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky_header: Option<String>,
    /// For `balanced`: how much each side counts. Default: both the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<Balance>,
    pub targets: Vec<Target>,
    /// Tried in order when no target is left: `provider/model`, or the name of another model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<String>,
    /// What clients are told of it in the list of models, where that is not what its providers or the catalogue say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// Over what its providers say; holds for the targets of this model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
}

/// Weights from 0 to 100; 0 leaves a side out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Balance {
    /// Of the time to the first byte. Default 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub latency: u32,
    /// Of the price of this request. Default 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub cost: u32,
}

/// What a model can do. The names are those of the list of models.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Largest prompt, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u64>,
    /// Longest answer, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supports_vision: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supports_tool_calls: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supports_reasoning: Option<bool>,
}

/// How the next target is chosen, among those of the lowest `priority` that is left. Weight 0 always means: only when the
/// others fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// In proportion to `weight` (smooth, not random), lowest `priority` first.
    #[default]
    Weighted,
    /// By `priority` only, equal ones as listed.
    Priority,
    /// One after the other, whatever they weigh.
    RoundRobin,
    /// By chance, in proportion to `weight`.
    Random,
    /// The shortest time to the first byte lately, as this node has seen it; what has not been measured is tried.
    LeastLatency,
    /// The fewest requests under way at this node, for its weight.
    LeastBusy,
    /// The lowest price of this request: its prompt, and the answer that it allows.
    Cheapest,
    /// The best of latency and price together, by `balance`.
    Balanced,
    /// The same one for the same session, while it is well; sessions are spread in proportion to `weight`.
    Sticky,
}

/// One upstream model that may serve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub provider: String,
    /// The upstream's own name, sent as it is.
    pub model: String,
    /// Share among targets of the same priority. Default 1; 0 = only when the others fail.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u32,
    /// Lower is tried first. Default 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: u32,
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub enabled: bool,
    /// What this model departs by, beside its provider's `quirks`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quirks: Vec<String>,
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

fn is_one(value: &u32) -> bool {
    *value == 1
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

fn is_true(value: &bool) -> bool {
    *value
}
