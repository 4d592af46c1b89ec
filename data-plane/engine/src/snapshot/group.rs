//! Targets among which a strategy chooses, with what the strategy needs worked out beforehand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use http::HeaderName;

use super::Target;
use crate::known::Discovered;

/// Models that fall back on the same model share its groups, and with them the turns.
#[derive(Debug)]
pub(crate) struct Group {
    /// Best first: the order after a failure, where the strategy has no other.
    pub(crate) members: Box<[Arc<Target>]>,
    /// Theirs, in the same order.
    pub(crate) weights: Box<[u32]>,
    pub(crate) order: Order,
}

/// Who comes first.
#[derive(Debug)]
pub(crate) enum Order {
    /// The first that is left.
    Listed,
    Turns(Turns),
    Random,
    LeastLatency,
    LeastBusy,
    Cheapest,
    Balanced {
        latency: f64,
        cost: f64,
        capability: f64,
    },
    Sticky,
}

/// Places of members, turn by turn. Never empty.
#[derive(Debug)]
pub(crate) struct Turns {
    round: Box<[u32]>,
    n_taken: AtomicUsize,
}

/// What keeps requests together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Affinity {
    /// The value of this header; of requests without it the session.
    pub(crate) header: Option<HeaderName>,
    /// Of those that name none either how the conversation begins, else the key.
    pub(crate) by_opening: bool,
}

/// FNV-1a and the mixer of SplitMix64. The same on every node and after every start, so that sessions find their target wherever
/// they come in; nothing here needs to withstand those who look for collisions.
pub(crate) fn steady_hash<'a>(seed: u64, pieces: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let bytes = pieces.into_iter().flatten();
    let hash =
        bytes.fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

// === impl Group ===

impl Group {
    /// `targets` is not empty.
    pub(crate) fn new(targets: Vec<(Arc<Target>, u32)>, order: Order) -> Self {
        debug_assert!(!targets.is_empty());
        let (members, weights): (Vec<_>, Vec<_>) = targets.into_iter().unzip();
        Self { members: members.into(), weights: weights.into(), order }
    }

    /// One target and no choice.
    pub(crate) fn of_one(target: Arc<Target>) -> Self {
        Self::new(vec![(target, 1)], Order::Listed)
    }

    /// The same members, by turns that go on, as these lists have them.
    pub(crate) fn listed(self: &Arc<Self>, discovered: &Discovered) -> Arc<Self> {
        let members: Box<[_]> = self.members.iter().map(|target| Arc::clone(target).listed(discovered)).collect();
        if members.iter().zip(&self.members).all(|(new, old)| Arc::ptr_eq(new, old)) {
            return Arc::clone(self);
        }
        Arc::new(Self { members, weights: self.weights.clone(), order: self.order.again() })
    }
}

// === impl Order ===

impl Order {
    /// As configurations have it; turns are `weighted` or `round-robin`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Listed => "as listed",
            Self::Turns(_) => "turns",
            Self::Random => "random",
            Self::LeastLatency => "least-latency",
            Self::LeastBusy => "least-busy",
            Self::Cheapest => "cheapest",
            Self::Balanced { .. } => "balanced",
            Self::Sticky => "sticky",
        }
    }

    fn again(&self) -> Self {
        match self {
            Self::Listed => Self::Listed,
            Self::Turns(turns) => Self::Turns(Turns {
                round: turns.round.clone(),
                n_taken: AtomicUsize::new(turns.n_taken.load(Relaxed)),
            }),
            Self::Random => Self::Random,
            Self::LeastLatency => Self::LeastLatency,
            Self::LeastBusy => Self::LeastBusy,
            Self::Cheapest => Self::Cheapest,
            Self::Balanced { latency, cost, capability } => {
                Self::Balanced { latency: *latency, cost: *cost, capability: *capability }
            }
            Self::Sticky => Self::Sticky,
        }
    }
}

// === impl Turns ===

impl Turns {
    /// `None` where nobody has a turn.
    pub(crate) fn new(round: Vec<u32>) -> Option<Self> {
        (!round.is_empty()).then(|| Self { round: round.into(), n_taken: AtomicUsize::new(0) })
    }

    /// The place of the member whose turn it is: one atomic addition.
    pub(crate) fn take(&self) -> usize {
        let turn = self.n_taken.fetch_add(1, Relaxed) % self.round.len();
        self.round[turn] as usize
    }

    /// After so many turns everybody has had one who has any.
    pub(crate) fn n_turns(&self) -> usize {
        self.round.len()
    }
}
