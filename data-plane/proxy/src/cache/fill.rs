//! A reply on its way to its client, which may be kept when it has ended well.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use gateway_dialects::dialect::ClientDialect;
use gateway_engine::cache::{Key, Terms};
use gateway_ir::usage::Usage;

use super::flights::Lead;
use super::{Cache, Entry, Form, Wanted, entry};
use crate::clock;

/// Replies that are being made take this part of what is kept at most, all together.
const FILLING_PARTS: usize = 8;

/// Copies what its client is sent. Dropped before it is kept, nothing has happened, and whoever waits for it goes on.
pub(crate) struct Fill {
    cache: Arc<Cache>,
    key: Key,
    terms: Terms,
    form: Form,
    dialect: Option<&'static dyn ClientDialect>,
    dropped: Vec<String>,
    bytes: Vec<u8>,
    /// It grew too large.
    is_unfit: bool,
    lead: Option<Lead>,
}

/// What is known of a reply when it has ended.
pub(crate) struct Made {
    pub(crate) usage: Option<Usage>,
    /// In nano-dollars.
    pub(crate) cost: Option<i64>,
    pub(crate) provider: Arc<str>,
    pub(crate) model: Arc<str>,
}

// === impl Fill ===

impl Fill {
    pub(super) fn new(cache: Arc<Cache>, wanted: &Wanted, lead: Option<Lead>) -> Self {
        let Wanted { key, terms, form, dialect, .. } = *wanted;
        Self { cache, key, terms, form, dialect, dropped: Vec::new(), bytes: Vec::new(), is_unfit: false, lead }
    }

    /// What the upstream could not be told; clients are told so each time.
    pub(crate) fn dropped(&mut self, names: &[String]) {
        self.dropped = names.to_vec();
    }

    /// The next bytes that the client is sent.
    pub(crate) fn shows(&mut self, bytes: &[u8]) {
        if self.is_unfit {
            return;
        }
        let n_filling = self.cache.n_filling.fetch_add(bytes.len(), Relaxed) + bytes.len();
        self.bytes.extend_from_slice(bytes);
        let bounds = self.terms.bounds;
        if self.bytes.len() > bounds.entry || n_filling > bounds.whole / FILLING_PARTS {
            self.give_up();
        }
    }

    /// It has ended well, and has been charged.
    pub(crate) fn keep(mut self, made: Made) {
        let is_fit = !self.is_unfit
            && !self.bytes.is_empty()
            && self.dialect.is_none_or(|dialect| entry::is_answer(dialect, self.form, &self.bytes));
        if !is_fit {
            return self.give_up();
        }
        let (made_ms, ttl_ms) = (clock::unix_ms(), i64::try_from(self.terms.ttl.as_millis()).unwrap_or(i64::MAX));
        let Made { usage, cost, provider, model } = made;
        let entry = Arc::new(Entry {
            // As long as it is, whatever room it was given while it grew.
            bytes: self.bytes.as_slice().to_vec().into(),
            form: self.form,
            usage,
            cost,
            provider,
            model,
            dropped: std::mem::take(&mut self.dropped),
            made_ms,
            until_ms: made_ms.saturating_add(ttl_ms),
        });
        self.cache.shelf.put(self.key, Arc::clone(&entry), self.terms.bounds);
        self.cache.counts.stored.fetch_add(1, Relaxed);
        if let Some(lead) = self.lead.take() {
            lead.lands(Some(entry));
        }
    }

    /// There will be nothing to keep: nobody need wait for it.
    fn give_up(&mut self) {
        if !std::mem::replace(&mut self.is_unfit, true) {
            self.cache.counts.unfit.fetch_add(1, Relaxed);
        }
        self.empty();
        if let Some(lead) = self.lead.take() {
            lead.lands(None);
        }
    }

    fn empty(&mut self) {
        self.cache.n_filling.fetch_sub(self.bytes.len(), Relaxed);
        self.bytes = Vec::new();
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        self.empty();
    }
}
