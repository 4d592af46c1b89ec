//! The data plane's part of the OpenAPI document, written from what the router says: a row names a method and a path, the router
//! says which operation that is, and the operation has its forms. What the router does not know cannot be described, and an
//! operation without a description does not build.
//!
//! Used when `docs/api` is made; nothing here runs while a node serves.

use gateway_ir::dialect::Dialect;
use gateway_ir::task::Form;
use http::Method;
use serde_json::{Map, Value, json};

use crate::ingress::conversations::Wanted;
use crate::ingress::pass::Way;
use crate::ingress::stored::Act;
use crate::ingress::{self, Operation};
use crate::pprof;

/// A method of a path, and what it is for.
struct Row {
    method: Method,
    /// A name in braces stands for a segment; `{model}` and `{path}` for several.
    path: &'static str,
    id: &'static str,
    about: &'static str,
}

const fn row(method: Method, path: &'static str, id: &'static str, about: &'static str) -> Row {
    Row { method, path, id, about }
}

const POST: Method = Method::POST;
const GET: Method = Method::GET;
const PUT: Method = Method::PUT;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;

/// In the order of the reference.
const ROWS: &[Row] = &[
    row(POST, "/v1/chat/completions", "createChatCompletion", "Answer a conversation (OpenAI)"),
    row(POST, "/v1/completions", "createCompletion", "Continue a text (OpenAI, legacy)"),
    row(POST, "/v1/responses", "createResponse", "Answer a conversation (OpenAI Responses)"),
    row(POST, "/v1/responses/input_tokens", "countResponseTokens", "Count the tokens of a Responses request"),
    row(GET, "/v1/responses", "connectResponses", "Ask for responses over a WebSocket, one after the other (OpenAI)"),
    row(GET, "/v1/responses/{response}", "getResponse", "A response of the caller's that is kept"),
    row(DELETE, "/v1/responses/{response}", "deleteResponse", "Forget a response"),
    row(GET, "/v1/responses/{response}/input_items", "listInputItems", "What a response answered"),
    row(POST, "/v1/responses/{response}/cancel", "cancelResponse", "Stop a response that is made in the background"),
    row(POST, "/v1/conversations", "createConversation", "Begin a conversation that is kept (OpenAI)"),
    row(GET, "/v1/conversations/{conversation}", "getConversation", "A conversation of the caller's"),
    row(POST, "/v1/conversations/{conversation}", "updateConversation", "Give a conversation other metadata"),
    row(DELETE, "/v1/conversations/{conversation}", "deleteConversation", "Forget a conversation"),
    row(GET, "/v1/conversations/{conversation}/items", "listConversationItems", "What was said in a conversation"),
    row(POST, "/v1/conversations/{conversation}/items", "createConversationItems", "Add items to a conversation"),
    row(GET, "/v1/conversations/{conversation}/items/{item}", "getConversationItem", "One item of a conversation"),
    row(DELETE, "/v1/conversations/{conversation}/items/{item}", "deleteConversationItem", "Take an item out"),
    row(POST, "/v1/messages", "createMessage", "Answer a conversation (Anthropic)"),
    row(POST, "/v1/messages/count_tokens", "countMessageTokens", "Count the tokens of a Messages request"),
    row(POST, "/anthropic/v1/messages", "createMessageUnderPrefix", "The same as /v1/messages"),
    row(
        POST,
        "/anthropic/v1/messages/count_tokens",
        "countMessageTokensUnderPrefix",
        "The same as /v1/messages/count_tokens",
    ),
    row(POST, "/v1beta/models/{model}:generateContent", "generateContent", "Answer a conversation (Gemini)"),
    row(
        POST,
        "/v1beta/models/{model}:streamGenerateContent",
        "streamGenerateContent",
        "Answer a conversation piece by piece (Gemini)",
    ),
    row(POST, "/v1beta/models/{model}:countTokens", "countGeminiTokens", "Count the tokens of a Gemini request"),
    row(POST, "/v1beta/models/{model}:embedContent", "embedGeminiContent", "The vector of a text (Gemini)"),
    row(POST, "/v1beta/models/{model}:batchEmbedContents", "embedGeminiContents", "Vectors of texts (Gemini)"),
    row(POST, "/v1/embeddings", "createEmbeddings", "Vectors of texts (OpenAI)"),
    row(POST, "/v1/rerank", "rerank", "Order documents by a question (Jina, Cohere v1)"),
    row(POST, "/v2/rerank", "rerankV2", "Order documents by a question (Cohere v2)"),
    row(POST, "/v1/moderations", "createModeration", "Judge texts (OpenAI)"),
    row(POST, "/v1/images/generations", "createImage", "Pictures from a text (OpenAI)"),
    row(POST, "/v1/images/edits", "createImageEdit", "Pictures from pictures and a text (OpenAI)"),
    row(POST, "/v1/images/variations", "createImageVariation", "Pictures like another one (OpenAI)"),
    row(POST, "/v1/audio/speech", "createSpeech", "Speech from a text (OpenAI)"),
    row(POST, "/v1/audio/transcriptions", "createTranscription", "The text of a recording (OpenAI)"),
    row(POST, "/v1/audio/translations", "createTranslation", "The English text of a recording (OpenAI)"),
    row(GET, "/v1/models", "listAvailableModels", "The models that the key may use"),
    row(GET, "/v1/models/{model}", "getAvailableModel", "One model; its id may hold slashes"),
    row(GET, "/anthropic/v1/models", "listAnthropicModels", "The same in Anthropic's words"),
    row(GET, "/anthropic/v1/models/{model}", "getAnthropicModel", "The same in Anthropic's words"),
    row(GET, "/v1beta/models", "listGeminiModels", "The same in Google's words"),
    row(GET, "/v1beta/models/{model}", "getGeminiModel", "The same in Google's words"),
    row(GET, "/v1alpha/models", "listGeminiAlphaModels", "The same in Google's words"),
    row(GET, "/v1alpha/models/{model}", "getGeminiAlphaModel", "The same in Google's words"),
    row(GET, "/v1/files", "listFiles", "Files that a vendor keeps"),
    row(POST, "/v1/files", "createFile", "Give a vendor a file, passed on as it comes"),
    row(GET, "/v1/files/{file}", "getFile", "What is known of a file"),
    row(DELETE, "/v1/files/{file}", "deleteFile", "Delete a file"),
    row(GET, "/v1/files/{file}/content", "getFileContent", "A file's bytes"),
    row(GET, "/v1/batches", "listBatches", "Batches at a vendor"),
    row(POST, "/v1/batches", "createBatch", "Start a batch"),
    row(GET, "/v1/batches/{batch}", "getBatch", "How a batch stands"),
    row(POST, "/v1/batches/{batch}/cancel", "cancelBatch", "Stop a batch"),
    row(GET, "/v1/realtime", "connectRealtime", "Talk with a model over a WebSocket (OpenAI)"),
    row(POST, "/v1/a2a", "callOnlyAgent", "Call the agent, where there is one"),
    row(GET, "/v1/a2a/.well-known/agent-card.json", "getOnlyAgentCard", "What the agent says of itself"),
    row(POST, "/v1/a2a/{agent}", "callAgent", "Call an agent (A2A, JSON-RPC)"),
    row(GET, "/v1/a2a/{agent}/.well-known/agent-card.json", "getAgentCard", "What an agent says of itself"),
    row(GET, "/v1/realtime", "realtime", "A conversation over a WebSocket (OpenAI Realtime)"),
    row(GET, "/proxy/{provider}/{path}", "proxyGet", "Any path of a provider, with the gateway's credential"),
    row(POST, "/proxy/{provider}/{path}", "proxyPost", "Any path of a provider, with the gateway's credential"),
    row(PUT, "/proxy/{provider}/{path}", "proxyPut", "Any path of a provider, with the gateway's credential"),
    row(PATCH, "/proxy/{provider}/{path}", "proxyPatch", "Any path of a provider, with the gateway's credential"),
    row(DELETE, "/proxy/{provider}/{path}", "proxyDelete", "Any path of a provider, with the gateway's credential"),
    row(GET, "/v1/{path}", "passGet", "Any other path of OpenAI's API, where the policy lets it pass"),
    row(POST, "/v1/{path}", "passPost", "Any other path of OpenAI's API, where the policy lets it pass"),
    row(PUT, "/v1/{path}", "passPut", "Any other path of OpenAI's API, where the policy lets it pass"),
    row(PATCH, "/v1/{path}", "passPatch", "Any other path of OpenAI's API, where the policy lets it pass"),
    row(DELETE, "/v1/{path}", "passDelete", "Any other path of OpenAI's API, where the policy lets it pass"),
    row(GET, "/health", "health", "Whether the process answers"),
    row(GET, "/healthz", "healthz", "The same; the body says OK"),
    row(GET, "/health/liveliness", "liveliness", "The same"),
    row(GET, "/ready", "ready", "Whether it can do its work; 503 and a reason if not"),
    row(GET, "/health/ready", "healthReady", "The same as /ready"),
    row(GET, "/health/readiness", "readiness", "The same as /ready"),
    row(GET, "/metrics", "metrics", "Numbers for Prometheus"),
    row(
        GET,
        "/statsz",
        "statistics",
        "Models, latency and providers since the start; takes the operators' key where there is one",
    ),
    row(GET, "/debug/pprof/", "profiles", "What can be profiled; 404 without `--pprof`, and takes the operators' key"),
    row(GET, "/debug/pprof/profile", "profileCpu", "Where processor time goes, for `go tool pprof`; `?seconds=30`"),
    row(GET, "/debug/pprof/goroutine", "profileTasks", "Tasks and threads; `?debug=1` as text"),
    row(GET, "/debug/pprof/heap", "profileHeap", "What is allocated meanwhile and still held"),
    row(GET, "/debug/pprof/block", "profileBlock", "Refused, and why"),
    row(GET, "/debug/pprof/mutex", "profileMutex", "Refused, and why"),
    row(
        GET,
        "/.well-known/gateway-llm-receipts.json",
        "receiptKey",
        "The key that this node signs receipts with; 404 where it writes none",
    ),
    row(GET, "/", "landing", "A page with links"),
    row(GET, "/docs", "docs", "This reference as a page"),
    row(GET, "/docs/style.css", "docsStyle", "How the page looks"),
    row(GET, "/openapi.json", "openapi", "This document"),
    row(GET, "/docs/openapi.yaml", "openapiYaml", "This document; JSON, which is YAML"),
];

/// What an operation takes and gives, by the names of `schemas.json`.
struct Forms {
    tag: &'static str,
    body: Option<(&'static str, &'static str)>,
    replies: Vec<(&'static str, Option<&'static str>)>,
    needs_key: bool,
}

const JSON: &str = "application/json";
const FORM: &str = "multipart/form-data";
const EVENTS: &str = "text/event-stream";

/// `paths`, `components.schemas` and `tags` of what the data listener serves.
pub fn fragment() -> Value {
    let mut paths = Map::new();
    for row in ROWS {
        let sample = sample(row.path);
        let operation = ingress::operation(&row.method, &sample)
            .unwrap_or_else(|_| panic!("`{} {}` is described and not served", row.method, row.path));
        let path = paths.entry(row.path).or_insert_with(|| json!({}));
        path[row.method.as_str().to_ascii_lowercase()] = described(row, &operation);
    }
    let schemas: Value = serde_json::from_str(include_str!("openapi/schemas.json")).expect("the file is JSON");
    json!({
        "tags": [
            {"name": "conversations", "description": "What language models answer, in the dialect of the caller."},
            {"name": "tasks", "description": "Everything else that models do."},
            {"name": "models", "description": "What may be asked for."},
            {"name": "files", "description": "What vendors keep; ids lead back to the vendor that gave them."},
            {"name": "agents", "description": "Agents that are configured (A2A)."},
            {"name": "passthrough", "description": "What is passed on as it comes."},
            {"name": "operations", "description": "For those who run the gateway. With `--ops-listen` on a listener of their own."},
            {"name": "pages", "description": "For those who look around."},
        ],
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

fn described(row: &Row, operation: &Operation) -> Value {
    let forms = forms(operation);
    let mut described = json!({"operationId": row.id, "summary": row.about, "tags": [forms.tag]});
    if !forms.needs_key {
        described["security"] = json!([]);
    }
    let parameters: Vec<Value> = names(row.path).map(path_parameter).collect();
    if !parameters.is_empty() {
        described["parameters"] = Value::Array(parameters);
    }
    if let Some((kind, schema)) = forms.body {
        described["requestBody"] = json!({"required": true, "content": {kind: {"schema": reference(schema)}}});
    }
    let content: Map<String, Value> = forms
        .replies
        .iter()
        .map(|(kind, schema)| {
            ((*kind).to_owned(), schema.map_or(json!({}), |schema| json!({"schema": said(row, kind, schema)})))
        })
        .collect();
    described["responses"]["200"] = json!({"description": "What was asked for", "content": content});
    let refused = match operation {
        Operation::Models(Dialect::OpenAiChat) | Operation::Model(Dialect::OpenAiChat, _) => "ListedError",
        _ => error(ingress::error_dialect(row.path)),
    };
    let error = json!({JSON: {"schema": reference(refused)}});
    if operation == &Operation::Ready {
        described["responses"]["503"] =
            json!({"description": "Not yet, or no longer", "content": {JSON: {"schema": reference("Ready")}}});
    }
    let may_refuse = matches!(operation, Operation::Statistics | Operation::Pprof(_) | Operation::ReceiptKey);
    if forms.needs_key || may_refuse {
        described["responses"]["default"] =
            json!({"description": "Refused, in the caller's dialect", "content": error});
    }
    described
}

fn forms(operation: &Operation) -> Forms {
    let asked = |tag, body, replies| Forms { tag, body: Some(body), replies, needs_key: true };
    let shown = |tag, kind, schema| Forms { tag, body: None, replies: vec![(kind, schema)], needs_key: false };
    match operation {
        Operation::Chat(dialect) => {
            let (body, reply, event) = conversation(*dialect);
            asked("conversations", (JSON, body), vec![(JSON, Some(reply)), (EVENTS, Some(event))])
        }
        Operation::CountTokens(dialect) => {
            let (body, reply) = count(*dialect);
            asked("conversations", (JSON, body), vec![(JSON, Some(reply))])
        }
        Operation::Task(form) => {
            let (body, replies) = task(*form);
            asked("tasks", body, replies)
        }
        Operation::Models(dialect) => Forms { needs_key: true, ..shown("models", JSON, Some(listed(*dialect).0)) },
        Operation::Model(dialect, _) => Forms { needs_key: true, ..shown("models", JSON, Some(listed(*dialect).1)) },
        Operation::Socket => Forms { needs_key: true, ..shown("conversations", "*/*", None) },
        Operation::Stored(stored) => {
            let reply = match stored.act {
                Act::Get | Act::Cancel => "Response",
                Act::Delete => "DeletedResponse",
                Act::InputItems => "ResponseItems",
            };
            let mut forms = Forms { needs_key: true, ..shown("conversations", JSON, Some(reply)) };
            if stored.act == Act::Get {
                forms.replies.push((EVENTS, Some("ResponseEvent")));
            }
            forms
        }
        Operation::Conversations(wanted) => {
            let (body, reply) = talked(wanted);
            Forms { body: body.map(|body| (JSON, body)), needs_key: true, ..shown("conversations", JSON, Some(reply)) }
        }
        Operation::Pass(way) => Forms { needs_key: true, ..shown(passed(way), "*/*", None) },
        Operation::Health => shown("operations", JSON, Some("Health")),
        Operation::Ready => shown("operations", JSON, Some("Ready")),
        Operation::Metrics => shown("operations", "text/plain", None),
        Operation::Page(page) => shown("pages", bare(page.kind), None),
        Operation::Statistics => shown("operations", JSON, Some("Statistics")),
        Operation::ReceiptKey => shown("operations", JSON, None),
        Operation::Pprof(pprof::Kind::Index) => shown("operations", "text/plain", None),
        Operation::Pprof(_) => shown("operations", "application/octet-stream", None),
        Operation::Options => unreachable!("no row has the method OPTIONS"),
    }
}

/// Request and reply of what is asked about a conversation.
fn talked(wanted: &Wanted) -> (Option<&'static str>, &'static str) {
    match wanted {
        Wanted::Create => (Some("ConversationRequest"), "Conversation"),
        Wanted::Update { .. } => (Some("ConversationUpdate"), "Conversation"),
        Wanted::Get { .. } | Wanted::DeleteItem { .. } => (None, "Conversation"),
        Wanted::Delete { .. } => (None, "DeletedResponse"),
        Wanted::Items { .. } => (None, "ResponseItems"),
        Wanted::AddItems { .. } => (Some("ConversationItems"), "ResponseItems"),
        Wanted::Item { .. } => (None, "ConversationItem"),
    }
}

/// The schema of a reply: of events, what the data of each is; of Google's stream that is no events, an array of them.
fn said(row: &Row, kind: &str, schema: &str) -> Value {
    match kind {
        EVENTS => {
            let data = json!({"type": "string", "contentMediaType": JSON, "contentSchema": reference(schema)});
            json!({"type": "object", "properties": {"data": data}})
        }
        _ if row.path.ends_with(":streamGenerateContent") => json!({"type": "array", "items": reference(schema)}),
        _ => reference(schema),
    }
}

/// The list of models and one of them.
fn listed(dialect: Dialect) -> (&'static str, &'static str) {
    match dialect {
        Dialect::AnthropicMessages => ("AnthropicModels", "AnthropicModel"),
        Dialect::GeminiGenerate => ("GeminiModels", "GeminiModel"),
        // The header of the credential, or the version that is asked for, says whose client it is.
        _ => ("ListedModels", "ListedModel"),
    }
}

/// Under which heading it stands.
fn passed(way: &Way) -> &'static str {
    match way {
        Way::Kept { .. } => "files",
        Way::Realtime | Way::Held { .. } => "conversations",
        Way::AgentCall { .. } | Way::AgentCard { .. } => "agents",
        Way::Proxy { .. } | Way::Other { .. } => "passthrough",
    }
}

/// Request, reply and event of a client's dialect.
fn conversation(dialect: Dialect) -> (&'static str, &'static str, &'static str) {
    match dialect {
        Dialect::OpenAiChat => ("ChatCompletionRequest", "ChatCompletion", "ChatCompletionChunk"),
        Dialect::OpenAiCompletions => ("CompletionRequest", "Completion", "Completion"),
        Dialect::OpenAiResponses => ("ResponseRequest", "Response", "ResponseEvent"),
        Dialect::AnthropicMessages => ("MessageRequest", "Message", "MessageEvent"),
        Dialect::GeminiGenerate => ("GenerateContentRequest", "GenerateContentResponse", "GenerateContentResponse"),
        Dialect::BedrockConverse | Dialect::CohereV2 | Dialect::OllamaChat => {
            unreachable!("no path is in a dialect that only upstreams speak")
        }
    }
}

fn count(dialect: Dialect) -> (&'static str, &'static str) {
    match dialect {
        Dialect::OpenAiResponses => ("ResponseRequest", "ResponseInputTokens"),
        Dialect::AnthropicMessages => ("MessageCountRequest", "MessageCount"),
        Dialect::GeminiGenerate => ("GeminiCountRequest", "GeminiCount"),
        _ => unreachable!("callers of this dialect do not count"),
    }
}

type Body = (&'static str, &'static str);

fn task(form: Form) -> (Body, Vec<(&'static str, Option<&'static str>)>) {
    match form {
        Form::GeminiEmbed => ((JSON, "GeminiEmbeddingsRequest"), vec![(JSON, Some("GeminiEmbeddings"))]),
        Form::GeminiEmbedOne => ((JSON, "GeminiEmbeddingRequest"), vec![(JSON, Some("GeminiEmbedding"))]),
        Form::OpenAiEmbeddings => ((JSON, "EmbeddingsRequest"), vec![(JSON, Some("Embeddings"))]),
        Form::JinaRerank | Form::CohereRerank => ((JSON, "RerankRequest"), vec![(JSON, Some("Rerank"))]),
        Form::OpenAiModerations => ((JSON, "ModerationsRequest"), vec![(JSON, Some("Moderations"))]),
        Form::OpenAiImages => ((JSON, "ImagesRequest"), vec![(JSON, Some("Images")), (EVENTS, None)]),
        Form::OpenAiImageEdits => ((FORM, "ImageEditsRequest"), vec![(JSON, Some("Images")), (EVENTS, None)]),
        Form::OpenAiImageVariations => ((FORM, "ImageVariationsRequest"), vec![(JSON, Some("Images"))]),
        Form::OpenAiSpeech => ((JSON, "SpeechRequest"), vec![("audio/*", None), (EVENTS, None)]),
        Form::OpenAiTranscriptions | Form::OpenAiTranslations => {
            let replies = vec![(JSON, Some("Transcription")), ("text/plain", None), ("text/vtt", None), (EVENTS, None)];
            ((FORM, "TranscriptionsRequest"), replies)
        }
        Form::MistralEmbeddings
        | Form::VoyageEmbeddings
        | Form::JinaEmbeddings
        | Form::CohereEmbed
        | Form::OllamaEmbed
        | Form::BedrockCohereEmbed
        | Form::BedrockTitanEmbed
        | Form::BedrockNovaEmbed
        | Form::VoyageRerank => unreachable!("no path takes this form from clients"),
    }
}

fn error(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::AnthropicMessages => "AnthropicError",
        Dialect::GeminiGenerate => "GeminiError",
        _ => "OpenAiError",
    }
}

/// The names in braces.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|part| part.split('}').next())
}

fn path_parameter(name: &str) -> Value {
    let mut parameter =
        json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}});
    if ["model", "path"].contains(&name) {
        parameter["description"] = json!("May hold slashes.");
    }
    parameter
}

/// A path that fits the template.
fn sample(path: &str) -> String {
    names(path).fold(path.to_owned(), |sample, name| sample.replace(&format!("{{{name}}}"), "a"))
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// A media type without its parameters.
fn bare(kind: &'static str) -> &'static str {
    kind.split(';').next().unwrap_or(kind)
}

#[cfg(test)]
mod tests;
