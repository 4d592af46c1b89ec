//! Requests for the same that are under way at the same time: one makes the reply, the others wait for its end.
//!
//! They wait for the whole reply and are not told its events as they come, because a reply that is cut half-way would then be cut for
//! all of them. Where the one fails, one of the others goes on in its place, and nobody hears of the failure who did not cause it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use gateway_engine::cache::Key;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::Entry;

/// Behind one request; further ones go on themselves.
const MAX_WAITING: usize = 256;
const N_SHARDS: usize = 16;

/// Every reply that is being made for the cache.
#[derive(Default)]
pub(super) struct Flights {
    hasher: ahash::RandomState,
    shards: [Mutex<HashMap<Key, Flight>>; N_SHARDS],
}

struct Flight {
    landing: Arc<Landing>,
    n_waiting: usize,
    /// Otherwise whoever comes next is to take it over.
    is_led: bool,
}

/// What those who wait look at.
#[derive(Default)]
struct Landing {
    wake: Notify,
    /// `None` in it: there is nothing to wait for, everybody goes on.
    outcome: OnceLock<Option<Arc<Entry>>>,
}

/// What there is for a request.
pub(super) enum Place {
    /// It makes the reply.
    Lead(Lead),
    /// Another has made it.
    Landed(Arc<Entry>),
    /// It goes on, and nobody waits for it.
    Alone,
}

/// The request that makes the reply. Dropped before it has landed, it hands over to one of those who wait.
pub(super) struct Lead {
    flights: Arc<Flights>,
    key: Key,
    landing: Arc<Landing>,
    has_landed: bool,
}

/// A request that waits.
struct Waiting<'a> {
    flights: &'a Flights,
    key: Key,
    landing: Arc<Landing>,
}

// === impl Flights ===

impl Flights {
    /// Leads, or waits until `deadline` at most.
    pub(super) async fn board(flights: &Arc<Self>, key: Key, deadline: Instant) -> Place {
        loop {
            let waiting = match flights.join(key) {
                Ok(waiting) => waiting,
                Err(Some(landing)) => {
                    return Place::Lead(Lead { flights: Arc::clone(flights), key, landing, has_landed: false });
                }
                Err(None) => return Place::Alone,
            };
            let wake = waiting.landing.wake.notified();
            // What landed before this could hear of it is there to be seen.
            if waiting.landing.outcome.get().is_none() && timeout_at(deadline, wake).await.is_err() {
                return Place::Alone;
            }
            match waiting.landing.outcome.get() {
                Some(Some(entry)) => return Place::Landed(Arc::clone(entry)),
                Some(None) => return Place::Alone,
                None => {}
            }
        }
    }

    /// A place behind another; else the lead, or neither where too many wait.
    fn join(&self, key: Key) -> Result<Waiting<'_>, Option<Arc<Landing>>> {
        let mut shard = self.shard(&key);
        let flight =
            shard.entry(key).or_insert_with(|| Flight { landing: Arc::default(), n_waiting: 0, is_led: false });
        let landing = Arc::clone(&flight.landing);
        if !std::mem::replace(&mut flight.is_led, true) {
            return Err(Some(landing));
        }
        if flight.n_waiting >= MAX_WAITING {
            return Err(None);
        }
        flight.n_waiting += 1;
        Ok(Waiting { flights: self, key, landing })
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Flight>> {
        let hash = usize::try_from(self.hasher.hash_one(key) & 0xffff).unwrap_or_default();
        self.shards[hash % N_SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Lead ===

impl Lead {
    /// The end of the flight. Without an entry there will be none: whoever waits goes on, all at once.
    pub(super) fn lands(mut self, entry: Option<Arc<Entry>>) {
        self.has_landed = true;
        let _ = self.landing.outcome.set(entry);
        self.flights.shard(&self.key).remove(&self.key);
        self.landing.wake.notify_waiters();
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if self.has_landed {
            return;
        }
        let mut shard = self.flights.shard(&self.key);
        let Some(flight) = shard.get_mut(&self.key) else { return };
        flight.is_led = false;
        if flight.n_waiting == 0 {
            shard.remove(&self.key);
        } else {
            self.landing.wake.notify_one();
        }
    }
}

// === impl Waiting ===

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut shard = self.flights.shard(&self.key);
        // By now there may be another flight of the same key.
        let Some(flight) = shard.get_mut(&self.key).filter(|flight| Arc::ptr_eq(&flight.landing, &self.landing)) else {
            return;
        };
        flight.n_waiting -= 1;
        if flight.n_waiting == 0 && !flight.is_led {
            shard.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::task::JoinHandle;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn boarding(flights: &Arc<Flights>, deadline: Instant) -> JoinHandle<Place> {
        let flights = Arc::clone(flights);
        tokio::spawn(async move { Flights::board(&flights, Key::of_test(1), deadline).await })
    }

    async fn lead(flights: &Arc<Flights>) -> Lead {
        let Place::Lead(lead) = Flights::board(flights, Key::of_test(1), soon()).await else {
            panic!("somebody else leads")
        };
        lead
    }

    fn n_flights(flights: &Flights) -> usize {
        flights.shards.iter().map(|shard| shard.lock().expect("no panic").len()).sum()
    }

    /// Time passes only where everybody waits.
    #[tokio::test(start_paused = true)]
    async fn one_after_the_other_takes_over_and_nothing_stays_behind() {
        let flights = Arc::new(Flights::default());
        let first = lead(&flights).await;
        let mut waiting: Vec<_> = (0..3).map(|_| boarding(&flights, soon())).collect();
        tokio::task::yield_now().await;
        drop(first);
        // One has it now, the others wait for that one.
        for left in (0..3).rev() {
            let (place, _, others) = futures_util::future::select_all(waiting).await;
            assert!(matches!(place, Ok(Place::Lead(_))) && others.len() == left);
            assert!(others.iter().all(|other| !other.is_finished()));
            waiting = others;
            drop(place);
        }
        assert_eq!(n_flights(&flights), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_wakes_and_leaves_wakes_the_next() {
        let flights = Arc::new(Flights::default());
        let first = lead(&flights).await;
        let (leaving, staying) = (boarding(&flights, soon()), boarding(&flights, soon()));
        tokio::task::yield_now().await;
        drop(first);
        leaving.abort();
        assert!(matches!(staying.await, Ok(Place::Lead(_))));
        assert_eq!(n_flights(&flights), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_and_the_flight_goes_on() {
        let flights = Arc::new(Flights::default());
        let first = lead(&flights).await;
        let hasty = boarding(&flights, Instant::now() + Duration::from_secs(1));
        assert!(matches!(hasty.await, Ok(Place::Alone)));
        let waiting = boarding(&flights, soon());
        tokio::task::yield_now().await;
        first.lands(None);
        assert!(matches!(waiting.await, Ok(Place::Alone)), "there is nothing to wait for");
        assert_eq!(n_flights(&flights), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_wait_than_may() {
        let flights = Arc::new(Flights::default());
        let first = lead(&flights).await;
        let waiting: Vec<_> = (0..MAX_WAITING).map(|_| boarding(&flights, soon())).collect();
        tokio::task::yield_now().await;
        assert!(matches!(Flights::board(&flights, Key::of_test(1), soon()).await, Place::Alone));
        first.lands(None);
        for place in waiting {
            assert!(matches!(place.await, Ok(Place::Alone)));
        }
        assert_eq!(n_flights(&flights), 0);
    }
}
