//! The command line of a node, shared by `gateway-data-plane` and `gatewayctl data-plane`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{Drain, LogSink, Options, Source};
use crate::{Node, start};

/// Run one data-plane node alone, configured by a file.
///
/// The file is the one that `gatewayctl apply -f` takes. Edited, it is read again: the next request uses it; a broken file
/// keeps the old configuration and says what is wrong with it.
///
/// Examples:
///   gateway-data-plane -f gateway.yaml
///   gateway-data-plane -f gateway.yaml --listen 0.0.0.0:8080 --ops-listen 127.0.0.1:9090 --log-file access.log
#[derive(Debug, clap::Parser)]
#[command(name = "gateway-data-plane", version, verbatim_doc_comment)]
pub struct DataPlane {
    /// Configuration file (YAML or JSON).
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: PathBuf,
    /// Keep serving the configuration read at start, whatever happens to the file.
    #[arg(long)]
    pub no_watch: bool,
    /// Where the node keeps its usage spool. Without it usage goes to the log only.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address of the public API. A non-loopback address must be named here or in the file to be used.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Serve /health, /ready and /metrics here instead of on the public listener.
    #[arg(long, value_name = "ADDRESS")]
    pub ops_listen: Option<SocketAddr>,
    /// Worker threads; by default one per available core.
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Append log records to this file (JSON lines) instead of writing them to standard output.
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Write no log records at all.
    #[arg(long, conflicts_with = "log_file")]
    pub no_log: bool,
    /// Written when the node serves: {"base_url", "node_id", "pid"}.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Seconds that open requests may take to end after SIGTERM.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub drain_timeout: u64,
    /// Seconds between answering 503 on /ready and closing the listener.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub drain_delay: u64,
}

// === impl DataPlane ===

impl DataPlane {
    /// Runs until SIGTERM or Ctrl-C; a second one ends the drain at once.
    pub fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let served = runtime.context("starting the runtime").and_then(|runtime| runtime.block_on(self.serve()));
        match served {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    async fn serve(self) -> anyhow::Result<()> {
        install_log();
        let log = match (self.log_file, self.no_log) {
            (Some(path), _) => LogSink::File(path),
            (None, true) => LogSink::None,
            (None, false) => LogSink::Stdout,
        };
        remove_stale(self.ready_file.as_deref())?;
        let mut signals = Signals::listen()?;
        let starting = start(Options {
            data_dir: self.data_dir,
            listen: self.listen,
            ops_listen: self.ops_listen,
            workers: self.workers,
            source: Source::File { path: self.file, watch: !self.no_watch },
            log,
            drain: Drain {
                delay: Duration::from_secs(self.drain_delay),
                timeout: Duration::from_secs(self.drain_timeout),
            },
        });
        let node = tokio::select! {
            node = starting => node?,
            () = signals.next() => return Ok(()),
        };
        node.ready().await;
        let base_url = format!("http://{}", node.addr());
        if let Some(path) = &self.ready_file {
            let ready = json!({"base_url": base_url, "node_id": node.node_id(), "pid": std::process::id()});
            write_private(path, &ready.to_string())?;
        }
        eprintln!("serving on {base_url}");
        signals.next().await;
        tokio::select! {
            () = Node::shutdown(node) => {}
            () = signals.next() => {}
        }
        Ok(())
    }
}

/// Diagnostics go to standard error, as much as `GATEWAY_LOG` asks for (`info` by default; `tracing` filter syntax).
pub fn install_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("GATEWAY_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    let _ = log.with_target(false).try_init();
}

/// Requests to stop, from the moment of listening on: none is missed, and none kills the process unasked.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

// === impl Signals ===

impl Signals {
    pub fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("listening for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("listening for SIGINT")?,
        })
    }

    /// Returns at the next SIGTERM or SIGINT.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A ready file of an earlier run must not be taken for this one's.
pub fn remove_stale(path: Option<&std::path::Path>) -> anyhow::Result<()> {
    match path.map(std::fs::remove_file) {
        Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("removing the stale ready file")
        }
        _ => Ok(()),
    }
}

/// Appears whole or not at all, and only for its owner: it may hold secrets.
pub fn write_private(path: &std::path::Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().with_context(|| format!("writing `{}`", path.display()))
}
