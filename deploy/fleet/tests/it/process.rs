//! A control plane in a process of its own, with its fleet listener, and calls of its admin API.

use std::time::Duration;

use gateway_fleet_tests::keys;
use gateway_model::secret::Secret;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::world::data_dir;

pub(crate) struct Process {
    child: Child,
    client: reqwest::Client,
    ready: Value,
    _directory: TempDir,
}

const START: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

// === impl Process ===

impl Process {
    /// With all keys.
    pub(crate) async fn start() -> Self {
        let directory = data_dir().await;
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway-fleet-part"));
        let child = command
            .arg("control-plane")
            .arg(directory.path())
            .env("GATEWAY_LOG", "error")
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let file = directory.path().join("ready.json");
        let ready = tokio::time::timeout(START, async {
            loop {
                if let Some(ready) = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
                    return ready;
                }
                tokio::time::sleep(POLL).await;
            }
        });
        let ready = ready.await.expect("the control plane starts");
        // Another test of this process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self { child, client: reqwest::Client::new(), ready, _directory: directory }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    pub(crate) fn fleet_url(&self) -> &str {
        self.text("fleet_url")
    }

    pub(crate) fn join_token(&self) -> Secret {
        Secret::new(self.text("join_token"))
    }

    pub(crate) async fn revoke(&self, number: usize) {
        let url = format!("{}/admin/keys/{}?wait=stored", self.text("admin_url"), keys::name(number));
        let body = json!({"enabled": false}).to_string();
        let request = self.client.patch(url).header("content-type", "application/json").body(body);
        let answer = request.bearer_auth(self.text("master_key")).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    /// One change of so many keys, from this one on.
    pub(crate) async fn label(&self, first: usize, n_keys: usize, label: &str) {
        let resource = |number| json!({"kind": "key", "spec": {"name": keys::name(number), "tags": [label]}});
        let resources: Vec<Value> = (first..first + n_keys).map(resource).collect();
        let body = json!({"source": "labels.yaml", "resources": resources}).to_string();
        let url = format!("{}/admin/apply", self.text("admin_url"));
        let request = self.client.post(url).header("content-type", "application/json").body(body);
        let answer = request.bearer_auth(self.text("master_key")).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    /// The sum of a counter over all series that have this text in their labels.
    pub(crate) async fn counter(&self, name: &str, label: &str) -> f64 {
        let answer = self.client.get(format!("{}/metrics", self.text("admin_url"))).send().await.unwrap();
        let text = answer.text().await.unwrap();
        let series = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        series.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    pub(crate) async fn stop(mut self) {
        self.child.kill().await.unwrap();
    }

    fn text(&self, field: &str) -> &str {
        self.ready[field].as_str().expect("a text of the ready file")
    }
}
