//! A running gateway, as its user sees it: a folder, a process, a ready file, a key.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::eventually;
use crate::http::{self, Reply, Stream};

/// A place of its own for one test: data directory, files, home.
#[derive(Debug)]
pub(crate) struct Place {
    folder: TempDir,
}

/// A gateway that is ready. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    pub(crate) ready: Value,
    /// The public API.
    pub(crate) addr: SocketAddr,
    /// What clients present; the first start's own key unless the test sets another.
    pub(crate) key: String,
}

// === impl Place ===

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a temporary folder is writable");
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("cannot read {name}: {error}"))
    }

    /// `gatewayctl` with these arguments, in this place, with nothing of the developer's environment.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(gateway_testing::gatewayctl());
        command.args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.folder.path()).current_dir(self.folder.path());
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs `gatewayctl` to its end.
    pub(crate) async fn run(&self, args: &[&str]) -> Output {
        let output = tokio::time::timeout(crate::PATIENCE, self.command(args).output()).await;
        output.unwrap_or_else(|_| panic!("`gatewayctl {}` does not end", args.join(" "))).expect("gatewayctl starts")
    }

    /// Starts both planes; output goes to `up.log`.
    pub(crate) async fn up(&self, args: &[&str]) -> Gateway {
        let mut all = vec!["up", "--data-dir", "data", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        all.extend(args);
        self.start(&all, "up").await
    }

    /// Starts a control plane without a node; output goes to `control.log`.
    pub(crate) async fn control_plane(&self, args: &[&str]) -> Gateway {
        let mut all = vec!["control-plane", "--data-dir", "control", "--admin-listen", "127.0.0.1:0"];
        all.extend(["--fleet-listen", "127.0.0.1:0"]);
        all.extend(args);
        self.start(&all, "control").await
    }

    /// Starts a node alone from `gateway.yaml`; output goes to `node.log`.
    pub(crate) async fn node(&self, args: &[&str]) -> Gateway {
        let mut all = vec!["data-plane", "--data-dir", "node", "--listen", "127.0.0.1:0", "-f", "gateway.yaml"];
        all.extend(args);
        self.start(&all, "node").await
    }

    async fn start(&self, args: &[&str], name: &str) -> Gateway {
        let (log, ready_file) = (format!("{name}.log"), format!("{name}-ready.json"));
        // A second start writes it anew; the old one must not be taken for it.
        let _ = fs::remove_file(self.path(&ready_file));
        let log_file = fs::File::create(self.path(&log)).expect("a temporary folder is writable");
        let mut command = self.command(args);
        command.args(["--ready-file", &ready_file]);
        command.stdout(log_file.try_clone().expect("a file")).stderr(log_file);
        let mut child = command.spawn().expect("gatewayctl starts");
        let ready: Value = eventually("the ready file", || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("gatewayctl ended with {status} before it was ready:\n{}", self.read(&log));
            }
            let text = fs::read_to_string(self.path(&ready_file)).ok();
            async move { text.map(|text| serde_json::from_str(&text).expect("the ready file appears whole")) }
        })
        .await;
        // A control plane alone has no public API.
        let addr = address(ready.get("base_url").unwrap_or(&ready["admin_url"]));
        let key = ready["virtual_key"].as_str().unwrap_or_default().to_owned();
        Gateway { child, ready, addr, key }
    }
}

// === impl Gateway ===

impl Gateway {
    pub(crate) fn admin_addr(&self) -> SocketAddr {
        address(&self.ready["admin_url"])
    }

    /// A request to the admin API with the master key.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: Value) -> Reply {
        let bearer = format!("Bearer {}", self.ready["master_key"].as_str().expect("the ready file has a master key"));
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        http::send(self.admin_addr(), method, path, &headers, body).await
    }

    /// A chat request, answered whole.
    pub(crate) async fn chat(&self, model: &str) -> Reply {
        self.post("/v1/chat/completions", &question(model, false).to_string()).await
    }

    /// Any body to any path with the key.
    pub(crate) async fn post(&self, path: &str, body: &str) -> Reply {
        let bearer = format!("Bearer {}", self.key);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        http::send(self.addr, "POST", path, &headers, body.to_owned()).await
    }

    /// A chat request, answered as a stream.
    pub(crate) async fn chat_stream(&self, model: &str) -> Stream {
        let bearer = format!("Bearer {}", self.key);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        http::open(self.addr, "POST", "/v1/chat/completions", &headers, question(model, true).to_string()).await
    }

    /// Asks it to end (SIGTERM) and waits; it must end well.
    pub(crate) async fn stop(mut self) {
        let pid = self.child.id().expect("it runs").to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill is there");
        assert!(status.success());
        let status = tokio::time::timeout(crate::PATIENCE, self.child.wait()).await;
        let status = status.expect("it ends after SIGTERM").expect("its status is known");
        assert!(status.success(), "after SIGTERM it ended with {status}");
    }

    /// Ends it without a chance to tidy up (SIGKILL).
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it runs");
    }
}

/// A file with one OpenAI-compatible provider and a model `m` of it.
pub(crate) fn config(upstream: &str) -> String {
    format!(
        "providers:
  - name: fake
    kind: openai-compatible
    base_url: {upstream}/v1
    api_key: upstream-key-of-the-test
    allow_private_networks: true
    retry: {{max_attempts: 1}}
models:
  - name: m
    targets: [{{provider: fake, model: upstream-model}}]
"
    )
}

fn question(model: &str, stream: bool) -> Value {
    json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "Say hello."}]})
}

pub(crate) fn address(url: &Value) -> SocketAddr {
    let text = url.as_str().unwrap_or_else(|| panic!("not a URL: {url}"));
    let address = text.split_once("://").map_or(text, |(_, address)| address);
    address.trim_end_matches('/').parse().unwrap_or_else(|_| panic!("not host:port: {text}"))
}
