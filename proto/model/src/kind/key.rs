//! `key`: a virtual key that applications present.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub enabled: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// No limit given means unlimited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Requests per minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpm: Option<u64>,
}

// === impl Limits ===

impl Limits {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
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
