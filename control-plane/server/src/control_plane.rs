//! Start to stop: secrets, database, the parts, the listeners, and the order in which they end.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, bail};
use gateway_model::document::Resource;
use gateway_model::kind::key::Key;
use gateway_model::secret::Secret;
use gateway_model::token::Prefix;
use gateway_store::{Error as StoreError, Heads, Store};
use gateway_tls::{Certificate, Door};
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::alerts::Alerts;
use crate::app::{App, Hosts};
use crate::authority::Authority;
use crate::change::{Actor, Changes, Draft, Edit, Refusal, Request, Wish};
use crate::clock;
use crate::config::{self, Options, TlsFiles};
use crate::credential::{self, MasterKey, Pepper};
use crate::data_dir::{DataDir, outside_secret};
use crate::exports::Exports;
use crate::fleet::Fleet;
use crate::fleet_listener::FleetListener;
use crate::ingest::{Ingest, Tail};
use crate::jobs;
use crate::leases::Leases;
use crate::listener::Listener;
use crate::members::Members;
use crate::meters::Meters;
use crate::oidc::Oidc;
use crate::passwords::Passwords;
use crate::publish::Publisher;
use crate::replica;
use crate::sessions::Sessions;
use crate::sync::FleetService;
use crate::task::Job;
use crate::upstreams::Upstreams;
use crate::vault::Vault;

/// Name of the key that a new database is given.
const DEFAULT_KEY: &str = "default";
const KEK_FILE: &str = "kek.key";
/// Connections of nodes in this process that wait to be taken.
const PIPE_BACKLOG: usize = 16;
/// For the last word to the other replicas.
const LEAVE: Duration = Duration::from_secs(1);
const MASTER_KEY_FILE: &str = "master.key";

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    app: Arc<App>,
    listener: Listener,
    fleet_listener: Option<FleetListener>,
    fleet_host: Option<String>,
    join_token: Option<Secret>,
    pipe: mpsc::Sender<DuplexStream>,
    channel: Vec<Job>,
    jobs: Vec<Job>,
    /// Its name among the replicas on the database.
    replica: String,
    master_key: Secret,
    minted_key: Option<Secret>,
    _data_dir: DataDir,
}

/// Starts a control plane. When this returns, the admin API answers.
pub async fn start(options: Options) -> anyhow::Result<ControlPlane> {
    let certificate = certificate(options.admin_tls.clone()).await?;
    let socket = Listener::bind(options.admin_listen).await?;
    let fleet_socket = fleet_socket(options.fleet_listen).await?;
    let data_dir = DataDir::open(&options.data_dir)?;
    let master_key = master_key(&options, &data_dir)?;
    let store = open_store(&options, &data_dir).await?;
    let vault = Arc::new(open_vault(&options, &data_dir, &store.heads().await?)?);
    let pepper = Arc::new(Pepper::load_or_make(&store, &vault, clock::unix_ms()).await?);
    let changes = Arc::new(Changes::new(store.clone(), Arc::clone(&vault), Arc::clone(&pepper)));
    let minted_key = if is_fresh(&store).await? { mint_default_key(&changes).await? } else { None };

    let meters = Arc::new(Meters::new());
    let stop = CancellationToken::new();
    let (fleet, tail) = (Arc::new(Fleet::new(store.clone(), Arc::clone(&meters))), Tail::new());
    let authority = Arc::new(Authority::load_or_make(&store, &vault, clock::unix_ms()).await?);
    let members = Arc::new(Members::load(store.clone(), Arc::clone(&vault), authority).await?);
    let publisher = Arc::new(Publisher::start(store.clone(), vault).await?);
    let ingest = Arc::new(Ingest::new(store.clone(), tail.clone(), Arc::clone(&meters)));
    let (pipe, incoming) = mpsc::channel(PIPE_BACKLOG);
    let leases = Arc::new(Leases::new(store.clone(), Arc::clone(&fleet)));
    let channel = FleetService::new(Arc::clone(&publisher), Arc::clone(&fleet), (ingest, leases), stop.clone());
    let channel = channel.with_members(Arc::clone(&members));
    let (mut fleet_listener, mut join_token) = (None, None);
    if let Some(socket) = fleet_socket {
        let members = Arc::clone(&members);
        join_token = Some(members.standing_token().await.context("making the join token of the ready file")?);
        let hosts = &options.fleet_hosts;
        fleet_listener = Some(FleetListener::serve(socket, members, hosts, channel.clone(), stop.clone())?);
    }
    let replica = replica::name(clock::unix_ms());
    let alerts = Arc::new(Alerts::new(store.clone(), Arc::clone(&changes), Arc::clone(&meters)));
    let exports = Arc::new(Exports::new(store.clone(), Arc::clone(&changes), Arc::clone(&meters)));
    let mut jobs = jobs::start(&store, &meters, &replica);
    jobs.push(Job::spawn(Arc::clone(&alerts).run(replica.clone())));
    jobs.push(Job::spawn(Arc::clone(&exports).run(replica.clone())));
    if fleet_listener.is_some() {
        let (fleet, meters) = (Arc::clone(&fleet), Arc::clone(&meters));
        jobs.push(Job::spawn(replica::run(replica.clone(), store.clone(), fleet, channel.clone(), meters)));
    }
    let channel = channel_jobs(channel, incoming, Arc::clone(&publisher), Arc::clone(&fleet), Arc::clone(&members));
    let app = Arc::new(App {
        hosts: Hosts::new(options.admin_listen, &options.admin_hosts),
        store,
        changes,
        pepper,
        master_key: MasterKey::new(&master_key),
        fleet,
        members,
        alerts,
        exports,
        upstreams: Upstreams::new(),
        publisher,
        tail,
        sessions: Sessions::default(),
        passwords: Passwords::default(),
        oidc: Oidc::new(options.oidc_client_secret.clone()),
        speaks_tls: certificate.is_some(),
        public_url: options.public_url.map(OnceLock::from).unwrap_or_default(),
        meters,
        stop,
        started_at_ms: clock::unix_ms(),
    });
    let door = certificate.as_ref().map(|certificate| Door::new(certificate.config()));
    // What is wrong with new files is in the log.
    jobs.extend(certificate.map(|certificate| Job::spawn(certificate.follow(|_| {}))));
    let listener = Listener::serve(socket, door, admin::router(Arc::clone(&app)))?;
    Ok(ControlPlane {
        app,
        listener,
        fleet_listener,
        fleet_host: options.fleet_hosts.into_iter().next(),
        join_token,
        pipe,
        channel,
        jobs,
        replica,
        master_key,
        minted_key,
        _data_dir: data_dir,
    })
}

async fn fleet_socket(address: Option<SocketAddr>) -> anyhow::Result<Option<TcpListener>> {
    match address {
        Some(address) => Ok(Some(FleetListener::bind(address).await?)),
        None => Ok(None),
    }
}

async fn certificate(files: Option<TlsFiles>) -> anyhow::Result<Option<Certificate>> {
    match files {
        Some(files) => Ok(Some(Certificate::open(files).await?)),
        None => Ok(None),
    }
}

/// Nothing but the pepper was ever written: the first start, or one that was cut off before it got further.
async fn is_fresh(store: &Store) -> anyhow::Result<bool> {
    let heads = store.heads().await?;
    Ok(heads.topology == 0 && heads.identity == 1)
}

// === impl ControlPlane ===

impl ControlPlane {
    /// Where the admin API is; the real port where `:0` was asked for.
    pub fn admin_addr(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Root of the admin API, without `/admin`.
    pub fn admin_url(&self) -> String {
        let scheme = if self.app.speaks_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.admin_addr())
    }

    /// Where the fleet listener is, if there is one.
    pub fn fleet_addr(&self) -> Option<SocketAddr> {
        self.fleet_listener.as_ref().map(FleetListener::address)
    }

    /// What nodes are given as `--fleet-url`.
    pub fn fleet_url(&self) -> Option<String> {
        let address = self.fleet_addr()?;
        Some(match self.fleet_host.as_deref().map(|host| (host, host.parse::<IpAddr>())) {
            None => format!("https://{address}"),
            Some((_, Ok(ip))) => format!("https://{}", SocketAddr::new(ip, address.port())),
            Some((host, Err(_))) => format!("https://{host}:{}", address.port()),
        })
    }

    /// Lets any number of nodes join within a day; with a fleet listener only.
    pub fn join_token(&self) -> Option<&Secret> {
        self.join_token.as_ref()
    }

    /// Connections of the fleet listener: handshakes that run, strangers, members.
    pub fn fleet_open(&self) -> [usize; 3] {
        self.fleet_listener.as_ref().map_or([0; 3], FleetListener::open)
    }

    pub fn master_key(&self) -> &Secret {
        &self.master_key
    }

    /// Whether the database was new at this start.
    pub fn fresh(&self) -> bool {
        self.minted_key.is_some()
    }

    /// The key that a new database is given: for every model, without limits. Only at its first start.
    pub fn minted_key(&self) -> Option<&Secret> {
        self.minted_key.as_ref()
    }

    /// Takes in-memory connections of nodes in this process: one end of a pipe per connection.
    pub fn pipe(&self) -> mpsc::Sender<DuplexStream> {
        self.pipe.clone()
    }

    /// Tells the dashboard where applications reach the gateway, unless that was said at the start.
    pub fn set_public_url(&self, url: String) {
        // The first word stands.
        let _ = self.app.public_url.set(url);
    }

    pub fn changes(&self) -> &Changes {
        &self.app.changes
    }

    /// The parts, for the process that has this control plane in it.
    pub fn app(&self) -> Arc<App> {
        Arc::clone(&self.app)
    }

    /// Ends open answers, then the channel to the nodes, then closes the database.
    pub async fn shutdown(self) {
        self.app.stop.cancel();
        self.listener.shutdown().await;
        drop(self.fleet_listener);
        drop(self.channel);
        drop(self.jobs);
        // The others notice by themselves, only later.
        let _ = tokio::time::timeout(LEAVE, self.app.store.leave(&self.replica)).await;
        self.app.store.close().await;
    }
}

/// From the file that was named, else from the environment, else from its own file, else a new one.
fn master_key(options: &Options, data_dir: &DataDir) -> anyhow::Result<Secret> {
    if let Some(path) = &options.master_key_file {
        let key = outside_secret(path, "--master-key-file")?;
        config::check_master_key(&path.display().to_string(), &key)?;
        return Ok(key);
    }
    if let Some(key) = config::master_key()? {
        return Ok(key);
    }
    if let Some(key) = data_dir.secret(MASTER_KEY_FILE)? {
        config::check_master_key(MASTER_KEY_FILE, &key)?;
        return Ok(key);
    }
    let key = credential::mint(Prefix::Master);
    data_dir.write_secret(MASTER_KEY_FILE, &key)?;
    Ok(key)
}

async fn open_store(options: &Options, data_dir: &DataDir) -> anyhow::Result<Store> {
    let store = match &options.database_url {
        Some(url) => Store::open(url).await.context("cannot open the database that --database-url names")?,
        None => {
            let path = data_dir.database()?;
            let opened = Store::open_file(&path).await;
            opened.with_context(|| format!("cannot open the database `{}`", path.display()))?
        }
    };
    match &options.logs_database {
        Some(url) => with_logs_in(store, url).await.context("cannot use the database that --logs-database names"),
        None => Ok(store),
    }
}

/// One that is away is waited for: nodes keep their records meanwhile, and nothing else needs it.
async fn with_logs_in(store: Store, url: &Secret) -> Result<Store, StoreError> {
    let store = store.with_logs_in(url)?;
    match store.prepare_logs().await {
        Err(error) if error.is_transient() => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "logs of requests cannot be stored yet; nodes keep theirs until they can"
            );
        }
        prepared => prepared?,
    }
    Ok(store)
}

/// The key-encryption key of an empty database may be made; that of any other must be there.
fn open_vault(options: &Options, data_dir: &DataDir, heads: &Heads) -> anyhow::Result<Vault> {
    if let Some(path) = &options.kek_file {
        let kek = outside_secret(path, "--kek-file")?;
        return Vault::new(&kek).with_context(|| format!("cannot use `{}`", path.display()));
    }
    let path = data_dir.file(KEK_FILE);
    let kek = match data_dir.secret(KEK_FILE)? {
        Some(kek) => kek,
        None if heads.topology > 0 || heads.identity > 0 => bail!(
            "the database holds sealed secrets, but the key-encryption key `{}` is missing; restore it from a backup, \
             or name the one that this database's other replicas use with --kek-file",
            path.display()
        ),
        None => {
            let kek = Vault::generate();
            data_dir.write_secret(KEK_FILE, &kek)?;
            tracing::warn!(path = %path.display(), "made the key-encryption key; back it up, without it the stored secrets cannot be read");
            kek
        }
    };
    Vault::new(&kek).with_context(|| format!("cannot use `{}`", path.display()))
}

/// `None` where another replica that starts on the same new database was faster.
async fn mint_default_key(changes: &Changes) -> anyhow::Result<Option<Secret>> {
    // Whoever starts a gateway owns the accounts behind it.
    let key = Key { passthrough: vec!["*".to_owned()], ..Key::new(DEFAULT_KEY) };
    let request = Request {
        actor: Actor { name: "startup".to_owned(), ..Actor::default() },
        wish: Wish::Edit(Edit::Create(Draft::from(Resource::Key(Box::new(key))))),
        expected_revision: None,
        dry_run: false,
    };
    let outcome = match changes.write(&request).await {
        Err(Refusal::Exists { .. }) => return Ok(None),
        outcome => outcome.context("making the first key")?,
    };
    let minted = outcome.minted.into_iter().next().context("the first key was made without a secret")?;
    Ok(Some(minted.key))
}

/// What keeps the nodes current, and what hears them.
fn channel_jobs(
    service: FleetService,
    incoming: mpsc::Receiver<DuplexStream>,
    publisher: Arc<Publisher>,
    fleet: Arc<Fleet>,
    members: Arc<Members>,
) -> Vec<Job> {
    let connections = ReceiverStream::new(incoming).map(Ok::<_, std::io::Error>);
    let serve = async move {
        if let Err(error) = service.serve(connections).await {
            tracing::error!(error = &error as &dyn std::error::Error, "the channel to the nodes has ended");
        }
    };
    vec![
        Job::spawn(serve),
        Job::spawn(async move { publisher.run().await }),
        Job::spawn(async move { fleet.run().await }),
        Job::spawn(async move { members.run().await }),
    ]
}
