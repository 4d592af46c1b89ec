//! `key`: a virtual key that applications present.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::{Endpoint, IpRange, RevokeMode, Role};
use crate::bodies;
use crate::kind::budget::Budget;
use crate::limits::Limits;
use crate::policy::Unpriced;
use crate::secret::Secret;
use crate::unit::Timestamp;

/// A virtual key. Its secret is stored only as a keyed digest and shown once, when it is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Key {
    pub name: String,
    /// Imports an existing key of any form, 20 characters or more. Absent: one is made (`gw_virt_…`) and shown once.
    #[serde(default, skip_serializing)]
    pub secret: Option<Secret>,
    /// Public model names it may use, `*` for any characters. Default `["*"]`.
    #[serde(default = "every_model")]
    pub models: Vec<String>,
    /// Providers whose accounts it may use as they are, `*` for any characters: `/proxy/{provider}/…`, OpenAI paths that the
    /// gateway does not know, and files and batches of everybody else. Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passthrough: Vec<String>,
    /// What it may do as such. Default `[user]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// Operations that it may use, like `POST /v1/chat/completions`, `*` for any characters. Where given, they stand in place of
    /// what its roles allow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// Addresses that it may be used from, like `10.0.0.0/8` or `2001:db8::1`. Default any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<IpRange>,
    /// On whose account it is used, whose limits count beside its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    /// What may be spent with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub enabled: bool,
    /// What becomes of its open streams when it is revoked. Default as `settings.revoke_mode` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke_mode: Option<RevokeMode>,
    /// What is done with models whose price nobody knows. Default as its request's route or `settings.unpriced` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpriced: Option<Unpriced>,
    /// What is kept of what is asked with it and answered. Default as the route or the settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bodies: Option<bodies::Rule>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

// === impl Key ===

impl Key {
    /// Of this name, with every default.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            secret: None,
            models: every_model(),
            passthrough: Vec::new(),
            roles: Vec::new(),
            endpoints: Vec::new(),
            ips: Vec::new(),
            team: None,
            user: None,
            limits: Limits::default(),
            budget: None,
            expires_at: None,
            enabled: true,
            revoke_mode: None,
            unpriced: None,
            log_bodies: None,
            tags: Vec::new(),
            metadata: BTreeMap::new(),
        }
    }
}

fn every_model() -> Vec<String> {
    vec!["*".to_owned()]
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}
