//! Process settings of a node: what its flags say. What people configure at run time is in `gateway_model`.

mod admin;
mod fleet_url;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use gateway_model::secret::Secret;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

pub use admin::Admin;
pub use fleet_url::FleetUrl;
pub use gateway_tls::Files as TlsFiles;

/// How to start a node. [`Options::new`] has what is usual.
pub struct Options {
    /// State of the node (node id, membership, configuration, usage spool). `None`: nothing is kept, and usage goes to the
    /// log only. A node that joins a fleet over the network needs one.
    pub data_dir: Option<PathBuf>,
    /// Public listener. `None`: what `settings.server.listen` says, else `127.0.0.1:8080`.
    pub listen: Option<SocketAddr>,
    /// The public listener speaks TLS with these. `None`: it does not.
    pub tls: Option<TlsFiles>,
    /// Own listener for health and metrics. `None`: they are on the public one.
    pub ops_listen: Option<SocketAddr>,
    /// What operators must present for `/statsz`. `None`: it is open, and there are no profiles.
    pub ops_key: Option<Secret>,
    /// Serve `/debug/pprof/`; takes a key.
    pub pprof: bool,
    /// That listener speaks TLS with these.
    pub ops_tls: Option<TlsFiles>,
    /// Worker threads. `None`: one per core this process may use.
    pub workers: Option<usize>,
    pub source: Source,
    pub log: LogSink,
    pub drain: Drain,
    /// What the node says of itself, for people and rollouts to choose by.
    pub labels: BTreeMap<String, String>,
    /// Configuration to begin with where the data directory holds none and no control plane answers.
    pub seed_snapshot: Option<PathBuf>,
    /// Without it, what the data directory holds of the configuration cannot be read.
    pub state_key: Option<Secret>,
    /// A Redis or Valkey that keeps responses for all nodes. `None`: this node keeps its own.
    pub redis_url: Option<Secret>,
    /// Where traces and metrics are sent. `None`: nowhere.
    pub otlp: Option<Otlp>,
    /// A control plane in the same process, for the admin paths that clients look for beside `/v1`. `None`: there are none.
    pub admin: Option<Admin>,
}

/// A collector that takes OTLP over HTTP, and what it gets.
#[derive(Clone, Debug)]
pub struct Otlp {
    /// `http://` or `https://`, without `/v1/traces`.
    pub endpoint: String,
    /// Sent with everything: `name=value`, several separated by commas or lines.
    pub headers: Option<Secret>,
    /// The part of the traces that begin here which is recorded, from 0 to 1; what fails or is slow is recorded in any case, and a trace
    /// that somebody else began as they say.
    pub sample_ratio: f64,
    /// Requests that take as long are slow.
    pub slow: Duration,
    /// From one sending of the metrics to the next.
    pub metrics_every: Duration,
    /// What this node is called there: `service.name`.
    pub service_name: String,
}

/// Where the configuration comes from.
pub enum Source {
    /// A file, with no control plane.
    File {
        path: PathBuf,
        /// Reload when the file changes.
        watch: bool,
    },
    Fleet(Endpoint),
}

/// How the control plane is reached.
pub enum Endpoint {
    /// In this process: each dial sends one end of a pipe to the control plane.
    Pipe(mpsc::Sender<DuplexStream>),
    /// Over the network, as a member of the fleet.
    Remote(Remote),
}

/// A control plane on other machines.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Its replicas, or names behind which they are. Not empty; a dial takes the next one after a failure.
    pub urls: Vec<FleetUrl>,
    /// What lets a node in that is no member yet. Not looked at where the data directory holds a membership.
    pub join_token: Option<JoinToken>,
}

/// Where the join token is.
#[derive(Clone, Debug)]
pub enum JoinToken {
    Given(Secret),
    /// Read only when it is needed.
    File(PathBuf),
}

/// Where log records go beside the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSink {
    None,
    /// JSON lines on standard output.
    Stdout,
    /// JSON lines appended to a file.
    File(PathBuf),
}

/// An orderly stop.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// Between saying 503 on `/ready` and closing the listener, for balancers to notice.
    pub delay: Duration,
    /// Open requests may take this long to end.
    pub timeout: Duration,
}

/// The public address where nothing else is said.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

/// An environment variable, for `${NAME}` in the configuration file.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

// === impl Options ===

impl Options {
    /// A node of this source that keeps nothing and writes no log.
    pub fn new(source: Source) -> Self {
        Self {
            data_dir: None,
            listen: None,
            tls: None,
            ops_listen: None,
            ops_key: None,
            pprof: false,
            ops_tls: None,
            workers: None,
            source,
            log: LogSink::None,
            drain: Drain::LOCAL,
            labels: BTreeMap::new(),
            seed_snapshot: None,
            state_key: None,
            redis_url: None,
            otlp: None,
            admin: None,
        }
    }
}

// === impl Otlp ===

impl Otlp {
    /// A tenth of what goes well and fast, metrics once a minute.
    pub fn new(endpoint: String) -> Self {
        Self {
            endpoint,
            headers: None,
            sample_ratio: 0.1,
            slow: Duration::from_secs(10),
            metrics_every: Duration::from_secs(60),
            service_name: variable("OTEL_SERVICE_NAME").unwrap_or_else(|| "gateway".to_owned()),
        }
    }

    /// As flags say it, or else OpenTelemetry's own variables; `None` where neither names an endpoint.
    ///
    /// # Errors
    /// Where the file cannot be read, or the ratio is none.
    pub fn asked(endpoint: Option<String>, headers: Option<&Path>, sample_ratio: f64) -> anyhow::Result<Option<Self>> {
        anyhow::ensure!((0.0..=1.0).contains(&sample_ratio), "--trace-ratio is {sample_ratio}; it goes from 0 to 1");
        let set = |name| variable(name).filter(|value| !value.trim().is_empty());
        let Some(endpoint) = endpoint.or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT")) else { return Ok(None) };
        let headers = match headers {
            Some(path) => Some(secret_in(path)?),
            None => set("OTEL_EXPORTER_OTLP_HEADERS").map(Secret::new),
        };
        Ok(Some(Self { headers, sample_ratio, ..Self::new(endpoint) }))
    }
}

// === impl Drain ===

impl Drain {
    /// A node behind a balancer.
    pub const BALANCED: Self = Self { delay: Duration::from_secs(5), timeout: Duration::from_secs(300) };
    /// Both planes in one process, for one machine.
    pub const LOCAL: Self = Self { delay: Duration::ZERO, timeout: Duration::from_secs(10) };
}

/// The key in a file, never empty: one that is asked for and not there must not be taken for none.
pub fn secret_in(path: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading `{}`", path.display()))?;
    anyhow::ensure!(!text.trim().is_empty(), "`{}` is empty; it must hold a key", path.display());
    Ok(Secret::new(text.trim()))
}
