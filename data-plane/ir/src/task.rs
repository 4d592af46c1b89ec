//! The names of the operations that are not conversations, and of the forms in which vendors offer them.

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    Embeddings,
    Rerank,
    Moderations,
    /// Pictures from a text.
    Images,
    /// Speech from a text.
    Speech,
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
    /// `POST /v1/rerank`, <https://api.jina.ai/redoc>; so do vLLM, llama.cpp and Together, and so did Cohere's first version.
    JinaRerank,
    /// `POST /v2/rerank`, <https://docs.cohere.com/reference/rerank>.
    CohereRerank,
    /// `POST /v1/rerank`, <https://docs.voyageai.com/reference/reranker-api>.
    VoyageRerank,
    /// `POST /v1/moderations`, <https://platform.openai.com/docs/api-reference/moderations>.
    OpenAiModerations,
    /// `POST /v1/images/generations`, <https://platform.openai.com/docs/api-reference/images/create>.
    OpenAiImages,
    /// `POST /v1/audio/speech`, <https://platform.openai.com/docs/api-reference/audio/createSpeech>.
    OpenAiSpeech,
}

// === impl Form ===

impl Form {
    pub const ALL: [Self; 13] = [
        Self::OpenAiEmbeddings,
        Self::MistralEmbeddings,
        Self::VoyageEmbeddings,
        Self::JinaEmbeddings,
        Self::CohereEmbed,
        Self::GeminiEmbed,
        Self::OllamaEmbed,
        Self::JinaRerank,
        Self::CohereRerank,
        Self::VoyageRerank,
        Self::OpenAiModerations,
        Self::OpenAiImages,
        Self::OpenAiSpeech,
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
            Self::JinaRerank | Self::CohereRerank | Self::VoyageRerank => Task::Rerank,
            Self::OpenAiModerations => Task::Moderations,
            Self::OpenAiImages => Task::Images,
            Self::OpenAiSpeech => Task::Speech,
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
            Self::JinaRerank => "jina-rerank",
            Self::CohereRerank => "cohere-rerank",
            Self::VoyageRerank => "voyage-rerank",
            Self::OpenAiModerations => "openai-moderations",
            Self::OpenAiImages => "openai-images",
            Self::OpenAiSpeech => "openai-speech",
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
            Self::Rerank => "rerank",
            Self::Moderations => "moderations",
            Self::Images => "images",
            Self::Speech => "speech",
        }
    }
}
