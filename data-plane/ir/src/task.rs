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
    /// Pictures from pictures and a text.
    ImageEdits,
    /// Pictures like another one.
    ImageVariations,
    /// The text of a recording.
    Transcriptions,
    /// The same in English.
    Translations,
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
    /// `POST /v1beta/models/{model}:embedContent`, which clients ask and no upstream is asked.
    GeminiEmbedOne,
    /// `POST /api/embed`, <https://docs.ollama.com/api/embed>.
    OllamaEmbed,
    /// `POST /model/{model}/invoke` of Cohere's models on Amazon Bedrock,
    /// <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html>.
    BedrockCohereEmbed,
    /// The same of Amazon's Titan models,
    /// <https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html>.
    BedrockTitanEmbed,
    /// The same of Amazon's Nova models, <https://docs.aws.amazon.com/nova/latest/userguide/embeddings-schema.html>.
    BedrockNovaEmbed,
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
    /// `POST /v1/images/edits`, <https://platform.openai.com/docs/api-reference/images/createEdit>.
    OpenAiImageEdits,
    /// `POST /v1/images/variations`, <https://platform.openai.com/docs/api-reference/images/createVariation>.
    OpenAiImageVariations,
    /// `POST /v1/audio/transcriptions`, <https://platform.openai.com/docs/api-reference/audio/createTranscription>.
    OpenAiTranscriptions,
    /// `POST /v1/audio/translations`, <https://platform.openai.com/docs/api-reference/audio/createTranslation>.
    OpenAiTranslations,
}

// === impl Form ===

impl Form {
    pub const ALL: [Self; 20] = [
        Self::OpenAiEmbeddings,
        Self::MistralEmbeddings,
        Self::VoyageEmbeddings,
        Self::JinaEmbeddings,
        Self::CohereEmbed,
        Self::GeminiEmbed,
        Self::OllamaEmbed,
        Self::BedrockCohereEmbed,
        Self::BedrockTitanEmbed,
        Self::BedrockNovaEmbed,
        Self::JinaRerank,
        Self::CohereRerank,
        Self::VoyageRerank,
        Self::OpenAiModerations,
        Self::OpenAiImages,
        Self::OpenAiSpeech,
        Self::OpenAiImageEdits,
        Self::OpenAiImageVariations,
        Self::OpenAiTranscriptions,
        Self::OpenAiTranslations,
    ];

    pub fn task(self) -> Task {
        match self {
            Self::OpenAiEmbeddings
            | Self::MistralEmbeddings
            | Self::VoyageEmbeddings
            | Self::JinaEmbeddings
            | Self::CohereEmbed
            | Self::GeminiEmbed
            | Self::GeminiEmbedOne
            | Self::OllamaEmbed
            | Self::BedrockCohereEmbed
            | Self::BedrockTitanEmbed
            | Self::BedrockNovaEmbed => Task::Embeddings,
            Self::JinaRerank | Self::CohereRerank | Self::VoyageRerank => Task::Rerank,
            Self::OpenAiModerations => Task::Moderations,
            Self::OpenAiImages => Task::Images,
            Self::OpenAiSpeech => Task::Speech,
            Self::OpenAiImageEdits => Task::ImageEdits,
            Self::OpenAiImageVariations => Task::ImageVariations,
            Self::OpenAiTranscriptions => Task::Transcriptions,
            Self::OpenAiTranslations => Task::Translations,
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
            Self::GeminiEmbedOne => "gemini-embed-one",
            Self::OllamaEmbed => "ollama-embed",
            Self::BedrockCohereEmbed => "bedrock-cohere-embed",
            Self::BedrockTitanEmbed => "bedrock-titan-embed",
            Self::BedrockNovaEmbed => "bedrock-nova-embed",
            Self::JinaRerank => "jina-rerank",
            Self::CohereRerank => "cohere-rerank",
            Self::VoyageRerank => "voyage-rerank",
            Self::OpenAiModerations => "openai-moderations",
            Self::OpenAiImages => "openai-images",
            Self::OpenAiSpeech => "openai-speech",
            Self::OpenAiImageEdits => "openai-image-edits",
            Self::OpenAiImageVariations => "openai-image-variations",
            Self::OpenAiTranscriptions => "openai-transcriptions",
            Self::OpenAiTranslations => "openai-translations",
        }
    }

    /// Whether clients may send a form of several parts (`multipart/form-data`), files among them.
    pub fn takes_parts(self) -> bool {
        matches!(self.task(), Task::ImageEdits | Task::ImageVariations | Task::Transcriptions | Task::Translations)
    }

    /// Whether the model stands in parts of the body, too, so that a body does not pass as it is.
    pub fn names_models_within(self) -> bool {
        matches!(self, Self::GeminiEmbed | Self::GeminiEmbedOne)
    }

    /// The form of a provider that declares it so.
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
            Self::ImageEdits => "image edits",
            Self::ImageVariations => "image variations",
            Self::Transcriptions => "transcriptions",
            Self::Translations => "translations",
        }
    }
}
