//! A running node: composes the parts, in the order in which they need each other, and stops them in reverse.

mod kept;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use gateway_engine::retry::Budget;
use gateway_model::kind::settings::{Auth, Settings};
use gateway_model::secret::Secret;
use gateway_tls::{Certificate, Door};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::kept::Kept;
use crate::aborts::Aborts;
use crate::batches::resume;
use crate::cache::Cache;
use crate::config::{Admin, DEFAULT_LISTEN, Drain, Endpoint, Options, Source, TlsFiles};
use crate::discovery::Discovery;
use crate::introspection::Introspections;
use crate::leases::Leases;
use crate::limit_store::LimitStore;
use crate::link::Link;
use crate::member::{Member, Membership};
use crate::meters::Meters;
use crate::ops::{Doors, Ops};
use crate::pass::look;
use crate::pipeline::Gateway;
use crate::probing::Probing;
use crate::responses::{Busy, Runs};
use crate::server::{Limits, Phase, Server};
use crate::sinks::{Sinks, Strangers};
use crate::spans::Tracer;
use crate::state::Live;
use crate::sync::{Feed, Keep, Sync};
use crate::telemetry::{Telemetry, logs, spool};
use crate::tokens::Tokens;
use crate::upstream::{Client, tls_client_config};
use crate::warnings::Warnings;
use crate::{cache, fleet_size, jwt, ops_listener, otlp, task};

/// What responses in the background get to say that they end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The certificate of a listener, and what its troubles are called.
struct Shown {
    certificate: Certificate,
    subject: &'static str,
}

/// What the workers share. Each makes the rest for itself.
struct Shared {
    live: Arc<Live>,
    client_tls: Arc<rustls::ClientConfig>,
    tokens: Arc<Tokens>,
    introspections: Arc<Introspections>,
    retries: Arc<Budget>,
    meters: Arc<Meters>,
    kept: Kept,
    runs: Arc<Runs>,
    cache: Arc<Cache>,
    busy: Arc<Busy>,
    tracer: Option<Arc<Tracer>>,
    leases: Arc<Leases>,
    limit_store: Arc<LimitStore>,
    aborts: Arc<Aborts>,
    draining: CancellationToken,
    ending: CancellationToken,
    ops: Arc<Ops>,
    serves_ops: bool,
    on_loopback: bool,
}

/// A node that serves. Dropping it does not stop it; `shutdown` does.
pub struct Node {
    server: Server,
    speaks_tls: bool,
    /// Of a fleet that is reached over the network.
    member: Option<Member>,
    sync: Sync,
    leases: Arc<Leases>,
    telemetry: Telemetry,
    otlp: Option<otlp::Sending>,
    ops: Arc<Ops>,
    ops_listener: Option<ops_listener::OpsListener>,
    draining: CancellationToken,
    ending: CancellationToken,
    live: Arc<Live>,
    drain: Drain,
    /// Responses that are made behind their requests.
    runs: Arc<Runs>,
    /// Writes responses down, until all are written.
    keeping: Option<JoinHandle<()>>,
    /// What goes on beside requests, until the end.
    jobs: Vec<JoinHandle<()>>,
}

/// Starts a node: state and telemetry first, then the configuration's source, then the listeners. With a file as source the
/// first revision is applied when this returns; a file that cannot be read is an error here. A fleet that refuses to let the
/// node join is an error here too; a control plane that is away is not: the node is live then, and not ready.
pub async fn start(options: Options) -> anyhow::Result<Node> {
    let Options { data_dir, listen, tls, ops_listen, ops_tls, workers, source, log, drain, labels, .. } = options;
    let (seed_snapshot, state_key, redis_url) = (options.seed_snapshot, options.state_key, options.redis_url);
    let doors = doors(options.ops_key, options.pprof, options.admin)?;
    let warnings = Arc::new(Warnings::default());
    // Before anything is made: a certificate that cannot be used is the operator's to mend.
    let [tls, ops_tls] = shown(tls, ops_tls).await?;
    let (kept, keeping) = Kept::open(data_dir.as_deref(), redis_url.as_ref(), &warnings)?;
    let n_workers = workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1);
    let live = Arc::new(Live::empty());
    let (meters, cache) = (Arc::new(Meters::new()), Arc::new(Cache::new(Box::new(cache::Memory::new()))));
    let ops = Arc::new(Ops::new((&live, &meters, &cache, &warnings), doors));
    let limit_store = LimitStore::open(redis_url.as_ref()).context(kept::REDIS_URL)?;
    let aborts = Arc::new(Aborts::default());
    let frames = Arc::clone(&meters);
    let telemetry = Telemetry::start(data_dir.as_deref(), n_workers, log, &warnings, move || frames.frame())?;
    let fleet_size = data_dir.as_deref().map(|dir| task::spawn_job(fleet_size::keep(dir, Arc::clone(&live))));
    let keep = data_dir.map(|dir| Keep { dir, state_key, seed: seed_snapshot });
    let leases = Leases::new(Arc::clone(&live.load().snapshot.purses));
    let (feed, member) = supply(source, keep, labels, &warnings, (&telemetry, &leases, &live)).await?;
    let sync = Sync::start(feed, Arc::clone(&live)).await?;
    let settings = sync.server_settings();
    let listen = address(listen, &settings)?;
    let (draining, ending, lanes) = (CancellationToken::new(), CancellationToken::new(), telemetry.lanes());
    let client_tls = tls_client_config();
    let tokens = Arc::new(Tokens::new(Arc::clone(&client_tls)));
    let (tracer, otlp) = otlp::start(options.otlp.as_ref(), &telemetry.identity(), (&meters, &ops), &client_tls)?;
    let asking = asking(&live, &client_tls, &tokens, &warnings, &sync);
    let runs = Arc::new(Runs::default());
    ops.profiler.watch("background".to_owned(), tokio::runtime::Handle::current());
    let shared = Shared {
        live: Arc::clone(&live),
        client_tls,
        tokens,
        introspections: Arc::default(),
        retries: Arc::new(Budget::new(Instant::now())),
        meters: Arc::clone(&meters),
        kept,
        runs: Arc::clone(&runs),
        cache: Arc::clone(&cache),
        busy: Arc::default(),
        tracer,
        leases: Arc::clone(&leases),
        limit_store: Arc::clone(&limit_store),
        aborts: Arc::clone(&aborts),
        draining: draining.clone(),
        ending: ending.clone(),
        ops: Arc::clone(&ops),
        serves_ops: ops_listen.is_none(),
        on_loopback: listen.ip().is_loopback(),
    };
    let make_gateway = move |worker: usize, _: watch::Receiver<Phase>| shared.gateway(worker, lanes[worker].clone());
    let server =
        Server::start(listen, limits(&settings), || Some(tls.as_ref()?.door()), n_workers, make_gateway).await?;
    let (ops_listener, speaks_tls) = (operators(ops_listen, ops_tls.as_ref(), &ops).await?, tls.is_some());
    let mut jobs: Vec<_> = [tls, ops_tls].into_iter().flatten().map(|shown| shown.follow(&warnings)).collect();
    jobs.extend([task::spawn_job(Arc::clone(&limit_store).run()), task::spawn_job(aborts.run(Arc::clone(&live)))]);
    jobs.push(task::spawn_job(upkeep(meters, telemetry.spool_state(), (cache, Arc::clone(&live)), limit_store)));
    jobs.extend(asking.into_iter().chain(fleet_size));
    Ok(Node {
        server,
        speaks_tls,
        member,
        sync,
        leases,
        telemetry,
        otlp,
        ops,
        ops_listener,
        draining,
        ending,
        live,
        drain,
        runs,
        keeping: keeping.map(task::spawn_job),
        jobs,
    })
}

/// Asks providers, beside requests: for their models, and whether they are well.
fn asking(
    live: &Arc<Live>,
    tls: &Arc<rustls::ClientConfig>,
    tokens: &Arc<Tokens>,
    warnings: &Arc<Warnings>,
    sync: &Sync,
) -> [JoinHandle<()>; 2] {
    let means = || (Arc::clone(live), Arc::clone(tls), Arc::clone(tokens));
    let (of_discovery, of_probing) = (means(), means());
    let (live, tls, tokens) = of_discovery;
    let discovery = Discovery::start(live, Arc::clone(warnings), tls, tokens, sync.changes());
    let (live, tls, tokens) = of_probing;
    [discovery, Probing::start(live, tls, tokens, sync.changes())]
}

fn doors(key: Option<Secret>, pprof: bool, admin: Option<Admin>) -> anyhow::Result<Doors> {
    anyhow::ensure!(!pprof || key.is_some(), "profiles are for operators only: `--pprof` needs `--ops-key-file`");
    Ok(Doors { key, pprof, admin })
}

/// The certificates of the public listener and of the operators', where they have one.
async fn shown(public: Option<TlsFiles>, operators: Option<TlsFiles>) -> anyhow::Result<[Option<Shown>; 2]> {
    Ok([Shown::open(public, "tls-certificate").await?, Shown::open(operators, "ops-tls-certificate").await?])
}

/// Where operators ask, where that is a listener of their own.
async fn operators(
    listen: Option<SocketAddr>,
    tls: Option<&Shown>,
    ops: &Arc<Ops>,
) -> anyhow::Result<Option<ops_listener::OpsListener>> {
    let Some(listen) = listen else { return Ok(None) };
    ops_listener::OpsListener::start(listen, tls.map(Shown::door), Arc::clone(ops)).await.map(Some)
}

/// Where to listen: as the command says, else as the configuration does. Without keys on this machine only.
fn address(listen: Option<SocketAddr>, settings: &Settings) -> anyhow::Result<SocketAddr> {
    let listen = match listen {
        Some(listen) => listen,
        None => configured_listen(settings)?,
    };
    anyhow::ensure!(
        listen.ip().is_loopback() || settings.auth != Some(Auth::Off),
        "settings.auth is `off`, which lets everybody in, so the node does not listen on `{listen}`; listen on a loopback address or turn auth on"
    );
    Ok(listen)
}

// === impl Shared ===

impl Shared {
    fn sinks(&self, spool: spool::Lane, logs: logs::Lane) -> Sinks {
        let (meters, receipts, tracer) = (Arc::clone(&self.meters), self.kept.receipts.clone(), self.tracer.clone());
        Sinks { spool, logs, meters, receipts, tracer, strangers: Strangers::default() }
    }

    /// To be called on the worker's own thread.
    fn gateway(&self, worker: usize, (spool, logs): (spool::Lane, logs::Lane)) -> Arc<Gateway> {
        self.ops.profiler.watch(format!("gateway-{worker}"), tokio::runtime::Handle::current());
        let gateway = Arc::new(Gateway {
            live: Arc::clone(&self.live),
            client: Client::new(Arc::clone(&self.client_tls)),
            tokens: Arc::clone(&self.tokens),
            foreign: jwt::Tokens::new(
                Arc::clone(&self.client_tls),
                Arc::clone(&self.introspections),
                Arc::clone(&self.meters),
            ),
            retries: Arc::clone(&self.retries),
            sinks: Arc::new(self.sinks(spool, logs)),
            conversations: Arc::clone(&self.kept.conversations),
            runs: Arc::clone(&self.runs),
            cache: Arc::clone(&self.cache),
            settled: Arc::clone(&self.kept.settled),
            busy: Arc::clone(&self.busy),
            batches: self.kept.batches.clone(),
            leases: Arc::clone(&self.leases),
            limit_store: Arc::clone(&self.limit_store),
            aborts: Arc::clone(&self.aborts),
            draining: self.draining.clone(),
            ending: self.ending.clone(),
            ops: Arc::clone(&self.ops),
            serves_ops: self.serves_ops,
            on_loopback: self.on_loopback,
        });
        if worker == 0 {
            drop(task::spawn_job(resume(Arc::clone(&gateway))));
            drop(task::spawn_job(look(Arc::clone(&gateway))));
        }
        gateway
    }
}

// === impl Node ===

impl Node {
    /// Where the public API listens; the real port where `:0` was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Root of the public API, without `/v1`.
    pub fn base_url(&self) -> String {
        let scheme = if self.speaks_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.addr())
    }

    /// Settled once the node has joined its fleet.
    pub fn node_id(&self) -> String {
        self.telemetry.identity().node_id().to_string()
    }

    /// The first revision has been applied.
    pub fn is_ready(&self) -> bool {
        self.live.load().ready
    }

    /// Returns when the first revision has been applied.
    pub async fn ready(&self) {
        while !self.is_ready() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Returns when this revision of the topology, or a later one, serves.
    pub async fn serves(&self, revision: u64) {
        while !self.is_ready() || self.live.load().snapshot.revision < revision {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Returns only where the fleet has refused to let this node join, with the reason and what to do. What the node holds,
    /// it serves.
    pub async fn refused(&self) -> String {
        match &self.member {
            Some(member) => member.refused().await,
            None => std::future::pending().await,
        }
    }

    /// Drains and stops: `/ready` says 503, balancers get `drain.delay`, open requests `drain.timeout`, the rest is told;
    /// then everything is settled and sent.
    pub async fn shutdown(self) {
        self.ops.drain();
        tokio::time::sleep(self.drain.delay).await;
        self.draining.cancel();
        let ending = self.ending.clone();
        let (busy, runs) = (Arc::clone(&self.runs), self.runs);
        let time_is_over = async move {
            ending.cancel();
            runs.all_over(LAST_WORDS).await;
        };
        self.server.shutdown(self.drain.timeout, move || busy.n_running() > 0, time_is_over).await;
        if let Some(keeping) = self.keeping {
            let _ = tokio::time::timeout(Duration::from_secs(5), keeping).await;
        }
        for job in &self.jobs {
            job.abort();
        }
        // Before the last of the usage: what is not spent must not count as spent.
        self.leases.shutdown().await;
        if let Some(otlp) = self.otlp {
            otlp.shutdown().await;
        }
        self.telemetry.shutdown().await;
        self.sync.shutdown().await;
        if let Some(member) = self.member {
            member.shutdown().await;
        }
        if let Some(listener) = self.ops_listener {
            listener.shutdown().await;
        }
    }
}

// === impl Shown ===

impl Shown {
    async fn open(files: Option<TlsFiles>, subject: &'static str) -> anyhow::Result<Option<Self>> {
        match files {
            Some(files) => Ok(Some(Self { certificate: Certificate::open(files).await?, subject })),
            None => Ok(None),
        }
    }

    fn door(&self) -> Door {
        Door::new(self.certificate.config())
    }

    /// From now on new files are taken up, and what is wrong with them is told.
    fn follow(self, warnings: &Arc<Warnings>) -> tokio::task::JoinHandle<()> {
        let (warnings, subject) = (Arc::clone(warnings), self.subject);
        task::spawn_job(self.certificate.follow(move |trouble| match trouble {
            Some(text) => warnings.set(subject, text),
            None => warnings.clear(subject),
        }))
    }
}

/// Who brings the configuration also collects the telemetry; beside a file nobody does.
async fn supply(
    source: Source,
    keep: Option<Keep>,
    labels: BTreeMap<String, String>,
    warnings: &Arc<Warnings>,
    (telemetry, leases, live): (&Telemetry, &Arc<Leases>, &Arc<Live>),
) -> anyhow::Result<(Feed, Option<Member>)> {
    let (link, member, keep) = match source {
        Source::File { path, watch } => {
            telemetry.stand_alone();
            leases.stand_alone(keep.as_ref().map(|keep| &*keep.dir), telemetry.identity(), warnings);
            return Ok((Feed::File { path, watch }, None));
        }
        // The control plane of this process has its own disk, and is there whenever this node is.
        Source::Fleet(Endpoint::Pipe(pipe)) => (Link::pipe(pipe), None, None),
        Source::Fleet(Endpoint::Remote(remote)) => {
            let keep = keep.context("a node of a fleet needs a data directory (--data-dir)")?;
            let (identity, warnings) = (telemetry.identity(), Arc::clone(warnings));
            let member = Membership::open(&keep.dir, remote, identity, labels.clone(), warnings)?.start().await?;
            (member.link().clone(), Some(member), Some(keep))
        }
    };
    telemetry.connect(&link);
    let standing = Arc::clone(live);
    leases.connect(link.clone(), telemetry.identity(), telemetry.owes(), move || standing.standing.n_nodes());
    let reporter = telemetry.reporter(link.clone(), labels, Arc::clone(warnings));
    Ok((Feed::Fleet { channel: link.channel(), reporter: Box::new(reporter), keep }, member))
}

async fn upkeep(
    meters: Arc<Meters>,
    spool: impl Fn() -> gateway_wire::v1::SpoolState,
    (cache, live): (Arc<Cache>, Arc<Live>),
    limit_store: Arc<LimitStore>,
) {
    let mut every = tokio::time::interval(Duration::from_secs(5));
    loop {
        every.tick().await;
        meters.spool(&spool());
        if live.load().snapshot.settings.limit_store.is_some() {
            meters.gauge("gateway_limit_store_away").set(f64::from(u8::from(!limit_store.is_asked())));
        }
        let bounds = live.load().snapshot.cache_bounds();
        cache.tidy(bounds);
    }
}

fn configured_listen(settings: &Settings) -> anyhow::Result<SocketAddr> {
    let configured = settings.server.as_ref().and_then(|server| server.listen.as_deref());
    match configured {
        None => Ok(DEFAULT_LISTEN),
        Some(text) => {
            text.parse().with_context(|| format!("settings.server.listen: `{text}` is no address like 127.0.0.1:8080"))
        }
    }
}

fn limits(settings: &Settings) -> Limits {
    let defaults = Limits::default();
    let Some(server) = &settings.server else { return defaults };
    Limits {
        header_timeout: server.header_timeout.map_or(defaults.header_timeout, |span| span.0),
        idle_timeout: server.idle_timeout.map_or(defaults.idle_timeout, |span| span.0),
        max_connections: server.max_connections.map_or(defaults.max_connections, |n| n as usize),
    }
}
