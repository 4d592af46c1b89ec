//! A chat request as any dialect can say it.
//!
//! Texts that must survive byte for byte (schemas, tool arguments, provider-only items) stay raw JSON.

use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use crate::dialect::Dialect;
use crate::extra::Extra;

/// One request. `model` is what the caller wrote; routing replaces it by the target's own name.
#[derive(Clone, Debug, Default)]
pub struct ChatRequest {
    /// The dialect the caller wrote. What only that dialect can say goes back to it alone.
    pub origin: Option<Dialect>,
    pub model: String,
    pub messages: Vec<Message>,
    pub tools: Vec<Tool>,
    pub tool_choice: Option<ToolChoice>,
    pub parallel_tool_calls: Option<bool>,
    /// `None`: the caller did not say.
    pub stream: Option<bool>,
    /// The caller wants usage in the stream (OpenAI `stream_options.include_usage`; always for dialects that always send it).
    pub include_usage: bool,
    pub sampling: Sampling,
    pub response_format: Option<ResponseFormat>,
    pub reasoning: Option<Reasoning>,
    /// Opaque end-user id.
    pub user: Option<String>,
    pub metadata: Option<Map<String, Value>>,
    pub extra: Extra,
    /// What was taken out so that the conversation is sound (every call has its result, right behind it, and every result its
    /// call): reported as dropped.
    pub repaired: Vec<String>,
}

/// How to pick tokens. Numbers keep the caller's spelling.
#[derive(Clone, Debug, Default)]
pub struct Sampling {
    pub max_output_tokens: Option<u64>,
    pub temperature: Option<Number>,
    pub top_p: Option<Number>,
    pub top_k: Option<u64>,
    pub stop: Vec<String>,
    /// Number of choices.
    pub n: Option<u64>,
    pub seed: Option<i64>,
    pub presence_penalty: Option<Number>,
    pub frequency_penalty: Option<Number>,
    pub logprobs: Option<bool>,
    pub top_logprobs: Option<u64>,
}

/// One turn. System and developer instructions are messages too, where they stand.
#[derive(Clone, Debug)]
pub struct Message {
    pub role: Role,
    pub parts: Vec<Part>,
    /// OpenAI's participant name.
    pub name: Option<String>,
    pub extra: Extra,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    System,
    Developer,
    User,
    Assistant,
    /// Holds `Part::ToolResult`s only.
    Tool,
}

/// A piece of a message.
#[derive(Clone, Debug)]
pub struct Part {
    pub content: Content,
    /// The caller marked the prompt up to here as cacheable (Anthropic `cache_control`).
    pub cache: Option<CacheMark>,
    pub extra: Extra,
}

/// Kept as said: `{"type":"ephemeral","ttl":"1h"}`.
#[derive(Clone, Debug)]
pub struct CacheMark(pub Box<RawValue>);

#[derive(Clone, Debug)]
pub enum Content {
    Text(String),
    Image(Media),
    Audio(Media),
    Document(Document),
    ToolCall(ToolCall),
    ToolResult(ToolResult),
    Reasoning(ReasoningPart),
    Refusal(String),
    /// Something only the dialect it came from can say (a provider-run tool's call or result): verbatim JSON.
    Opaque {
        kind: String,
        json: Box<RawValue>,
        dialect: Dialect,
    },
}

/// Bytes by reference or inline. `media_type` is empty where unknown.
#[derive(Clone, Debug)]
pub struct Media {
    pub source: Source,
    pub media_type: String,
    /// OpenAI's `detail` for images.
    pub detail: Option<String>,
}

#[derive(Clone, Debug)]
pub enum Source {
    /// Base64, as received.
    Base64(String),
    Url(String),
    /// An id in the provider's own file store.
    FileId(String),
    /// Plain text (documents).
    Text(String),
}

#[derive(Clone, Debug)]
pub struct Document {
    pub media: Media,
    pub title: Option<String>,
    pub context: Option<String>,
    pub citations: Option<bool>,
}

/// A call the model made. `arguments` is a JSON text, as the model wrote it (may be invalid, may be empty = `{}`).
#[derive(Clone, Debug)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    pub arguments: String,
}

#[derive(Clone, Debug)]
pub struct ToolResult {
    pub call_id: String,
    pub parts: Vec<Part>,
    pub is_error: Option<bool>,
}

/// Thinking of an earlier turn. `signature` and `redacted` must reach the provider that made them unchanged.
#[derive(Clone, Debug, Default)]
pub struct ReasoningPart {
    pub text: String,
    pub signature: Option<String>,
    /// Encrypted thinking; then `text` is empty.
    pub redacted: Option<String>,
}

#[derive(Clone, Debug)]
pub enum Tool {
    Function(Function),
    /// A provider-run tool, verbatim; only its own dialect can carry it.
    Opaque {
        kind: String,
        json: Box<RawValue>,
        dialect: Dialect,
    },
}

#[derive(Clone, Debug)]
pub struct Function {
    pub name: String,
    pub description: Option<String>,
    /// JSON Schema of the arguments, byte for byte; `None` = no arguments.
    pub parameters: Option<Box<RawValue>>,
    pub strict: Option<bool>,
    pub cache: Option<CacheMark>,
    pub extra: Extra,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    Auto,
    None,
    /// Some tool must be called.
    Required,
    Function(String),
}

#[derive(Clone, Debug)]
pub enum ResponseFormat {
    Text,
    JsonObject,
    JsonSchema { name: String, description: Option<String>, schema: Option<Box<RawValue>>, strict: Option<bool> },
}

/// How much to think: by word, by budget, or explicitly not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reasoning {
    Effort(String),
    BudgetTokens(u64),
    /// The model decides (Anthropic `adaptive`).
    Adaptive,
    Off,
}

// === impl Part ===

impl Part {
    pub fn new(content: Content) -> Self {
        Self { content, cache: None, extra: Extra::default() }
    }

    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Content::Text(text.into()))
    }
}

// === impl Message ===

impl Message {
    pub fn new(role: Role, parts: Vec<Part>) -> Self {
        Self { role, parts, name: None, extra: Extra::default() }
    }
}
