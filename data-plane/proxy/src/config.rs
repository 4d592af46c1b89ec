//! Process settings of a node: what its flags say. What people configure at run time is in `gateway_model`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::sync::mpsc;

/// How to start a node.
pub struct Options {
    /// State of the node (usage spool, node id). `None`: nothing is kept, and usage goes to the log only.
    pub data_dir: Option<PathBuf>,
    /// Public listener. `None`: what `settings.server.listen` says, else `127.0.0.1:8080`.
    pub listen: Option<SocketAddr>,
    /// Own listener for health and metrics. `None`: they are on the public one.
    pub ops_listen: Option<SocketAddr>,
    /// Worker threads. `None`: one per core this process may use.
    pub workers: Option<usize>,
    pub source: Source,
    pub log: LogSink,
    pub drain: Drain,
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

// === impl Drain ===

impl Drain {
    /// A node behind a balancer.
    pub const BALANCED: Self = Self { delay: Duration::from_secs(5), timeout: Duration::from_secs(300) };
    /// Both planes in one process, for one machine.
    pub const LOCAL: Self = Self { delay: Duration::ZERO, timeout: Duration::from_secs(10) };
}
