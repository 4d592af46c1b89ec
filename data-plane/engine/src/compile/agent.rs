//! Agents: each is called as a provider of its own is, that only its path leads to.

use std::sync::Arc;

use gateway_ir::dialect::Dialect;
use gateway_ir::quirks::Quirks;
use gateway_model::catalog;
use gateway_model::kind::a2a_agent::A2aAgent;
use gateway_model::kind::provider::Provider as ProviderDocument;
use gateway_model::problem::Problem;
use gateway_providers::endpoint::Endpoint;

use crate::glob::Glob;
use crate::policy::Overrides;
use crate::snapshot::{Agent, Provider};

/// Its credential is a bearer token and its URL the whole of its address, as with any server of this kind.
const KIND: &str = "openai-compatible";

pub(super) fn compile(agents: &[A2aAgent], of_settings: Overrides, problems: &mut Vec<Problem>) -> Vec<Agent> {
    let row = catalog::row(KIND).expect("the catalogue's tests find it");
    let mut compiled = Vec::with_capacity(agents.len());
    for agent in agents {
        match Endpoint::compile(&document(agent), row) {
            Ok(endpoint) => compiled.push(one(agent, endpoint, row, of_settings)),
            Err(found) => problems.extend(found.into_iter().map(|problem| Problem {
                path: format!(
                    "a2a_agents[{}].{}",
                    agent.name,
                    if problem.path.ends_with("base_url") { "url" } else { "headers" }
                ),
                ..problem
            })),
        }
    }
    compiled
}

fn one(agent: &A2aAgent, endpoint: Endpoint, row: &'static catalog::Row, of_settings: Overrides) -> Agent {
    let provider = Provider {
        name: format!("a2a:{}", agent.name).into(),
        key: None,
        account: format!("a2a:{}", agent.name).into(),
        keys: None,
        kind: KIND.into(),
        dialect: Dialect::OpenAiChat,
        endpoint,
        row,
        quirks: Quirks::default(),
        index: usize::MAX,
        overrides: Overrides::compile(None, agent.timeouts.as_ref()).or(of_settings),
        prices: Arc::default(),
        gate: None,
        drains: false,
        breaker: None,
        healths: Arc::default(),
        quota: None,
        key_quota: None,
        probe: None,
        probes: Arc::default(),
        written: Arc::new(document(agent)),
        discoverable: Vec::new(),
        discovery: Some(false),
    };
    Agent {
        name: agent.name.as_str().into(),
        provider: Arc::new(provider),
        methods: agent.methods.iter().map(|pattern| Glob::new(pattern)).collect(),
    }
}

fn document(agent: &A2aAgent) -> ProviderDocument {
    ProviderDocument {
        name: agent.name.clone(),
        kind: KIND.to_owned(),
        base_url: Some(agent.url.clone()),
        api_key: agent.api_key.clone(),
        api_keys: Vec::new(),
        headers: agent.headers.clone(),
        allow_private_networks: agent.allow_private_networks,
        quirks: Vec::new(),
        azure: None,
        aws: None,
        gcp: None,
        retry: None,
        timeouts: agent.timeouts.clone(),
        continuation: None,
        breaker: None,
        concurrency: None,
        on_client_gone: Default::default(),
        limits: None,
        probe: None,
        discovery: None,
    }
}
