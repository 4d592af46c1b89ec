//! docs/endpoints.md: which provider serves which endpoint, as requests are routed.
//! `UPDATE_GENERATED=1 cargo test -p gateway-providers --test endpoints_page` writes it anew.

use std::fmt::Write as _;

use gateway_ir::dialect::Dialect;
use gateway_ir::task::{Form, Task};
use gateway_model::catalog::{self, Row};
use gateway_model::kind::provider::Provider;
use gateway_providers::endpoint::Endpoint;
use serde_json::json;

/// What clients call, and in whose words.
const CONVERSATIONS: [(&str, Dialect); 5] = [
    ("chat", Dialect::OpenAiChat),
    ("responses", Dialect::OpenAiResponses),
    ("messages", Dialect::AnthropicMessages),
    ("gemini", Dialect::GeminiGenerate),
    ("completions", Dialect::OpenAiCompletions),
];

const TASKS: [(&str, Task); 9] = [
    ("embeddings", Task::Embeddings),
    ("rerank", Task::Rerank),
    ("moderations", Task::Moderations),
    ("images", Task::Images),
    ("edits", Task::ImageEdits),
    ("variations", Task::ImageVariations),
    ("speech", Task::Speech),
    ("transcriptions", Task::Transcriptions),
    ("translations", Task::Translations),
];

/// Forms in which clients may ask.
const ASKED: [Form; 11] = [
    Form::OpenAiEmbeddings,
    Form::JinaRerank,
    Form::CohereRerank,
    Form::OpenAiModerations,
    Form::OpenAiImages,
    Form::OpenAiImageEdits,
    Form::OpenAiImageVariations,
    Form::OpenAiSpeech,
    Form::OpenAiTranscriptions,
    Form::OpenAiTranslations,
    // Their members are OpenAI's, and more.
    Form::MistralEmbeddings,
];

const LEGEND: &str = "# Endpoints by provider

What a request to an endpoint meets at each kind of provider, as the code routes it. Made by
`UPDATE_GENERATED=1 cargo test -p gateway-providers --test endpoints_page` from
[providers.toml](../proto/model/catalog/providers.toml); edit that, not this file.

| sign | meaning |
|---|---|
| ● | the provider has it in this form: bytes may pass |
| ○ | the provider has it in another form: translated ([dialects](dialects.md)) |
| ~ | an estimate of the gateway's |
|   | not there: refused, or the next target is asked |

`chat` is `POST /v1/chat/completions`, `responses` `POST /v1/responses`, `messages` `POST /v1/messages`, `gemini`
`POST /v1beta/models/{model}:generateContent`, `completions` `POST /v1/completions`; `count` is the counting of tokens, `models`
whether discovery can ask the provider which models it has. `GET /v1/models` is the gateway's own answer. Every other path of a provider
is at `/proxy/{provider}/…`.

";

#[test]
fn the_page_of_endpoints_is_current() {
    let page = page();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/endpoints.md");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, &page).expect("docs/endpoints.md can be written");
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(checked_in == page, "docs/endpoints.md is not what the code does; run with UPDATE_GENERATED=1");
}

fn page() -> String {
    let names = CONVERSATIONS.map(|(name, _)| name).into_iter().chain(["count"]);
    let names: Vec<&str> =
        names.chain(TASKS.map(|(name, _)| name)).chain(["files", "batches", "realtime", "models"]).collect();
    let mut page = format!("{LEGEND}| kind | {} |\n|---|{}\n", names.join(" | "), ":-:|".repeat(names.len()));
    for row in catalog::rows() {
        let _ = writeln!(page, "| `{}` | {} |", row.id, cells(row).join(" | "));
    }
    page
}

fn cells(row: &Row) -> Vec<&'static str> {
    let endpoint = endpoint(row);
    let own = Dialect::parse(&row.dialect).expect("the catalogue's tests know the dialects");
    let sign = |is_own: bool| if is_own { "●" } else { "○" };
    let there = |is_there: bool| if is_there { "●" } else { " " };
    let conversations = CONVERSATIONS.map(|(_, dialect)| match row.no_chat {
        true => " ",
        false => sign(own == dialect || endpoint.also_speaks(dialect)),
    });
    let count = match endpoint.count_uri("m") {
        Some(_) => "●",
        None => "~",
    };
    let tasks = TASKS.map(|(_, task)| {
        // An operation may be of some models only.
        let forms = row.tasks.iter().filter_map(|offer| Form::parse(&offer.form));
        forms.filter(|form| form.task() == task).map(|form| sign(ASKED.contains(&form))).min().unwrap_or(" ")
    });
    let kept = [there(row.files), there(row.batches), there(endpoint.listing().is_some())];
    conversations.into_iter().chain([count]).chain(tasks).chain(kept).collect()
}

/// The endpoint of a provider as people would configure it, at an address of the form that the catalogue gives.
fn endpoint(row: &Row) -> Endpoint {
    let filled = |form: &String| -> String {
        form.split(['{', '}']).enumerate().map(|(at, part)| if at % 2 == 0 { part } else { "x" }).collect()
    };
    let base_url = if row.base_url.is_some() { None } else { row.base_url_form.as_ref().map(filled) };
    let is_open = row.base_url.as_ref().or(base_url.as_ref()).is_some_and(|url| url.starts_with("http:"));
    let mut document =
        json!({"name": "p", "kind": row.id, "api_key": "k", "base_url": base_url, "allow_private_networks": is_open});
    match row.id.as_str() {
        "bedrock" => document["aws"] = json!({"region": "us-east-1"}),
        "vertex" => document["gcp"] = json!({"project": "p"}),
        _ => {}
    }
    let provider: Provider = serde_json::from_value(document).expect("a provider");
    Endpoint::compile(&provider, row).unwrap_or_else(|problems| panic!("{}: {problems:?}", row.id))
}
