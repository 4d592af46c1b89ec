//! A word → its tokens: the pair of neighbours with the lowest rank becomes one, the leftmost first, until none is in the vocabulary.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::ranks::Ranks;

/// Memory that words share.
#[derive(Default)]
pub(super) struct Scratch {
    /// By the place of a part's first byte: where the part ends; 0 where none begins any more.
    ends: Vec<u32>,
    /// By the same: where the part before it begins.
    befores: Vec<u32>,
    /// Pairs by rank, with where they begin and end. What has been merged otherwise since is passed over.
    pairs: BinaryHeap<Reverse<(u32, u32, u32)>>,
    n_steps: u64,
}

// === impl Scratch ===

impl Scratch {
    pub(super) fn n_steps(&self) -> u64 {
        self.n_steps
    }

    /// At most three pairs for each byte ever wait, so that this takes n log n.
    pub(super) fn n_tokens(&mut self, ranks: &Ranks, word: &[u8]) -> u64 {
        self.n_steps += 1;
        if ranks.rank(word).is_some() {
            return 1;
        }
        // A text has less than 4 GiB, and so has a word.
        let n_bytes = u32::try_from(word.len()).unwrap_or(u32::MAX);
        self.ends.clear();
        self.ends.extend(1..=n_bytes);
        self.befores.clear();
        self.befores.extend((0..n_bytes).map(|at| at.saturating_sub(1)));
        self.pairs.clear();
        for at in 1..n_bytes {
            self.consider(ranks, word, (at - 1, at + 1));
        }
        let mut n_tokens = u64::from(n_bytes);
        while let Some(Reverse((_, start, end))) = self.pairs.pop() {
            self.n_steps += 1;
            let middle = self.ends[start as usize];
            if middle == 0 || middle >= end || self.ends[middle as usize] != end {
                continue;
            }
            self.ends[start as usize] = end;
            self.ends[middle as usize] = 0;
            n_tokens -= 1;
            if start > 0 {
                self.consider(ranks, word, (self.befores[start as usize], end));
            }
            if end < n_bytes {
                self.befores[end as usize] = start;
                self.consider(ranks, word, (start, self.ends[end as usize]));
            }
        }
        n_tokens
    }

    fn consider(&mut self, ranks: &Ranks, word: &[u8], (start, end): (u32, u32)) {
        self.n_steps += 1;
        if let Some(rank) = ranks.rank(&word[start as usize..end as usize]) {
            self.pairs.push(Reverse((rank, start, end)));
        }
    }
}
