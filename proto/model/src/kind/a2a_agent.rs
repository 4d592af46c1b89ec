//! `a2a_agent`: an agent that is reached through the gateway, by the Agent2Agent protocol.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::provider::is_false;
use crate::policy::Timeouts;
use crate::secret::Secret;

/// An agent that speaks JSON-RPC over HTTP, <https://a2a-protocol.org/latest/specification/>. Keys may use it whose `models`
/// cover `a2a/{name}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct A2aAgent {
    /// As for providers. `/v1/a2a/{name}` addresses it.
    pub name: String,
    /// Where its JSON-RPC is. Its card is looked for under `/.well-known/` on the same host.
    pub url: String,
    /// Sent as a bearer token.
    #[serde(default, skip_serializing)]
    pub api_key: Option<Secret>,
    /// Sent with every request, beside our own; may not name the credential or hop-by-hop headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Methods that may be called, `*` for any characters: `message/*`, `tasks/get`. Default all.
    #[serde(default = "every_method")]
    pub methods: Vec<String>,
    /// Permits private and loopback addresses, and `http://` towards those only.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_private_networks: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
}

fn every_method() -> Vec<String> {
    vec!["*".to_owned()]
}
