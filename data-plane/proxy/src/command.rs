//! The command line of a node, shared by `gateway-data-plane` and `gatewayctl data-plane`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use gateway_model::secret::Secret;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{
    Drain, Endpoint, FleetUrl, JoinToken, LogSink, Options, Otlp, Remote, Source, TlsFiles, secret_in, variable,
};
use crate::{Node, private_file, start};

/// Run one data-plane node: a member of a fleet, or alone with a file.
///
/// A member gets its configuration from the control plane, and keeps it: with the control plane gone it serves on, also after
/// a restart. It joins once, with a token that `gatewayctl node token create` makes, and is known by its data directory from
/// then on. The token may also be in GATEWAY_JOIN_TOKEN. GATEWAY_STATE_KEY, if set, is needed to read what the node keeps.
///
/// Alone, the file is the one that `gatewayctl apply -f` takes. Edited, it is read again: the next request uses it; a broken
/// file keeps the old configuration and says what is wrong with it.
///
/// Examples:
///   gateway-data-plane --fleet-url https://control.example.com:8082 --join-token-file /run/secrets/join --listen 0.0.0.0:8080
///   gateway-data-plane --fleet-url https://a.example.com:8082,https://b.example.com:8082 --data-dir /var/lib/gateway-node
///   gateway-data-plane -f gateway.yaml
///   gateway-data-plane -f gateway.yaml --listen 0.0.0.0:8080 --ops-listen 127.0.0.1:9090 --log-file access.log
#[derive(Debug, clap::Parser)]
#[command(name = "gateway-data-plane", version, verbatim_doc_comment)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["file", "fleet_urls"]))]
pub struct DataPlane {
    /// Configuration file (YAML or JSON).
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Keep serving the configuration read at start, whatever happens to the file.
    #[arg(long, requires = "file")]
    pub no_watch: bool,
    /// The fleet listener of the control plane, or of several replicas of it.
    #[arg(long = "fleet-url", value_name = "URL", value_delimiter = ',')]
    pub fleet_urls: Vec<FleetUrl>,
    /// What lets this node join. Not looked at once it has joined.
    #[arg(long, value_name = "TOKEN", requires = "fleet_urls", value_parser = secret, conflicts_with = "join_token_file")]
    pub join_token: Option<Secret>,
    /// A file that holds the join token.
    #[arg(long, value_name = "FILE", requires = "fleet_urls")]
    pub join_token_file: Option<PathBuf>,
    /// A second half of the key under which the node keeps its configuration, in place of `GATEWAY_STATE_KEY`: kept elsewhere than
    /// the data directory, it makes a copy of that useless
    #[arg(long, value_name = "FILE")]
    pub state_key_file: Option<PathBuf>,
    /// A file with the URL of the Redis or Valkey in which all nodes keep stored responses (`redis://…`, or `rediss://…` for TLS), in
    /// place of `GATEWAY_REDIS_URL`. Without one, a response is found on the node that gave it.
    #[arg(long, value_name = "FILE")]
    pub redis_url_file: Option<PathBuf>,
    /// What people and rollouts are to know this node by; may be repeated.
    #[arg(long = "label", value_name = "NAME=VALUE", requires = "fleet_urls", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Configuration to begin with where the node holds none and no control plane answers (`gatewayctl snapshot export`).
    #[arg(long, value_name = "FILE", requires = "fleet_urls")]
    pub seed_snapshot: Option<PathBuf>,
    /// Where the node keeps what is its own: membership, configuration, usage that is not delivered. `gateway-node` in a
    /// fleet; alone, nothing is kept without it, and usage goes to the log only.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address of the public API. A non-loopback address must be named here or in the file to be used.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Speak TLS on the public API, with this certificate and those between it and its authority (PEM). Read again when it
    /// changes, and at SIGHUP; a broken one changes nothing.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Serve /health, /ready, /metrics and /statsz here instead of on the public listener.
    #[arg(long, value_name = "ADDRESS")]
    pub ops_listen: Option<SocketAddr>,
    /// A file that holds the operators' key. With it, /statsz is for who presents that key.
    #[arg(long, value_name = "FILE")]
    pub ops_key_file: Option<PathBuf>,
    /// Serve /debug/pprof/ to who presents the operators' key.
    #[arg(long, requires = "ops_key_file")]
    pub pprof: bool,
    /// Speak TLS there, with this certificate.
    #[arg(long, value_name = "FILE", requires_all = ["ops_listen", "ops_tls_key"])]
    pub ops_tls_cert: Option<PathBuf>,
    /// The private key of that one.
    #[arg(long, value_name = "FILE", requires = "ops_tls_cert")]
    pub ops_tls_key: Option<PathBuf>,
    #[command(flatten)]
    pub otlp: Collecting,
    /// Worker threads; by default one per available core.
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Append log records to this file (JSON lines). Without it a node alone writes them to standard output, and a member
    /// only sends them to the control plane.
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

/// Who collects traces and metrics: the same flags wherever a node runs.
#[derive(Clone, Debug, clap::Args)]
pub struct Collecting {
    /// Send traces and metrics here by OTLP over HTTP, in place of `OTEL_EXPORTER_OTLP_ENDPOINT`
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// A file with headers for that, `name=value`, one a line; in place of `OTEL_EXPORTER_OTLP_HEADERS`
    #[arg(long, value_name = "FILE")]
    pub otlp_headers_file: Option<PathBuf>,
    /// The part of the traces that begin here which is recorded, from 0 to 1. What fails or takes 10 seconds always is, and a trace
    /// that a client has begun as the client says
    #[arg(long, value_name = "RATIO", default_value_t = 0.1)]
    pub trace_ratio: f64,
}

/// Where a member keeps its own unless told otherwise.
const MEMBER_DIR: &str = "gateway-node";
/// The control plane takes no longer ones.
const MAX_LABEL: usize = 128;

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
        remove_stale(self.ready_file.as_deref())?;
        let mut signals = Signals::listen()?;
        let ready_file = self.ready_file.clone();
        let options = self.options()?;
        let node = tokio::select! {
            node = start(options) => node?,
            () = signals.next() => return Ok(()),
        };
        let ended = serve_until_told(&node, ready_file.as_deref(), &mut signals).await;
        tokio::select! {
            () = Node::shutdown(node) => {}
            () = signals.next() => {}
        }
        ended
    }

    fn options(self) -> anyhow::Result<Options> {
        let is_member = !self.fleet_urls.is_empty();
        let otlp = self.otlp.asked()?;
        let log = match (self.log_file, self.no_log) {
            (Some(path), _) => LogSink::File(path),
            (None, false) if !is_member => LogSink::Stdout,
            (None, _) => LogSink::None,
        };
        let source = match self.file {
            Some(path) => Source::File { path, watch: !self.no_watch },
            None => {
                let given = self.join_token.map(JoinToken::Given).or(self.join_token_file.map(JoinToken::File));
                let join_token = given.or_else(|| secret_variable("GATEWAY_JOIN_TOKEN").map(JoinToken::Given));
                Source::Fleet(Endpoint::Remote(Remote { urls: self.fleet_urls, join_token }))
            }
        };
        let state_key = match &self.state_key_file {
            Some(path) => Some(secret_in(path)?),
            None => secret_variable("GATEWAY_STATE_KEY"),
        };
        let redis_url = match &self.redis_url_file {
            Some(path) => Some(secret_in(path)?),
            None => secret_variable("GATEWAY_REDIS_URL"),
        };
        Ok(Options {
            data_dir: self.data_dir.or_else(|| is_member.then(|| PathBuf::from(MEMBER_DIR))),
            listen: self.listen,
            tls: tls_files(self.tls_cert, self.tls_key),
            otlp,
            ops_listen: self.ops_listen,
            ops_key: self.ops_key_file.as_deref().map(secret_in).transpose()?,
            pprof: self.pprof,
            ops_tls: tls_files(self.ops_tls_cert, self.ops_tls_key),
            workers: self.workers,
            log,
            drain: Drain {
                delay: Duration::from_secs(self.drain_delay),
                timeout: Duration::from_secs(self.drain_timeout),
            },
            labels: self.labels.into_iter().collect(),
            seed_snapshot: self.seed_snapshot,
            state_key,
            redis_url,
            ..Options::new(source)
        })
    }
}

// === impl Collecting ===

impl Collecting {
    /// `None` where neither a flag nor a variable names an endpoint.
    ///
    /// # Errors
    /// Where the file cannot be read, or the ratio is none.
    pub fn asked(self) -> anyhow::Result<Option<Otlp>> {
        Otlp::asked(self.otlp_endpoint, self.otlp_headers_file.as_deref(), self.trace_ratio)
    }
}

/// Says that it serves when it does, and returns when the process is to end.
async fn serve_until_told(
    node: &Node,
    ready_file: Option<&std::path::Path>,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let base_url = node.base_url();
    if !node.is_ready() {
        eprintln!("live on {base_url}, waiting for a configuration");
    }
    tokio::select! {
        () = node.ready() => {}
        reason = node.refused() => anyhow::bail!(reason),
        () = signals.next() => return Ok(()),
    }
    if let Some(path) = ready_file {
        let ready = json!({"base_url": base_url, "node_id": node.node_id(), "pid": std::process::id()});
        write_private(path, &ready.to_string())?;
    }
    eprintln!("serving on {base_url}");
    tokio::select! {
        // It serves what it was seeded with: no reason to stop.
        reason = node.refused() => tracing::error!("{reason}"),
        () = signals.next() => return Ok(()),
    }
    signals.next().await;
    Ok(())
}

/// Both or none; the flags require each other.
pub fn tls_files(certificate: Option<PathBuf>, key: Option<PathBuf>) -> Option<TlsFiles> {
    certificate.zip(key).map(|(certificate, key)| TlsFiles { certificate, key })
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

/// Empty is as good as not set.
fn secret_variable(name: &str) -> Option<Secret> {
    variable(name).filter(|text| !text.is_empty()).map(Secret::new)
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is no label; write it like zone=a"))?;
    if name.is_empty() || text.len() > MAX_LABEL {
        return Err(format!("a label has a name, and at most {MAX_LABEL} characters in all"));
    }
    Ok((name.to_owned(), value.to_owned()))
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
    private_file::write(path, text.as_bytes()).with_context(|| format!("writing `{}`", path.display()))
}
