//! `settings.jwt`: systems whose signed tokens (RFC 7519) are keys. A node verifies them by itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::unit::Span;

/// Whose tokens are taken, and on whose account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// In records, as the key `jwt:NAME`, of tokens that stand for no key.
    pub name: String,
    /// As its tokens name it (`iss`).
    pub issuer: String,
    /// One of these has to be among those that a token is for (`aud`).
    pub audience: Vec<String>,
    /// Where its public keys are (RFC 7517). They are fetched again when a token names one that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// Its public keys themselves, in place of that: JWKs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Value>,
    /// What it may sign with: `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`. Default `[RS256, ES256, EdDSA]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithms: Option<Vec<String>>,
    /// How far its clock may be from ours. Default 60s, at most 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew: Option<Span>,
    /// `jwks_url` may be a private address, and be without TLS there.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_private_networks: bool,
    /// Which claims say on whose account a token is used.
    pub claims: Claims,
}

/// Names of claims. A token that says neither key nor team nor user, by those that are given here, is refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Id of a virtual key (`vk_…`) that the token then is, with all that this may do and its limits and budgets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Name of a team, whose limits and budgets count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Name of a user, whose limits and budgets count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Models that it may use, as a list or with blanks between them; a token without the claim may use none. Default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<String>,
}

fn is_false(value: &bool) -> bool {
    !*value
}
