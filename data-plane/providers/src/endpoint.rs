//! One provider's address and headers, compiled once when the configuration changes. It says where requests go; whether the
//! resolved address may be called is asked of `destination` by the connector.

mod url;
mod azure;
mod task;
mod pass;
mod listing;
mod vertex;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use gateway_ir::dialect::Dialect;
use gateway_ir::task::Task;
use gateway_model::catalog::{Auth, Row};
use gateway_model::kind::provider::{AzureAuth, Gcp, Provider};
use gateway_model::problem::{Code, Problem};
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::credential;
use crate::sign::sigv4::Signer;
pub use listing::Listing;
pub use task::Operation;
use url::Url;
pub use url::encoded;

pub use vertex::{TokenRequest, TokenSource, Unusable};

/// The version of Anthropic's API that the `anthropic-messages` dialect speaks.
const ANTHROPIC_VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("anthropic-version"), HeaderValue::from_static("2023-06-01"));

/// Where a provider's chat operation is and what every request to it carries. Cheap to read, never changes.
pub struct Endpoint {
    url: Url,
    /// Where the vendor has another one for streams.
    stream_url: Option<Url>,
    /// Dialects that the vendor speaks beside that of its kind.
    also: Vec<(Dialect, Url)>,
    /// Where the vendor counts tokens, and the dialect in which it is asked.
    count_url: Option<(Dialect, Url)>,
    /// What it offers beside conversations.
    tasks: Vec<task::Offer>,
    /// Where it lists its models. Boxed: asked for once in a while.
    listing: Option<Box<Listing>>,
    headers: HeaderMap,
    signer: Option<Signer>,
    token_source: Option<Arc<TokenSource>>,
    allow_private_networks: bool,
    /// What passes as it is.
    api: pass::Api,
    has_credential: bool,
    is_demo: bool,
}

// === impl Endpoint ===

impl Endpoint {
    /// Compiles a provider of the catalogue's kind `row`. Problems carry the provider's field paths.
    pub fn compile(provider: &Provider, row: &Row) -> Result<Self, Vec<Problem>> {
        let is_demo = row.id == "demo";
        let mut problems = Vec::new();
        let urls = match (base_url(provider, row).as_deref(), is_demo) {
            (_, true) => Some((Url::nowhere(), None)),
            (Some(base_url), false) => operations(provider, row, base_url)
                .inspect_err(|fault| {
                    problems.push(Problem::error(fault.code, path(provider, "base_url"), fault.message.clone()));
                })
                .ok(),
            (None, false) => {
                let message = format!("`{}` has no default base URL; give the server's", row.id);
                problems.push(Problem::error(Code::MissingField, path(provider, "base_url"), message));
                None
            }
        };
        let headers = headers(provider, row, &mut problems);
        let token_source = vertex::token_source(provider).unwrap_or_else(|(field, fault)| {
            problems.push(Problem::error(fault.code, path(provider, field), fault.message));
            None
        });
        match urls {
            Some((url, stream_url)) if problems.is_empty() => Ok(Self {
                url,
                stream_url,
                also: others(provider, row),
                count_url: count(provider, row),
                tasks: task::offers(provider, row),
                listing: listing::listing(provider, row).map(Box::new),
                headers,
                signer: signer(provider),
                token_source: token_source.map(Arc::new),
                allow_private_networks: provider.allow_private_networks,
                api: base(provider, row).map(|base| pass::Api::of(provider, row, &base)).unwrap_or_default(),
                has_credential: is_demo || pass::has_credential(provider, row),
                is_demo,
            }),
            _ => Err(problems),
        }
    }

    /// The whole URI of the chat operation. A clone without allocation, unless the model is a part of the path; then the
    /// model is percent-encoded into it.
    pub fn uri(&self, dialect: Dialect, model: &str, stream: bool) -> Uri {
        let other = self.also.iter().find(|(known, _)| *known == dialect).map(|(_, url)| url);
        let own = || self.stream_url.as_ref().filter(|_| stream);
        other.or_else(own).unwrap_or(&self.url).for_model(model)
    }

    /// The whole URI of the operation that counts a request's tokens, and the dialect of its request; `None` where the vendor
    /// has none.
    pub fn count_uri(&self, model: &str) -> Option<(Dialect, Uri)> {
        self.count_url.as_ref().map(|(dialect, url)| (*dialect, url.for_model(model)))
    }

    /// The operation of a task, with its whole URI; `None` where the vendor has none.
    pub fn task(&self, task: Task, model: &str) -> Option<Operation> {
        self.tasks
            .iter()
            .find(|offer| offer.form().task() == task && offer.covers(model))
            .map(|offer| offer.operation(model))
    }

    /// The list of its models; `None` where there is none that says what this account may use.
    pub fn listing(&self) -> Option<&Listing> {
        self.listing.as_deref()
    }

    /// Whether requests carry something that proves who we are.
    pub fn has_credential(&self) -> bool {
        self.signer.is_some() || self.token_source.is_some() || self.headers.values().any(HeaderValue::is_sensitive)
    }

    /// Sent with every request, the credential among them, which is marked sensitive.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Whether the vendor speaks this dialect beside that of its kind.
    pub fn also_speaks(&self, dialect: Dialect) -> bool {
        self.also.iter().any(|(known, _)| *known == dialect)
    }

    /// What proves who we are where a header that is the same for every request does not.
    pub fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    /// Who hands out the tokens that prove who we are, where those are short-lived.
    pub fn token_source(&self) -> Option<&Arc<TokenSource>> {
        self.token_source.as_ref()
    }

    pub fn tls(&self) -> bool {
        self.url.tls()
    }

    /// Name or address; an IPv6 address in brackets.
    pub fn host(&self) -> &Arc<str> {
        self.url.host()
    }

    pub fn port(&self) -> u16 {
        self.url.port()
    }

    /// Host and port as the `host` header wants them.
    pub fn authority(&self) -> &Bytes {
        self.url.authority()
    }

    pub fn allow_private_networks(&self) -> bool {
        self.allow_private_networks
    }

    /// Answered inside the gateway; there is nowhere to connect to.
    pub fn is_demo(&self) -> bool {
        self.is_demo
    }
}

/// The URL only: header values may be secrets even where they are not marked.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The provider's own, else the catalogue's.
fn base_url(provider: &Provider, row: &Row) -> Option<String> {
    let region = provider.aws.as_ref().map_or("", |aws| aws.region.as_str());
    let location = provider.gcp.as_ref().map(Gcp::host_prefix).unwrap_or_default();
    let own = provider.base_url.clone();
    own.or_else(|| Some(row.base_url.as_ref()?.replace("{region}", region).replace("{location}", &location)))
}

/// The same, checked; what is wrong with it is told elsewhere.
fn base(provider: &Provider, row: &Row) -> Option<url::Base> {
    url::Base::parse(&base_url(provider, row)?, provider.allow_private_networks).ok()
}

fn signer(provider: &Provider) -> Option<Signer> {
    let aws = provider.aws.as_ref()?;
    Some(Signer {
        access_key_id: aws.access_key_id.clone()?,
        secret_access_key: aws.secret_access_key.clone()?,
        session_token: aws.session_token.clone(),
        region: aws.region.clone(),
        service: "bedrock",
    })
}

/// The URLs of the chat operation under `base_url`: for a whole reply, and for a stream where that is another one.
fn operations(provider: &Provider, row: &Row, base_url: &str) -> Result<(Url, Option<Url>), url::Fault> {
    let base = || url::Base::parse(base_url, provider.allow_private_networks);
    match (row.chat_path.as_deref(), row.dialect.as_str()) {
        (None, "gemini-generate") => {
            let base = base()?;
            let before = google_models(provider, &base);
            let stream = base.clone().around_model(&before, ":streamGenerateContent?alt=sse")?;
            Ok((base.around_model(&before, ":generateContent")?, Some(stream)))
        }
        (None, "bedrock-converse") => {
            let stream = base()?.around_model("/model/", "/converse-stream")?;
            Ok((base()?.around_model("/model/", "/converse")?, Some(stream)))
        }
        _ => operation(provider, row, base_url).map(|url| (url, None)),
    }
}

/// The URLs of OpenAI's other dialects that the vendor has.
fn others(provider: &Provider, row: &Row) -> Vec<(Dialect, Url)> {
    let Some(base) = base(provider, row) else { return Vec::new() };
    let declared = [
        (Dialect::OpenAiResponses, row.responses, "/responses"),
        (Dialect::OpenAiCompletions, row.completions, "/completions"),
    ];
    let is_azure = row.id == "azure";
    let there = declared
        .into_iter()
        .filter(|(dialect, is_declared, _)| *is_declared && (!is_azure || azure::has(&base, *dialect)));
    let url = |tail| match is_azure {
        true => azure::operation(provider, base.clone(), tail),
        false => base.clone().fixed(tail),
    };
    there.filter_map(|(dialect, _, tail)| Some((dialect, url(tail).ok()?))).collect()
}

/// The URL of the operation that counts tokens, where the vendor has it.
fn count(provider: &Provider, row: &Row) -> Option<(Dialect, Url)> {
    if !row.counts_tokens {
        return None;
    }
    let base = base(provider, row)?;
    let (dialect, url) = match Dialect::parse(&row.dialect)? {
        Dialect::AnthropicMessages => (Dialect::AnthropicMessages, base.fixed("/v1/messages/count_tokens")),
        Dialect::GeminiGenerate => {
            let before = google_models(provider, &base);
            (Dialect::GeminiGenerate, base.around_model(&before, ":countTokens"))
        }
        Dialect::BedrockConverse => (Dialect::BedrockConverse, base.around_model("/model/", "/count-tokens")),
        _ if row.responses => (Dialect::OpenAiResponses, base.fixed("/responses/input_tokens")),
        _ => return None,
    };
    Some((dialect, url.ok()?))
}

/// What stands before a model of Google's: roots are written with and without the version.
fn google_models(provider: &Provider, base: &url::Base) -> String {
    let is_versioned = ["/v1", "/v1beta", "/v1beta1"].iter().any(|version| base.path().ends_with(version));
    match (&provider.gcp, is_versioned) {
        (Some(gcp), true) => vertex::models(gcp),
        (Some(gcp), false) => format!("/v1{}", vertex::models(gcp)),
        (None, true) => "/models/".to_owned(),
        (None, false) => "/v1beta/models/".to_owned(),
    }
}

/// The URL of the chat operation where there is one.
fn operation(provider: &Provider, row: &Row, base_url: &str) -> Result<Url, url::Fault> {
    let base = url::Base::parse(base_url, provider.allow_private_networks)?;
    if row.id == "azure" {
        return azure::operation(provider, base, "/chat/completions");
    }
    base.fixed(match (row.chat_path.as_deref(), row.dialect.as_str()) {
        (Some(path), _) => path,
        (None, "anthropic-messages") => "/v1/messages",
        (None, "cohere-v2") => "/v2/chat",
        (None, "ollama-chat") => "/api/chat",
        (None, "openai-completions") => "/completions",
        (None, _) => "/chat/completions",
    })
}

/// Those of the dialect, the provider's own over them, our credential over all.
fn headers(provider: &Provider, row: &Row, problems: &mut Vec<Problem>) -> HeaderMap {
    // Room for what a request adds to its copy: a map that grows is hashed anew.
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Replies are read and passed on as they are; decompressing them would only add delay.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("gateway/", env!("CARGO_PKG_VERSION"))));
    if row.auth == Auth::XApiKey {
        let (name, value) = ANTHROPIC_VERSION;
        headers.insert(name, value);
    }
    for (name, value) in &provider.headers {
        match (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str())) {
            (Ok(name), Ok(value)) => {
                headers.insert(name, value);
            }
            (Err(_), _) => {
                let message = format!("`{name}` is no header name");
                problems.push(Problem::error(Code::InvalidValue, path(provider, "headers"), message));
            }
            (_, Err(_)) => {
                let field = format!("headers.{name}");
                let message = "the value holds characters that a header may not have, such as a line break";
                problems.push(Problem::error(Code::InvalidValue, path(provider, &field), message));
            }
        }
    }
    let is_entra = provider.azure.as_ref().is_some_and(|azure| azure.auth == AzureAuth::Entra);
    let auth = if is_entra { Auth::Bearer } else { row.auth };
    match provider.api_key.as_ref().and_then(|secret| credential::header(auth, secret)) {
        Some(Ok((name, value))) => {
            headers.insert(name, value);
        }
        Some(Err(credential::Unsendable)) => {
            let message = "the key holds characters that a header may not have, such as a line break";
            problems.push(Problem::error(Code::InvalidValue, path(provider, "api_key"), message));
        }
        None => {}
    }
    headers
}

fn path(provider: &Provider, field: &str) -> String {
    format!("providers[{}].{field}", provider.name)
}

#[cfg(test)]
mod tests;
