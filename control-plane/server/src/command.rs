//! The command line of a control plane, shared by `gateway-control-plane` and `gatewayctl control-plane`.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use gateway_model::file;
use gateway_model::problem::Problem;
use gateway_model::secret::Secret;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::change::Refusal;
use crate::config::{self, DEFAULT_ADMIN_LISTEN, DEFAULT_FLEET_LISTEN, Options, TlsFiles, variable};
use crate::control_plane::{ControlPlane as Running, start};

/// Run a control plane: the source of truth that gatewayctl talks to and nodes follow.
///
/// The first start makes the database, the master key and a first virtual key. The key-encryption key `kek.key` in the data
/// directory opens the stored provider credentials: back it up.
///
/// Several replicas share one Postgres database, one key-encryption key and one master key.
///
/// Examples:
///   gateway-control-plane
///   gateway-control-plane --database-url postgres://gateway@db/gateway --kek-file kek.key --master-key-file master.key \
///     --fleet-listen 10.0.0.7:8082
///   gateway-control-plane --data-dir /var/lib/gateway --admin-listen 10.0.0.7:8081 --admin-host gateway.example.com
///   gateway-control-plane -f gateway.yaml --ready-file /run/gateway/ready.json
#[derive(Debug, clap::Parser)]
#[command(name = "gateway-control-plane", version, verbatim_doc_comment)]
pub struct ControlPlane {
    /// Database, master key and key-encryption key.
    #[arg(long, value_name = "DIR", default_value = "gateway-data")]
    pub data_dir: PathBuf,
    /// Another database than `gateway.db` in the data directory: postgres://… for several replicas, or sqlite:///path/to/file.db
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
    /// Read that URL from a file: one with a password in it does not belong on a command line
    #[arg(long, value_name = "FILE", conflicts_with = "database_url")]
    pub database_url_file: Option<PathBuf>,
    /// ClickHouse for the logs of requests, http://user:password@host:8123/database [default: they are in the database]
    #[arg(long, value_name = "URL", env = config::LOGS_DATABASE, hide_env_values = true)]
    pub logs_database: Option<String>,
    /// Read that URL from a file
    #[arg(long, value_name = "FILE", conflicts_with = "logs_database")]
    pub logs_database_file: Option<PathBuf>,
    /// Address of the admin API. One that is not loopback is consent to be reached from outside.
    #[arg(long, value_name = "ADDRESS", default_value_t = DEFAULT_ADMIN_LISTEN)]
    pub admin_listen: SocketAddr,
    /// Host name under which the admin API is called, beside loopback and its address; may be repeated.
    #[arg(long = "admin-host", value_name = "NAME")]
    pub admin_hosts: Vec<String>,
    /// Speak TLS there, with this certificate and those between it and its authority (PEM). Read again when it changes, and at
    /// SIGHUP; a broken one changes nothing.
    #[arg(long, value_name = "FILE", requires = "admin_tls_key")]
    pub admin_tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "admin_tls_cert")]
    pub admin_tls_key: Option<PathBuf>,
    /// Address for nodes on other machines. One that is not loopback is consent to be reached from outside.
    #[arg(long, value_name = "ADDRESS", default_value_t = DEFAULT_FLEET_LISTEN)]
    pub fleet_listen: SocketAddr,
    /// Name or address under which nodes reach the fleet listener, where it is not the one above; may be repeated.
    #[arg(long = "fleet-host", value_name = "NAME")]
    pub fleet_hosts: Vec<String>,
    /// Key-encryption key that all replicas on a database share: 32 bytes in base64 [default: `kek.key` in the data directory]
    #[arg(long, value_name = "FILE", env = config::KEK_FILE, hide_env_values = true)]
    pub kek_file: Option<PathBuf>,
    /// Master key that all replicas share, in place of `GATEWAY_MASTER_KEY` [default: `master.key` in the data directory]
    #[arg(long, value_name = "FILE")]
    pub master_key_file: Option<PathBuf>,
    /// Where applications reach the gateway, as the dashboard shows it and calls it from its playground:
    /// `https://gateway.example.com`
    #[arg(long, value_name = "URL", value_parser = public_url)]
    pub public_url: Option<String>,
    /// Secret of the client that the identity provider in `settings.oidc` knows this gateway as [default: a client without one]
    #[arg(long, value_name = "FILE")]
    pub oidc_client_secret_file: Option<PathBuf>,
    /// Configuration file to apply at each start; what it does not name is left alone.
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Written when the admin API answers: {"admin_url", "fleet_url", "master_key", "join_token", "virtual_key", "pid"}.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// A file with a secret and nothing else. The error names the file and not what is in it.
fn secret_in(path: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading `{}`", path.display()))?;
    let text = text.trim();
    anyhow::ensure!(!text.is_empty(), "`{}` is empty", path.display());
    Ok(Secret::new(text))
}

/// An origin and nothing behind it: it is written into a policy for browsers.
fn public_url(text: &str) -> Result<String, String> {
    let url = text.trim_end_matches('/');
    let parsed = url.parse::<http::Uri>().map_err(|error| error.to_string())?;
    let is_origin = matches!(parsed.scheme_str(), Some("http" | "https"))
        && parsed.authority().is_some_and(|authority| {
            authority.as_str().chars().all(|c| c.is_ascii_alphanumeric() || ".-:[]".contains(c))
        })
        && parsed.path_and_query().is_none_or(|path| path == "/");
    is_origin
        .then(|| url.to_owned())
        .ok_or_else(|| "must be like https://gateway.example.com, without a path".to_owned())
}

/// SIGTERM and SIGINT; one that comes early is kept until somebody waits for it.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

// === impl ControlPlane ===

impl ControlPlane {
    /// Runs until SIGTERM or Ctrl-C; a second one ends it at once.
    pub fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
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
        // From here on a signal ends the program in order, also while it starts.
        let mut signals = Signals::listen()?;
        remove_stale(self.ready_file.as_deref())?;
        // A file that is refused ends the command before anything has been made.
        let parsed = self.file.as_deref().map(read).transpose()?;
        let running = start(Options {
            data_dir: self.data_dir,
            database_url: self
                .database_url
                .map_or_else(|| url_in(self.database_url_file.as_deref()), |url| Ok(Some(url)))?,
            logs_database: match self.logs_database {
                Some(url) => Some(Secret::new(url)),
                None => self.logs_database_file.as_deref().map(secret_in).transpose()?,
            },
            admin_listen: self.admin_listen,
            admin_hosts: self.admin_hosts,
            admin_tls: tls_files(self.admin_tls_cert, self.admin_tls_key),
            fleet_listen: Some(self.fleet_listen),
            fleet_hosts: self.fleet_hosts,
            kek_file: self.kek_file,
            master_key_file: self.master_key_file,
            public_url: self.public_url,
            oidc_client_secret: self.oidc_client_secret_file.as_deref().map(secret_in).transpose()?,
        })
        .await?;
        if let (Some(path), Some(parsed)) = (&self.file, parsed) {
            apply(&running, path, parsed).await?;
        }
        let admin_url = running.admin_url();
        if let Some(path) = &self.ready_file {
            write_private(path, &ready(&running, &admin_url).to_string())?;
        }
        eprintln!("admin API on {admin_url}");
        if let Some(fleet_url) = running.fleet_url() {
            eprintln!("nodes join on {fleet_url}");
        }
        if let Some(key) = running.minted_key() {
            eprintln!("first virtual key, shown once: {}", key.expose());
        }
        signals.next().await;
        tokio::select! {
            () = running.shutdown() => {}
            () = signals.next() => {}
        }
        Ok(())
    }
}

// === impl Signals ===

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        let interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
        Ok(Self { terminate, interrupt })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Both or none; the flags require each other.
fn tls_files(certificate: Option<PathBuf>, key: Option<PathBuf>) -> Option<TlsFiles> {
    certificate.zip(key).map(|(certificate, key)| TlsFiles { certificate, key })
}

/// What programs need to use this control plane.
fn ready(running: &Running, admin_url: &str) -> serde_json::Value {
    json!({
        "admin_url": admin_url,
        "fleet_url": running.fleet_url(),
        "master_key": running.master_key().expose(),
        "join_token": running.join_token().map(|token| token.expose()),
        "virtual_key": running.minted_key().map(|key| key.expose()),
        "pid": std::process::id(),
    })
}

/// The database's URL, which is a secret where it holds a password.
fn url_in(path: Option<&Path>) -> anyhow::Result<Option<String>> {
    let Some(path) = path else { return Ok(None) };
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    anyhow::ensure!(!text.trim().is_empty(), "`{}` is empty; it must hold the database's URL", path.display());
    Ok(Some(text.trim().to_owned()))
}

fn read(path: &Path) -> anyhow::Result<file::Parsed> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{shown}`"))?;
    let beside = path.parent().unwrap_or(Path::new(""));
    // What it refers to may be stored already; the write path looks at both together.
    let parsed = file::decode(&shown, &text, &variable, &|file| std::fs::read_to_string(beside.join(file)));
    parsed.map_err(|problems| refused(&shown, &problems))
}

async fn apply(running: &Running, path: &Path, parsed: file::Parsed) -> anyhow::Result<()> {
    let source = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match running.changes().apply(&source, parsed.set.resources()).await {
        Ok(mut outcome) => {
            parsed.index.locate(&mut outcome.warnings);
            for warning in &outcome.warnings {
                eprintln!("{warning}");
            }
            for minted in &outcome.minted {
                eprintln!("key {} made, shown once: {}", minted.name, minted.key.expose());
            }
            Ok(())
        }
        Err(Refusal::Invalid { mut problems, .. }) => {
            parsed.index.locate(&mut problems);
            Err(refused(&path.display().to_string(), &problems))
        }
        Err(refusal) => Err(anyhow::Error::new(refusal).context(format!("cannot apply `{}`", path.display()))),
    }
}

fn refused(file: &str, problems: &[Problem]) -> anyhow::Error {
    let mut message = format!("`{file}` is refused");
    for problem in problems {
        // Writing to a string cannot fail.
        let _ = write!(message, "\n{problem}");
    }
    anyhow!(message)
}

/// Diagnostics go to standard error, as much as `GATEWAY_LOG` asks for (`info` by default; `tracing` filter syntax).
fn install_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("GATEWAY_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // Fails only if there is one already, and then that one is as good.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
}

/// A ready file of an earlier run must not be taken for this one's.
fn remove_stale(path: Option<&Path>) -> anyhow::Result<()> {
    match path.map(std::fs::remove_file) {
        Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("removing the stale ready file")
        }
        _ => Ok(()),
    }
}

/// Appears whole or not at all, and only for its owner: it holds secrets.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let draft = path.with_extension("tmp");
    let write = || {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, path)
    };
    write().with_context(|| format!("cannot write the ready file `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_an_origin() {
        for (text, expected) in [
            ("https://gateway.example.com", Some("https://gateway.example.com")),
            ("http://[::1]:8080/", Some("http://[::1]:8080")),
            ("https://gateway.example.com/v1", None),
            ("https://*", None),
            ("https://a;script-src", None),
            ("https://user@a", None),
            ("ftp://a", None),
            ("gateway.example.com", None),
        ] {
            assert_eq!(public_url(text).ok().as_deref(), expected, "{text}");
        }
    }
}
