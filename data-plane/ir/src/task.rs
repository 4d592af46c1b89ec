//! The names of the operations that are not conversations, and of the forms in which vendors offer them.

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    Embeddings,
}

/// A task's wire shape: how its request is written and its answer read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// `POST /v1/embeddings`, <https://platform.openai.com/docs/api-reference/embeddings>.
    OpenAiEmbeddings,
    /// `POST /v1/embeddings`, <https://docs.mistral.ai/api/#tag/embeddings>.
    MistralEmbeddings,
    /// `POST /v1/embeddings`, <https://docs.voyageai.com/reference/embeddings-api>.
    VoyageEmbeddings,
    /// `POST /v1/embeddings`, <https://api.jina.ai/redoc>.
    JinaEmbeddings,
    /// `POST /v2/embed`, <https://docs.cohere.com/reference/embed>.
    CohereEmbed,
    /// `POST /v1beta/models/{model}:batchEmbedContents`, <https://ai.google.dev/api/embeddings>.
    GeminiEmbed,
    /// `POST /api/embed`, <https://docs.ollama.com/api/embed>.
    OllamaEmbed,
}

// === impl Form ===

impl Form {
    pub const ALL: [Self; 7] = [
        Self::OpenAiEmbeddings,
        Self::MistralEmbeddings,
        Self::VoyageEmbeddings,
        Self::JinaEmbeddings,
        Self::CohereEmbed,
        Self::GeminiEmbed,
        Self::OllamaEmbed,
    ];

    pub fn task(self) -> Task {
        match self {
            Self::OpenAiEmbeddings
            | Self::MistralEmbeddings
            | Self::VoyageEmbeddings
            | Self::JinaEmbeddings
            | Self::CohereEmbed
            | Self::GeminiEmbed
            | Self::OllamaEmbed => Task::Embeddings,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAiEmbeddings => "openai-embeddings",
            Self::MistralEmbeddings => "mistral-embeddings",
            Self::VoyageEmbeddings => "voyage-embeddings",
            Self::JinaEmbeddings => "jina-embeddings",
            Self::CohereEmbed => "cohere-embed",
            Self::GeminiEmbed => "gemini-embed",
            Self::OllamaEmbed => "ollama-embed",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.name() == name)
    }
}

// === impl Task ===

impl Task {
    pub fn name(self) -> &'static str {
        match self {
            Self::Embeddings => "embeddings",
        }
    }
}
