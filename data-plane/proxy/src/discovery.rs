//! Asking providers for the models that they have: at the start, when the configuration changes, and from time to time, never for a
//! request. What they say becomes part of what serves in one swap; who does not answer keeps what it said last.

mod ask;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use gateway_engine::glob::Glob;
use gateway_engine::known::Discovered;
use gateway_engine::snapshot::{Provider, Settings, Snapshot};
use gateway_ir::offer::Offer;
use http::{HeaderMap, Uri};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use self::ask::Asker;
use crate::state::Live;
use crate::task;
use crate::tokens::Tokens;
use crate::warnings::Warnings;

/// Providers that are asked at the same time.
const AT_ONCE: usize = 32;
/// Who did not answer is asked again after this, or sooner where everybody is.
const PAUSE: Duration = Duration::from_secs(60);
/// Models that are listed of all providers together.
const MAX_MODELS: usize = 50_000;
/// What is amiss is told of so many providers by name.
const MAX_NAMED: usize = 5;

/// Asks in the background, for as long as the node runs.
pub(crate) struct Discovery {
    live: Arc<Live>,
    warnings: Arc<Warnings>,
    asker: Asker,
    /// By provider.
    kept: HashMap<Arc<str>, Kept>,
}

/// What a provider said last, and what it was asked by.
struct Kept {
    asked: Question,
    /// `None` until it has answered.
    offers: Option<Arc<[Offer]>>,
    /// Why it did not answer when it was asked last.
    failure: Option<String>,
    due: Instant,
}

/// Another one is asked at once.
#[derive(PartialEq)]
struct Question {
    uri: Uri,
    /// The credential is among them.
    headers: HeaderMap,
    allowed: Vec<Glob>,
}

// === impl Discovery ===

impl Discovery {
    /// `changes` says when there is another configuration. Ends when its sender is gone, or with the handle.
    pub(crate) fn start<T: Send + Sync + 'static>(
        live: Arc<Live>,
        warnings: Arc<Warnings>,
        tls: Arc<rustls::ClientConfig>,
        tokens: Arc<Tokens>,
        changes: watch::Receiver<T>,
    ) -> JoinHandle<()> {
        let discovery = Self { live, warnings, asker: Asker::new(tls, tokens), kept: HashMap::new() };
        task::spawn_job(discovery.run(changes))
    }

    async fn run<T>(mut self, mut changes: watch::Receiver<T>) {
        loop {
            changes.mark_unchanged();
            let snapshot = Arc::clone(&self.live.load().snapshot);
            let next = self.round(&snapshot).await;
            let changed = match next {
                Some(next) => tokio::select! {
                    changed = changes.changed() => changed,
                    () = sleep_until(next) => Ok(()),
                },
                None => changes.changed().await,
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// Asks everybody who is due, and says when somebody is due again; `None` while nobody is to be asked.
    async fn round(&mut self, snapshot: &Snapshot) -> Option<Instant> {
        let wanted = snapshot.providers.iter().filter(|provider| is_wanted(provider, &snapshot.settings));
        let wanted = wanted.filter_map(|provider| Some((Arc::clone(provider), Question::of(provider)?)));
        let mut wanted: Vec<(Arc<Provider>, Question)> = wanted.collect();
        let is_kept = |name: &Arc<str>, kept: &Kept| {
            wanted.iter().any(|(provider, question)| provider.name == *name && *question == kept.asked)
        };
        self.kept.retain(|name, kept| is_kept(name, kept));
        let now = Instant::now();
        wanted.retain(|(provider, _)| self.kept.get(&provider.name).is_none_or(|kept| kept.due <= now));
        let asker = &self.asker;
        let asked = stream::iter(wanted).map(|(provider, question)| async move {
            let answer = asker.ask(&provider).await;
            (Arc::clone(&provider.name), question, answer)
        });
        let answers: Vec<_> = asked.buffer_unordered(AT_ONCE).collect().await;
        let interval = snapshot.settings.discovery_interval;
        for (name, asked, answer) in answers {
            let before = self.kept.remove(&name).and_then(|kept| kept.offers);
            let (offers, failure, pause) = match answer {
                Ok(found) => (Some(listed(found, &asked.allowed)), None, interval),
                Err(reason) => {
                    tracing::warn!(provider = %name, "its models could not be listed: {reason}");
                    (before, Some(reason), interval.min(PAUSE))
                }
            };
            self.kept.insert(name, Kept { asked, offers, failure, due: Instant::now() + pause });
        }
        self.publish();
        self.kept.values().map(|kept| kept.due).min()
    }

    /// Swaps where something has changed.
    fn publish(&self) {
        let mut lists: HashMap<String, Arc<[Offer]>> = HashMap::new();
        let (mut n_models, mut n_left_out) = (0, 0);
        let mut names: Vec<_> = self.kept.keys().collect();
        names.sort();
        for name in names {
            let Some(offers) = self.kept[name].offers.as_ref() else { continue };
            if n_models + offers.len() > MAX_MODELS {
                n_left_out += offers.len();
                continue;
            }
            n_models += offers.len();
            lists.insert(name.to_string(), Arc::clone(offers));
        }
        let discovered = Arc::new(Discovered::new(lists));
        if self.live.load().snapshot.discovered != discovered {
            self.live.discovered(&discovered);
            tracing::info!("providers list {n_models} models");
        }
        self.warn(n_left_out);
    }

    fn warn(&self, n_left_out: usize) {
        let mut failures: Vec<_> =
            self.kept.iter().filter_map(|(name, kept)| Some(format!("`{name}`: {}", kept.failure.as_ref()?))).collect();
        failures.sort();
        let n_more = failures.len().saturating_sub(MAX_NAMED);
        failures.truncate(MAX_NAMED);
        if n_more > 0 {
            failures.push(format!("and {n_more} more providers"));
        }
        if n_left_out > 0 {
            failures.push(format!(
                "{n_left_out} models are left out, because all providers together list more than {MAX_MODELS}; \
                 say which are wanted in `discovery.allowed`"
            ));
        }
        match failures.is_empty() {
            true => self.warnings.clear("discovery"),
            false => self.warnings.set("discovery", format!("models could not be listed: {}", failures.join("; "))),
        }
    }
}

// === impl Question ===

impl Question {
    /// `None` where there is no list to ask for.
    fn of(provider: &Provider) -> Option<Self> {
        let uri = provider.endpoint.listing()?.uri(None)?;
        Some(Self { uri, headers: provider.endpoint.headers().clone(), allowed: provider.discoverable.clone() })
    }
}

/// Where only the settings ask for it, nobody is called who would not know us or who is far away.
fn is_wanted(provider: &Provider, settings: &Settings) -> bool {
    let is_ours = || provider.endpoint.has_credential() || provider.endpoint.allow_private_networks();
    provider.discovery.unwrap_or_else(|| settings.discovery && is_ours())
}

/// Those that are wanted, in the order of their names, each once.
fn listed(mut offers: Vec<Offer>, allowed: &[Glob]) -> Arc<[Offer]> {
    offers.retain(|offer| allowed.is_empty() || allowed.iter().any(|glob| glob.matches(&offer.model)));
    offers.sort_by(|a, b| a.model.cmp(&b.model));
    offers.dedup_by(|a, b| a.model == b.model);
    offers.into()
}

#[cfg(test)]
mod tests;
