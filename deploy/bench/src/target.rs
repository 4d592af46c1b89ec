//! What is measured: the upstream alone, the plain proxy, the gateway as a node alone, the gateway fed by a control plane.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::process::{Process, Side};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The load generator straight at the mock.
    Direct,
    Bare,
    /// `gatewayctl data-plane -f`: key check, routing, usage spool, log and metrics on.
    Node,
    /// `gatewayctl up`: the same, fed by a control plane in the same process, whose work is charged too.
    Up,
}

/// Where the programs and files are.
#[derive(Clone, Debug)]
pub struct Places {
    pub gatewayctl: PathBuf,
    /// The folder of the benchmark's own programs.
    pub tools: PathBuf,
    /// Scratch: configurations, data directories, logs.
    pub scratch: PathBuf,
    pub mock: SocketAddr,
}

/// A target that answers.
#[derive(Debug)]
pub struct Running {
    pub kind: Kind,
    pub addr: SocketAddr,
    pub process: Option<Process>,
    /// From the start of the process until it said that it is ready.
    pub ready_in: Duration,
}

/// The client's key; imported through the file.
pub const KEY: &str = "bench-key-0123456789abcdefghij";
/// Longest wait for a start.
const PATIENCE: Duration = Duration::from_secs(60);

// === impl Kind ===

impl Kind {
    pub const ALL: [Self; 4] = [Self::Direct, Self::Bare, Self::Node, Self::Up];

    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Bare => "bare",
            Self::Node => "node",
            Self::Up => "up",
        }
    }

    /// Starts the target. `data` is its data directory (kept: a second start finds the first one's) and `config` its file.
    pub fn start(self, places: &Places, data: &str, config: &Path) -> anyhow::Result<Running> {
        let log = places.scratch.join(format!("{}.log", self.name()));
        let started = Instant::now();
        let (addr, process) = match self {
            Self::Direct => (places.mock, None),
            Self::Bare => {
                let program = places.tools.join("bare-proxy");
                let upstream = places.mock.to_string();
                let command = [path(&program)?, "--upstream", &upstream];
                let (process, addr) = Process::start_and_read(self.name(), Side::Target, &command)?;
                (addr.parse()?, Some(process))
            }
            Self::Node | Self::Up => {
                let ready_file = places.scratch.join(format!("{}-ready.json", self.name()));
                let _ = fs::remove_file(&ready_file);
                let data = places.scratch.join(data);
                let mut command = vec![path(&places.gatewayctl)?];
                match self {
                    Self::Node => command.push("data-plane"),
                    _ => command.extend(["up", "--admin-listen", "127.0.0.1:0"]),
                }
                command.extend(["--listen", "127.0.0.1:0", "--data-dir", path(&data)?, "-f", path(config)?]);
                command.extend(["--ready-file", path(&ready_file)?]);
                let mut process = Process::start(self.name(), Side::Target, &command, &log)?;
                let ready = wait_for_file(&ready_file, &mut process).with_context(|| {
                    format!("{} did not become ready; its output is in {}", self.name(), log.display())
                })?;
                let base_url = ready["base_url"].as_str().context("the ready file has no `base_url`")?;
                (base_url.trim_start_matches("http://").trim_end_matches('/').parse()?, Some(process))
            }
        };
        Ok(Running { kind: self, addr, process, ready_in: started.elapsed() })
    }
}

/// The gateway's configuration: both upstreams, a route that matches, a price, a limit that is counted and not reached.
pub fn config(mock: SocketAddr) -> String {
    format!(
        "providers:
  - {{name: mock, kind: openai-compatible, base_url: \"http://{mock}/v1\", api_key: upstream-key, allow_private_networks: true}}
  - {{name: claude, kind: anthropic, base_url: \"http://{mock}\", api_key: upstream-key, allow_private_networks: true}}
models:
  - {{name: bench, targets: [{{provider: mock, model: bench-model}}]}}
  - {{name: bench-translated, targets: [{{provider: claude, model: bench-model}}]}}
routes:
  - {{name: elsewhere, match: {{headers: {{x-team: search}}}}, model: bench}}
  - {{name: bench, match: {{path: /v1/chat/completions, model: \"bench*\"}}}}
prices:
  - {{provider: mock, model: bench-model, input_per_1m: 0.15, output_per_1m: 0.6}}
  - {{provider: claude, model: bench-model, input_per_1m: 3, output_per_1m: 15}}
keys:
  - {{name: bench, secret: {KEY}, models: [\"bench*\"], limits: {{rpm: 100000000}}}}
"
    )
}

/// A configuration of `n` providers and as many models.
pub fn large_config(mock: SocketAddr, n: usize) -> String {
    let mut text = "providers:\n".to_owned();
    let mut line = |args: std::fmt::Arguments<'_>| text.write_fmt(args).expect("writing to a String cannot fail");
    for at in 0..n {
        let url = format!("http://{mock}/p{at}/v1");
        line(format_args!(
            "  - {{name: p{at}, kind: openai-compatible, base_url: \"{url}\", api_key: upstream-key-{at}, "
        ));
        line(format_args!("allow_private_networks: true, retry: {{max_attempts: 1}}}}\n"));
    }
    line(format_args!("models:\n"));
    for at in 0..n {
        line(format_args!("  - {{name: m{at}, targets: [{{provider: p{at}, model: upstream-{at}}}]}}\n"));
    }
    line(format_args!("keys:\n  - {{name: bench, secret: {KEY}}}\n"));
    text
}

fn wait_for_file(path: &Path, process: &mut Process) -> anyhow::Result<serde_json::Value> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Ok(text) = fs::read_to_string(path) {
            return serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()));
        }
        process.check_alive()?;
        if Instant::now() > until {
            anyhow::bail!("no {} within {PATIENCE:?}", path.display());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn path(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
