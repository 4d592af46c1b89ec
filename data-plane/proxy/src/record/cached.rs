//! What the cache of replies has to do with a request: what it gave, and what it is given when the reply has ended well.

use std::sync::Arc;

use gateway_wire::v1;

use super::written::tokens;
use super::{Ending, Record};
use crate::cache::{Fill, Hit, Made};

// === impl Record ===

impl Record {
    /// The cache was asked, or was not to be asked.
    pub(crate) fn cached(&mut self, verdict: &'static str) {
        self.log.cache = Some(v1::CacheUse { verdict: verdict.to_owned(), ..v1::CacheUse::default() });
    }

    /// The reply was there: nobody is asked, nothing is used and nothing charged.
    pub(crate) fn recalled(&mut self, hit: &Hit) {
        let entry = &hit.entry;
        self.baseline_recalled(entry.usage.as_ref());
        self.log.cache = Some(v1::CacheUse {
            verdict: "hit".to_owned(),
            age_ms: hit.age_ms,
            waited: hit.waited,
            provider: entry.provider.as_ref().to_owned(),
            upstream_model: entry.model.as_ref().to_owned(),
            tokens: entry.usage.as_ref().map(tokens),
            saved_nano_usd: entry.cost.unwrap_or_default(),
        });
    }

    /// The reply is for the cache too, if it ends well.
    pub(crate) fn fills(&mut self, fill: Box<Fill>) {
        self.cached("miss");
        self.fill = Some(fill);
    }

    pub(crate) fn fill(&mut self) -> Option<&mut Fill> {
        self.fill.as_deref_mut()
    }

    pub(super) fn is_recalled(&self) -> bool {
        self.log.cache.as_ref().is_some_and(|cache| cache.verdict == "hit")
    }

    /// What has ended well, as its client was told it.
    pub(super) fn keep(&mut self) {
        let Some(fill) = self.fill.take() else { return };
        let is_whole = self.ending == Ending::Finished && self.log.status == 200 && self.log.error_code.is_empty();
        if let Some(target) = self.target.as_ref().filter(|_| is_whole) {
            let (provider, model) = (Arc::clone(&target.provider.name), Arc::clone(&target.model));
            fill.keep(Made { usage: self.usage(), cost: self.cost(), provider, model });
        }
    }
}
