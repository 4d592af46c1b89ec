//! Experiments and shadows of a model, compiled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use gateway_model::kind::model::trial::Subject;

use super::steady_hash;

/// Variants and who is given which.
#[derive(Debug)]
pub(crate) struct Experiment {
    pub(crate) name: Arc<str>,
    pub(crate) by: Subject,
    /// With the sum of the weights up to and with it; ascending, the last above 0.
    pub(crate) variants: Box<[(u64, Variant)]>,
}

#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) name: Arc<str>,
    /// `None`: the model's own targets.
    pub(crate) model: Option<Arc<str>>,
}

/// A challenger that is asked behind a part of the requests.
#[derive(Debug)]
pub struct Shadow {
    pub model: Arc<str>,
    /// Of 10,000 requests.
    pub(crate) share: u32,
    pub(crate) max_running: u32,
    running: AtomicU32,
    n_seen: AtomicU64,
}

/// A place among the shadows of a model that run at once; given back on drop.
#[derive(Debug)]
pub struct ShadowSeat(Arc<Shadow>);

// === impl Experiment ===

impl Experiment {
    /// The same for the same subject, wherever and whenever it is asked.
    pub(crate) fn variant(&self, subject: [&[u8]; 2]) -> &Variant {
        let total = self.variants.last().map_or(1, |(total, _)| *total).max(1);
        let [whose, what] = subject;
        let drawn = steady_hash(0, [self.name.as_bytes(), b"/", whose, b"/", what]) % total;
        let place = self.variants.partition_point(|(up_to, _)| *up_to <= drawn);
        &self.variants[place.min(self.variants.len() - 1)].1
    }
}

// === impl Shadow ===

impl Shadow {
    /// `share` of 10,000.
    pub(crate) fn new(model: Arc<str>, share: u32, max_running: u32) -> Self {
        Self { model, share, max_running, running: AtomicU32::new(0), n_seen: AtomicU64::new(0) }
    }

    /// Whether the next request has a shadow, and a place is free for it. Exactly its share of them have, evenly spread.
    pub fn take(self: &Arc<Self>) -> Option<ShadowSeat> {
        let n_before = self.n_seen.fetch_add(1, Relaxed);
        let due = |n: u64| n.wrapping_mul(u64::from(self.share)) / 10_000;
        if due(n_before.wrapping_add(1)) == due(n_before) {
            return None;
        }
        let more = |n| (n < self.max_running).then_some(n + 1);
        self.running.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(ShadowSeat(Arc::clone(self)))
    }
}

impl Drop for ShadowSeat {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiment(name: &str, weights: &[u32]) -> Experiment {
        let mut total = 0;
        let variants = weights.iter().enumerate().map(|(place, weight)| {
            total += u64::from(*weight);
            (total, Variant { name: place.to_string().into(), model: None })
        });
        Experiment { name: name.into(), by: Subject::Key, variants: variants.collect() }
    }

    #[test]
    fn shares_are_by_weight_and_everybody_keeps_to_theirs() {
        let (one, other) = (experiment("a", &[70, 0, 30]), experiment("b", &[70, 0, 30]));
        let (mut counts, mut n_alike) = ([0_u32; 3], 0);
        for n in 0..10_000 {
            let key = format!("vk_{n}");
            let drawn = one.variant([key.as_bytes(), b""]);
            assert_eq!(drawn.name, one.variant([key.as_bytes(), b""]).name);
            counts[drawn.name.parse::<usize>().expect("a place")] += 1;
            n_alike += u32::from(drawn.name == other.variant([key.as_bytes(), b""]).name);
        }
        assert!(counts[0].abs_diff(7000) < 200 && counts[1] == 0 && counts[2].abs_diff(3000) < 200, "{counts:?}");
        // Drawn anew under another name: as many are alike as would be by chance.
        assert!(n_alike.abs_diff(5800) < 300, "{n_alike}");
    }

    #[test]
    fn shadows_are_an_exact_share_and_no_more_at_once_than_allowed() {
        let rare = Arc::new(Shadow::new("m".into(), 25, 1));
        let taken: Vec<usize> = (1..=1200).filter(|_| rare.take().is_some()).collect();
        assert_eq!(taken, [400, 800, 1200]);
        let all = Arc::new(Shadow::new("m".into(), 10_000, 2));
        let seats = [all.take(), all.take()];
        assert!(seats.iter().all(Option::is_some) && all.take().is_none());
        drop(seats);
        assert!(all.take().is_some());
    }
}
