//! The names of the wire languages.

use std::fmt;

/// A wire language that clients or upstreams speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialect {
    /// `POST /v1/chat/completions`, <https://platform.openai.com/docs/api-reference/chat>.
    OpenAiChat,
    /// `POST /v1/completions`, <https://platform.openai.com/docs/api-reference/completions>.
    OpenAiCompletions,
    /// `POST /v1/responses`, <https://platform.openai.com/docs/api-reference/responses>.
    OpenAiResponses,
    /// `POST /v1/messages`, <https://docs.anthropic.com/en/api/messages>.
    AnthropicMessages,
    /// `POST /v1beta/models/{model}:generateContent`, <https://ai.google.dev/api/generate-content>.
    GeminiGenerate,
    /// `POST /v2/chat`, <https://docs.cohere.com/reference/chat>.
    CohereV2,
    /// `POST /api/chat`, <https://docs.ollama.com/api/chat>.
    OllamaChat,
    /// `POST /model/{model}/converse`, <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>.
    BedrockConverse,
}

// === impl Dialect ===

impl Dialect {
    pub const ALL: [Self; 8] = [
        Self::OpenAiChat,
        Self::OpenAiCompletions,
        Self::OpenAiResponses,
        Self::AnthropicMessages,
        Self::GeminiGenerate,
        Self::CohereV2,
        Self::OllamaChat,
        Self::BedrockConverse,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai-chat",
            Self::OpenAiCompletions => "openai-completions",
            Self::OpenAiResponses => "openai-responses",
            Self::AnthropicMessages => "anthropic-messages",
            Self::GeminiGenerate => "gemini-generate",
            Self::CohereV2 => "cohere-v2",
            Self::OllamaChat => "ollama-chat",
            Self::BedrockConverse => "bedrock-converse",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == name)
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
