//! Both planes in one process: a control plane over its data directory, a node fed over an in-memory pipe that carries the
//! same gRPC messages as the network does. It composes; what the planes do is theirs.

pub mod openapi;
mod local;
mod sample;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use gateway_model::document::Resource;
use gateway_model::kind::Kind;
use gateway_model::problem::Problem;
use gateway_model::secret::Secret;
use gateway_model::set::Set;
use gateway_proxy::Node;
use gateway_proxy::config::{Admin, DEFAULT_LISTEN, Endpoint, Otlp, Source, TlsFiles};
use gateway_server::ControlPlane;
use gateway_server::change::{Actor, Changes, Edit, Outcome, Refusal, Request, Wish};
use gateway_server::config::DEFAULT_FLEET_LISTEN;

/// How to start.
pub struct Options {
    pub data_dir: PathBuf,
    /// Public API. `None`: what the configuration's `settings.server.listen` says, else loopback port 8080.
    pub listen: Option<SocketAddr>,
    /// It speaks TLS with these.
    pub tls: Option<TlsFiles>,
    pub ops_listen: Option<SocketAddr>,
    /// Holds the key that statistics and profiles take.
    pub ops_key_file: Option<PathBuf>,
    /// Serve profiles of the process. They, and the statistics, take the master key then, unless there is a key for them.
    pub pprof: bool,
    pub ops_tls: Option<TlsFiles>,
    pub admin_listen: SocketAddr,
    pub admin_tls: Option<TlsFiles>,
    /// Where further nodes join. `None`: loopback port 8082, or nowhere if something else listens there.
    pub fleet_listen: Option<SocketAddr>,
    /// Names or addresses under which nodes reach it; the first one stands in its URL.
    pub fleet_hosts: Vec<String>,
    pub database_url: Option<String>,
    /// ClickHouse for the records of requests. `None`: they are in the database.
    pub logs_database: Option<Secret>,
    pub kek_file: Option<PathBuf>,
    pub master_key_file: Option<PathBuf>,
    pub workers: Option<usize>,
    /// Where the node's traces and metrics are sent. `None`: nowhere.
    pub otlp: Option<Otlp>,
    pub seed: Seed,
}

/// Reads an environment variable.
pub type Environment = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Where the configuration of the first request comes from.
pub enum Seed {
    /// A file's resources, applied at each start. Nothing is looked for.
    File(File),
    /// What the machine offers: provider keys in this environment, model servers on loopback, else the demo.
    Look(Box<Environment>),
}

/// A file as far as the gateway needs it.
pub struct File {
    /// Manages what the file holds.
    pub owner: String,
    pub resources: Vec<Resource>,
}

/// A configuration that was refused; nothing changed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    pub message: String,
    pub problems: Vec<Problem>,
}

/// A gateway that serves.
pub struct Standalone {
    control: ControlPlane,
    node: Node,
    made: Vec<Made>,
    model: Option<String>,
}

/// A provider that this start has made, and why.
#[derive(Debug)]
pub struct Made {
    pub name: String,
    /// `OPENAI_API_KEY`, `http://127.0.0.1:11434` …
    pub from: String,
}

const FLEET_FLAG: &str = "--fleet-listen";
/// From the first connection to the first applied revision; thousands of providers take a fraction of it.
const READY: Duration = Duration::from_secs(30);

/// Returns when the configuration runs and every address is bound. A refused file ends it with [`Refused`] as the error's
/// root.
pub async fn start(options: Options) -> anyhow::Result<Standalone> {
    if !options.data_dir.exists() {
        check_free(&options)?;
    }
    let ops_key = options.ops_key_file.as_deref().map(gateway_proxy::config::secret_in).transpose()?;
    let control = control(&options).await?;
    let changes = control.changes();
    let (made, probed, revision) = match options.seed {
        Seed::File(file) => (Vec::new(), Vec::new(), apply(changes, file).await?.revision.topology),
        Seed::Look(env) => offer(changes, &*env).await?,
    };
    let set = changes.set().await?;
    let listen = listen(options.listen, &set)?;
    let router = gateway_server::admin::router(control.app());
    let admin = Admin::new(gateway_server::admin::BESIDE, move |request, peer| {
        gateway_server::admin::answer_beside(router.clone(), request, peer)
    });
    let node = gateway_proxy::start(gateway_proxy::config::Options {
        data_dir: Some(options.data_dir.join("node")),
        listen: Some(listen),
        tls: options.tls,
        ops_listen: options.ops_listen,
        ops_key: ops_key.or_else(|| options.pprof.then(|| control.master_key().clone())),
        pprof: options.pprof,
        ops_tls: options.ops_tls,
        workers: options.workers,
        otlp: options.otlp,
        admin: Some(admin),
        ..gateway_proxy::config::Options::new(Source::Fleet(Endpoint::Pipe(control.pipe())))
    });
    let node = match node.await {
        Ok(node) => node,
        Err(error) => {
            control.shutdown().await;
            let (address, flag) = match options.ops_listen {
                Some(ops) if error.to_string().contains(&ops.to_string()) => (ops, "--ops-listen"),
                _ => (listen, "--listen"),
            };
            return Err(explained(error, address, flag));
        }
    };
    // The one before may be the first that the node hears of.
    if tokio::time::timeout(READY, node.serves(revision)).await.is_err() {
        bail!("the node did not run the configuration within {} s; what it said about it is above", READY.as_secs());
    }
    control.set_public_url(node.base_url());
    Ok(Standalone { control, node, made, model: sample::model(&set, &probed) })
}

// === impl Standalone ===

impl Standalone {
    /// Root of the public API, without `/v1`.
    pub fn base_url(&self) -> String {
        self.node.base_url()
    }

    pub fn admin_url(&self) -> String {
        self.control.admin_url()
    }

    /// Where further nodes join, if they can.
    pub fn fleet_url(&self) -> Option<String> {
        self.control.fleet_url()
    }

    /// With what they join: good for a day, any number of times.
    pub fn join_token(&self) -> Option<&Secret> {
        self.control.join_token()
    }

    pub fn master_key(&self) -> &Secret {
        self.control.master_key()
    }

    /// The first virtual key, at the start that made it.
    pub fn minted_key(&self) -> Option<&Secret> {
        self.control.minted_key()
    }

    /// Providers that this start has made.
    pub fn made(&self) -> &[Made] {
        &self.made
    }

    /// A model that a first request could name.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Makes the configuration what a file says, as at the start.
    pub async fn apply(&self, file: File) -> anyhow::Result<Outcome> {
        apply(self.control.changes(), file).await
    }

    /// Drains the node, then ends the control plane, which stores what the node still had to say. Open requests have
    /// [`Drain::LOCAL`].
    pub async fn shutdown(self) {
        self.node.shutdown().await;
        self.control.shutdown().await;
    }
}

async fn apply(changes: &Changes, file: File) -> anyhow::Result<Outcome> {
    changes.apply(&file.owner, file.resources).await.map_err(|refusal| {
        let problems = refusal.problems().to_vec();
        anyhow::Error::new(Refused { message: refusal.to_string(), problems })
    })
}

/// Makes providers of what the machine offers and the configuration does not have yet; the demo where there is none at all.
/// Returns what was made, by provider name the models that local servers have, and the revision that has all of it.
async fn offer(changes: &Changes, env: &Environment) -> anyhow::Result<(Vec<Made>, Vec<(String, String)>, u64)> {
    let (mut made, mut last) = (Vec::new(), 0);
    let mut probed = Vec::new();
    let mut any = !changes.set().await?.providers.is_empty();
    for found in local::look(env).await {
        any = true;
        let name = found.provider.name.clone();
        probed.extend(found.model.map(|model| (name.clone(), model)));
        if let Some(revision) = create(changes, Resource::Provider(Box::new(found.provider))).await? {
            last = revision;
            made.push(Made { name, from: found.from });
        }
    }
    if !any && let Some(revision) = create(changes, Resource::Provider(Box::new(local::provider("demo")))).await? {
        last = revision;
        made.push(Made { name: "demo".to_owned(), from: "answers by itself".to_owned() });
    }
    Ok((made, probed, last))
}

/// The revision that made it; `None` when it was there already, which stays as it is.
async fn create(changes: &Changes, resource: Resource) -> anyhow::Result<Option<u64>> {
    let actor = Actor { name: "startup".to_owned(), ..Actor::default() };
    let wish = Wish::Edit(Edit::Create(resource.into()));
    match changes.write(&Request { actor, wish, expected_revision: None, dry_run: false }).await {
        Ok(outcome) => Ok(Some(outcome.revision.topology)),
        Err(Refusal::Exists { kind, .. }) if kind == Kind::Provider.name() => Ok(None),
        Err(refusal) => Err(refusal.into()),
    }
}

async fn control(options: &Options) -> anyhow::Result<ControlPlane> {
    let start = |fleet_listen| {
        gateway_server::start(gateway_server::config::Options {
            database_url: options.database_url.clone(),
            logs_database: options.logs_database.clone(),
            admin_tls: options.admin_tls.clone(),
            fleet_listen,
            fleet_hosts: options.fleet_hosts.clone(),
            kek_file: options.kek_file.clone(),
            master_key_file: options.master_key_file.clone(),
            ..gateway_server::config::Options::new(options.data_dir.clone(), options.admin_listen)
        })
    };
    let fleet_listen = options.fleet_listen.unwrap_or(DEFAULT_FLEET_LISTEN);
    match (start(Some(fleet_listen)).await, options.fleet_listen) {
        (Ok(control), _) => Ok(control),
        (Err(error), None) if is_taken(&error, FLEET_FLAG) => {
            // Nobody has asked for the port, so that it does not stand in the way of a start.
            start(None).await.map_err(|error| explained(error, options.admin_listen, "--admin-listen"))
        }
        (Err(error), Some(address)) if is_taken(&error, FLEET_FLAG) => Err(explained(error, address, FLEET_FLAG)),
        (Err(error), _) => Err(explained(error, options.admin_listen, "--admin-listen")),
    }
}

/// Before the first start makes anything: the addresses of the node can be had. The first key is shown once, at the start that
/// makes it; one that fails later would lose it.
fn check_free(options: &Options) -> anyhow::Result<()> {
    let set = match &options.seed {
        Seed::File(file) => Set::from_resources(file.resources.iter().cloned()),
        Seed::Look(_) => Set::default(),
    };
    let public = (listen(options.listen, &set)?, "--listen");
    for (address, flag) in std::iter::once(public).chain(options.ops_listen.map(|address| (address, "--ops-listen"))) {
        let bound = std::net::TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"));
        bound.map_err(|error| explained(error, address, flag))?;
    }
    Ok(())
}

fn listen(named: Option<SocketAddr>, set: &Set) -> anyhow::Result<SocketAddr> {
    let configured = set.settings.server.as_ref().and_then(|server| server.listen.as_deref());
    match (named, configured) {
        (Some(address), _) => Ok(address),
        (None, Some(text)) => text.parse().with_context(|| format!("settings.server.listen: `{text}` is no address")),
        (None, None) => Ok(DEFAULT_LISTEN),
    }
}

/// Whether an address was taken, and the message says that this flag chooses another one.
fn is_taken(error: &anyhow::Error, flag: &str) -> bool {
    let in_use = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    };
    error.chain().any(in_use) && error.chain().any(|cause| cause.to_string().contains(flag))
}

/// An address that is taken is the most common reason not to start; it names the flag that helps.
fn explained(error: anyhow::Error, address: SocketAddr, flag: &str) -> anyhow::Error {
    if is_taken(&error, "") {
        anyhow::anyhow!(
            "{address} is in use; stop the program that listens there, or choose another address with {flag}"
        )
    } else {
        error
    }
}
