//! What this machine offers without being asked: provider keys in the environment, and model servers on loopback.
//!
//! It only looks. Whether a provider is made of what was found is decided in `lib.rs`.

use std::time::Duration;

use gateway_model::catalog;
use gateway_model::kind::provider::Provider;
use gateway_model::secret::Secret;
use serde_json::Value;

use crate::Environment;

/// A local server that answers at all answers in this time; one that does not must not hold up the start.
const PROBE: Duration = Duration::from_millis(300);

/// Where a local model server listens by default, and how it says what it is.
struct Server {
    kind: &'static str,
    base_url: &'static str,
    list: &'static str,
    /// The first model of its list; `None` when the answer is some other server's.
    first_model: fn(&Value) -> Option<&str>,
}

const SERVERS: &[Server] = &[
    Server {
        kind: "ollama",
        base_url: "http://127.0.0.1:11434",
        list: "http://127.0.0.1:11434/api/tags",
        first_model: |answer| answer.pointer("/models/0/name")?.as_str(),
    },
    Server {
        kind: "vllm",
        base_url: "http://127.0.0.1:8000/v1",
        list: "http://127.0.0.1:8000/v1/models",
        // Port 8000 is a favourite of many programs; only vLLM owns its models.
        first_model: |answer| {
            let model = answer.pointer("/data/0")?;
            (model.get("owned_by")?.as_str()? == "vllm").then(|| model.get("id")?.as_str())?
        },
    },
];

/// A provider that could be made, and a model to try it with.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) provider: Provider,
    pub(crate) model: Option<String>,
    /// What made us think so: the variable's name or the server's address.
    pub(crate) from: String,
}

/// Everything this machine offers; takes [`PROBE`] at most. `env` reads the environment.
pub(crate) async fn look(env: &Environment) -> Vec<Found> {
    let mut found = in_environment(env);
    for server in answering().await {
        found.push(server);
    }
    found
}

/// One provider for each catalogue row whose key is set. A kind without an address of its own cannot be made from a key alone.
fn in_environment(env: &Environment) -> Vec<Found> {
    let rows = catalog::rows().iter().filter(|row| row.base_url.is_some());
    let found = rows.filter_map(|row| {
        let (name, key) =
            row.env.iter().find_map(|name| Some((name, env(name).filter(|key| !key.trim().is_empty())?)))?;
        let provider = Provider { api_key: Some(Secret::new(key.trim())), ..provider(&row.id) };
        Some(Found { provider, model: None, from: name.to_string() })
    });
    found.collect()
}

async fn answering() -> Vec<Found> {
    let Ok(http) = reqwest::Client::builder().timeout(PROBE).no_proxy().build() else { return Vec::new() };
    let probes = SERVERS.iter().filter(|server| catalog::row(server.kind).is_some()).map(|server| probe(&http, server));
    futures_util::future::join_all(probes).await.into_iter().flatten().collect()
}

async fn probe(http: &reqwest::Client, server: &Server) -> Option<Found> {
    let answer: Value = http.get(server.list).send().await.ok()?.json().await.ok()?;
    let model = (server.first_model)(&answer)?.to_owned();
    let provider =
        Provider { base_url: Some(server.base_url.to_owned()), allow_private_networks: true, ..provider(server.kind) };
    Some(Found { provider, model: Some(model), from: server.base_url.to_owned() })
}

/// A provider of `kind` named after it, everything else as the catalogue has it.
pub(crate) fn provider(kind: &str) -> Provider {
    Provider {
        name: kind.to_owned(),
        kind: kind.to_owned(),
        base_url: None,
        api_key: None,
        api_keys: Vec::new(),
        limits: None,
        probe: None,
        headers: Default::default(),
        allow_private_networks: false,
        quirks: Vec::new(),
        azure: None,
        aws: None,
        gcp: None,
        retry: None,
        timeouts: None,
        continuation: None,
        breaker: None,
        concurrency: None,
        on_client_gone: Default::default(),
        discovery: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_set_key_makes_its_provider_and_an_empty_one_does_not() {
        let env = |name: &str| match name {
            "OPENAI_API_KEY" => Some(" sk-test \n".to_owned()),
            "ANTHROPIC_API_KEY" => Some("  ".to_owned()),
            "AZURE_OPENAI_API_KEY" => Some("no address known".to_owned()),
            _ => None,
        };
        let found = in_environment(&env);
        let made: Vec<_> = found.iter().map(|found| (found.provider.name.as_str(), found.from.as_str())).collect();
        assert_eq!(made, [("openai", "OPENAI_API_KEY")]);
        assert_eq!(found[0].provider.api_key.as_ref().map(Secret::expose), Some("sk-test"));
    }

    #[test]
    fn only_a_servers_own_answer_is_believed() {
        let [ollama, vllm] = SERVERS else { panic!("two servers are known") };
        for (server, answer, expected) in [
            (ollama, json!({"models": [{"name": "llama3.2:1b"}]}), Some("llama3.2:1b")),
            (ollama, json!({"models": []}), None),
            (vllm, json!({"object": "list", "data": [{"id": "qwen", "owned_by": "vllm"}]}), Some("qwen")),
            (vllm, json!({"object": "list", "data": [{"id": "qwen", "owned_by": "somebody"}]}), None),
            (vllm, json!([]), None),
        ] {
            assert_eq!((server.first_model)(&answer), expected, "{}", server.kind);
        }
    }
}
