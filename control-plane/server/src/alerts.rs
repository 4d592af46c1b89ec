//! Budgets that reach a part of their amount are told of: each part once in each window, by whichever control plane sees it first, to
//! everybody in `settings.alerts`. That it was told and what is to be sent are one transaction; sending is tried until it is taken,
//! for a day at most, so that a receiver may get the same alert twice, with the same id.

mod message;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use gateway_model::kind::budget::Window;
use gateway_model::kind::settings::alerts::Destination;
use gateway_store::alerts::{Alert, Delivery};
use gateway_store::{Error, Store};
use tokio::time::MissedTickBehavior;
use ulid::Ulid;

use crate::change::{Changes, Refusal};
use crate::clock;
use crate::leases;
use crate::meters::Meters;
use crate::outbound::Outbound;
use message::Standing;

/// How often is looked for budgets that something was booked of, and for what is to be sent.
const EVERY: Duration = Duration::from_secs(2);
/// How often at all of them: an amount may have been lowered, and an override may be over.
const ALL_EVERY_MS: i64 = 5 * 60 * 1000;
/// Clocks of control planes may differ by this much, and a booking may take as long.
const OVERLAP_MS: i64 = 60_000;
/// For so long nobody else looks.
const LEASE_MS: i64 = 60_000;
const LEASE: &str = "alerts";
const PAGE: usize = 500;
/// Sent at the same time.
const AT_ONCE: usize = 16;
const FIRST_WAIT_MS: i64 = 1000;
const LONGEST_WAIT_MS: i64 = 10 * 60 * 1000;
const GIVE_UP_MS: i64 = 24 * 60 * 60 * 1000;

/// Tells people of budgets.
#[derive(Debug)]
pub struct Alerts {
    store: Store,
    changes: Arc<Changes>,
    outbound: Outbound,
    meters: Arc<Meters>,
}

/// Since when this control plane has looked: at all budgets, and at those that were booked of.
#[derive(Clone, Copy, Debug)]
struct Looked {
    at_all_ms: i64,
    at_ms: i64,
}

/// What became of a message that was sent to try a destination.
#[derive(Clone, Debug)]
pub struct Trial {
    pub destination: String,
    pub outcome: Result<(), String>,
    pub took: Duration,
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Store(#[from] Error),
    #[error("the configuration cannot be read")]
    Configuration(#[from] Refusal),
}

// === impl Alerts ===

impl Alerts {
    pub fn new(store: Store, changes: Arc<Changes>, meters: Arc<Meters>) -> Self {
        Self { store, changes, outbound: Outbound::new(), meters }
    }

    /// Whom it tells, by the configuration of this moment.
    pub async fn destinations(&self) -> Result<Vec<Destination>, Refusal> {
        Ok(self.changes.set().await?.settings.alerts)
    }

    /// Looks and sends whenever it is time and no other control plane on the database does so. Never returns.
    pub(crate) async fn run(self: Arc<Self>, replica: String) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = None;
        loop {
            ticks.tick().await;
            looked = match self.round(&replica, looked).await {
                Ok(looked) => looked,
                Err(error) => {
                    if let Failed::Store(error) = &error {
                        self.meters.database_failed("alerts", error);
                    }
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        "budgets that reach a part of their amount cannot be told of now; trying again"
                    );
                    None
                }
            };
        }
    }

    /// Sends a message to each of them now, and waits for what comes of it.
    pub async fn test(&self, destinations: &[Destination]) -> Vec<Trial> {
        let trial = async |destination: &Destination| {
            let (began, id, now_ms) = (Instant::now(), new_id(), clock::unix_ms());
            let body = message::body(destination, &message::trial(&id, now_ms));
            let outcome = self.send(destination, &id, body, now_ms).await;
            Trial { destination: destination.name.clone(), outcome, took: began.elapsed() }
        };
        join_all(destinations.iter().map(trial)).await
    }

    async fn round(&self, replica: &str, looked: Option<Looked>) -> Result<Option<Looked>, Failed> {
        let now_ms = clock::unix_ms();
        if self.store.lease(LEASE, replica, LEASE_MS, now_ms).await?.is_none() {
            // Whoever comes after another begins anew.
            return Ok(None);
        }
        let destinations = self.destinations().await?;
        if destinations.is_empty() {
            return Ok(None);
        }
        let looked_at_all = looked.filter(|looked| now_ms - looked.at_all_ms < ALL_EVERY_MS);
        self.look(&destinations, looked_at_all.map_or(0, |looked| looked.at_ms - OVERLAP_MS), now_ms).await?;
        self.deliver(&destinations, now_ms).await?;
        Ok(Some(Looked { at_all_ms: looked_at_all.map_or(now_ms, |looked| looked.at_all_ms), at_ms: now_ms }))
    }

    async fn look(&self, destinations: &[Destination], since_ms: i64, now_ms: i64) -> Result<(), Error> {
        let mut after = String::new();
        loop {
            let budgets = self.store.budgets_booked_since(since_ms, &after, PAGE).await?;
            for budget in &budgets {
                self.judge(destinations, budget, now_ms).await?;
            }
            match budgets.into_iter().nth(PAGE - 1) {
                Some(last) => after = last,
                None => return Ok(()),
            }
        }
    }

    async fn judge(&self, destinations: &[Destination], budget: &str, now_ms: i64) -> Result<(), Error> {
        // One that was deleted is nobody's any more.
        let Some((kind, item, terms)) = leases::budgeted(&self.store, budget).await? else { return Ok(()) };
        let spent = self.store.balance(budget, terms.window.counted_from(now_ms)).await?.spent;
        let standing = Standing { kind, name: &item.name, terms, spent, now_ms };
        for percent in terms.alert_at().reached(spent, terms.amount_at(now_ms).0) {
            let id = new_id();
            let acknowledged = match window_before(terms.window, now_ms) {
                Some(before_ms) => self.store.acknowledged(budget, before_ms, percent).await?,
                None => None,
            };
            let is_seen_to = acknowledged.is_some();
            let window_ms = window(terms.window, now_ms);
            let alert =
                Alert { id: id.clone(), budget: budget.to_owned(), window_ms, percent, at_ms: now_ms, acknowledged };
            let content = message::content(&id, standing, percent);
            let delivery = |destination: &Destination| Delivery {
                id: format!("{id}.{}", destination.name),
                destination: destination.name.clone(),
                body: message::body(destination, &content),
                made_ms: now_ms,
                n_attempts: 0,
            };
            let told = if is_seen_to { &[] } else { destinations };
            let deliveries: Vec<Delivery> = told.iter().map(delivery).collect();
            if self.store.raise_alert(&alert, &deliveries).await? {
                tracing::warn!(budget, percent, spent_nano_usd = spent, "a budget has reached a part of its amount");
            }
        }
        Ok(())
    }

    async fn deliver(&self, destinations: &[Destination], now_ms: i64) -> Result<(), Error> {
        let due = self.store.deliveries_due(now_ms, AT_ONCE).await?;
        let sent = due.into_iter().map(|delivery| async move {
            let destination = destinations.iter().find(|destination| destination.name == delivery.destination);
            let Some(destination) = destination else {
                return self
                    .store
                    .give_up_delivery(&delivery.id, "there is no such destination any more", now_ms)
                    .await;
            };
            let id = delivery.id.split('.').next().unwrap_or_default();
            match self.send(destination, id, delivery.body.clone(), now_ms).await {
                Ok(()) => self.store.delivered(&delivery.id, clock::unix_ms()).await,
                Err(error) => self.failed(&delivery, &error, clock::unix_ms()).await,
            }
        });
        join_all(sent).await.into_iter().collect()
    }

    async fn send(&self, destination: &Destination, id: &str, body: String, now_ms: i64) -> Result<(), String> {
        let Some(url) = &destination.url else { return Err("it has no address".to_owned()) };
        let headers = message::headers(destination.secret.as_ref(), id, &body, now_ms);
        let sent = self.outbound.post(url, destination.allow_private_networks, &headers, body).await;
        self.meters.alert_message(if sent.is_ok() { "taken" } else { "failed" });
        sent
    }

    async fn failed(&self, delivery: &Delivery, error: &str, now_ms: i64) -> Result<(), Error> {
        let destination = delivery.destination.as_str();
        if now_ms - delivery.made_ms >= GIVE_UP_MS {
            tracing::error!(destination, error, "an alert is given up after a day");
            return self.store.give_up_delivery(&delivery.id, error, now_ms).await;
        }
        tracing::warn!(destination, error, "an alert is not taken; trying again");
        let wait_ms = FIRST_WAIT_MS.checked_shl(u32::try_from(delivery.n_attempts.min(20)).unwrap_or(20));
        let wait_ms = wait_ms.unwrap_or(LONGEST_WAIT_MS).min(LONGEST_WAIT_MS);
        self.store.postpone_delivery(&delivery.id, error, now_ms + wait_ms).await
    }
}

fn new_id() -> String {
    let millis = u64::try_from(clock::unix_ms()).unwrap_or(0);
    format!("alert_{}", Ulid::from_parts(millis, rand::random()))
}

/// Of a window that rolls, the stretch before: spending that has stayed above a mark since is what somebody sees to already. A new day
/// or month begins at nothing, and is told of anew.
fn window_before(window: Window, now_ms: i64) -> Option<i64> {
    match window {
        Window::Rolling(span) => {
            let length = i64::try_from(span.0.as_millis()).unwrap_or(i64::MAX).max(1);
            Some(self::window(window, now_ms).saturating_sub(length))
        }
        Window::Daily | Window::Weekly | Window::Monthly | Window::Once => None,
    }
}

/// What is once: the calendar's window; of one that rolls, a stretch of its length.
fn window(window: Window, now_ms: i64) -> i64 {
    match window {
        Window::Rolling(span) => {
            let length = i64::try_from(span.0.as_millis()).unwrap_or(i64::MAX).max(1);
            now_ms / length * length
        }
        Window::Daily | Window::Weekly | Window::Monthly | Window::Once => window.at(now_ms).start_ms,
    }
}
