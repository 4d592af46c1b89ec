//! The list of dialects, and of the families of operations that are not conversations.

use gateway_ir::dialect::Dialect as Id;
use gateway_ir::task::Task;

use crate::anthropic_messages::AnthropicMessages;
use crate::bedrock_converse::BedrockConverse;
use crate::cohere_v2::CohereV2;
use crate::dialect::{ClientCounter, ClientDialect, Counter, Dialect};
use crate::embeddings::Embeddings;
use crate::gemini_generate::GeminiGenerate;
use crate::ollama_chat::OllamaChat;
use crate::openai_chat::OpenAiChat;
use crate::openai_completions::OpenAiCompletions;
use crate::openai_responses::OpenAiResponses;
use crate::passing::Passing;
use crate::rerank::Rerank;
use crate::task::Family;

/// The dialect of an id. Exhaustive: a new id does not build without its module.
pub fn dialect(id: Id) -> &'static dyn Dialect {
    match id {
        Id::OpenAiChat => &OpenAiChat,
        Id::OpenAiCompletions => &OpenAiCompletions,
        Id::OpenAiResponses => &OpenAiResponses,
        Id::AnthropicMessages => &AnthropicMessages,
        Id::GeminiGenerate => &GeminiGenerate,
        Id::CohereV2 => &CohereV2,
        Id::OllamaChat => &OllamaChat,
        Id::BedrockConverse => &BedrockConverse,
    }
}

/// The dialect of an id, if clients speak it.
pub fn client_dialect(id: Id) -> Option<&'static dyn ClientDialect> {
    match id {
        Id::OpenAiChat => Some(&OpenAiChat),
        Id::OpenAiCompletions => Some(&OpenAiCompletions),
        Id::OpenAiResponses => Some(&OpenAiResponses),
        Id::AnthropicMessages => Some(&AnthropicMessages),
        Id::GeminiGenerate => Some(&GeminiGenerate),
        Id::CohereV2 | Id::OllamaChat | Id::BedrockConverse => None,
    }
}

/// The dialect of an id, if its upstreams count the tokens of a request.
pub fn counter(id: Id) -> Option<&'static dyn Counter> {
    match id {
        Id::OpenAiResponses => Some(&OpenAiResponses),
        Id::AnthropicMessages => Some(&AnthropicMessages),
        Id::GeminiGenerate => Some(&GeminiGenerate),
        Id::BedrockConverse => Some(&BedrockConverse),
        Id::OpenAiChat | Id::OpenAiCompletions | Id::CohereV2 | Id::OllamaChat => None,
    }
}

/// The dialect of an id, if its clients ask for the tokens of a request.
pub fn client_counter(id: Id) -> Option<&'static dyn ClientCounter> {
    match id {
        Id::OpenAiResponses => Some(&OpenAiResponses),
        Id::AnthropicMessages => Some(&AnthropicMessages),
        Id::GeminiGenerate => Some(&GeminiGenerate),
        Id::OpenAiChat | Id::OpenAiCompletions | Id::CohereV2 | Id::OllamaChat | Id::BedrockConverse => None,
    }
}

/// The family of a task. Exhaustive: a new task does not build without its module.
pub fn family(task: Task) -> &'static dyn Family {
    match task {
        Task::Embeddings => &Embeddings,
        Task::Rerank => &Rerank,
        Task::Moderations => &Passing::Moderations,
        Task::Images | Task::ImageEdits | Task::ImageVariations => &Passing::Pictures,
        Task::Speech => &Passing::Speech,
        Task::Transcriptions | Task::Translations => &Passing::Transcripts,
    }
}
