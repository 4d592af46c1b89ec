//! `settings.introspection`: authorization servers that say of a token whether it is good (RFC 7662), for tokens that say nothing themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::jwt::Claims;
use crate::secret::Secret;
use crate::unit::Span;

/// Who is asked, and on whose account what is good is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Introspector {
    /// In records, as the key `introspection:NAME?…`, of tokens that stand for no key.
    pub name: String,
    /// The introspection endpoint.
    pub url: String,
    /// As which client nodes ask, with HTTP Basic.
    pub client_id: String,
    #[serde(default, skip_serializing)]
    pub client_secret: Option<Secret>,
    /// How its tokens begin; others are not shown to it. Default: whatever is no key of ours. Only one may be without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// What its answers have to say (`iss`). Default: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// One of these has to be among those that a token is for (`aud`). Default: any token that it says is good.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<String>,
    /// All of these have to be among what a token is good for (`scope`). Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// A good token is asked about again after so long, or when it ends: so long one that was revoked may still be used. Default 30s, at
    /// most 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    /// One that was not good is not asked about again for so long. Default 5s, at most 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_age: Option<Span>,
    /// How long a request waits for an answer, and then is 503. Default 3s, at most 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// `url` may be a private address, and be without TLS there.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_private_networks: bool,
    /// Which members of the answer say on whose account a token is used.
    pub claims: Claims,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

// === impl Introspector ===

impl Introspector {
    /// More than so many are refused.
    pub const MOST: usize = 16;
}
