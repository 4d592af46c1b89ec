//! `limit`: limits that all requests share which match, or that each of many has, beside those of whoever sends them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::Match;
use crate::limits::Limits;

/// Of everything that it selects together: a model for a team, a tag, all keys. With `per`, of each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitRule {
    pub name: String,
    #[serde(rename = "match")]
    pub matcher: Match,
    /// Each of these has the limits for itself. Default: all that match share them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<Per>,
    pub limits: Limits,
}

/// Whatever has limits of its own under a rule. Requests that have none of it share one; a node tells 100,000 of a rule apart, and
/// those beyond share one too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    Key,
    User,
    Team,
    Organization,
    /// By its public name.
    Model,
    /// Of those that `match.tags` selects, where it names any. A request with several counts in each.
    Tag,
}

// === impl Per ===

impl Per {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::User => "user",
            Self::Team => "team",
            Self::Organization => "organization",
            Self::Model => "model",
            Self::Tag => "tag",
        }
    }
}
