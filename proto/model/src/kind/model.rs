//! `model`: a public model name and the targets behind it.

pub mod trial;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::trial::{Experiment, Shadow};
use crate::cache;
use crate::catalog::Vocabulary;
use crate::policy::{Breaker, Continuation, Hedge, Retry, Timeouts};

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
    /// For `sticky`: requests that name no session are kept together by how their conversation begins, that is by what the application
    /// says and the first that the user does. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sticky_opening: bool,
    /// For `balanced`: how much each side counts. Default: both the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<Balance>,
    #[serde(default)]
    pub targets: Vec<Target>,
    /// More targets: all that match among what other models have as targets and what providers list, as these lists change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selectors: Vec<Selector>,
    /// Tried in order when no target is left: `provider/model`, or the name of another model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<Experiment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    /// What clients are told of it in the list of models, where that is not what its providers or the catalogue say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<Hedge>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuation: Option<Continuation>,
    /// Over what its providers say; holds for the targets of this model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
    /// Whether replies are given again; as the settings say unless something is said here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<cache::Rule>,
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
    /// Of what the request needs (tools, pictures, recordings) and a target is known to have: a tenth of a side for each. Default 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub capability: u32,
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
    /// What its tokens are estimated with before it is asked. Default: what the catalogue says of its provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<Vocabulary>,
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
    /// The same one for the same session, while it is well; sessions are spread in proportion to `weight`. `hash` is the same.
    #[serde(alias = "hash")]
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

/// All that is given must hold, and something must be given. Regular expressions match anywhere unless anchored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// Name of a provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The upstream's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Over names of providers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_regex: Option<String>,
    /// Over the upstreams' own names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_regex: Option<String>,
    /// Of each target. Default 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u32,
    /// Of each target. Default 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: u32,
}

pub(super) fn one() -> u32 {
    1
}

pub(super) fn yes() -> bool {
    true
}

pub(super) fn is_one(value: &u32) -> bool {
    *value == 1
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

pub(super) fn is_true(value: &bool) -> bool {
    *value
}
