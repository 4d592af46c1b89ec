//! The provider catalogue: one row per kind of provider (`catalog/providers.toml`), read once. What is known of their models is
//! in [`models`].

pub mod models;

use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is known of a kind of provider without anybody configuring it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The `kind` of a provider resource.
    pub id: String,
    pub title: String,
    /// Name of its wire language.
    pub dialect: String,
    /// `None`: a provider of this kind must say its own. `{region}` stands for that of `aws`, `{location}` for
    /// that of `gcp` with the hyphen behind it, and for nothing where that is `global`.
    pub base_url: Option<String>,
    /// What the base URL looks like where there is no default, with what differs in braces.
    pub base_url_form: Option<String>,
    /// The base URL is a host root (any path prefix is kept), not a versioned API root.
    #[serde(default)]
    pub root: bool,
    /// It speaks OpenAI's Responses API too, at `/responses` after the base URL.
    #[serde(default)]
    pub responses: bool,
    /// It speaks OpenAI's legacy completions too, at `/completions` after the base URL.
    #[serde(default)]
    pub completions: bool,
    /// It says how many tokens a request is, in its own dialect; where `responses` is true too, in that of the Responses API.
    #[serde(default)]
    pub counts_tokens: bool,
    /// It keeps files in the form of OpenAI's API, at `/files` after the root of its API.
    #[serde(default)]
    pub files: bool,
    /// It works through batches in the form of OpenAI's API, at `/batches` after the root of its API.
    #[serde(default)]
    pub batches: bool,
    /// What work in batches costs, in percent of the ordinary price; models with a price of their own for it are in `models.txt`.
    pub batch_percent: Option<u64>,
    /// It has OpenAI's Realtime API, at `/realtime` after the root of its API.
    #[serde(default)]
    pub realtime: bool,
    /// It answers requests of the Responses API in the background, and keeps what comes of them.
    #[serde(default)]
    pub background: bool,
    /// It has no conversations, only what `tasks` names.
    #[serde(default)]
    pub no_chat: bool,
    /// What it offers beside conversations, each in one form.
    #[serde(default)]
    pub tasks: Vec<TaskRow>,
    /// Tail of the chat operation where it is not the dialect's own.
    pub chat_path: Option<String>,
    pub auth: Auth,
    /// Environment variables that commonly hold its key.
    #[serde(default)]
    pub env: Vec<String>,
    /// A model that exists there.
    pub model: Option<String>,
    /// Names out of [`QUIRKS`].
    #[serde(default)]
    pub quirks: Vec<String>,
    /// How many stop texts it takes.
    pub max_stops: Option<usize>,
    /// How its models make tokens of a text; `None` where nobody has said.
    pub vocabulary: Option<Vocabulary>,
    /// Tokens that its models count, in percent of those of `vocabulary`. Default 100.
    pub token_percent: Option<u16>,
    /// What some of its models depart by besides.
    #[serde(default)]
    pub profiles: Vec<Profile>,
    pub docs: String,
}

/// An operation that is not a conversation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRow {
    /// Name of its wire shape (`gateway_ir::task::Form`).
    pub form: String,
    /// Tail of the operation where it is not the form's own.
    pub path: Option<String>,
    /// How many inputs it takes in one request, where it says so.
    pub at_once: Option<usize>,
    /// Names of the models that have it, where others of the provider have another form or none. As in [`Profile::models`].
    #[serde(default)]
    pub models: Vec<String>,
}

/// Departures of some models of a provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Names; a `*` at the beginning or at the end stands for any letters.
    pub models: Vec<String>,
    #[serde(default)]
    pub quirks: Vec<String>,
    pub max_stops: Option<usize>,
    /// In place of the row's, at 100 percent.
    pub vocabulary: Option<Vocabulary>,
}

/// A published vocabulary of byte pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Vocabulary {
    /// OpenAI's since `gpt-4o`.
    #[default]
    O200k,
    /// OpenAI's before, of `gpt-4` and `gpt-3.5`.
    Cl100k,
}

/// How a credential is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// `Authorization: Bearer …`
    Bearer,
    /// `x-api-key: …` and `anthropic-version`.
    XApiKey,
    /// `api-key: …`
    ApiKey,
    /// `x-goog-api-key: …`
    XGoogApiKey,
    None,
}

/// Declared departures from a dialect, and what each means. The names are the fields of `gateway_ir::quirks::Quirks`.
pub const QUIRKS: &[(&str, &str)] = &[
    ("no_stream_options", "does not accept `stream_options`"),
    ("max_tokens_name", "wants `max_tokens`, not `max_completion_tokens`"),
    ("max_completion_tokens_name", "wants `max_completion_tokens`, not `max_tokens`"),
    ("random_seed_name", "wants `random_seed`, not `seed`"),
    ("no_developer_role", "knows no `developer` role"),
    ("no_tools", "knows no tools"),
    ("no_content_arrays", "wants message content as one string"),
    ("stream_only", "answers only as a stream"),
    ("no_completions", "has no `/completions`, though others of its kind have"),
    ("own_replies", "answers not quite in its dialect, so that each reply is read and written anew"),
    ("prefill", "goes on from a last turn of the assistant as it stands"),
    ("prefill_prefix", "goes on from a last turn of the assistant that says `prefix: true`"),
    ("prefill_partial", "goes on from a last turn of the assistant that says `partial: true`"),
    ("prefill_echo", "repeats such a turn at the beginning of its answer"),
    ("no_temperature", "takes no `temperature` but 1"),
    ("no_top_p", "takes no `top_p` but 1"),
    ("no_top_k", "takes no `top_k`"),
    ("no_stop", "takes no stop texts"),
    ("no_n", "gives one choice only"),
    ("no_seed", "takes no `seed`"),
    ("no_penalties", "takes no `presence_penalty` and no `frequency_penalty`"),
    ("no_logprobs", "gives no `logprobs`"),
    ("no_logit_bias", "takes no `logit_bias`"),
    ("no_parallel_tool_calls", "takes no `parallel_tool_calls`"),
    ("no_tool_choice", "takes no `tool_choice` but `auto`"),
    ("no_required_tool_choice", "takes no `tool_choice: required`"),
    ("no_strict_tools", "takes no `strict` on tools"),
    ("no_json_object", "takes no `response_format` of type `json_object`"),
    ("no_json_schema", "takes no `response_format` of type `json_schema`"),
    ("no_reasoning_effort", "takes no `reasoning_effort`"),
    ("no_user", "takes no `user`"),
    ("no_metadata", "takes no `metadata`"),
];

#[derive(Deserialize)]
struct Table {
    provider: Vec<Row>,
}

static TABLE: LazyLock<Vec<Row>> =
    LazyLock::new(|| parse(include_str!("../catalog/providers.toml")).expect("the catalogue's tests parse it"));

/// All rows, as listed.
pub fn rows() -> &'static [Row] {
    &TABLE
}

/// Rows in the form of the catalogue's file.
pub fn parse(text: &str) -> Result<Vec<Row>, toml::de::Error> {
    toml::from_str(text).map(|table: Table| table.provider)
}

/// The row of a kind.
pub fn row(kind: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.id == kind)
}

// === impl Profile ===

impl Profile {
    /// Whether it is about a model of this name.
    pub fn covers(&self, model: &str) -> bool {
        covers(&self.models, model)
    }
}

/// Whether one of the patterns of [`Profile::models`] is about a model of this name.
pub fn covers(patterns: &[String], model: &str) -> bool {
    patterns.iter().any(|pattern| match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(_), Some(_)) if pattern.len() > 1 => model.contains(&pattern[1..pattern.len() - 1]),
        (_, Some(beginning)) => model.starts_with(beginning),
        (Some(end), None) => model.ends_with(end),
        (None, None) => model == pattern,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_are_sound() {
        let ids: BTreeSet<_> = rows().iter().map(|row| row.id.as_str()).collect();
        assert_eq!(ids.len(), rows().len(), "an id occurs twice");
        for row in rows() {
            assert!(
                [
                    "openai-chat",
                    "openai-completions",
                    "anthropic-messages",
                    "gemini-generate",
                    "cohere-v2",
                    "ollama-chat",
                    "bedrock-converse"
                ]
                .contains(&row.dialect.as_str()),
                "{}: {}",
                row.id,
                row.dialect
            );
            for quirk in &row.quirks {
                assert!(QUIRKS.iter().any(|(name, _)| name == quirk), "{}: {quirk}", row.id);
            }
            if let Some(url) = &row.base_url {
                assert!(!url.ends_with('/') && url.starts_with("http"), "{}: {url}", row.id);
            }
            let has_place = row.base_url.is_some() || row.base_url_form.is_some() || row.id == "demo";
            assert!(has_place, "{}: neither `base_url` nor `base_url_form`", row.id);
            assert!(row.id == "demo" || row.docs.starts_with("https://"), "{}: {}", row.id, row.docs);
        }
        assert!(rows().len() > 60, "rows are gone");
        let owed = "openai anthropic gemini azure bedrock ollama groq together openrouter deepseek mistral xai cohere perplexity \
            deepinfra zai zai-coding-plan moonshot qwen minimax nvidia sambanova cerebras github github-copilot zen abacus \
            openai-compatible anthropic-compatible fireworks vllm sglang tgi huggingface databricks snowflake watsonx \
            cloudflare vercel nebius novita hyperbolic baseten lambda featherless volcengine tencent siliconflow scaleway ovh \
            meta venice chutes poe gmi ai21 friendli replicate demo";
        for kind in owed.split_whitespace() {
            assert!(row(kind).is_some(), "{kind}");
        }
    }
}
