//! Where a provider lists its models, and how that list is written.

use std::sync::Arc;

use bytes::Bytes;
use gateway_ir::dialect::Dialect;
use gateway_ir::offer::Format;
use gateway_model::catalog::Row;
use gateway_model::kind::provider::Provider;
use http::Uri;

use super::azure;
use super::base_url;
use super::url::{Base, Url, encoded};

/// A provider's list of models.
pub struct Listing {
    pub format: Format,
    base: Base,
    tail: &'static str,
    /// The name of the parameter that asks for a further page.
    page: &'static str,
    /// The list itself, for whoever has to connect.
    list: Url,
}

/// Bedrock's models run at one host and are listed at another,
/// <https://docs.aws.amazon.com/general/latest/gr/bedrock.html>.
const BEDROCK_RUNS: &str = "bedrock-runtime.";
const BEDROCK_LISTS: &str = "bedrock.";

// === impl Listing ===

impl Listing {
    fn new(format: Format, base: Base, tail: &'static str, page: &'static str) -> Option<Self> {
        let list = base.clone().fixed(tail).ok()?;
        Some(Self { format, base, tail, page, list })
    }

    /// The list, or what follows after a page of it.
    pub fn uri(&self, after: Option<&str>) -> Option<Uri> {
        let more = after.map(|after| format!("&{}={}", self.page, encoded(after))).unwrap_or_default();
        self.at(&format!("{}{more}", self.tail))
    }

    /// Where Ollama tells about one model; it is asked by `POST`.
    pub fn details_uri(&self) -> Option<Uri> {
        if self.format == Format::Ollama { self.at("/api/show") } else { None }
    }

    /// Name or address of who is asked, which may be another host than the one that serves.
    pub fn host(&self) -> &Arc<str> {
        self.list.host()
    }

    /// Host and port as the `host` header wants them.
    pub fn authority(&self) -> &Bytes {
        self.list.authority()
    }

    fn at(&self, tail: &str) -> Option<Uri> {
        Some(self.base.clone().fixed(tail).ok()?.for_model(""))
    }
}

/// `None` where there is none.
pub(super) fn listing(provider: &Provider, row: &Row) -> Option<Listing> {
    let base_url = base_url(provider, row)?;
    let base = |text: &str| Base::parse(text, provider.allow_private_networks).ok();
    match row.id.as_str() {
        "demo" => return None,
        // What is deployed, and not all that could be.
        "azure" => {
            let (root, tail) = (azure::resource(&base_url), "/openai/deployments?api-version=2023-03-15-preview");
            return Listing::new(Format::Azure, base(root)?, tail, "");
        }
        "bedrock" => {
            let lists = base_url.replacen(&format!("://{BEDROCK_RUNS}"), &format!("://{BEDROCK_LISTS}"), 1);
            // Models that run by a profile only go by the profile's name.
            let tail = "/foundation-models?byInferenceType=ON_DEMAND";
            return Listing::new(Format::Bedrock, base(&lists)?, tail, "");
        }
        "vertex" => {
            let root = ["/v1", "/v1beta1"].iter().find_map(|version| base_url.strip_suffix(version));
            let tail = "/v1beta1/publishers/google/models?pageSize=200";
            return Listing::new(Format::Vertex, base(root.unwrap_or(&base_url))?, tail, "pageToken");
        }
        _ => {}
    }
    let base = base(&base_url)?;
    let is_versioned = ["/v1", "/v1beta"].iter().any(|version| base.path().ends_with(version));
    let (format, tail, page) = match Dialect::parse(&row.dialect)? {
        Dialect::OpenAiChat | Dialect::OpenAiCompletions | Dialect::OpenAiResponses => (Format::OpenAi, "/models", ""),
        Dialect::AnthropicMessages => (Format::Anthropic, "/v1/models?limit=1000", "after_id"),
        Dialect::GeminiGenerate if is_versioned => (Format::Gemini, "/models?pageSize=1000", "pageToken"),
        Dialect::GeminiGenerate => (Format::Gemini, "/v1beta/models?pageSize=1000", "pageToken"),
        Dialect::OllamaChat => (Format::Ollama, "/api/tags", ""),
        Dialect::CohereV2 => (Format::Cohere, "/v1/models?page_size=1000", "page_token"),
        Dialect::BedrockConverse => return None,
    };
    Listing::new(format, base, tail, page)
}
