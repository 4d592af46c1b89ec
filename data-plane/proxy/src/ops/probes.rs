//! What operators are told of probes: whether a provider answered the last one.

use std::fmt::Write as _;

use gateway_engine::snapshot::{Provider, Snapshot};
use serde_json::{Map, Value, json};

use crate::meters::row;

/// By provider, of those that are asked, for `/statsz`.
pub(super) fn statistics(snapshot: &Snapshot) -> Map<String, Value> {
    let told = |provider: &Provider| {
        let probed = &provider.probes;
        json!({"well": probed.is_well(), "succeeded": probed.n_well(), "failed": probed.n_failed()})
    };
    asked(snapshot).map(|provider| (provider.name.to_string(), told(provider))).collect()
}

/// The same as a gauge, in the text format of Prometheus; nothing where nobody is asked.
pub(super) fn metrics(snapshot: &Snapshot) -> String {
    const NAME: &str = "gateway_probe_up";
    let mut text = String::new();
    for (provider, is_well) in asked(snapshot).filter_map(|provider| Some((provider, provider.probes.is_well()?))) {
        if text.is_empty() {
            text = row(NAME).head();
        }
        let _ = writeln!(text, "{NAME}{{provider=\"{}\"}} {}", provider.name, u8::from(is_well));
    }
    text
}

fn asked(snapshot: &Snapshot) -> impl Iterator<Item = &Provider> {
    snapshot.providers.iter().map(AsRef::as_ref).filter(|provider| provider.probe.is_some())
}
