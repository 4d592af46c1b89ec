//! The compiled configuration: indexed, resolved, immutable. One `Arc` is swapped for another; a request reads one from its
//! start to its end.

mod group;
mod route;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gateway_ir::dialect::Dialect;
use gateway_ir::offer::Known;
use gateway_ir::quirks::Quirks;
use gateway_model::kind::settings::AutoAgent;
use gateway_model::{catalog, kind, policy};
use gateway_providers::endpoint::Endpoint;

use crate::glob::Glob;
use crate::health::{Health, Healths};
use crate::identity::Caller;
use crate::known::Discovered;
use crate::policy::Overrides;
pub use crate::policy::{Breaker, Policy};
use crate::price::Price;

pub(crate) use group::{Affinity, Group, Order, Turns, steady_hash};
pub(crate) use route::{HeaderMatch, PathMatch, Route};

/// Everything that one revision of the topology says.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub revision: u64,
    pub settings: Settings,
    pub providers: Vec<Arc<Provider>>,
    pub(crate) providers_by_name: Index<Arc<Provider>>,
    /// Those of `auto_agents` among them.
    pub(crate) models: Index<Arc<Model>>,
    /// In the order of the configuration.
    pub(crate) public_models: Vec<PublicModel>,
    /// Models that the gateway makes itself.
    pub(crate) auto_agents: Vec<PublicModel>,
    /// What providers list.
    pub discovered: Arc<Discovered>,
    /// In the order in which they are tried.
    pub(crate) routes: Vec<Route>,
    /// In the order of the configuration.
    pub agents: Vec<Agent>,
}

pub(crate) type Index<V> = HashMap<Arc<str>, V, ahash::RandomState>;

/// The gateway's settings with every default filled in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Everybody is let in.
    pub auth_off: bool,
    /// What a chat request without `stream` means.
    pub default_stream: bool,
    /// A request that its target cannot wholly be told is refused.
    pub strict: bool,
    pub header_families: HeaderFamilies,
    /// Largest accepted request body, in bytes.
    pub max_body: u64,
    /// Bodies may come compressed.
    pub compressed_bodies: bool,
    pub origins: Origins,
    pub passthrough: Passthrough,
    /// Models to make.
    pub auto_agents: Vec<AutoAgent>,
    /// Whether providers that say nothing of it are asked for their models, and how often.
    pub discovery: bool,
    pub discovery_interval: Duration,
    /// How long a response can be asked for again; zero: not at all.
    pub store_ttl: Duration,
    pub background: Background,
}

/// Bounds on responses that are made after their clients have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Background {
    /// At once, on one node.
    pub max_running: usize,
    /// Of them, one caller's.
    pub max_running_per_caller: usize,
    pub max_time: Duration,
    /// Bytes of events in memory, on one node.
    pub max_events: usize,
}

/// Pages that may read answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    Any,
    /// Those that this machine serves.
    Loopback,
    /// Scheme, host and port, in lower case.
    Listed(Vec<Box<str>>),
}

/// What may pass without the gateway knowing the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passthrough {
    /// Whether paths behind `/v1` that the gateway does not know pass.
    pub enabled: bool,
    /// Takes what names no provider.
    pub default_provider: Option<Arc<str>>,
    /// Which of those paths; empty: all.
    pub allowed_prefixes: Vec<String>,
    pub blocked_prefixes: Vec<String>,
    /// In all, the first one included.
    pub max_attempts: usize,
}

/// What a vendor may have beside models that are asked and answer, in the form of OpenAI's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Files,
    Batches,
    /// Conversations over a WebSocket, which are not kept.
    Realtime,
    /// Responses that it makes after the client has left, and keeps.
    Background,
}

/// Prefixes of the gateway's own response headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderFamilies {
    /// `x-gateway-*`
    pub gateway: bool,
    /// `x-lunargate-*`
    pub lunargate: bool,
}

/// One upstream account.
#[derive(Debug)]
pub struct Provider {
    pub name: Arc<str>,
    /// The catalogue's id.
    pub kind: Arc<str>,
    pub dialect: Dialect,
    pub endpoint: Endpoint,
    /// The row of its kind.
    pub(crate) row: &'static catalog::Row,
    /// Those of all its models.
    pub(crate) quirks: Quirks,
    /// Its place in `Snapshot::providers`.
    pub index: usize,
    /// The provider's level and, behind it, that of the settings.
    pub(crate) overrides: Overrides,
    pub(crate) breaker: Option<policy::Breaker>,
    /// What has been seen of its models, by this configuration or by earlier ones in which it was the same.
    pub(crate) healths: Arc<Healths>,
    /// As the configuration has it, to see whether another one has the same.
    pub(crate) written: Arc<kind::provider::Provider>,
    pub(crate) prices: HashMap<Box<str>, Price, ahash::RandomState>,
    /// For every model without a price of its own.
    pub(crate) other_price: Option<Price>,
    /// Whether it is asked for its models; `None`: as the settings say.
    pub discovery: Option<bool>,
    /// Of its models these are listed.
    pub discoverable: Vec<Glob>,
}

/// An agent that is reached by the Agent2Agent protocol.
#[derive(Clone, Debug)]
pub struct Agent {
    pub name: Arc<str>,
    /// How it is called: everything but its methods is a provider's.
    pub provider: Arc<Provider>,
    /// Methods that may be called.
    pub(crate) methods: Box<[Glob]>,
}

/// One upstream model that may serve.
#[derive(Debug)]
pub struct Target {
    pub provider: Arc<Provider>,
    /// The upstream's own name of it.
    pub model: Arc<str>,
    pub health: Arc<Health>,
    /// `None`: it is asked whatever has happened.
    pub breaker: Option<Breaker>,
    /// The provider's, and what the catalogue and the configuration say of this model.
    pub quirks: Quirks,
    pub price: Option<Price>,
}

/// What a configuration says of a target, beside which it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Declared<'a> {
    pub(crate) quirks: Quirks,
    pub(crate) breaker: Option<&'a policy::Breaker>,
}

/// A public model, or one that is addressed directly.
#[derive(Debug)]
pub struct Model {
    pub name: Arc<str>,
    /// In the order in which they are exhausted: the model's own by priority, then those of its fallbacks. None is empty.
    pub(crate) groups: Vec<Arc<Group>>,
    /// What keeps requests together, where one of its groups asks.
    pub(crate) affinity: Option<Affinity>,
    pub(crate) overrides: Overrides,
}

/// A model that is listed by its name.
#[derive(Clone, Debug)]
pub(crate) struct PublicModel {
    pub(crate) name: Arc<str>,
    /// The provider, where all targets have the same one; else `gateway`.
    pub(crate) owned_by: Arc<str>,
    pub(crate) description: Option<Arc<str>>,
    /// What the configuration says of it.
    pub(crate) facts: Known,
    /// Its own, without those of its fallbacks.
    pub(crate) targets: Vec<Arc<Target>>,
}

// === impl Snapshot ===

impl Snapshot {
    /// A model by exact name, else `provider/model` split at the first `/`. A direct address makes its target on the spot;
    /// nothing shared is touched.
    pub fn model(&self, name: &str) -> Option<Arc<Model>> {
        if let Some(model) = self.models.get(name) {
            return Some(Arc::clone(model));
        }
        let (provider, model) = name.split_once('/')?;
        self.direct(provider, model)
    }

    /// `provider/model`, whatever public names say.
    pub(crate) fn direct(&self, provider: &str, model: &str) -> Option<Arc<Model>> {
        if model.is_empty() {
            return None;
        }
        let provider = self.providers_by_name.get(provider)?;
        let target = Target::new(provider, model, Declared::default()).charged(&self.discovered);
        let groups = vec![Arc::new(Group::of_one(target))];
        let name = format!("{}/{model}", provider.name).into();
        Some(Arc::new(Model { name, groups, affinity: None, overrides: Overrides::default() }))
    }

    /// Every target that can be reached by a public name, each upstream model once.
    pub fn targets(&self) -> Vec<&Arc<Target>> {
        let models = self.models.values().chain(self.routes.iter().filter_map(|route| route.model.as_ref()));
        let mut targets: Vec<_> = models.flat_map(|model| &model.groups).flat_map(|group| &group.members).collect();
        targets.sort_by_key(|target| (&target.provider.name, &target.model));
        targets.dedup_by(|a, b| a.is_same(b));
        targets
    }

    pub fn provider(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers_by_name.get(name)
    }
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            auth_off: false,
            default_stream: false,
            strict: false,
            header_families: HeaderFamilies { gateway: true, lunargate: true },
            max_body: 32 * 1024 * 1024,
            compressed_bodies: false,
            origins: Origins::Any,
            passthrough: Passthrough::default(),
            auto_agents: Vec::new(),
            discovery: false,
            discovery_interval: Duration::from_secs(600),
            store_ttl: Duration::from_secs(24 * 60 * 60),
            background: Background::default(),
        }
    }
}

// === impl Background ===

impl Default for Background {
    fn default() -> Self {
        Self {
            max_running: 256,
            max_running_per_caller: 16,
            max_time: Duration::from_secs(60 * 60),
            max_events: 64 * 1024 * 1024,
        }
    }
}

// === impl Passthrough ===

impl Default for Passthrough {
    fn default() -> Self {
        Self {
            enabled: true,
            default_provider: None,
            allowed_prefixes: Vec::new(),
            blocked_prefixes: Vec::new(),
            max_attempts: 1,
        }
    }
}

// === impl Service ===

impl Service {
    /// As OpenAI's paths have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Batches => "batches",
            Self::Realtime => "realtime",
            Self::Background => "background",
        }
    }
}

// === impl Origins ===

impl Origins {
    /// Whether a page of `origin`, as browsers write it, may.
    pub fn allow(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Loopback => is_loopback(origin),
            Self::Listed(listed) => listed.iter().any(|listed| listed.eq_ignore_ascii_case(origin)),
        }
    }
}

fn is_loopback(origin: &str) -> bool {
    let Some((_, host)) = origin.split_once("://") else { return false };
    let end = if host.starts_with('[') { host.find(']').map(|end| end + 1) } else { host.find(':') };
    let host = &host[..end.unwrap_or(host.len())];
    let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

// === impl Provider ===

impl Provider {
    /// What it is spoken to for a client of `inbound`: its own dialect, or the client's where it has that API too.
    pub fn dialect_for(&self, inbound: Dialect) -> Dialect {
        let is_missing = inbound == Dialect::OpenAiCompletions && self.quirks.no_completions;
        let is_native = self.endpoint.also_speaks(inbound) && !is_missing;
        if is_native { inbound } else { self.dialect }
    }

    /// Whether it holds conversations at all.
    pub fn converses(&self) -> bool {
        !self.row.no_chat
    }

    /// Whether its vendor has this.
    pub fn has(&self, service: Service) -> bool {
        match service {
            Service::Files => self.row.files,
            Service::Batches => self.row.batches,
            Service::Realtime => self.row.realtime,
            Service::Background => self.row.background,
        }
    }

    /// Time limits for what passes as it is: the reply may be a stream or not, and a file as long as it likes.
    pub fn passing_policy(&self) -> Policy {
        self.overrides.resolve(&Policy { first_byte: Policy::PLAIN.first_byte, ..Policy::STREAM })
    }

    /// What this provider charges for one of its models: as configured, else as it lists itself, else by the vendor's public list.
    fn price(&self, model: &str, discovered: &Discovered) -> Option<Price> {
        let offered = || Some(Price::offered(discovered.known(&self.name, model)?.rates.as_ref()?));
        self.own_price(model).or_else(offered).or_else(|| Price::listed(&self.kind, model))
    }

    /// As configured.
    pub(crate) fn own_price(&self, model: &str) -> Option<Price> {
        self.prices.get(model).copied().or(self.other_price)
    }
}

// === impl Agent ===

impl Agent {
    pub fn takes(&self, method: &str) -> bool {
        self.methods.iter().any(|pattern| pattern.matches(method))
    }

    /// Whether a caller may ask it: its models cover `a2a/{name}`.
    pub fn is_open_to(&self, caller: &Caller) -> bool {
        caller.may_use(&format!("a2a/{}", self.name))
    }
}

// === impl Target ===

impl Target {
    /// What passes to a provider as it is. `model` is the upstream's own, or empty where none is named.
    pub fn passing(provider: &Arc<Provider>, model: &str) -> Arc<Self> {
        Self::new(provider, model, Declared::default())
    }

    /// The same for work in batches, at what that costs: by the configured price, else by the vendor's own list.
    pub fn in_batches(provider: &Arc<Provider>, model: &str) -> Arc<Self> {
        let listed = || Price::listed_in_batches(&provider.kind, model);
        let ordinary = |percent| Some(provider.price(model, &Discovered::default())?.at_percent(percent));
        let part = || ordinary(provider.row.batch_percent.unwrap_or(100));
        let price = if provider.own_price(model).is_some() { part() } else { listed().or_else(part) };
        Arc::new(Self { price, ..Self::built(provider, model, Declared::default()) })
    }

    pub(crate) fn new(provider: &Arc<Provider>, name: &str, declared: Declared<'_>) -> Arc<Self> {
        Arc::new(Self::built(provider, name, declared))
    }

    fn built(provider: &Arc<Provider>, name: &str, declared: Declared<'_>) -> Self {
        let of_model = gateway_providers::quirks::of_model(provider.row, name);
        let model: Arc<str> = name.into();
        Self {
            provider: Arc::clone(provider),
            health: provider.healths.of(&model),
            breaker: Breaker::compile([declared.breaker, provider.breaker.as_ref()]),
            model,
            quirks: provider.quirks.and(of_model).and(declared.quirks),
            price: provider.price(name, &Discovered::default()),
        }
    }

    /// The same target at the price that holds with these lists.
    pub(crate) fn charged(self: Arc<Self>, discovered: &Discovered) -> Arc<Self> {
        let price = self.provider.price(&self.model, discovered);
        if price == self.price {
            return self;
        }
        Arc::new(Self {
            provider: Arc::clone(&self.provider),
            model: Arc::clone(&self.model),
            health: Arc::clone(&self.health),
            breaker: self.breaker,
            quirks: self.quirks,
            price,
        })
    }

    /// The same upstream model of the same account.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.provider.index == other.provider.index && self.model == other.model
    }
}
