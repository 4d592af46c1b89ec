//! `up`: a whole gateway in this process, for a trial or for one machine.

mod screen;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use gateway_model::secret::Secret;
use gateway_proxy::command::{Collecting, Signals, install_log, remove_stale, tls_files, write_private};
use gateway_standalone::{File, Options, Refused, Seed, Standalone};
use serde_json::json;

use crate::args;
use crate::context::local;
use crate::exit::{Exit, Failure};
use crate::host::{self, variable};
use crate::source::{self, FileArgs, Source};

use self::watch::Watch;

/// Run a gateway on this machine
#[derive(Args, Debug)]
#[command(
    after_help = "The first start makes everything it needs: a database, the master key, a first virtual key, and a provider for each \
    provider key in the environment (OPENAI_API_KEY, ANTHROPIC_API_KEY …) and for a local Ollama or vLLM. Without any \
    of these there is a provider `demo`, which answers by itself. With --file, the file says it all: it is applied at \
    each start and nothing is looked for.

While it runs, other gatewayctl commands of this user find it by themselves. Ctrl-C or SIGTERM lets open requests \
    end for up to 10 seconds; a second one stops at once.

Examples:
  gatewayctl up
  gatewayctl up -f gateway.yaml --watch
  gatewayctl up --listen 0.0.0.0:8080 --data-dir /var/lib/gateway"
)]
pub(crate) struct Up {
    /// Where everything is kept: database, keys, usage not yet counted
    #[arg(long, env = variable::DATA_DIR, hide_env_values = true, value_name = "DIR", default_value = args::DATA_DIR)]
    data_dir: PathBuf,
    /// Address of the public API; one that is not loopback is consent to be reached from outside [default: the file's
    /// settings.server.listen, else 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Speak TLS on the public API, with this certificate and those between it and its authority (PEM); read again when it
    /// changes, and at SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Address of the admin API
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    admin_listen: SocketAddr,
    /// Speak TLS on the admin API, with this certificate; other gatewayctl commands must trust it for the address above
    #[arg(long, value_name = "FILE", requires = "admin_tls_key")]
    admin_tls_cert: Option<PathBuf>,
    /// The private key of that one
    #[arg(long, value_name = "FILE", requires = "admin_tls_cert")]
    admin_tls_key: Option<PathBuf>,
    /// Serve /health, /ready, /metrics and /statsz here instead of on the public API's address
    #[arg(long, value_name = "ADDRESS")]
    ops_listen: Option<SocketAddr>,
    /// A file that holds the operators' key. With it, /statsz is for who presents that key
    #[arg(long, value_name = "FILE")]
    ops_key_file: Option<PathBuf>,
    /// Serve /debug/pprof/ to who presents the operators' key, or the master key where there is none; /statsz takes it then
    #[arg(long)]
    pprof: bool,
    /// Speak TLS there, with this certificate
    #[arg(long, value_name = "FILE", requires_all = ["ops_listen", "ops_tls_key"])]
    ops_tls_cert: Option<PathBuf>,
    /// The private key of that one
    #[arg(long, value_name = "FILE", requires = "ops_tls_cert")]
    ops_tls_key: Option<PathBuf>,
    /// Address where further nodes join; one that is not loopback is consent to be reached from outside [default:
    /// 127.0.0.1:8082 if it is free]
    #[arg(long, value_name = "ADDRESS")]
    fleet_listen: Option<SocketAddr>,
    /// Name or address under which nodes reach it, where that is not the one above; may be repeated
    #[arg(long = "fleet-host", value_name = "NAME")]
    fleet_hosts: Vec<String>,
    /// Database of the control plane [default: SQLite in the data directory]
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// ClickHouse for the logs of requests, http://user:password@host:8123/database [default: they are in the database]
    #[arg(long, env = variable::LOGS_DATABASE, hide_env_values = true, value_name = "URL")]
    logs_database: Option<String>,
    /// Key-encryption key, 32 bytes in base64 [default: `kek.key` in the data directory]
    #[arg(long, env = variable::KEK_FILE, hide_env_values = true, value_name = "FILE")]
    kek_file: Option<PathBuf>,
    /// Master key, in place of GATEWAY_MASTER_KEY [default: `master.key` in the data directory]
    #[arg(long, value_name = "FILE")]
    master_key_file: Option<PathBuf>,
    /// Worker threads of the data plane [default: one per core]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    #[command(flatten)]
    otlp: Collecting,
    /// Configuration to apply at each start, as `gatewayctl apply -f` would
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Apply the file again whenever it changes; a broken one keeps what runs
    #[arg(long, requires = "file")]
    watch: bool,
    /// Written when the gateway serves: addresses and keys as JSON, mode 0600
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

pub(crate) fn run(up: Up) -> Result<ExitCode, Failure> {
    install_log();
    remove_stale(up.ready_file.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Refused, format!("cannot start the runtime: {error}")))?;
    runtime.block_on(serve(up))
}

async fn serve(up: Up) -> Result<ExitCode, Failure> {
    let file = up.file.clone().map(|file| FileArgs { file, source: None });
    // Refused before anything is made: the first key is shown once, at the start that makes it. With nothing stored yet, the
    // file has to be right on its own.
    let load = if up.data_dir.exists() { source::load } else { source::load_alone };
    let source = file.as_ref().map(load).transpose()?;
    let options = options(&up, source.as_ref())?;
    let mut signals = Signals::listen()?;
    let standalone = tokio::select! {
        standalone = gateway_standalone::start(options) => standalone,
        () = signals.next() => return Ok(ExitCode::SUCCESS),
    };
    let standalone = standalone.map_err(|error| refused(error, source.as_ref()))?;
    local::announce(&up.data_dir, &standalone.admin_url(), standalone.master_key())?;
    // The screen first: whoever waits for the file finds both.
    host::print(&screen::draw(&standalone, &up))?;
    if let Some(path) = &up.ready_file {
        write_private(path, &format!("{:#}\n", ready(&standalone)))?;
    }
    let watch = file.filter(|_| up.watch).zip(source).map(|(file, source)| Watch::new(file, source));
    tokio::select! {
        () = signals.next() => {}
        never = watch::follow(watch, &standalone) => match never {},
    }
    host::say("stopping: open requests have 10 seconds to end; once more stops at once");
    tokio::select! {
        () = standalone.shutdown() => {}
        () = signals.next() => {}
    }
    local::withdraw(&up.data_dir);
    Ok(ExitCode::SUCCESS)
}

fn options(up: &Up, source: Option<&Source>) -> anyhow::Result<Options> {
    let seed = match source {
        Some(source) => Seed::File(file(source)),
        None => Seed::Look(Box::new(host::variable)),
    };
    Ok(Options {
        data_dir: up.data_dir.clone(),
        listen: up.listen,
        tls: tls_files(up.tls_cert.clone(), up.tls_key.clone()),
        ops_listen: up.ops_listen,
        ops_key_file: up.ops_key_file.clone(),
        pprof: up.pprof,
        ops_tls: tls_files(up.ops_tls_cert.clone(), up.ops_tls_key.clone()),
        admin_listen: up.admin_listen,
        admin_tls: tls_files(up.admin_tls_cert.clone(), up.admin_tls_key.clone()),
        fleet_listen: up.fleet_listen,
        fleet_hosts: up.fleet_hosts.clone(),
        kek_file: up.kek_file.clone(),
        master_key_file: up.master_key_file.clone(),
        database_url: up.database_url.clone(),
        logs_database: up.logs_database.clone().map(Secret::new),
        workers: up.workers,
        otlp: up.otlp.clone().asked()?,
        seed,
    })
}

fn file(source: &Source) -> File {
    File { owner: source.owner.clone(), resources: source.set.resources() }
}

/// A refused file shows its own lines; anything else is told as it is.
fn refused(error: anyhow::Error, source: Option<&Source>) -> Failure {
    match (error.downcast::<Refused>(), source) {
        (Ok(mut refused), Some(source)) => {
            source.index.locate(&mut refused.problems);
            Failure::problems(format!("`{}` is refused: {}", source.file_name, refused.message), refused.problems)
        }
        (Ok(refused), None) => Failure::problems(refused.message, refused.problems),
        (Err(error), _) => error.into(),
    }
}

/// What programs need to use the gateway.
fn ready(standalone: &Standalone) -> serde_json::Value {
    json!({
        "base_url": standalone.base_url(),
        "admin_url": standalone.admin_url(),
        "fleet_url": standalone.fleet_url(),
        "master_key": standalone.master_key().expose(),
        "join_token": standalone.join_token().map(Secret::expose),
        "virtual_key": standalone.minted_key().map(Secret::expose),
        "pid": std::process::id(),
    })
}
