//! Whoever lends: what nodes yield, and of each rate a pool that fills up as fast as that makes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::super::rate::{Clock, Rate};
use super::{KEEPS, LASTS, YIELDS, is_lent};

/// More rates than so many are not lent of.
const MOST_POOLS: usize = 100_000;
/// A whole rate, in which parts are counted.
const WHOLE: u64 = 1_000_000;
/// One of a rate in these, so that a part of it need not be a whole one.
const FINE: u64 = 100;

/// Of all nodes that this process hears. Several lenders know nothing of each other, and each lends what its own nodes yield.
#[derive(Debug)]
pub struct Lender {
    nodes: HashMap<String, Node>,
    pools: HashMap<String, Pool>,
    /// The part of each rate that is yielded, and since when it is no smaller.
    part: u64,
    since: Instant,
    clock: Clock,
}

/// What a node says that it yields.
#[derive(Clone, Copy, Debug)]
struct Node {
    n_nodes: u64,
    /// It began to say so, on this connection.
    began: Instant,
    /// When it was answered last: what it says now it said later.
    answered: Instant,
    until: Option<Instant>,
}

/// One rate that is asked for.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Whose it is, and which: no other has this name.
    pub name: &'a str,
    pub amount: u64,
    pub period: Duration,
    pub wanted: u64,
    pub returned: u64,
}

#[derive(Debug)]
struct Pool {
    amount: u64,
    period: Duration,
    /// In hundredths.
    rate: Rate,
    /// What one of it counts for while this part is yielded.
    each: u64,
}

// === impl Lender ===

impl Lender {
    pub fn new(now: Instant) -> Self {
        let clock = Clock::default();
        clock.nanos(now);
        Self { nodes: HashMap::new(), pools: HashMap::new(), part: 0, since: now, clock }
    }

    /// A node's connection begins. What it said before, here or elsewhere, holds on.
    pub fn connected(&mut self, node: &str, now: Instant) {
        let until = self.nodes.get(node).and_then(|node| node.until);
        self.nodes.insert(node.to_owned(), Node { n_nodes: 1, began: now, answered: now, until });
    }

    /// The node says that it yields, as one of so many; it is answered at once.
    pub fn yields(&mut self, node: &str, n_nodes: u32, now: Instant) {
        // One that said nothing for long begins anew.
        let Some(node) = self.nodes.get_mut(node) else { return self.connected(node, now) };
        node.n_nodes = u64::from(n_nodes.max(1));
        // Until then another lender may count on it.
        if now.saturating_duration_since(node.began) > YIELDS {
            node.until = Some(node.answered + YIELDS);
        }
        node.answered = now;
        // Also where nobody borrows: what comes together is counted from when it began to.
        self.count(now);
    }

    /// How much of it the node may let pass from now on: none, or at least what it wants.
    pub fn lend(&mut self, wanted: &Wanted<'_>, now: Instant) -> u64 {
        self.count(now);
        let n_nodes = self.nodes.values().map(|node| node.n_nodes).max().unwrap_or(1);
        if !is_lent(wanted.amount, wanted.period, n_nodes) || self.part == 0 {
            return 0;
        }
        let nanos = self.clock.nanos(now);
        if self.pools.len() >= MOST_POOLS {
            self.pools.retain(|_, pool| pool.rate.reset(nanos) > Duration::ZERO);
        }
        let full = self.pools.len() >= MOST_POOLS;
        let (part, since) = (self.part, now.saturating_duration_since(self.since));
        let pool = match self.pools.get_mut(wanted.name) {
            Some(pool) if (pool.amount, pool.period) == (wanted.amount, wanted.period) => pool,
            None if full => return 0,
            _ => {
                let pool = Pool::new(wanted.amount, wanted.period, part, since, nanos);
                self.pools.entry(wanted.name.to_owned()).insert_entry(pool).into_mut()
            }
        };
        pool.lend(wanted, part, nanos)
    }

    /// How many of a rate are lent, less those that came back.
    #[cfg(test)]
    pub(super) fn n_lent(&self, name: &str, now: Instant) -> u64 {
        let n_lent = |pool: &Pool| pool.rate.occupied(self.clock.nanos(now)) / (pool.rate.interval() * pool.each);
        self.pools.get(name).map_or(0, n_lent)
    }

    /// What is yielded until whatever is lent now is over.
    fn count(&mut self, now: Instant) {
        let until = now + LASTS;
        self.nodes.retain(|_, node| node.answered + YIELDS > now || node.until.is_some_and(|end| end > now));
        let yields = self.nodes.values().filter(|node| node.until.is_some_and(|end| end >= until));
        // Rounded down.
        let part: u64 = yields.map(|node| WHOLE * (KEEPS - 1) / KEEPS / node.n_nodes).sum();
        if part > self.part {
            self.since = now;
        }
        self.part = part.min(WHOLE);
    }
}

// === impl Pool ===

impl Pool {
    /// With what has come together since it could have been asked for: nobody knows what was used before.
    fn new(amount: u64, period: Duration, part: u64, since: Duration, now: u64) -> Self {
        let rate = Rate::new(amount.saturating_mul(FINE), period);
        rate.fill_up(since, now);
        Self { amount, period, rate, each: each(part) }
    }

    fn lend(&mut self, wanted: &Wanted<'_>, part: u64, now: u64) -> u64 {
        let before = std::mem::replace(&mut self.each, each(part));
        if before != self.each {
            self.rate.rescale(before, self.each, now);
        }
        self.rate.give_back(wanted.returned.saturating_mul(self.each));
        let fits = self.rate.left(now) / self.each;
        if wanted.wanted == 0 || wanted.wanted > fits {
            return 0;
        }
        let of_a_while = u128::from(wanted.amount) * LASTS.as_nanos() / wanted.period.as_nanos().max(1);
        let spare = u64::try_from(of_a_while).unwrap_or(u64::MAX).min(fits / 2);
        let lent = wanted.wanted.max(spare);
        self.rate.take(lent.saturating_mul(self.each), now).map_or(0, |_| lent)
    }
}

/// A part of a rate is a part of its time, in which each counts for as many as there are parts.
fn each(part: u64) -> u64 {
    (FINE * WHOLE).div_ceil(part.max(1))
}
