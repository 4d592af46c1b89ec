//! `cache`: which replies are given again to whoever asks the same, for how long, and how much of them is kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::unit::{Bytes, Span};

/// `settings.cache`: replies that a node keeps, to answer the same request of the same key again. Off unless asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CacheSettings")]
pub struct Settings {
    /// For every model and route that does not say otherwise. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// How long a reply is given again. Default 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// Whether a request waits for another one like it that is under way. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coalesce: Option<bool>,
    /// What a node keeps in memory; what was not asked for the longest gives way. Default 64MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Bytes>,
    /// A larger reply is not kept; an eighth of `max_bytes` at most. Default 1MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_entry_bytes: Option<Bytes>,
}

/// What a model or a route says of it: `on`, `off`, or `on` with other times. The nearest that says something wins: route, model,
/// settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "CacheRule")]
pub enum Rule {
    Switch(Switch),
    With(With),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "CacheSwitch")]
pub enum Switch {
    On,
    Off,
}

/// On, and what is not as the settings say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CacheWith")]
pub struct With {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coalesce: Option<bool>,
}

// === impl Settings ===

impl Settings {
    /// Where nothing is said.
    pub const MAX_BYTES: u64 = 64 * 1024 * 1024;
    pub const MAX_ENTRY_BYTES: u64 = 1024 * 1024;
    /// One reply may take this part of everything.
    pub const PARTS: u64 = 8;

    /// Of everything together, and of one reply. The default for one reply gives way to what is said of everything.
    pub fn bounds(&self) -> (u64, u64) {
        let whole = self.max_bytes.map_or(Self::MAX_BYTES, |bytes| bytes.0);
        let part = whole / Self::PARTS;
        (whole, self.max_entry_bytes.map_or(Self::MAX_ENTRY_BYTES.min(part), |bytes| bytes.0))
    }
}

// === impl Rule ===

impl Rule {
    pub fn is_on(&self) -> bool {
        !matches!(self, Self::Switch(Switch::Off))
    }

    pub fn ttl(&self) -> Option<Span> {
        if let Self::With(with) = self { with.ttl } else { None }
    }

    pub fn coalesce(&self) -> Option<bool> {
        if let Self::With(with) = self { with.coalesce } else { None }
    }
}
