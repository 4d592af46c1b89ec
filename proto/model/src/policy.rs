//! Policy that any level may set: provider, model, route, settings. The nearest level wins, field by field: route, model,
//! provider, settings, then the defaults named here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::unit::Span;

/// How often to try.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all, over all targets; 1 means none is repeated. Default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub max_attempts: Option<u32>,
}

/// Time limits towards the upstream. Each names itself in the error it causes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// TCP and TLS together. Default 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Span>,
    /// From the request's last byte to the reply's first. Default 60s for streams, 300s otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<Span>,
    /// Between two reads of a reply's body. Default 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<Span>,
    /// The whole request, attempts included. Default 600s, for streams 3600s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Span>,
}

/// When an upstream model that fails is left alone for a while. Its cool-downs (after 429, or where the credential is refused)
/// belong to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    /// `false` switches off breaker, cool-downs and the node's bound on second attempts: the upstream is always asked. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Failures in a row that open it; half of at least 20 replies in 30 seconds do too. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub failures: Option<u32>,
    /// How long it stays open; twice, three times, up to ten times as long where the trials fail. Default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<Span>,
    /// Requests that try it at the same time when that is over. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub trials: Option<u32>,
}
