//! The compiled configuration: indexed, resolved, immutable. One `Arc` is swapped for another; a request reads one from its
//! start to its end.

mod group;
mod keys;
mod provider;
mod route;
mod trial;
mod recall;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_ir::offer::Known;
use gateway_ir::quirks::Quirks;
use gateway_model::access::{IpRange, RevokeMode};
use gateway_model::catalog::Vocabulary;
use gateway_model::kind::settings::AutoAgent;
use gateway_model::{kind, policy};

use crate::auto::Auto;
use crate::budgets::Budgets;
use crate::count::Tokenizer;
use crate::fit::Fit;
use crate::glob::Glob;
use crate::health::{Health, Skip};
use crate::identity::Caller;
use crate::issuers::Issuers;
use crate::known::{Discovered, catalogued};
use crate::limits::purse::Purses;
use crate::policy::Overrides;
pub use crate::policy::{Breaker, Continuation, Hedge, Policy};
use crate::price::Price;
use crate::shared::SharedLimits;
use crate::tenants::Tenants;

pub(crate) use group::{Affinity, Group, Order, Turns, steady_hash};
pub(crate) use keys::{Keys, account, of_account};
pub use provider::Provider;
pub use recall::Bounds;
pub(crate) use recall::{Identity, OfModel, Recall, Said};
pub(crate) use route::{Clock, HeaderMatch, Index as RouteIndex, Miss, PathMatch, Route, Wants};
pub(crate) use trial::{Experiment, Variant};
pub use trial::{Shadow, ShadowSeat};

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
    pub(crate) route_index: Arc<RouteIndex>,
    /// In the order of the configuration.
    pub agents: Vec<Agent>,
    /// Whose account keys are on.
    pub tenants: Tenants,
    /// Budgets that several share.
    pub budgets: Budgets,
    /// Limits that several share.
    pub shared_limits: SharedLimits,
    /// What this node may spend of budgets. One for all snapshots of a node.
    pub purses: Arc<Purses>,
    /// Which replies are given again; `None`: none.
    pub(crate) recall: Option<Arc<Recall>>,
    /// Where a model has selectors.
    pub(crate) selecting: Option<Arc<Selecting>>,
}

/// The models of a configuration, of which some are made of what providers list.
#[derive(Debug)]
pub(crate) struct Selecting {
    /// As they are written.
    pub(crate) documents: Vec<kind::model::Model>,
    /// With targets in place of selectors.
    pub(crate) expanded: Vec<kind::model::Model>,
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
    /// Of models without a price, where neither key nor route says it.
    pub unpriced: policy::Unpriced,
    /// Every request leaves a signed receipt.
    pub receipts: bool,
    pub revoke_mode: RevokeMode,
    /// Who counts limits for all nodes; `None`: each node its part.
    pub limit_store: Option<crate::limits::central::Terms>,
    pub log_bodies: Option<Arc<crate::bodies::Keeping>>,
    pub header_families: HeaderFamilies,
    /// Largest accepted request body, in bytes.
    pub max_body: u64,
    /// Bodies may come compressed.
    pub compressed_bodies: bool,
    pub origins: Origins,
    /// Whose `x-forwarded-for` is believed.
    pub trusted_proxies: Vec<IpRange>,
    /// Whose tokens are keys; `None`: nobody's.
    pub issuers: Option<Arc<Issuers>>,
    pub passthrough: Passthrough,
    /// Models to make.
    pub auto_agents: Vec<AutoAgent>,
    /// Whether providers that say nothing of it are asked for their models, and how often.
    pub discovery: bool,
    pub discovery_interval: Duration,
    /// How long a response can be asked for again; zero: not at all.
    pub store_ttl: Duration,
    pub background: Background,
    /// How a model is chosen for clients that leave it to the gateway; `None`: not at all.
    pub auto: Option<Arc<Auto>>,
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
    /// When batches at providers are looked at first; zero: never.
    pub batch_look: Duration,
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
#[derive(Clone, Debug)]
pub struct Target {
    pub provider: Arc<Provider>,
    /// The upstream's own name of it.
    pub model: Arc<str>,
    /// Whichever key is used.
    pub health: Arc<Health>,
    /// The same target with each key, where the provider has several: one of these is asked in its place.
    pub by_key: Box<[Arc<Target>]>,
    /// What has been seen of the key here, of one of `by_key`.
    pub key_health: Option<Arc<Health>>,
    /// `None`: it is asked whatever has happened.
    pub breaker: Option<Breaker>,
    /// The provider's, and what the catalogue and the configuration say of this model.
    pub quirks: Quirks,
    pub price: Option<Price>,
    /// What its prompts are estimated with.
    pub tokenizer: Tokenizer,
    pub(crate) fit: Fit,
    /// What the configuration says of it.
    facts: Option<Arc<Known>>,
}

/// What a configuration says of a target, beside which it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Declared<'a> {
    pub(crate) quirks: Quirks,
    pub(crate) breaker: Option<&'a policy::Breaker>,
    pub(crate) facts: Option<&'a Arc<Known>>,
    pub(crate) vocabulary: Option<Vocabulary>,
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
    pub(crate) experiment: Option<Arc<Experiment>>,
    pub shadow: Option<Arc<Shadow>>,
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
        Some(Arc::new(Model::plain(name, groups)))
    }

    /// Every target that can be reached by a public name, each upstream model once.
    pub fn targets(&self) -> Vec<&Arc<Target>> {
        let models = self.models.values().chain(self.routes.iter().filter_map(|route| route.model.as_ref()));
        let mut targets: Vec<_> = models.flat_map(|model| &model.groups).flat_map(|group| &group.members).collect();
        targets.sort_by_key(|target| (&target.provider.name, &target.model));
        targets.dedup_by(|a, b| a.is_same(b));
        targets
    }

    /// By its name, which goes with its first key; or by `name#key`, one of several keys.
    pub fn provider(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers_by_name.get(name)
    }
}

// === impl Model ===

impl Model {
    /// One of which nothing else is said.
    pub(crate) fn plain(name: Arc<str>, groups: Vec<Arc<Group>>) -> Self {
        Self { name, groups, affinity: None, overrides: Overrides::default(), experiment: None, shadow: None }
    }

    /// Everybody who may come to serve it, fallbacks included.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Arc<Target>> + Clone {
        self.groups.iter().flat_map(|group| &group.members)
    }
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            auth_off: false,
            default_stream: false,
            strict: false,
            unpriced: policy::Unpriced::Allow,
            receipts: false,
            revoke_mode: RevokeMode::Drain,
            limit_store: None,
            log_bodies: None,
            header_families: HeaderFamilies { gateway: true, lunargate: true },
            max_body: 32 * 1024 * 1024,
            compressed_bodies: false,
            origins: Origins::Any,
            trusted_proxies: Vec::new(),
            issuers: None,
            passthrough: Passthrough::default(),
            auto_agents: Vec::new(),
            discovery: false,
            discovery_interval: Duration::from_secs(600),
            store_ttl: Duration::from_secs(24 * 60 * 60),
            background: Background::default(),
            auto: None,
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
            batch_look: Duration::from_secs(60),
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
        let price = provider.prices.in_batches(model);
        Arc::new(Self { price, ..Self::built(provider, model, Declared::default()) })
    }

    pub(crate) fn new(provider: &Arc<Provider>, name: &str, declared: Declared<'_>) -> Arc<Self> {
        Arc::new(Self::built(provider, name, declared))
    }

    fn built(provider: &Arc<Provider>, name: &str, declared: Declared<'_>) -> Self {
        let of_model = gateway_providers::quirks::of_model(provider.row, name);
        let model: Arc<str> = name.into();
        let target = Self {
            provider: Arc::clone(provider),
            health: provider.healths.of(&model),
            by_key: Box::default(),
            key_health: None,
            breaker: Breaker::compile([declared.breaker, provider.breaker.as_ref()]),
            model,
            quirks: provider.quirks.and(of_model).and(declared.quirks),
            price: provider.price(name, &Discovered::default()),
            tokenizer: Tokenizer::new(provider.row, name, declared.vocabulary),
            fit: Fit::default(),
            facts: declared.facts.cloned(),
        };
        let Some(keys) = &provider.keys else { return target };
        let by_key = keys.each.iter().map(|keyed| {
            let key_health = Some(keyed.healths.of(&target.model));
            Arc::new(Self { provider: Arc::clone(keyed), key_health, ..target.clone() })
        });
        Self { by_key: by_key.collect(), ..target }
    }

    /// The same target at the price that holds with these lists.
    pub(crate) fn charged(self: Arc<Self>, discovered: &Discovered) -> Arc<Self> {
        let (price, fit) = (self.provider.price(&self.model, discovered), self.fit);
        self.with(price, fit)
    }

    /// The same target as these lists and the catalogue have it: its price, and what it can do. Whoever names one target by
    /// its address gets that target's own word instead.
    pub(crate) fn listed(self: Arc<Self>, discovered: &Discovered) -> Arc<Self> {
        let price = self.provider.price(&self.model, discovered);
        let offered = discovered.known(&self.provider.name, &self.model).cloned().unwrap_or_default();
        let certain = self.facts.as_deref().cloned().unwrap_or_default().or(offered);
        let fit = Fit::new(&certain, &catalogued(&self.provider.kind, &self.model));
        self.with(price, fit)
    }

    fn with(self: Arc<Self>, price: Option<Price>, fit: Fit) -> Arc<Self> {
        if price == self.price && fit == self.fit {
            return self;
        }
        let by_key = self.by_key.iter().map(|keyed| Arc::clone(keyed).with(price.clone(), fit)).collect();
        Arc::new(Self { price, fit, by_key, ..(*self).clone() })
    }

    /// Whether it may be asked now; with its key where it is one of several.
    pub fn look(&self, now: Instant) -> Result<(), Skip> {
        self.health.look(self.breaker.as_ref(), now)?;
        let Some(key) = &self.key_health else { return Ok(()) };
        key.cooled(now)?;
        key.look(self.breaker.as_ref(), now)
    }

    /// The same upstream model of the same account.
    pub fn is_same(&self, other: &Self) -> bool {
        self.provider.index == other.provider.index && self.model == other.model
    }
}
