//! `settings.auto`: how the gateway chooses a model where the client leaves that to it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What clients ask for by these names is chosen by the gateway.
pub const NAMES: [&str; 2] = ["lunargate/auto", "auto"];

/// Bytes of one compiled expression.
pub const MAX_REGEX_SIZE: usize = 1 << 20;

/// A client that asks for `lunargate/auto` (or `auto`) leaves the choice to the gateway: a route's, else that of `tiers`, else
/// `default_model`; the first of them that its key may use. Nothing is read or judged for other requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Auto {
    /// `false` keeps what is written here for later. Default true.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub enabled: bool,
    /// A public model or `provider/model`, where nothing else is chosen or what is chosen is none of the key's.
    pub default_model: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiers: Option<Tiers>,
    /// What a request is about: the first of these whose expressions match; else its skill is `default`. Routes match on it by the
    /// header `x-lunargate-skill`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<Skill>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<Score>,
}

/// Models by what a request demands. One that is absent leaves it to `default_model`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tiers {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simple: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complex: Option<String>,
}

/// A word for what requests are about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Skill {
    /// Up to 64 of a-z, A-Z, 0-9, `.`, `_` and `-`.
    pub name: String,
    /// Rust `regex` syntax, matched anywhere in what users wrote, else in what the application says before them.
    pub regex_any: Vec<String>,
}

/// How the integer score is made, by which routes match (`x-lunargate-complexity-score`, and its tier as `x-lunargate-complexity`).
/// Each weight is added once, from 0 (off) to 100.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// Prompts of more tokens than this (a quarter of their bytes) are long. Default 2000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens_threshold: Option<u64>,
    /// Of a long prompt. Default 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<u32>,
    /// Of code, or words about it. Default 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u32>,
    /// Of formulas, or words of mathematics. Default 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maths: Option<u32>,
    /// Of words that ask for analysis or synthesis. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<u32>,
    /// Of words that touch on somebody's safety. Default 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safety: Option<u32>,
    /// Of tools. Default 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<u32>,
    /// The highest score of tier `0-1`. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier_01_max: Option<u32>,
    /// The highest score of tier `2-3`. Default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier_23_max: Option<u32>,
    /// The highest score of tier `4-5`; what is above is `6+`. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier_45_max: Option<u32>,
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}
