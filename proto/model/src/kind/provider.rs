//! `provider`: one upstream account.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::{is_one, is_true, one, yes};
use crate::policy::{Breaker, Concurrency, Continuation, Retry, Timeouts};
use crate::secret::Secret;
use crate::unit::Span;

/// One upstream account: where it is, how it speaks (by `kind`), and the credential we present to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// `[a-z0-9._-]`, at most 128 characters. `name/model` addresses its models directly.
    pub name: String,
    /// A row of the provider catalogue: `openai`, `anthropic`, `openai-compatible` …
    pub kind: String,
    /// As in the vendor's own documents; the catalogue has the default. OpenAI-compatible kinds end in `/v1` or the
    /// vendor's equivalent, `anthropic` is the host root, `azure` the resource root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    #[serde(default, skip_serializing)]
    pub api_key: Option<Secret>,
    /// In place of `api_key`: several keys of the same account. Each request goes with one that is well, in proportion to their
    /// weights; a key that the vendor refuses or limits is left alone for a while, and the others serve. Files, batches, realtime
    /// and what passes as it is go with the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub api_keys: Vec<ApiKey>,
    /// Sent with every request, beside our own; may not name the credential or hop-by-hop headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Permits private and loopback addresses, and `http://` towards those only.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_private_networks: bool,
    /// Declared departures from the dialect, added to those of the catalogue row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quirks: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure: Option<Azure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<Aws>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcp: Option<Gcp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuation: Option<Continuation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
    /// Of the account as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<UpstreamLimits>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// What becomes of a stream whose client has left.
    #[serde(default, skip_serializing_if = "OnClientGone::is_default")]
    pub on_client_gone: OnClientGone,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Discovery>,
}

/// One of several keys of a provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// `[a-z0-9._-]`, at most 128 characters. What logs and statistics call it; never sent.
    pub name: String,
    #[serde(default, skip_serializing)]
    pub key: Option<Secret>,
    /// Share of the requests. Default 1; 0 = only when the others cannot be used.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u32,
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub enabled: bool,
    /// Beside those of the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<UpstreamLimits>,
}

/// What a vendor lets an account do, counted by each node: who is at its limit is passed over for the next target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamLimits {
    /// Requests per minute, second attempts included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpm: Option<u64>,
    /// Tokens per minute, of prompts and answers: estimated when a request goes out, corrected when its reply has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpm: Option<u64>,
}

/// What becomes of a stream whose client has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnClientGone {
    /// The upstream is let go at once and charged for by an estimate.
    #[default]
    Abort,
    /// It is read on for its usage, for 60 seconds and 16 MiB at most: for upstreams that charge for the whole reply in any case.
    Drain,
}

// === impl OnClientGone ===

impl OnClientGone {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Asking the provider from time to time whether it is well, beside the requests that it gets: it is found again sooner, and
/// found to be gone before a request does. Failures count as those of requests do. Takes `path` or `model`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// With its query, on the provider's host: asked with GET. Any answer below 500 says that somebody is there; a breaker that
    /// is open lets a request try at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// One of its models, asked for one token at the price that this has. An answer closes that model's breaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Default 30s, give or take a tenth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
    /// For an answer to begin. Default 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

/// Whether the provider is asked for the models that it has, and which of them are listed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Discovery {
    /// Default: as `settings.discovery.enabled` says, for providers that have a credential or are on a private network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Names of models, `*` for any characters; others are left out. Default all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
}

/// What only `kind: azure` has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Azure {
    /// The `api-version` query parameter. Default `2024-10-21`; with a `base_url` that ends in `/openai/v1` none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// What `api_key` is.
    #[serde(default, skip_serializing_if = "AzureAuth::is_default")]
    pub auth: AzureAuth,
}

/// How Azure is shown the credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AzureAuth {
    /// A key of the resource, in `api-key`.
    #[default]
    ApiKey,
    /// An access token of Microsoft Entra ID for `https://cognitiveservices.azure.com/.default`, as a bearer token. Such tokens
    /// live for about an hour: whoever fetches them writes the new one here.
    Entra,
}

// === impl Provider ===

impl Provider {
    /// As many of `api_keys` as one may have.
    pub const MAX_KEYS: usize = 64;

    /// Itself with one of `api_keys` as the only one.
    pub fn with_key(&self, key: &ApiKey) -> Self {
        Self { api_key: key.key.clone(), api_keys: Vec::new(), ..self.clone() }
    }
}

// === impl AzureAuth ===

impl AzureAuth {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What only `kind: bedrock` has. With an access key requests are signed (AWS Signature Version 4); without one, `api_key` is
/// a Bedrock API key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aws {
    /// `us-east-1`, `eu-central-1` …
    pub region: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    #[serde(default, skip_serializing)]
    pub secret_access_key: Option<Secret>,
    /// Of temporary credentials.
    #[serde(default, skip_serializing)]
    pub session_token: Option<Secret>,
}

/// What only `kind: vertex` has. Requests carry an access token, of a service account where its key is given, otherwise of the
/// machine's own account, as its metadata server hands them out; or `api_key`, which is then a key for Vertex AI.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gcp {
    /// The project's id.
    pub project: String,
    /// `us-central1`, `europe-west4` …
    #[serde(default = "Gcp::everywhere", skip_serializing_if = "Gcp::is_everywhere")]
    pub location: String,
    /// A service account's key: the JSON file that Google Cloud makes, its text.
    #[serde(default, skip_serializing)]
    pub service_account_json: Option<Secret>,
    /// Where tokens of the machine's account come from, if that is not Google's metadata server: the root of a server that
    /// answers as it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_url: Option<String>,
}

// === impl Gcp ===

impl Gcp {
    /// The location that is none in particular.
    pub const GLOBAL: &str = "global";

    /// What stands before `aiplatform.googleapis.com`.
    pub fn host_prefix(&self) -> String {
        if self.location == Self::GLOBAL { String::new() } else { format!("{}-", self.location) }
    }

    fn everywhere() -> String {
        Self::GLOBAL.to_owned()
    }

    fn is_everywhere(location: &str) -> bool {
        location == Self::GLOBAL
    }
}

pub(crate) fn is_false(value: &bool) -> bool {
    !*value
}
