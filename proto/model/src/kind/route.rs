//! `route`: an ordered rule that sends requests to a model.

mod times;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bodies;
use crate::cache;
use crate::policy::{Continuation, Hedge, Retry, Timeouts, Unpriced};

pub use times::{Day, Offset, TimeOfDay, Times};

/// The first route that matches wins; routes are tried by `order`, equal ones as listed. Without a match the model that the
/// request names is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub name: String,
    /// Position among the routes; lower is tried first. In a file the default is the place in the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<i64>,
    #[serde(default, rename = "match")]
    pub matcher: Match,
    /// A public model name or `provider/model`. Absent: the model the request names, under this route's policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge: Option<Hedge>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuation: Option<Continuation>,
    /// Whether replies are given again; as the model says unless something is said here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<cache::Rule>,
    /// What is done with models whose price nobody knows; as `settings.unpriced` says unless something is said here. What the key
    /// says goes before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpriced: Option<Unpriced>,
    /// What is kept of requests' bodies; a key's own wins. Default as the settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bodies: Option<bodies::Rule>,
}

/// All that is given must hold; an empty match holds always. Of a list one entry must, but of `needs` each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Exact path, or a prefix when it ends in `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// HTTP methods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// What is asked for, whatever the path's prefix. A count of tokens is of the kind that it counts for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<Kind>,
    /// Any request header. A plain text must be equal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderMatch>,
    /// Name the request asks for; `*` stands for any characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Names or ids (`vk_…`) of keys; `*` stands for any characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Tags of the key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_tags: Vec<String>,
    /// What the key's `metadata` must say, such as `team: search`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub key_metadata: BTreeMap<String, String>,
    /// Tags that the client sends in `x-gateway-tags` (or `x-lunargate-tags`), with commas between them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What the request needs of a model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Need>,
    /// Size of the prompt: a quarter of the body's bytes, without the media in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<Times>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RequestKind")]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Completions,
    /// `/v1/responses`
    Responses,
    /// `/v1/messages`
    Messages,
    /// Gemini's `…:generateContent`
    Generate,
    Embeddings,
    Rerank,
    Moderations,
    /// Made, edited or varied.
    Images,
    /// Transcriptions, translations and speech.
    Audio,
    Realtime,
    /// What passes to a provider as it is.
    Other,
}

/// What a request needs of a model beside reading and writing text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// It declares at least one.
    Tools,
    /// It holds a picture.
    Vision,
    /// It holds a recording.
    Audio,
    /// It holds a file, such as a PDF.
    Documents,
    /// The answer must follow a schema.
    JsonSchema,
}

/// Both bounds are among what matches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
}

/// How a header must look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum HeaderMatch {
    Equal(String),
    Rule(HeaderRule),
}

/// Exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderRule {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Rust `regex` syntax, matched anywhere unless anchored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
}

// === impl Kind ===

impl Kind {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::Generate => "generate",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Moderations => "moderations",
            Self::Images => "images",
            Self::Audio => "audio",
            Self::Realtime => "realtime",
            Self::Other => "other",
        }
    }

    /// Whether it is answered by a conversation's next turn.
    pub fn converses(self) -> bool {
        matches!(self, Self::Chat | Self::Completions | Self::Responses | Self::Messages | Self::Generate)
    }
}
