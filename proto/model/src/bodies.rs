//! `log_bodies`: whether what is asked and answered is kept with the log, how much of it, and what is hidden in it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::unit::Bytes;

/// What is kept of the bodies of requests, to be read with their log records. Off unless asked for. The nearest that says something wins, as a
/// whole: key, route, settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "LogBodies")]
pub struct Rule {
    /// What the client sends. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<bool>,
    /// What the client is answered, streams included. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<bool>,
    /// Of how many requests, from 0 to 1. Default 1: of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub sample: Option<f64>,
    /// Of each body; what is beyond is cut off, and its length told. At most 1MiB. Default 64KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Bytes>,
    /// Members of JSON whose values are hidden: by name, wherever they are (`password`), or by place, `*` for any (`/messages/*/content`). A
    /// body that cannot be read as JSON is then not kept at all. Default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<String>,
    /// What is hidden in any text by how it looks. Default all of these; an empty list is none. Keys of this gateway and of its providers are
    /// never kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patterns: Option<Vec<Pattern>>,
}

/// Something that is known by how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "BodyPattern")]
pub enum Pattern {
    /// Keys and tokens of well-known services, JSON web tokens, private keys.
    Keys,
    /// Addresses of mail.
    Emails,
    /// Numbers of payment cards, by their check digit.
    Cards,
}

// === impl Rule ===

impl Rule {
    pub const MAX_BYTES: u64 = 64 * 1024;
    pub const MOST_BYTES: u64 = 1024 * 1024;

    /// What is wrong with it, by field.
    pub(crate) fn faults(&self) -> Vec<(&'static str, &'static str)> {
        let is_part = |part: f64| (0.0..=1.0).contains(&part);
        let is_size = |size: Bytes| (1..=Self::MOST_BYTES).contains(&size.0);
        let faults = [
            ("log_bodies.sample", "must be from 0 to 1", !self.sample.is_none_or(is_part)),
            ("log_bodies.max_bytes", "must be from 1 byte to 1MiB", !self.max_bytes.is_none_or(is_size)),
            (
                "log_bodies.redact",
                "holds an empty name; give a member's name, or a place that begins with `/`",
                self.redact.iter().any(|place| place.is_empty() || place == "/"),
            ),
        ];
        faults.into_iter().filter(|(_, _, is_wrong)| *is_wrong).map(|(path, message, _)| (path, message)).collect()
    }
}

// === impl Pattern ===

impl Pattern {
    pub const ALL: [Self; 3] = [Self::Keys, Self::Emails, Self::Cards];
}
