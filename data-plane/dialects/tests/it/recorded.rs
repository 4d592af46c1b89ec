//! Recorded provider traffic beside the checkout. Not part of the project; without it these tests say so and check nothing.

use std::path::PathBuf;

use serde_json::Value;

/// One recorded exchange and what a client must see of it.
pub(crate) struct Fixture {
    pub(crate) id: String,
    pub(crate) provider: String,
    pub(crate) stream: bool,
    pub(crate) request: Value,
    pub(crate) status: u16,
    /// The reply as it came: event text or JSON.
    pub(crate) reply: String,
    /// Null where nothing is expected beyond the reply itself.
    pub(crate) expected: Value,
}

/// All exchanges of a folder, in the order of their names; empty, with a loud message, where there are none.
pub(crate) fn fixtures(dialect: &str) -> Vec<Fixture> {
    let root = std::env::var_os("GATEWAY_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")), PathBuf::from);
    let folder = root.join("fixtures").join(dialect);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!(
            "SKIPPED: no recorded traffic of {dialect}: set GATEWAY_SHARED to the folder that has `fixtures/{dialect}`"
        );
        return Vec::new();
    };
    let names = entries.map(|entry| entry.expect("a readable folder").file_name().into_string().expect("a plain name"));
    let mut ids: Vec<String> =
        names.filter_map(|name| name.strip_suffix(".json").filter(|id| !id.contains('.')).map(str::to_owned)).collect();
    ids.sort();
    let read = |name: String| -> Value {
        let text = std::fs::read_to_string(folder.join(name)).expect("a readable fixture");
        serde_json::from_str(&text).expect("a JSON fixture")
    };
    let fixture = |id: String| {
        let recorded = read(format!("{id}.json"));
        let expected = format!("{id}.expected.json");
        let expected = if folder.join(&expected).exists() { read(expected) } else { Value::Null };
        let response = &recorded["response"];
        let reply = match (&response["sse"], &response["text"]) {
            (Value::String(sse), _) => sse.clone(),
            (_, Value::String(text)) => text.clone(),
            _ => response["body"].to_string(),
        };
        Fixture {
            id,
            provider: recorded["provider"].as_str().unwrap_or_default().to_owned(),
            stream: recorded["stream"] == true,
            request: recorded["request"]["body"].clone(),
            status: response["status"].as_u64().and_then(|status| status.try_into().ok()).expect("a status"),
            reply,
            expected,
        }
    };
    ids.into_iter().map(fixture).collect()
}
