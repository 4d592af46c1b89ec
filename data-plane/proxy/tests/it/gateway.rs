//! Starts nodes for tests and talks to them. Every test owns its node, directory and upstream.

use std::path::PathBuf;
use std::time::Duration;

use gateway_proxy::config::{Drain, LogSink, Options, Source};
use gateway_proxy::{Node, start};
use serde_json::Value;

/// The key that the test configurations list.
pub(crate) const KEY: &str = "sk-test-0123456789abcdef";
/// What the upstream must see instead.
pub(crate) const UPSTREAM_KEY: &str = "upstream-credential-0001";

pub(crate) struct Gateway {
    node: Node,
    dir: tempfile::TempDir,
    client: reqwest::Client,
}

/// A response that has been read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

// === impl Gateway ===

impl Gateway {
    /// A node over `yaml`, with the test key added.
    pub(crate) async fn start(yaml: &str) -> Self {
        Self::start_with(yaml, |_| {}).await
    }

    /// The same, started otherwise.
    pub(crate) async fn start_with(yaml: &str, change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("gateway.yaml");
        std::fs::write(&file, with_key(yaml)).expect("write the configuration");
        let mut options = Options {
            data_dir: Some(dir.path().join("data")),
            listen: Some("127.0.0.1:0".parse().expect("an address")),
            workers: Some(1),
            log: LogSink::File(dir.path().join("access.log")),
            drain: Drain { delay: Duration::ZERO, timeout: Duration::from_secs(5) },
            ..Options::new(Source::File { path: file, watch: true })
        };
        change(&mut options);
        let node = start(options).await.expect("the node starts");
        node.ready().await;
        Self { node, dir, client: client() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.node.base_url())
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("gateway.yaml")
    }

    pub(crate) fn rewrite(&self, yaml: &str) {
        let next = self.dir.path().join("next.yaml");
        std::fs::write(&next, with_key(yaml)).expect("write the configuration");
        std::fs::rename(next, self.file()).expect("replace the configuration");
    }

    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// `POST` with the test key.
    pub(crate) fn post(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.client.post(self.url(path)).bearer_auth(KEY).json(body)
    }

    pub(crate) async fn chat(&self, body: &Value) -> Answer {
        read(self.post("/v1/chat/completions", body)).await
    }

    /// Log records so far; waits until there are `n`.
    pub(crate) async fn records(&self, n: usize) -> Vec<Value> {
        self.records_of(n, |_| true).await
    }

    /// The same of those that are `wanted`.
    pub(crate) async fn records_of(&self, n: usize, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let path = self.dir.path().join("access.log");
        within("log records", || async {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let records = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            let records: Vec<Value> = records.filter(&wanted).collect();
            (records.len() >= n).then_some(records)
        })
        .await
    }

    pub(crate) async fn stop(self) {
        self.node.shutdown().await;
    }
}

// === impl Answer ===

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A client that heeds no proxy of this machine.
pub(crate) fn client() -> reqwest::Client {
    // Installed by an earlier test, it is the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// Sends and reads to the end.
pub(crate) async fn read(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("the gateway answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, text: response.text().await.expect("a whole body") }
}

/// Polls a condition until it holds; panics with what it waited for.
pub(crate) async fn within<T, F: Future<Output = Option<T>>>(what: &str, mut condition: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + gateway_fake::PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An OpenAI-compatible provider `up` and a model `m` on it.
pub(crate) fn openai_at(url: &str) -> String {
    format!(
        "providers:\n  - {{name: up, kind: openai-compatible, base_url: \"{url}/v1\", api_key: {UPSTREAM_KEY}, \
         allow_private_networks: true, retry: {{max_attempts: 1}}}}\n\
         models:\n  - name: m\n    targets: [{{provider: up, model: own-name}}]\n"
    )
}

/// An Anthropic provider `up` and a model `m` on it.
pub(crate) fn anthropic_at(url: &str) -> String {
    format!(
        "providers:\n  - {{name: up, kind: anthropic, base_url: \"{url}\", api_key: {UPSTREAM_KEY}, \
         allow_private_networks: true, retry: {{max_attempts: 1}}}}\n\
         models:\n  - name: m\n    targets: [{{provider: up, model: own-name}}]\n"
    )
}

/// A provider `up` of any kind and a model `m` on it; `more` are further members of the provider.
pub(crate) fn provider_at(kind: &str, base_url: &str, more: &str) -> String {
    let more = if more.is_empty() { String::new() } else { format!(", {more}") };
    format!(
        "providers:\n  - {{name: up, kind: {kind}, base_url: \"{base_url}\", api_key: {UPSTREAM_KEY}, \
         allow_private_networks: true, retry: {{max_attempts: 1}}{more}}}\n\
         models:\n  - name: m\n    targets: [{{provider: up, model: own-name}}]\n"
    )
}

fn with_key(yaml: &str) -> String {
    if yaml.contains("keys:") { yaml.to_owned() } else { format!("{yaml}keys:\n  - {{name: test, secret: {KEY}}}\n") }
}
