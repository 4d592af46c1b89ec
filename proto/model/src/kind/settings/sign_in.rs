//! `settings.oidc`: an identity provider that speaks for people, and what they are to this gateway by what it says of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::person::PersonRole;

/// Signing in with OpenID Connect (authorization code with PKCE). The client's secret, where it has one, is the control plane's and stands
/// in a file of its own (`--oidc-client-secret-file`), not here: nodes have no use for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    /// As its discovery document and its tokens name it, like `https://id.example.com`.
    pub issuer: String,
    pub client_id: String,
    /// Where the provider sends browsers back to: `https://gateway.example.com/admin/oidc/callback`.
    pub redirect_url: String,
    /// Beside `openid`. Default `[email, profile]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// The claim of the id token whose text, or whose list of texts, decides. Default `groups`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// The first that fits; somebody whom none fits is not let in.
    pub roles: Vec<Mapping>,
}

/// What somebody is of whom the claim says this.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    pub value: String,
    pub role: PersonRole,
    /// Of a `team-admin`: the teams that they lead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leads: Vec<String>,
}

/// Path of every `redirect_url`.
pub const CALLBACK: &str = "/admin/oidc/callback";

// === impl Oidc ===

impl Oidc {
    /// What is asked for, as it is sent.
    pub fn scope(&self) -> String {
        let beside = self.scopes.clone().unwrap_or_else(|| vec!["email".to_owned(), "profile".to_owned()]);
        let mut all = vec!["openid".to_owned()];
        all.extend(beside.into_iter().filter(|scope| scope != "openid"));
        all.join(" ")
    }

    pub fn claim(&self) -> &str {
        self.claim.as_deref().unwrap_or("groups")
    }
}
