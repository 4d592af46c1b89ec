//! A vocabulary in memory: its tokens one after the other, and where each is found by its bytes.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;

use gateway_model::catalog::Vocabulary;

/// Tokens by rank; the rank is what merges go by, lowest first.
pub(super) struct Ranks {
    bytes: Vec<u8>,
    /// Where each token ends in `bytes`.
    ends: Vec<u32>,
    /// Ranks by hash, open addressing, at most half full.
    slots: Vec<u32>,
    hasher: ahash::RandomState,
    longest: usize,
}

/// Lengths of all tokens, a byte each, then their bytes; in the order of ranks.
struct Packed {
    compressed: &'static [u8],
    n_tokens: usize,
    n_bytes: usize,
}

const EMPTY: u32 = u32::MAX;

static O200K: LazyLock<Ranks> = LazyLock::new(|| {
    Ranks::read(&Packed {
        compressed: include_bytes!("../../vocabularies/o200k.zst"),
        n_tokens: 199_998,
        n_bytes: 1_597_668,
    })
});
static CL100K: LazyLock<Ranks> = LazyLock::new(|| {
    Ranks::read(&Packed {
        compressed: include_bytes!("../../vocabularies/cl100k.zst"),
        n_tokens: 100_256,
        n_bytes: 744_086,
    })
});

// === impl Ranks ===

impl Ranks {
    pub(super) fn of(vocabulary: Vocabulary) -> &'static Self {
        match vocabulary {
            Vocabulary::O200k => &O200K,
            Vocabulary::Cl100k => &CL100K,
        }
    }

    /// One hash and, on average, less than two comparisons.
    pub(super) fn rank(&self, token: &[u8]) -> Option<u32> {
        if token.len() > self.longest {
            return None;
        }
        let mut slot = self.slot(token);
        loop {
            match self.slots[slot] {
                EMPTY => return None,
                rank if self.token(rank) == token => return Some(rank),
                _ => slot = (slot + 1) & (self.slots.len() - 1),
            }
        }
    }

    fn read(packed: &Packed) -> Self {
        let unpacked =
            zstd::bulk::decompress(packed.compressed, packed.n_bytes).expect("the file in this program is whole");
        let (lengths, bytes) = unpacked.split_at(packed.n_tokens);
        let mut end = 0;
        let ends = lengths.iter().map(|length| {
            end += u32::from(*length);
            end
        });
        let longest = lengths.iter().copied().max().map_or(0, usize::from);
        let mut ranks = Self {
            bytes: bytes.to_vec(),
            ends: ends.collect(),
            slots: vec![EMPTY; (2 * packed.n_tokens).next_power_of_two()],
            // Texts are anybody's; nobody shall know which words collide.
            hasher: ahash::RandomState::with_seed(RandomState::new().hash_one(0_u8) as usize),
            longest,
        };
        for rank in 0..u32::try_from(packed.n_tokens).expect("fewer than there are slots") {
            let mut slot = ranks.slot(ranks.token(rank));
            while ranks.slots[slot] != EMPTY {
                slot = (slot + 1) & (ranks.slots.len() - 1);
            }
            ranks.slots[slot] = rank;
        }
        ranks
    }

    fn slot(&self, token: &[u8]) -> usize {
        self.hasher.hash_one(token) as usize & (self.slots.len() - 1)
    }

    fn token(&self, rank: u32) -> &[u8] {
        let rank = rank as usize;
        let start = if rank == 0 { 0 } else { self.ends[rank - 1] };
        &self.bytes[start as usize..self.ends[rank] as usize]
    }
}
