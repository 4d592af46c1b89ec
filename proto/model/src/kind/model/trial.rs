//! What is tried out on a model's traffic: experiments, which answer a part of it otherwise, and shadows, which answer nobody.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Requests for this model go to one of several variants: always the same one for the same key, session or user, on every
/// node. A client that forces a provider or a model takes no part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Up to 64 of a-z, A-Z, 0-9, `.`, `_` and `-`. Another name draws the variants anew.
    pub name: String,
    /// What keeps to its variant. Default `key`.
    #[serde(default, skip_serializing_if = "is_key")]
    pub by: Subject,
    /// From 2 to 8.
    pub variants: Vec<Variant>,
}

/// Who is always given the same variant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    #[default]
    Key,
    /// The session of `x-gateway-sessionid`, else the key.
    Session,
    /// The header `x-gateway-user`, else the body's `user`, `safety_identifier` or `metadata.user_id`, else the key.
    User,
}

/// One arm of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// In the log, in metrics and in `x-gateway-experiment`; as the experiment's name.
    pub name: String,
    /// A public model or `provider/model`. Absent: this model's own targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Share of the subjects. Default 1; 0: nobody.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u32,
}

/// A part of this model's conversations is also given to another model, whose answers nobody gets: for what they cost, how long
/// they take and how often they fail. It is asked behind the request, when the client's reply has begun, and charged to nobody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// The challenger: a public model or `provider/model`.
    pub model: String,
    /// Of the requests, evenly spread; up to two decimals.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub percent: f64,
    /// At once, on one node; beyond that requests have no shadow. Default 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub max_concurrent: Option<u32>,
}

fn is_key(by: &Subject) -> bool {
    *by == Subject::Key
}

fn one() -> u32 {
    1
}

fn is_one(value: &u32) -> bool {
    *value == 1
}
