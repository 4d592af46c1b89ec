//! Method and path → what is asked. Nothing else of the request is looked at here.

use gateway_dialects::dialect::{ClientCounter, ClientDialect};
use gateway_dialects::registry;
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::{Code, Failure};
use gateway_ir::task::Form;
use http::{HeaderValue, Method};

use crate::pages::{self, Page};
use crate::pprof;

pub(crate) mod gemini;
pub(crate) mod pass;
pub(crate) mod stored;
pub(crate) mod conversations;

/// What the data listener serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Chat(Dialect),
    /// How many tokens a request of this dialect is, without asking for a reply.
    CountTokens(Dialect),
    /// What is no conversation, in the client's form. Errors are told as OpenAI does, or as whoever the form is from.
    Task(Form),
    /// `GET /v1/models`, or Google's `GET /v1beta/models`.
    Models(Dialect),
    /// `GET /v1/models/{id}`, or Google's; the id may hold slashes.
    Model(Dialect, String),
    /// A connection on which responses are asked for, one after the other.
    Socket,
    /// What is asked about a response that was given.
    Stored(stored::Stored),
    /// What is asked about conversations that are kept.
    Conversations(conversations::Wanted),
    /// What passes as it is. Errors are told as OpenAI does.
    Pass(pass::Way),
    Health,
    Ready,
    Metrics,
    /// Which methods the path takes.
    Options,
    /// `GET /.well-known/gateway-llm-receipts.json`
    ReceiptKey,
    /// `GET /statsz`
    Statistics,
    /// `GET /debug/pprof/…`
    Pprof(pprof::Kind),
    /// A page of the documentation.
    Page(&'static Page),
}

/// What a client wants of a model. Every errand is identified, resolved, admitted, attempted and recorded alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// A reply.
    Chat,
    /// The number of tokens that the request is. Nobody is charged for it.
    CountTokens,
    /// What is no conversation, asked in this form.
    Task(Form),
}

// === impl Errand ===

impl Errand {
    /// The wire language of the request, for logs and metrics.
    pub(crate) fn language(self, dialect: Dialect) -> &'static str {
        match self {
            Self::Chat | Self::CountTokens => dialect.name(),
            Self::Task(form) => form.name(),
        }
    }

    fn of(self, dialect: Dialect) -> Operation {
        match self {
            Self::Chat => Operation::Chat(dialect),
            Self::CountTokens => Operation::CountTokens(dialect),
            Self::Task(form) => Operation::Task(form),
        }
    }
}

/// Resolves a request line. Duplicate slashes are collapsed: some clients join `…/` and `/v1` carelessly.
pub(crate) fn operation(method: &Method, path: &str) -> Result<Operation, Box<Failure>> {
    if let Some(rest) = path.trim_start_matches('/').strip_prefix("proxy/") {
        // The rest is the vendor's, slashes among it.
        return pass::proxied(rest).map(Operation::Pass);
    }
    let path = collapse(path);
    let (wanted, operation) = match path.as_ref() {
        "/v1/chat/completions" => (Method::POST, Operation::Chat(Dialect::OpenAiChat)),
        "/v1/completions" => (Method::POST, Operation::Chat(Dialect::OpenAiCompletions)),
        "/v1/responses" if *method == Method::GET => (Method::GET, Operation::Socket),
        "/v1/responses" => (Method::POST, Operation::Chat(Dialect::OpenAiResponses)),
        "/v1/responses/input_tokens" => (Method::POST, Operation::CountTokens(Dialect::OpenAiResponses)),
        "/v1/conversations" => (Method::POST, Operation::Conversations(conversations::Wanted::Create)),
        "/v1/messages" | "/anthropic/v1/messages" => (Method::POST, Operation::Chat(Dialect::AnthropicMessages)),
        "/v1/messages/count_tokens" | "/anthropic/v1/messages/count_tokens" => {
            (Method::POST, Operation::CountTokens(Dialect::AnthropicMessages))
        }
        "/v1/embeddings" => (Method::POST, Operation::Task(Form::OpenAiEmbeddings)),
        "/v1/rerank" => (Method::POST, Operation::Task(Form::JinaRerank)),
        "/v2/rerank" => (Method::POST, Operation::Task(Form::CohereRerank)),
        "/v1/moderations" => (Method::POST, Operation::Task(Form::OpenAiModerations)),
        "/v1/images/generations" => (Method::POST, Operation::Task(Form::OpenAiImages)),
        "/v1/images/edits" => (Method::POST, Operation::Task(Form::OpenAiImageEdits)),
        "/v1/images/variations" => (Method::POST, Operation::Task(Form::OpenAiImageVariations)),
        "/v1/audio/transcriptions" => (Method::POST, Operation::Task(Form::OpenAiTranscriptions)),
        "/v1/audio/translations" => (Method::POST, Operation::Task(Form::OpenAiTranslations)),
        "/v1/audio/speech" => (Method::POST, Operation::Task(Form::OpenAiSpeech)),
        "/v1/models" => (Method::GET, Operation::Models(Dialect::OpenAiChat)),
        "/anthropic/v1/models" => (Method::GET, Operation::Models(Dialect::AnthropicMessages)),
        "/v1beta/models" | "/v1alpha/models" => (Method::GET, Operation::Models(Dialect::GeminiGenerate)),
        "/health" | "/healthz" | "/health/liveliness" => (Method::GET, Operation::Health),
        "/ready" | "/health/ready" | "/health/readiness" => (Method::GET, Operation::Ready),
        "/metrics" => (Method::GET, Operation::Metrics),
        "/.well-known/gateway-llm-receipts.json" => (Method::GET, Operation::ReceiptKey),
        "/statsz" => (Method::GET, Operation::Statistics),
        other if let Some(kind) = pprof::at(other) => (Method::GET, Operation::Pprof(kind)),
        other if let Some(page) = pages::at(other) => (Method::GET, Operation::Page(page)),
        other if let Some(asked) = gemini::asked(other) => (Method::POST, asked.errand.of(Dialect::GeminiGenerate)),
        other => match model(other) {
            // A method of Google's that is none of ours.
            Some((Dialect::GeminiGenerate, id)) if *method == Method::POST && id.contains(':') => {
                return Err(unknown(method, other));
            }
            Some((_, id)) if id.is_empty() => return Err(unknown(method, other)),
            Some((dialect, id)) => (Method::GET, Operation::Model(dialect, id)),
            None if *method == Method::OPTIONS && !methods(other).is_empty() => return Ok(Operation::Options),
            None if let Some(rest) = other.strip_prefix("/v1/responses/") => {
                let stored = stored::Stored::read(method, rest).unwrap_or_else(|| Err(unknown(method, other)));
                return stored.map(Operation::Stored);
            }
            None if let Some(rest) = other.strip_prefix("/v1/conversations/") => {
                let wanted = conversations::Wanted::read(method, rest).unwrap_or_else(|| Err(unknown(method, other)));
                return wanted.map(Operation::Conversations);
            }
            None => {
                return pass::way(method, other).unwrap_or_else(|| Err(unknown(method, other))).map(Operation::Pass);
            }
        },
    };
    match *method {
        ref given if *given == wanted => Ok(operation),
        Method::HEAD if wanted == Method::GET => Ok(operation),
        Method::OPTIONS => Ok(Operation::Options),
        _ => {
            let message = format!("`{path}` takes {wanted}, not {method}");
            Err(Box::new(Failure::new(Code::MethodNotAllowed, message)))
        }
    }
}

/// The methods that a path takes, as `Allow` has them; empty where there is no such path.
pub(crate) fn methods(path: &str) -> String {
    const ALL: [Method; 6] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let taken: Vec<&str> = ALL.iter().filter(|method| operation(method, path).is_ok()).map(Method::as_str).collect();
    if taken.is_empty() { String::new() } else { format!("{}, OPTIONS", taken.join(", ")) }
}

/// [`methods`] as the value of a header.
pub(crate) fn allow(methods: &str) -> HeaderValue {
    HeaderValue::from_str(methods).expect("names of methods are visible ASCII")
}

/// `…/models/{id}`, in whose words.
fn model(path: &str) -> Option<(Dialect, String)> {
    let places = [
        ("/v1/models/", Dialect::OpenAiChat),
        ("/anthropic/v1/models/", Dialect::AnthropicMessages),
        ("/v1beta/models/", Dialect::GeminiGenerate),
        ("/v1alpha/models/", Dialect::GeminiGenerate),
    ];
    let (dialect, id) = places.iter().find_map(|(before, dialect)| Some((*dialect, path.strip_prefix(before)?)))?;
    Some((dialect, percent_decoded(id)))
}

/// The dialect in which a path's callers expect errors.
pub(crate) fn error_dialect(path: &str) -> Dialect {
    let path = collapse(path);
    match path.as_ref() {
        "/v1/completions" => Dialect::OpenAiCompletions,
        path if path == "/v1/responses" || path.starts_with("/v1/responses/") => Dialect::OpenAiResponses,
        path if path.starts_with("/v1beta/") || path.starts_with("/v1alpha/") || gemini::asked(path).is_some() => {
            Dialect::GeminiGenerate
        }
        path if path.starts_with("/v1/messages") || path.starts_with("/anthropic/") => Dialect::AnthropicMessages,
        _ => Dialect::OpenAiChat,
    }
}

/// The dialect in which callers of a form expect errors.
pub(crate) fn task_dialect(form: Form) -> Dialect {
    match form {
        Form::GeminiEmbed | Form::GeminiEmbedOne => Dialect::GeminiGenerate,
        _ => Dialect::OpenAiChat,
    }
}

/// What the callers of an operation speak.
pub(crate) fn spoken(dialect: Dialect) -> &'static dyn ClientDialect {
    registry::client_dialect(dialect).expect("the paths above name only dialects that clients speak")
}

/// How the callers of [`Operation::CountTokens`] ask and are told.
pub(crate) fn counted(dialect: Dialect) -> &'static dyn ClientCounter {
    registry::client_counter(dialect).expect("the paths above name only dialects whose clients count")
}

fn unknown(method: &Method, path: &str) -> Box<Failure> {
    let message = if path == "/admin" || path.starts_with("/admin/") {
        // A node writes no configuration, and may have no control plane beside it.
        format!(
            "`{path}` is served by the control plane, on its admin listener (by default port 8081), not by this node"
        )
    } else {
        format!("there is no `{method} {path}`; the API begins at /v1, for instance POST /v1/chat/completions")
    };
    Box::new(Failure::new(Code::UnknownPath, message))
}

fn collapse(path: &str) -> std::borrow::Cow<'_, str> {
    if !path.contains("//") {
        return path.into();
    }
    let mut collapsed = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !collapsed.ends_with('/') {
            collapsed.push(character);
        }
    }
    collapsed.into()
}

/// `%2F` and the like in a model id. What is no valid escape stays as it is.
pub(crate) fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talks(wanted: conversations::Wanted) -> Result<Operation, u16> {
        Ok(Operation::Conversations(wanted))
    }

    fn stored(id: &str, act: stored::Act) -> Result<Operation, u16> {
        Ok(Operation::Stored(stored::Stored { id: id.to_owned(), act }))
    }

    #[test]
    fn paths_and_methods() {
        let chat = Operation::Chat(Dialect::OpenAiChat);
        let messages = Operation::Chat(Dialect::AnthropicMessages);
        let count = Operation::CountTokens(Dialect::AnthropicMessages);
        let model = |id: &str| Operation::Model(Dialect::OpenAiChat, id.to_owned());
        let cases = [
            ("POST", "/v1/chat/completions", Ok(chat.clone())),
            ("POST", "//v1//chat/completions", Ok(chat)),
            ("POST", "/v1/completions", Ok(Operation::Chat(Dialect::OpenAiCompletions))),
            ("POST", "/v1/responses", Ok(Operation::Chat(Dialect::OpenAiResponses))),
            ("GET", "/v1/responses", Ok(Operation::Socket)),
            ("HEAD", "/v1/responses", Err(405)),
            ("POST", "/v1/messages", Ok(messages.clone())),
            ("POST", "/anthropic/v1/messages", Ok(messages)),
            ("POST", "/v1/messages/count_tokens", Ok(count.clone())),
            ("POST", "/anthropic/v1/messages/count_tokens", Ok(count)),
            ("POST", "/v1/responses/input_tokens", Ok(Operation::CountTokens(Dialect::OpenAiResponses))),
            ("POST", "/v1beta/models/g:generateContent", Ok(Operation::Chat(Dialect::GeminiGenerate))),
            ("POST", "/v1/models/a/g:streamGenerateContent", Ok(Operation::Chat(Dialect::GeminiGenerate))),
            ("POST", "/v1beta/models/g:countTokens", Ok(Operation::CountTokens(Dialect::GeminiGenerate))),
            ("GET", "/v1beta/models/g:generateContent", Err(405)),
            ("POST", "/v1beta/models/g:embedContent", Ok(Operation::Task(Form::GeminiEmbedOne))),
            ("POST", "/v1beta/models/g:predict", Err(404)),
            ("POST", "/v1/embeddings", Ok(Operation::Task(Form::OpenAiEmbeddings))),
            ("GET", "/v1/embeddings", Err(405)),
            ("POST", "/v1/rerank", Ok(Operation::Task(Form::JinaRerank))),
            ("POST", "/v2/rerank", Ok(Operation::Task(Form::CohereRerank))),
            ("GET", "/v1/messages/count_tokens", Err(405)),
            ("GET", "/v1/chat/completions", Err(405)),
            ("DELETE", "/v1/responses/resp_1", stored("resp_1", stored::Act::Delete)),
            ("HEAD", "/v1/responses/resp_1", stored("resp_1", stored::Act::Get)),
            ("GET", "/v1/responses/r%2F1/input_items", stored("r/1", stored::Act::InputItems)),
            ("POST", "/v1/responses/resp_1/cancel", stored("resp_1", stored::Act::Cancel)),
            ("POST", "/v1/responses/resp_1", Err(405)),
            ("GET", "/v1/responses/resp_1/cancel", Err(405)),
            ("GET", "/v1/responses/input_tokens", Err(405)),
            ("GET", "/v1/responses/", Err(404)),
            ("GET", "/v1/responses/resp_1/other", Err(404)),
            ("POST", "/v1/conversations", talks(conversations::Wanted::Create)),
            ("GET", "/v1/conversations", Err(405)),
            ("POST", "/v1/conversations/c", talks(conversations::Wanted::Update { id: "c".to_owned() })),
            ("HEAD", "/v1/conversations/c%2F1/items", talks(conversations::Wanted::Items { id: "c/1".to_owned() })),
            (
                "DELETE",
                "/v1/conversations/c/items/i",
                talks(conversations::Wanted::DeleteItem { id: "c".to_owned(), item: "i".to_owned() }),
            ),
            ("PUT", "/v1/conversations/c", Err(405)),
            ("DELETE", "/v1/conversations/c/items", Err(405)),
            ("POST", "/v1/conversations/c/items/i", Err(405)),
            ("GET", "/v1/conversations/", Err(404)),
            ("GET", "/v1/conversations/c/items/", Err(404)),
            ("GET", "/v1/conversations/c/other", Err(404)),
            ("GET", "/v1/models/openai/gpt-5%2e2", Ok(model("openai/gpt-5.2"))),
            ("GET", "/v1/models/%zz", Ok(model("%zz"))),
            ("GET", "/v1/models", Ok(Operation::Models(Dialect::OpenAiChat))),
            ("GET", "/v1beta/models", Ok(Operation::Models(Dialect::GeminiGenerate))),
            ("GET", "/v1beta/models/a/b", Ok(Operation::Model(Dialect::GeminiGenerate, "a/b".to_owned()))),
            ("POST", "/v1beta/models", Err(405)),
            ("GET", "/v1/models/", Err(404)),
            ("HEAD", "/health", Ok(Operation::Health)),
            ("OPTIONS", "/v1/messages", Ok(Operation::Options)),
            ("GET", "/admin/keys", Err(404)),
            ("POST", "/docs", Err(405)),
            ("GET", "/nothing", Err(404)),
        ];
        for (method, path, expected) in cases {
            let method = method.parse().expect("a method");
            let found = operation(&method, path).map_err(|failure| failure.status);
            assert_eq!(found, expected, "{method} {path}");
            assert_eq!(spoken(error_dialect(path)).id(), error_dialect(path));
            match found {
                Ok(Operation::Chat(dialect)) => assert_eq!(spoken(dialect).id(), dialect),
                Ok(Operation::CountTokens(dialect)) => assert_eq!(counted(dialect).id(), dialect),
                _ => {}
            }
        }
    }
}
