//! A fleet of its own for one test: Postgres, control planes, nodes, a provider, and what a person would ask them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Output;

use gateway_fake::{Gate, Upstream};
use gateway_testing::postgres::Stop;
use gateway_testing::{Postgres, figure, free_port, gatewayctl};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{self, Reply};
use crate::process::{self, Process};
use crate::{eventually, upstream};

/// What people set once for all control planes of a fleet.
pub(crate) const MASTER_KEY: &str = "gateway-master-key-of-the-fleet-tests";
const KEK: &str = "c2l4dGVlbiBieXRlcyB0d2ljZSwgbm90IHNlY3JldCE";

/// A fleet that serves. Dropped, all of it ends.
#[derive(Debug)]
pub(crate) struct Fleet {
    // Ended in this order: who depends on something goes first.
    pub(crate) nodes: Vec<Process>,
    pub(crate) control: Vec<Process>,
    pub(crate) postgres: Postgres,
    pub(crate) database: String,
    pub(crate) upstream: Upstream,
    /// Holds back the streams of `Question::Held`.
    pub(crate) gate: Gate,
    /// The virtual key that the new database was given.
    pub(crate) key: String,
    folder: TempDir,
}

// === impl Fleet: start ===

impl Fleet {
    /// `None`, said loudly, where Postgres is not installed.
    pub(crate) async fn start(n_control: usize, n_nodes: usize) -> Option<Self> {
        let mut fleet = Self::control_planes(n_control).await?;
        for _ in 0..n_nodes {
            let node = fleet.node(&[]);
            fleet.nodes.push(node);
        }
        for node in &mut fleet.nodes {
            node.launch();
        }
        for node in &mut fleet.nodes {
            node.until_ready().await;
        }
        Some(fleet)
    }

    /// Everything but the nodes, with a provider and a model `m` configured.
    pub(crate) async fn control_planes(n: usize) -> Option<Self> {
        let postgres = tokio::task::spawn_blocking(Postgres::launch).await.expect("no panic")?;
        let database = postgres.database();
        let folder = tempfile::Builder::new().prefix("gateway-fleet").tempdir().expect("a temporary folder");
        fs::write(folder.path().join("master.key"), MASTER_KEY).expect("the folder is ours");
        fs::write(folder.path().join("kek.key"), KEK).expect("the folder is ours");
        let (upstream, gate) = upstream::start().await;
        let key = String::new();
        let mut fleet =
            Self { nodes: Vec::new(), control: Vec::new(), postgres, database, upstream, gate, key, folder };
        for _ in 0..n {
            let mut control = fleet.control_plane("kek.key");
            control.start().await;
            fleet.control.push(control);
        }
        fleet.key = fleet.control[0].ready["virtual_key"].as_str().expect("a new database mints a key").to_owned();
        fleet.write("gateway.yaml", &config(&fleet.upstream.url()));
        fleet.run(&["apply", "-f", "gateway.yaml"]).await;
        Some(fleet)
    }

    /// A further control plane on the same database, not started.
    pub(crate) fn control_plane(&self, kek_file: &str) -> Process {
        let name = format!("control{}", self.control.len() + 1);
        let mut args = words(&["control-plane", "--data-dir", &name, "--database-url", &self.database]);
        args.extend(words(&["--master-key-file", "master.key", "--kek-file", kek_file]));
        args.extend(words(&["--admin-listen", &loopback(), "--fleet-listen", &loopback()]));
        Process::new(self.folder.path(), &name, args)
    }

    /// A further node with the fleet's own join token, not started.
    pub(crate) fn node(&self, more: &[&str]) -> Process {
        let token = self.control[0].ready["join_token"].as_str().expect("a control plane has a join token");
        self.node_with(&["--join-token", token], more)
    }

    /// A further node that says for itself how it joins.
    pub(crate) fn node_with(&self, joins: &[&str], more: &[&str]) -> Process {
        let name = format!("node{}", self.nodes.len() + 1);
        let mut args =
            words(&["data-plane", "--data-dir", &name, "--listen", &loopback(), "--workers", "1", "--no-log"]);
        args.extend(words(&["--fleet-url", &self.fleet_urls()]));
        args.extend(words(joins));
        args.extend(words(more));
        Process::new(self.folder.path(), &name, args)
    }

    /// Of all control planes, as a node takes them.
    pub(crate) fn fleet_urls(&self) -> String {
        let urls = self.control.iter().map(|control| control.ready["fleet_url"].as_str().expect("a fleet listener"));
        urls.collect::<Vec<_>>().join(",")
    }
}

// === impl Fleet: what a person does ===

impl Fleet {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("the folder is ours");
    }

    /// Runs `gatewayctl` against the first control plane, to its end.
    pub(crate) async fn gatewayctl(&self, args: &[&str]) -> Output {
        let mut command = process::command(gatewayctl(), self.folder.path(), &words(args));
        command.env("GATEWAY_ADMIN_URL", self.control[0].ready["admin_url"].as_str().expect("an admin API"));
        command.env("GATEWAY_MASTER_KEY", MASTER_KEY);
        process::output(command).await
    }

    /// The same; it must succeed. What it printed comes back.
    pub(crate) async fn run(&self, args: &[&str]) -> String {
        let output = self.gatewayctl(args).await;
        let (said, printed) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success(), "`gatewayctl {}` failed:\n{said}{printed}", args.join(" "));
        printed.into_owned()
    }

    /// A request to the admin API of one control plane.
    pub(crate) async fn ask(&self, control: usize, method: &str, path: &str, body: Value) -> Result<Reply, String> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        http::send(self.control[control].address("admin_url"), method, path, MASTER_KEY, body).await
    }

    /// The same of the first one; it must succeed.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: Value) -> Value {
        let reply = self.ask(0, method, path, body).await.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert!(reply.status < 300, "{method} {path}: {}: {}", reply.status, reply.text());
        if reply.body.is_empty() { Value::Null } else { reply.json() }
    }

    /// A new provider of no use, so that there is a new revision.
    pub(crate) async fn change(&self, name: &str) -> Value {
        let spec = json!({"name": name, "kind": "openai-compatible", "base_url": "http://127.0.0.1:9/v1", "api_key": "k",
            "allow_private_networks": true});
        self.admin("POST", "/admin/providers", spec).await
    }

    /// What the fleet view says of a node; `Null` where it cannot be asked or does not know the node.
    pub(crate) async fn seen(&self, node: usize) -> Value {
        let id = self.nodes[node].ready["node_id"].as_str().expect("a node has an id");
        match self.ask(0, "GET", &format!("/admin/nodes/{id}"), Value::Null).await {
            Ok(reply) if reply.status == 200 => reply.json(),
            _ => Value::Null,
        }
    }

    /// Waits until the fleet view shows every node connected and at the head of both classes.
    pub(crate) async fn in_step(&self) -> std::time::Duration {
        let look = || async {
            let status =
                self.ask(0, "GET", "/admin/status", Value::Null).await.ok().filter(|reply| reply.status == 200)?;
            let head = status.json()["revision"].clone();
            for node in 0..self.nodes.len() {
                let seen = self.seen(node).await;
                let is_current = |class: &str| seen[class]["revision"] == head[class];
                if seen["connected"] != true || !is_current("topology") || !is_current("identity") {
                    return None;
                }
            }
            Some(())
        };
        eventually("all nodes to be connected and current", look).await.1
    }
}

// === impl Fleet: the database ===

impl Fleet {
    /// Takes the database away, as a power cut does.
    pub(crate) fn stop_postgres(&mut self) {
        tokio::task::block_in_place(|| self.postgres.stop(Stop::Immediate));
    }

    pub(crate) fn start_postgres(&mut self) {
        tokio::task::block_in_place(|| self.postgres.start());
    }

    /// A copy of the database as it is now, as SQL.
    pub(crate) fn dump(&self) -> String {
        tokio::task::block_in_place(|| self.postgres.dump(self.database_name()))
    }

    /// Puts a copy in the place of the database. Nobody may be connected to it.
    pub(crate) fn restore(&self, copy: &str) {
        tokio::task::block_in_place(|| self.postgres.restore(self.database_name(), copy));
    }

    /// Statements of somebody who may do everything in the database; what they print comes back.
    pub(crate) fn sql(&self, statements: &str) -> String {
        tokio::task::block_in_place(|| self.postgres.psql(self.database_name(), statements))
    }

    /// One number out of the database itself.
    pub(crate) fn count(&self, statement: &str) -> usize {
        let printed = self.sql(statement);
        printed.parse().unwrap_or_else(|_| panic!("not a number: {printed}"))
    }

    fn database_name(&self) -> &str {
        self.database.rsplit('/').next().expect("a URL has a database")
    }

    /// Waits until as many usage records are stored as requests were made, and not one of them twice.
    pub(crate) async fn usage_is(&self, n_requests: usize) -> std::time::Duration {
        let look = || async { (self.count("SELECT count(*) FROM usage_event") >= n_requests).then_some(()) };
        let (_, took) = eventually(&format!("{n_requests} usage records"), look).await;
        let n_different = self.count("SELECT count(DISTINCT id) FROM usage_event");
        let n_counted = self.count("SELECT sum(requests) FROM spend_counter WHERE is_first = 1");
        let n_stored = self.count("SELECT count(*) FROM usage_event");
        assert_eq!(
            (n_stored, n_different, n_counted),
            (n_requests, n_requests, n_requests),
            "stored, different, counted"
        );
        took
    }

    /// Notes how far what is stored is from one usage record for each request.
    pub(crate) fn note_usage(&self, test: &str, n_requests: usize) {
        let n_stored = self.count("SELECT count(*) FROM usage_event");
        let what = format!("usage records lost or doubled of {n_requests}");
        figure::note(test, &what, n_stored.abs_diff(n_requests) as f64, "records", 0.0);
    }
}

/// A loopback address of nobody, which stays the same across restarts.
pub(crate) fn loopback() -> String {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())).to_string()
}

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// One OpenAI-compatible provider and a model `m` of it; nothing is retried behind the client's back.
fn config(upstream: &str) -> String {
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

/// The repository's own file.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("two folders below the root").join(path)
}
