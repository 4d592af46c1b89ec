//! `describe`: everything about one resource.

use clap::Args;
use gateway_model::kind::Kind;
use serde_json::Value;

use super::get::{credential, single};
use crate::args::{self, Gateway, Output};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::table::pairs;
use crate::output::{text, time, when, yaml};

/// Show everything about one resource
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  gatewayctl describe provider openai
  gatewayctl describe key demo
  gatewayctl describe settings")]
pub(crate) struct Describe {
    /// provider, model, route, price, key or settings
    #[arg(value_parser = args::kind)]
    kind: Kind,
    /// Its name; keys also by id, settings have none
    name: Option<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

pub(crate) async fn run(describe: Describe) -> Result<Exit, Failure> {
    let client = Client::new(&describe.gateway)?;
    let item = single(&client, describe.kind, describe.name.as_deref()).await?;
    let item = item.ok_or_else(|| unnamed(describe.kind))?;
    describe.output.format.print(&item, whole)?;
    Ok(Exit::Done)
}

/// A command that needs one resource was given none.
pub(crate) fn unnamed(kind: Kind) -> Failure {
    Failure::new(Exit::Usage, format!("which {kind}? give its name"))
        .hint(format!("`gatewayctl get {}` lists them", kind.plural()))
}

/// The item's own facts, then what people wrote.
pub(crate) fn whole(item: &Value) -> String {
    let at = |pointer: &str| match item.pointer(pointer).and_then(time::unix_ms) {
        Some(at) => format!("{} ({})", time::clock(at), when(item, pointer)),
        None => String::new(),
    };
    let mut drawn = pairs(&[
        ("Kind", text(item, "/kind")),
        ("Name", text(item, "/name")),
        ("Id", text(item, "/id")),
        ("Revision", text(item, "/revision")),
        ("Owner", text(item, "/owner")),
        ("Created", at("/created_at")),
        ("Updated", at("/updated_at")),
    ]);
    for field in item.get("secrets").and_then(Value::as_object).into_iter().flat_map(|secrets| secrets.keys()) {
        let updated = when(item, &format!("/secrets/{field}/updated_at"));
        let line = format!("Secret {field}: {} {updated}", credential(item, field));
        drawn.push_str(line.trim_end());
        drawn.push('\n');
    }
    drawn.push('\n');
    drawn.push_str(&yaml::emit(&spec(item)));
    drawn
}

/// What people wrote: `spec`, or for keys, whose items are flat, everything that is not the gateway's own.
pub(crate) fn spec(item: &Value) -> Value {
    const OURS: [&str; 10] =
        ["kind", "id", "revision", "owner", "created_at", "updated_at", "secrets", "change", "key", "last_used_at"];
    match (item.get("spec"), item.as_object()) {
        (Some(spec), _) => spec.clone(),
        (None, Some(fields)) => {
            let written = fields.iter().filter(|(name, value)| !OURS.contains(&name.as_str()) && !value.is_null());
            Value::Object(written.map(|(name, value)| (name.clone(), value.clone())).collect())
        }
        (None, None) => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_description_has_facts_secrets_and_the_spec() {
        let item = json!({"kind": "provider", "id": "p1", "name": "openai", "revision": 4, "owner": null,
            "secrets": {"api_key": {"set": true, "last4": "wxyz"}}, "spec": {"name": "openai", "kind": "openai"}});
        assert_eq!(
            whole(&item),
            "Kind:      provider\nName:      openai\nId:        p1\nRevision:  4\nSecret api_key: …wxyz\n\nname: openai\nkind: openai\n"
        );
    }

    #[test]
    fn a_flat_key_keeps_only_what_people_wrote() {
        let item =
            json!({"id": "vk_1", "name": "k", "models": ["*"], "expires_at": null, "revision": 2, "owner": null});
        assert_eq!(spec(&item), json!({"name": "k", "models": ["*"]}));
    }
}
