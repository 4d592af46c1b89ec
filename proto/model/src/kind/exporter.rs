//! `exporter`: where records of requests are sent beside our own log. The control plane sends them; nodes never hear of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::provider::is_false;
use crate::secret::Secret;
use crate::unit::{Span, Usd};

/// Who is told of requests, of which of them, and how much.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exporter {
    pub name: String,
    /// The language that is spoken to it.
    #[serde(rename = "type")]
    pub of: ExporterType,
    /// With `false` nothing is sent, and what comes meanwhile never is. Default true.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub enabled: bool,
    /// Where it is sent, `https`; of `webhook` and `slack` all of it, of others the root of their API. It is a secret: who knows the
    /// address of a Slack channel may write to it. `datadog`, `langfuse` and `s3` have a default.
    #[serde(default, skip_serializing)]
    pub url: Option<Secret>,
    /// What it is asked for: the API key of `datadog` and `collector`, the token of `splunk`, the secret key of `langfuse`.
    #[serde(default, skip_serializing)]
    pub api_key: Option<Secret>,
    /// Of `langfuse`: the other half of its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Signs what is sent to a `webhook`; 16 characters or more.
    #[serde(default, skip_serializing)]
    pub secret: Option<Secret>,
    /// Of `s3`: where objects are put, and by whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<Bucket>,
    /// Of `collector`: how much it is told. Default `metrics`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// Which requests; without it, all.
    #[serde(default, skip_serializing_if = "Selection::is_empty")]
    pub filter: Selection,
    /// The part of those requests that is sent, above 0 and up to 1. A request is always in or always out. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<f64>,
    /// Permits loopback and private addresses, and there `http` too. Default false.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_private_networks: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExporterType {
    /// JSON, with `x-gateway-signature`.
    Webhook,
    /// An incoming webhook of Slack, or of whoever takes the same.
    Slack,
    /// The log intake of Datadog.
    Datadog,
    /// The ingestion API of Langfuse.
    Langfuse,
    /// The HTTP event collector of Splunk.
    Splunk,
    /// An object store that speaks S3.
    S3,
    /// A collector of metrics, traces and request logs.
    Collector,
}

/// How much a collector is told. Each is what is before it, and more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    /// Nothing.
    Off,
    /// Numbers and names.
    #[default]
    Metrics,
    /// What was asked too.
    Prompts,
    /// What was answered too.
    Responses,
}

/// Of an object store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    pub bucket: String,
    pub region: String,
    /// What names of objects begin with: letters, digits, `-`, `_`, `.` and `/`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    pub access_key_id: String,
    #[serde(default, skip_serializing)]
    pub secret_access_key: Option<Secret>,
    /// How long records wait for others to be in one object with them. Default `60s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gather: Option<Span>,
}

/// Which requests: those that every field that is set takes. Names may hold `*`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<String>,
    /// Public names, as the request was served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// As numbers, `429`, or as classes, `5xx`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<String>,
    /// Those that cost as much, or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_cost_usd: Option<Usd>,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_true(flag: &bool) -> bool {
    *flag
}

// === impl Exporter ===

impl Exporter {
    /// Whether anything is sent.
    pub fn sends(&self) -> bool {
        self.enabled && self.share != Some(Share::Off)
    }
}

// === impl ExporterType ===

impl ExporterType {
    pub const ALL: [Self; 7] =
        [Self::Webhook, Self::Slack, Self::Datadog, Self::Langfuse, Self::Splunk, Self::S3, Self::Collector];

    pub fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Slack => "slack",
            Self::Datadog => "datadog",
            Self::Langfuse => "langfuse",
            Self::Splunk => "splunk",
            Self::S3 => "s3",
            Self::Collector => "collector",
        }
    }
}

// === impl Selection ===

impl Selection {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether one of `status` is it. Classes are written `4xx`.
    pub fn takes_status(&self, status: u32) -> bool {
        let is = |wanted: &String| match wanted.strip_suffix("xx") {
            Some(class) => class.parse() == Ok(status / 100),
            None => wanted.parse() == Ok(status),
        };
        self.status.is_empty() || self.status.iter().any(is)
    }
}
