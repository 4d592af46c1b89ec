//! `limit`: limits that all requests share which match, beside those of whoever sends them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::Match;
use crate::limits::Limits;

/// Of everything that it selects together: a model for a team, a tag, all keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitRule {
    pub name: String,
    #[serde(rename = "match")]
    pub matcher: Match,
    pub limits: Limits,
}
