//! What `up` shows when it serves: where, with which key, and a line to paste.

use gateway_standalone::Standalone;
use serde_json::json;

use super::Up;
use crate::context;
use crate::output::table::pairs;

/// The screen, ending in a newline. The key is on it only at the start that made it.
pub(super) fn draw(standalone: &Standalone, up: &Up) -> String {
    let data_dir = std::path::absolute(&up.data_dir).unwrap_or_else(|_| up.data_dir.clone());
    let made: Vec<String> = standalone.made().iter().map(|made| format!("{} ({})", made.name, made.from)).collect();
    let key = match standalone.minted_key() {
        Some(key) => format!("{}  (shown once)", key.expose()),
        None => "as before; make one with: gatewayctl keys create NAME".to_owned(),
    };
    let elsewhere = context::elsewhere().filter(|other| *other != standalone.admin_url());
    let note = elsewhere.map(|other| format!("other commands talk to {other}; add --context local for this gateway"));
    let facts = pairs(&[
        ("API", format!("{}/v1", standalone.base_url())),
        ("Admin", standalone.admin_url()),
        ("Key", key),
        ("New providers", made.join(", ")),
        ("Data", format!("{}  (back up kek.key: stored credentials cannot be read without it)", data_dir.display())),
        ("Fleet", standalone.fleet_url().map(|url| format!("{url}  (further nodes join here)")).unwrap_or_default()),
        ("Note", note.unwrap_or_default()),
    ]);
    let facts = facts.lines().map(|line| format!("  {line}\n")).collect::<String>();
    format!("The gateway runs.\n\n{facts}\n{}\nNext: {NEXT}\nCtrl-C stops it.\n", attempt(standalone))
}

const NEXT: &str = "gatewayctl apply -f gateway.yaml | gatewayctl logs --follow | gatewayctl --help";

/// A request that answers when it is pasted, where a model is known to.
fn attempt(standalone: &Standalone) -> String {
    let Some(model) = standalone.model() else {
        return "No provider yet: write one into gateway.yaml, then run gatewayctl apply -f gateway.yaml\n".to_owned();
    };
    let key = standalone.minted_key().map_or("$GATEWAY_KEY", |key| key.expose());
    let body = json!({"model": model, "stream": true, "messages": [{"role": "user", "content": "Say hello"}]});
    let url = format!("{}/v1/chat/completions", standalone.base_url());
    let body = body.to_string().replace('\'', "'\\''");
    format!(
        "Try it:\n\n  curl -N {url} -H \"Authorization: Bearer {key}\" -H 'Content-Type: application/json' -d '{body}'\n"
    )
}
