//! How often somebody may try to sign in: by who they say they are, by where they come from, and by both.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::TooMany;

/// A number of tries, and how fast they come back.
#[derive(Clone, Copy, Debug)]
struct Rate {
    size: u32,
    every: Duration,
}

/// A person at one place; it is what somebody who mistypes meets.
const BOTH: Rate = Rate { size: 10, every: Duration::from_secs(30) };
/// A place may be an office behind one address.
const PLACE: Rate = Rate { size: 50, every: Duration::from_secs(5) };
/// So wide that strangers elsewhere can hardly keep a person out, and so narrow that passwords are not found.
const PERSON: Rate = Rate { size: 100, every: Duration::from_secs(10) };

/// Counts that are held; of those that are full again none is.
const MAX_COUNTS: usize = 30_000;

/// When each count is full again, by what it counts.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    counts: Mutex<Counts>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Counts {
    full_at: HashMap<u64, Instant>,
    /// When those that were full again were taken out: a walk over all of them, and so not for each try.
    swept_at: Option<Instant>,
}

const SWEEP: Duration = Duration::from_secs(1);

// === impl Throttle ===

impl Throttle {
    /// Takes a try from each count, or none where one of them has none left.
    pub(super) fn take(&self, ip: Option<IpAddr>, email: &str) -> Result<(), TooMany> {
        let now = Instant::now();
        let counts = self.counts(ip, email);
        let mut held = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let Counts { full_at, swept_at } = &mut *held;
        for (count, rate) in counts {
            let ahead = full_at.get(&count).map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
            let over = (ahead + rate.every).saturating_sub(rate.every * rate.size);
            if !over.is_zero() {
                return Err(TooMany { retry_after_s: over.as_secs() + 1 });
            }
        }
        if full_at.len() + counts.len() > MAX_COUNTS && swept_at.is_none_or(|at| at.elapsed() >= SWEEP) {
            *swept_at = Some(now);
            full_at.retain(|_, at| *at > now);
        }
        if full_at.len() + counts.len() > MAX_COUNTS {
            // Who can send from so many places is held up by the hashes alone, and everybody with them.
            return Err(TooMany { retry_after_s: PLACE.every.as_secs() });
        }
        for (count, rate) in counts {
            let at = full_at.entry(count).or_insert(now);
            *at = (*at).max(now) + rate.every;
        }
        Ok(())
    }

    pub(super) fn give_back(&self, ip: Option<IpAddr>, email: &str) {
        let full_at = &mut self.counts.lock().unwrap_or_else(PoisonError::into_inner).full_at;
        for (count, rate) in self.counts(ip, email) {
            if let Some(at) = full_at.get_mut(&count) {
                *at = at.checked_sub(rate.every).unwrap_or(*at);
            }
        }
    }

    fn counts(&self, ip: Option<IpAddr>, email: &str) -> [(u64, Rate); 3] {
        // Whoever has one address of IPv6 has its network.
        let place = match ip {
            Some(IpAddr::V6(ip)) => Some(ip.to_bits() >> 64),
            Some(IpAddr::V4(ip)) => Some(u128::from(ip.to_bits())),
            None => None,
        };
        let email = email.to_lowercase();
        [
            (self.hasher.hash_one((0, place, &email)), BOTH),
            (self.hasher.hash_one((1, place)), PLACE),
            (self.hasher.hash_one((2, &email)), PERSON),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    #[tokio::test(start_paused = true)]
    async fn tries_run_out_and_come_back() {
        let throttle = Throttle::default();
        for _ in 0..BOTH.size {
            throttle.take(ip("10.0.0.1"), "a@example.com").expect("one is left");
        }
        assert_eq!(throttle.take(ip("10.0.0.1"), "A@example.com"), Err(TooMany { retry_after_s: 31 }));
        assert_eq!(throttle.take(ip("10.0.0.2"), "a@example.com"), Ok(()), "elsewhere");
        assert_eq!(throttle.take(ip("10.0.0.1"), "b@example.com"), Ok(()), "somebody else");
        tokio::time::advance(BOTH.every).await;
        assert_eq!(throttle.take(ip("10.0.0.1"), "a@example.com"), Ok(()));
        throttle.give_back(ip("10.0.0.1"), "a@example.com");
        assert_eq!(throttle.take(ip("10.0.0.1"), "a@example.com"), Ok(()), "the right password costs nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_and_a_person_have_tries_of_their_own() {
        let throttle = Throttle::default();
        let from_one = (0..1000).filter(|n| throttle.take(ip("2001:db8::1"), &format!("{n}@example.com")).is_ok());
        assert_eq!(from_one.count(), 50);
        assert!(throttle.take(ip("2001:db8::2"), "z@example.com").is_err(), "the same network");
        let at_one =
            (0..1000_u32).filter(|n| throttle.take(Some(IpAddr::V4((n << 8).into())), "x@example.com").is_ok());
        assert_eq!(at_one.count(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded() {
        let throttle = Throttle::default();
        for n in 0..200_000_u32 {
            let _ = throttle.take(Some(IpAddr::V4(n.into())), &format!("{n}@example.com"));
        }
        assert!(throttle.counts.lock().expect("no panic").full_at.len() <= MAX_COUNTS);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(throttle.take(ip("10.9.9.9"), "me@example.com"), Ok(()), "it is over when the flood is");
    }
}
