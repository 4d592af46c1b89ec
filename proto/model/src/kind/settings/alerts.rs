//! `settings.alerts`: whom the control plane tells when budgets reach a part of their amount. Nodes never hear of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// One whom it tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    pub name: String,
    pub kind: DestinationKind,
    /// Where it is sent by `POST`, `https`. It is a secret: who knows the address of a Slack channel may write to it.
    #[serde(default, skip_serializing)]
    pub url: Option<Secret>,
    /// Signs what is sent to a `webhook`, so that the receiver knows whom it is from; 16 characters or more. Not of `slack`.
    #[serde(default, skip_serializing)]
    pub secret: Option<Secret>,
    /// Permits loopback and private addresses, and there `http` too. Default false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_private_networks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DestinationKind {
    /// JSON, with `x-gateway-signature`.
    Webhook,
    /// An incoming webhook of Slack, or of whoever takes the same.
    Slack,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

// === impl Destination ===

impl Destination {
    /// More than so many are refused.
    pub const MOST: usize = 16;
}
