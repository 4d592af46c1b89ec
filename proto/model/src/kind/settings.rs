//! `settings`: what holds for the whole gateway. A map in files, one resource named `settings` elsewhere.

pub mod alerts;
pub mod auto;
pub mod jwt;
pub mod introspection;
pub mod limit_store;
pub mod sign_in;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::alerts::Destination;
use self::auto::Auto;
use self::introspection::Introspector;
use self::limit_store::LimitStore;
use self::sign_in::Oidc;
use crate::access::{IpRange, RevokeMode};
use crate::bodies;
use crate::cache;
use crate::policy::{Continuation, Retry, Timeouts, Unpriced};
use crate::unit::{Bytes, Span};

/// Everything has a default; an absent field keeps it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `off` lets everybody in and is accepted on loopback listeners only. Default `on`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<Chat>,
    /// Prefixes of the gateway's own response headers. Default both `gateway` and `lunargate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_families: Option<Vec<HeaderFamily>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuation: Option<Continuation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passthrough: Option<Passthrough>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Discovery>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responses: Option<Responses>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto: Option<Auto>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<cache::Settings>,
    /// What becomes of requests whose cost nobody could know, because no target of their model has a price, where neither
    /// their key nor their route says it. Default `allow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpriced: Option<Unpriced>,
    /// Whom the control plane tells when budgets reach a part of their amount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Destination>,
    /// Systems whose signed tokens are keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jwt: Vec<jwt::Issuer>,
    /// Authorization servers that are asked whether a token is good, where it does not say so itself. Keys are never shown to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub introspection: Vec<Introspector>,
    /// An identity provider with which people sign in to the dashboard and the admin API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<Oidc>,
    /// Each request to a model leaves a signed receipt in `receipts.jsonl` of its node's data directory. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipts: Option<bool>,
    /// What becomes of open streams of a key that is revoked; a key's own wins. Default `drain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke_mode: Option<RevokeMode>,
    /// Where limits are counted for all nodes. Default: by the nodes, each its part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_store: Option<LimitStore>,
    /// How long the control plane keeps records of single requests; the sums stay. Default 720h: thirty days. SQLite keeps the last
    /// 200,000 of them at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs_kept: Option<Span>,
    /// What is kept of requests' bodies, where neither key nor route says it. Default nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bodies: Option<bodies::Rule>,
    /// How long the control plane keeps them. Default 168h: seven days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bodies_kept: Option<Span>,
}

/// The Responses API's memory, which each node keeps for itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Responses {
    /// How long a response with `store` (which is on unless a request says `false`) can be asked for and gone on from. `0s`: not at
    /// all. Default 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_ttl: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<Background>,
}

/// Responses with `background`, which a node makes after their clients have left. Where every provider of a model does so itself
/// (OpenAI, Azure), it is left to them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Background {
    /// How many of them a node makes at once; more are refused with 429. `0`: none. Default 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_running: Option<u32>,
    /// How many of them are one key's. Default 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_running_per_key: Option<u32>,
    /// How long one may take, in place of the total timeout of its provider and model. Default 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_time: Option<Span>,
    /// What a node keeps in memory of their events, so that they can be streamed again; the oldest give way, and without its events
    /// a response can still be asked for as a whole. Default 64MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_events: Option<Bytes>,
}

/// What passes to a provider without the gateway knowing the operation. Which keys may do so is their field `passthrough`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Passthrough {
    /// Whether paths of OpenAI's that the gateway does not know (`/v1/vector_stores`, …) pass. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The provider for what names none, by the header `x-gateway-provider` or by a model in the body. Files and batches go to
    /// the first provider that has them where there is no default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_provider: Option<String>,
    /// Which of those paths pass, by their beginning: `vector_stores`, `fine_tuning/jobs`. Default all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_prefixes: Vec<String>,
    /// Which of them do not, whatever is allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked_prefixes: Vec<String>,
    /// Attempts in all for what passes, of requests whose body is held; what is streamed goes once. Default 1: the gateway does
    /// not know what doing it twice would do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// How soon the node that made a batch at a provider looks whether it is over, where nobody asks; then ever more rarely, down
    /// to once an hour. What it cost is counted then. 0 turns it off. Default 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_look: Option<Span>,
}

/// Asking providers for the models that they have. A node does so at its start, when the configuration changes, and from time
/// to time; what it learns is in the list of models as `provider/model`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Discovery {
    /// Of every provider that has a credential or is on a private network, and does not say otherwise. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// From one round to the next. Default 10m, at least 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
    /// Makes models of those that are configured or discovered, by what they can do: all, or these. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_agents: Option<AutoAgents>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum AutoAgents {
    All(bool),
    These(Vec<AutoAgent>),
}

/// A model that the gateway makes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AutoAgent {
    /// Context up to 32k, answers up to 4096 tokens; in turn.
    AutoFast,
    /// Reasons, context of 128k and more; the first that answers.
    AutoReasoning,
    /// Reads pictures; in turn.
    AutoVision,
    /// Calls tools; in turn.
    AutoTools,
    /// Context of 200k and more; the first that answers.
    AutoLarge,
    /// Context from 32k to 128k; in turn.
    AutoBalanced,
    /// Calls tools and is called a coder; the first that answers.
    AutoCoding,
}

// === impl AutoAgents ===

impl AutoAgents {
    pub fn has(&self, agent: AutoAgent) -> bool {
        match self {
            Self::All(all) => *all,
            Self::These(these) => these.contains(&agent),
        }
    }
}

// === impl AutoAgent ===

impl AutoAgent {
    pub const ALL: [Self; 7] = [
        Self::AutoFast,
        Self::AutoReasoning,
        Self::AutoVision,
        Self::AutoTools,
        Self::AutoLarge,
        Self::AutoBalanced,
        Self::AutoCoding,
    ];

    /// What clients ask for.
    pub fn name(self) -> &'static str {
        match self {
            Self::AutoFast => "auto_fast",
            Self::AutoReasoning => "auto_reasoning",
            Self::AutoVision => "auto_vision",
            Self::AutoTools => "auto_tools",
            Self::AutoLarge => "auto_large",
            Self::AutoBalanced => "auto_balanced",
            Self::AutoCoding => "auto_coding",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    On,
    Off,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Chat {
    /// What a chat request without `stream` means. Default false, on which every OpenAI client relies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_stream: Option<bool>,
    /// Refuse a request whose parameters its target cannot all be told, rather than drop them and say so in
    /// `x-gateway-dropped-parameters`. Default false. A request's header `x-gateway-strict` wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HeaderFamily {
    /// `x-gateway-*`
    Gateway,
    /// `x-lunargate-*`
    Lunargate,
}

/// The node's own listener. Read at start; a change later is reported as `restart_needed`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address of the public API, `host:port`. The flag `--listen` wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// From the connection's (or the previous reply's) end to the last header byte. Default 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_timeout: Option<Span>,
    /// Idle keep-alive connections are closed after this. Default 75s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Span>,
    /// Largest accepted request body. Default 32MiB. Forms may be larger, up to 512MiB: of those above this, and above 32MiB in any case,
    /// the files pass as they come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body: Option<Bytes>,
    /// Open client connections at most; further ones wait. Default 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// Take request bodies that are compressed (`content-encoding: gzip` or `zstd`), held against `max_body` when they are plain
    /// again. Default false: they are refused with 415.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compressed_bodies: Option<bool>,
    /// Origins of the pages that may read answers, like `https://app.example.com`; `*` is any, an empty list none. Default any;
    /// with `auth: off` those of this machine only, and requests of other pages are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors_origins: Option<Vec<String>>,
    /// Balancers in front of the gateway, like `10.0.0.0/8`: what they write into `x-forwarded-for` is where a request comes from,
    /// for keys that may be used from some addresses only. Default none: it is the other end of the connection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<IpRange>,
}
