//! Azure's ways to write a URL, told apart by the end of the base URL.
//!
//! | base URL ends in | operation | model | `api-version` |
//! |---|---|---|---|
//! | `/openai/v1` | `/chat/completions` | in the body | optional |
//! | `/models` | `/chat/completions` | in the body | demanded |
//! | the resource's root | `/openai/deployments/{model}/chat/completions` | a deployment, in the path | demanded |
//!
//! <https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle>

use gateway_ir::dialect::Dialect;
use gateway_model::kind::provider::Provider;

use super::url::{Base, Fault, Url, encoded};

/// What is demanded and not given.
const API_VERSION: &str = "2024-10-21";

/// The URL of an operation; `tail` is OpenAI's, such as `/chat/completions`.
pub(super) fn operation(provider: &Provider, base: Base, tail: &str) -> Result<Url, Fault> {
    let given = provider.azure.as_ref().and_then(|azure| azure.api_version.as_deref());
    let query = |version: &str| format!("?api-version={}", encoded(version));
    if is_v1(&base) {
        return base.fixed(&format!("{tail}{}", given.map(query).unwrap_or_default()));
    }
    let query = query(given.unwrap_or(API_VERSION));
    if has_any_vendor(&base) {
        return base.fixed(&format!("{tail}{query}"));
    }
    base.around_model("/openai/deployments/", &format!("{tail}{query}"))
}

/// The root of the operations that concern no deployment, and the query that they demand.
pub(super) fn api(provider: &Provider, base: &Base) -> (String, Option<String>) {
    let given = provider.azure.as_ref().and_then(|azure| azure.api_version.as_deref());
    let query = |version: &str| format!("api-version={}", encoded(version));
    if is_v1(base) {
        return (base.path().to_owned(), given.map(query));
    }
    let tail = if has_any_vendor(base) { "" } else { "/openai" };
    (format!("{}{tail}", base.path()), Some(query(given.unwrap_or(API_VERSION))))
}

/// The resource's root, whichever form of the API stands behind it.
pub(super) fn resource(base_url: &str) -> &str {
    let url = base_url.trim_end_matches('/');
    ["/openai/v1", "/models"].iter().find_map(|form| url.strip_suffix(form)).unwrap_or(url)
}

/// Whether this form of the API has an operation of `dialect` beside chat.
pub(super) fn has(base: &Base, dialect: Dialect) -> bool {
    match dialect {
        Dialect::OpenAiResponses => is_v1(base),
        Dialect::OpenAiCompletions => !has_any_vendor(base),
        _ => false,
    }
}

fn is_v1(base: &Base) -> bool {
    base.path().ends_with("/openai/v1")
}

/// The form that serves models of all vendors, chat only.
fn has_any_vendor(base: &Base) -> bool {
    base.path().ends_with("/models")
}
