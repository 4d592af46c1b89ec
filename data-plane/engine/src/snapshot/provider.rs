//! One upstream account: how it is spoken to, with which keys and within which limits, and what has been seen of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_ir::dialect::Dialect;
use gateway_ir::failure::Failure;
use gateway_ir::quirks::Quirks;
use gateway_model::{catalog, kind, policy};
use gateway_providers::endpoint::Endpoint;

use super::{Keys, Service};
use crate::gate::Gate;
use crate::glob::Glob;
use crate::health::{Healths, Probe, Probed, Question};
use crate::known::Discovered;
use crate::limits::quota::{Quota, Taken};
use crate::policy::{Breaker, Overrides, Policy};
use crate::price::Price;
use crate::price::list::PriceList;

/// One upstream account.
#[derive(Debug)]
pub struct Provider {
    pub name: Arc<str>,
    /// The name of the key that it is used with, where it has several.
    pub key: Option<Arc<str>>,
    /// Its name, with that of the key: `openai#main`.
    pub account: Arc<str>,
    /// Itself with each of several keys. By itself it goes with the first of them.
    pub(crate) keys: Option<Keys>,
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
    /// `None`: it takes as many requests at once as come.
    pub gate: Option<Gate>,
    /// Its streams are read to the end though their clients have left.
    pub drains: bool,
    /// What has been seen of its models, by this configuration or by earlier ones in which it was the same.
    pub(crate) healths: Arc<Healths>,
    /// What its vendor lets it do, whichever key is used; and what with this key.
    pub quota: Option<Arc<Quota>>,
    pub key_quota: Option<Arc<Quota>>,
    /// Asked from time to time, and what came of it.
    pub probe: Option<Probe>,
    pub probes: Arc<Probed>,
    /// As the configuration has it, to see whether another one has the same.
    pub(crate) written: Arc<kind::provider::Provider>,
    pub(crate) prices: Arc<PriceList>,
    /// Whether it is asked for its models; `None`: as the settings say.
    pub discovery: Option<bool>,
    /// Of its models these are listed.
    pub discoverable: Vec<Glob>,
}

// === impl Provider ===

impl Provider {
    /// What it is spoken to for a client of `inbound`: its own dialect, or the client's where it has that API too.
    pub fn dialect_for(&self, inbound: Dialect) -> Dialect {
        let is_missing = inbound == Dialect::OpenAiCompletions && self.quirks.no_completions;
        let is_native = self.endpoint.also_speaks(inbound) && !is_missing;
        if is_native { inbound } else { self.dialect }
    }

    /// Itself with each of its keys, where it has several.
    pub fn with_keys(&self) -> &[Arc<Self>] {
        self.keys.as_ref().map_or(&[], |keys| &keys.each)
    }

    /// Itself with the key that goes with what passes as it is.
    pub fn passing(&self) -> &Self {
        if self.key.is_some() { self } else { self.with_keys().first().map_or(self, AsRef::as_ref) }
    }

    /// Takes a request that passes as it is out of the limits, its key's among them; or says after how long there is room.
    pub fn admit(&self, now: Instant) -> Result<(), Duration> {
        let key = self.passing();
        let taken = self.quota.as_ref().map(|quota| quota.take(0, now)).transpose()?;
        match key.key_quota.as_ref().map(|quota| quota.take(0, now)) {
            Some(Err(wait)) => {
                taken.into_iter().for_each(Taken::give_back);
                Err(wait)
            }
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// Takes in what came of a probe; `None`: it went well.
    pub fn probed(&self, question: &Question, failure: Option<&Failure>, now: Instant) {
        self.probes.count(failure.is_none());
        let Some(breaker) = Breaker::compile([None, self.breaker.as_ref()]) else { return };
        let concerned = match question {
            Question::Model(model) => vec![self.healths.of(model)],
            Question::Path(_) => self.healths.all(),
        };
        for health in concerned {
            match failure {
                None => health.vouched(matches!(question, Question::Model(_)), now),
                Some(failure) => health.failed(failure, Some(&breaker), now, rand::random()),
            }
        }
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
    pub(super) fn price(&self, model: &str, discovered: &Discovered) -> Option<Price> {
        let offered = || Some(Price::offered(discovered.known(&self.name, model)?.rates.as_ref()?));
        self.prices.own(model).or_else(offered).or_else(|| self.prices.listed(model))
    }
}
