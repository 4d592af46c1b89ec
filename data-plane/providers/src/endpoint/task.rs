//! Where a provider has the operations that are not conversations, and in which form.

use gateway_ir::task::Form;
use gateway_model::catalog::{self, Row, TaskRow};
use gateway_model::kind::provider::Provider;
use http::Uri;

use super::url::Url;
use super::{azure, google_models};

/// An operation at a provider.
pub(super) struct Offer {
    form: Form,
    url: Url,
    at_once: Option<usize>,
    /// Of which models; empty: of all.
    models: Vec<String>,
}

/// An operation for one model.
#[derive(Clone, Debug)]
pub struct Operation {
    pub form: Form,
    /// The whole URI.
    pub uri: Uri,
    /// How many inputs one request may have, where the vendor says so.
    pub at_once: Option<usize>,
}

// === impl Offer ===

impl Offer {
    pub(super) fn form(&self) -> Form {
        self.form
    }

    pub(super) fn covers(&self, model: &str) -> bool {
        self.models.is_empty() || catalog::covers(&self.models, model)
    }

    pub(super) fn operation(&self, model: &str) -> Operation {
        Operation { form: self.form, uri: self.url.for_model(model), at_once: self.at_once }
    }
}

/// What the catalogue's row names. A base URL that cannot be read offers nothing; that it cannot is told elsewhere.
pub(super) fn offers(provider: &Provider, row: &Row) -> Vec<Offer> {
    let Some(base) = super::base(provider, row) else { return Vec::new() };
    let offer = |task: &TaskRow| {
        let form = Form::parse(&task.form)?;
        let url = match (task.path.as_deref().unwrap_or(tail(form)), form) {
            (tail, _) if row.id == "azure" => azure::operation(provider, base.clone(), tail),
            (tail, Form::GeminiEmbed) => base.clone().around_model(&google_models(provider, &base), tail),
            (tail, Form::BedrockCohereEmbed | Form::BedrockTitanEmbed | Form::BedrockNovaEmbed) => {
                base.clone().around_model("/model/", tail)
            }
            (tail, _) => base.clone().fixed(tail),
        };
        Some(Offer { form, url: url.ok()?, at_once: task.at_once, models: task.models.clone() })
    };
    row.tasks.iter().filter_map(offer).collect()
}

/// What stands behind the base URL, or behind the model where that is a part of the path.
fn tail(form: Form) -> &'static str {
    match form {
        Form::OpenAiEmbeddings | Form::MistralEmbeddings | Form::VoyageEmbeddings | Form::JinaEmbeddings => {
            "/embeddings"
        }
        Form::CohereEmbed => "/v2/embed",
        Form::GeminiEmbed => ":batchEmbedContents",
        Form::GeminiEmbedOne => ":embedContent",
        Form::OllamaEmbed => "/api/embed",
        Form::BedrockCohereEmbed | Form::BedrockTitanEmbed | Form::BedrockNovaEmbed => "/invoke",
        Form::JinaRerank | Form::VoyageRerank => "/rerank",
        Form::CohereRerank => "/v2/rerank",
        Form::OpenAiModerations => "/moderations",
        Form::OpenAiImages => "/images/generations",
        Form::OpenAiSpeech => "/audio/speech",
        Form::OpenAiImageEdits => "/images/edits",
        Form::OpenAiImageVariations => "/images/variations",
        Form::OpenAiTranscriptions => "/audio/transcriptions",
        Form::OpenAiTranslations => "/audio/translations",
    }
}
