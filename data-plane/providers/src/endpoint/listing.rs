//! Where a provider lists its models, and how that list is written.

use gateway_ir::dialect::Dialect;
use gateway_ir::offer::Format;
use gateway_model::catalog::Row;
use gateway_model::kind::provider::Provider;
use http::Uri;

use super::base_url;
use super::url::{Base, encoded};

/// A provider's list of models.
pub struct Listing {
    pub format: Format,
    base: Base,
    tail: &'static str,
    /// The name of the parameter that asks for a further page.
    page: &'static str,
}

// === impl Listing ===

impl Listing {
    /// The list, or what follows after a page of it.
    pub fn uri(&self, after: Option<&str>) -> Option<Uri> {
        let more = after.map(|after| format!("&{}={}", self.page, encoded(after))).unwrap_or_default();
        self.at(&format!("{}{more}", self.tail))
    }

    /// Where Ollama tells about one model; it is asked by `POST`.
    pub fn details_uri(&self) -> Option<Uri> {
        if self.format == Format::Ollama { self.at("/api/show") } else { None }
    }

    fn at(&self, tail: &str) -> Option<Uri> {
        Some(self.base.clone().fixed(tail).ok()?.for_model(""))
    }
}

/// `None` where there is none, or none that says what this account may use: Azure lists what could be deployed, Bedrock is asked at
/// another host, Vertex lists the whole garden.
pub(super) fn listing(provider: &Provider, row: &Row) -> Option<Listing> {
    if matches!(row.id.as_str(), "azure" | "bedrock" | "vertex" | "demo") {
        return None;
    }
    let base = Base::parse(&base_url(provider, row)?, provider.allow_private_networks).ok()?;
    let is_versioned = ["/v1", "/v1beta"].iter().any(|version| base.path().ends_with(version));
    let (format, tail, page) = match Dialect::parse(&row.dialect)? {
        Dialect::OpenAiChat | Dialect::OpenAiCompletions | Dialect::OpenAiResponses => (Format::OpenAi, "/models", ""),
        Dialect::AnthropicMessages => (Format::Anthropic, "/v1/models?limit=1000", "after_id"),
        Dialect::GeminiGenerate if is_versioned => (Format::Gemini, "/models?pageSize=1000", "pageToken"),
        Dialect::GeminiGenerate => (Format::Gemini, "/v1beta/models?pageSize=1000", "pageToken"),
        Dialect::OllamaChat => (Format::Ollama, "/api/tags", ""),
        Dialect::CohereV2 | Dialect::BedrockConverse => return None,
    };
    Some(Listing { format, base, tail, page })
}
