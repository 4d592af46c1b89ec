//! `validate`: checks a file without any gateway, and tells where requests would go.

use clap::Args;
use gateway_model::catalog;
use gateway_model::kind::provider::{Gcp, Provider};
use gateway_model::problem::Problem;
use serde_json::{Value, json};

use crate::args::Output;
use crate::exit::{Exit, Failure};
use crate::output::table::{self, Column};
use crate::output::{items, text};
use crate::source::{self, FileArgs, Source};

/// Check a configuration file, offline
#[derive(Args, Debug)]
#[command(
    after_help = "Exit code 1 with file, line and column of each problem when the file would be refused. A good file's providers are \
    listed with the address to which requests would go. Environment variables that the file names must be set.

Examples:
  gatewayctl validate -f gateway.yaml
  gatewayctl validate -f gateway.yaml -o json | jq '.problems[] | .position.line'"
)]
pub(crate) struct Validate {
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(validate: Validate) -> Result<Exit, Failure> {
    match source::load_alone(&validate.file) {
        Ok(source) => {
            let report =
                json!({"valid": true, "problems": [], "counts": counts(&source), "providers": providers(&source)});
            validate.output.format.print(&report, |report| good(&source, report, validate.output.format.width()))?;
            Ok(Exit::Done)
        }
        Err(failure) if validate.output.format.is_for_people() => Err(failure),
        Err(mut failure) => {
            let problems: &Vec<Problem> = failure.problems_mut();
            let report = json!({"valid": false, "problems": problems, "counts": {}, "providers": []});
            validate.output.format.print(&report, |_| String::new())?;
            Err(failure)
        }
    }
}

fn counts(source: &Source) -> Value {
    let set = &source.set;
    json!({"providers": set.providers.len(), "models": set.models.len(), "routes": set.routes.len(), "prices": set.prices.len(), "keys": set.keys.len()})
}

fn providers(source: &Source) -> Vec<Value> {
    let row = |provider: &Provider| json!({"name": provider.name, "kind": provider.kind, "url": destination(provider)});
    source.set.providers.iter().map(row).collect()
}

fn good(source: &Source, report: &Value, width: Option<usize>) -> String {
    let counts = report.get("counts").and_then(Value::as_object).into_iter().flatten();
    let counted: Vec<String> = counts.map(|(kind, count)| format!("{count} {kind}")).collect();
    let mut drawn = format!("{} is valid: {}\n", source.file_name, counted.join(", "));
    let providers = items(report, "/providers");
    if !providers.is_empty() {
        let columns = [Column::Text("PROVIDER"), Column::Text("KIND"), Column::Text("REQUESTS GO TO")];
        let row = |provider: &Value| vec![text(provider, "/name"), text(provider, "/kind"), text(provider, "/url")];
        drawn.push_str(&table::render(&columns, providers.iter().map(row), width));
    }
    drawn
}

/// The whole URL of a chat request, told from the catalogue. `{model}` stands for the target's model where it is in the path.
fn destination(provider: &Provider) -> String {
    let Some(row) = catalog::row(&provider.kind) else { return String::new() };
    let Some(base) = provider.base_url.as_deref().or(row.base_url.as_deref()) else {
        return "inside the gateway".to_owned();
    };
    let region = provider.aws.as_ref().map_or("{region}", |aws| &aws.region);
    let location = provider.gcp.as_ref().map(Gcp::host_prefix).unwrap_or_default();
    let base = base.trim_end_matches('/').replace("{region}", region).replace("{location}", &location);
    if let Some(Gcp { project, location, .. }) = &provider.gcp {
        let models = format!("/v1/projects/{project}/locations/{location}/publishers/google/models");
        return format!("{base}{models}/{{model}}:generateContent");
    }
    let tail = match (row.chat_path.as_deref(), row.dialect.as_str(), row.id.as_str()) {
        (Some(path), ..) => path,
        (None, "anthropic-messages", _) => "/v1/messages",
        (None, "openai-completions", _) => "/completions",
        (None, "gemini-generate", _) if base.ends_with("/v1beta") || base.ends_with("/v1") => {
            "/models/{model}:generateContent"
        }
        (None, "gemini-generate", _) => "/v1beta/models/{model}:generateContent",
        (None, "bedrock-converse", _) => "/model/{model}/converse",
        (None, "cohere-v2", _) => "/v2/chat",
        (None, "ollama-chat", _) => "/api/chat",
        (None, _, "azure") if !base.ends_with("/openai/v1") && !base.ends_with("/models") => {
            "/openai/deployments/{model}/chat/completions"
        }
        (None, ..) => "/chat/completions",
    };
    format!("{base}{tail}")
}
