//! A bound on what counting costs: texts of some length are counted whole, of longer ones as many windows of equal size, one at
//! a place drawn by lot in each equal part. What is told for them is the mean and twice its standard error, so that it is rather too high
//! than too low: nobody who does not know the lot can hide dense text between the windows.

use gateway_model::catalog::Vocabulary;

use crate::bpe;

/// Bytes that are counted of a request at most.
pub(super) const MOST: usize = 16 * 1024;
const N_WINDOWS: usize = 16;

/// Texts one after the other, as if they were one.
pub(super) struct Sample {
    vocabulary: Vocabulary,
    n_bytes: usize,
    /// Bytes of one window.
    window: usize,
    /// Where the windows begin, in order; one window with everything where that is little enough.
    starts: Vec<usize>,
    counted: Vec<u64>,
    /// The first window that has not ended yet.
    current: usize,
    /// Bytes seen.
    at: usize,
    n_steps: u64,
}

// === impl Sample ===

impl Sample {
    pub(super) fn new(vocabulary: Vocabulary, n_bytes: usize, seed: u64) -> Self {
        let (starts, window) = if n_bytes <= MOST {
            (vec![0], n_bytes)
        } else {
            let (window, part) = (MOST / N_WINDOWS, n_bytes / N_WINDOWS);
            let hasher = ahash::RandomState::with_seed(seed as usize);
            let place = |nth: usize| nth * part + hasher.hash_one(nth) as usize % (part - window + 1);
            ((0..N_WINDOWS).map(place).collect(), window)
        };
        let counted = vec![0; starts.len()];
        Self { vocabulary, n_bytes, window, starts, counted, current: 0, at: 0, n_steps: 0 }
    }

    pub(super) fn add(&mut self, text: &str) {
        let (from, to) = (self.at, self.at + text.len());
        self.at = to;
        while let Some(start) = self.starts.get(self.current).copied().filter(|start| *start < to) {
            let end = start + self.window;
            let part =
                &text[boundary(text, start.saturating_sub(from))..boundary(text, end.min(to).saturating_sub(from))];
            let counted = bpe::count(self.vocabulary, part);
            self.counted[self.current] += counted.n_tokens;
            self.n_steps += counted.n_steps;
            if end > to {
                return;
            }
            self.current += 1;
        }
    }

    pub(super) fn n_tokens(&self) -> u64 {
        let sum = self.counted.iter().sum::<u64>();
        if self.counted.len() == 1 {
            return sum;
        }
        // Of n windows: n times their variance is the variance of their sum.
        let n_windows = self.counted.len() as u128;
        let squares = self.counted.iter().map(|counted| u128::from(*counted).pow(2)).sum::<u128>();
        let variance = (n_windows * squares).saturating_sub(u128::from(sum).pow(2)) / (n_windows - 1);
        let high = u128::from(sum) + 2 * variance.isqrt();
        let n_tokens = (high * self.n_bytes as u128).div_ceil(n_windows * self.window as u128);
        u64::try_from(n_tokens).unwrap_or(u64::MAX)
    }
}

/// The first end of a character at or behind a place.
fn boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: u64 = 20;

    fn sampled(texts: &[&str], seed: u64) -> (u64, u64) {
        let mut sample = Sample::new(Vocabulary::O200k, texts.iter().map(|text| text.len()).sum(), seed);
        texts.iter().for_each(|text| sample.add(text));
        (sample.n_tokens(), sample.n_steps)
    }

    #[test]
    fn what_is_short_is_counted_whole() {
        for texts in [vec![], vec![""], vec!["hello world", "", "tokens"]] {
            let whole: u64 = texts.iter().map(|text| bpe::count(Vocabulary::O200k, text).n_tokens).sum();
            assert_eq!(sampled(&texts, 1).0, whole, "{texts:?}");
        }
    }

    /// Dense and thin text in turn, so that windows differ as much as they can.
    #[test]
    fn what_is_long_is_estimated_rather_too_high() {
        let thin = "the quick brown fox jumps over the lazy dog and goes on. ".repeat(400);
        let dense = "ẞ≠Ωж¶ ".repeat(2_000);
        let source = include_str!("sample.rs").repeat(6);
        let cases =
            [vec![thin.as_str()], vec![&source], vec![&thin, &dense, &thin, &source], vec![&dense, &thin, "", &thin]];
        for texts in cases {
            let exact: u64 = texts.iter().map(|text| bpe::count(Vocabulary::O200k, text).n_tokens).sum();
            let estimates: Vec<u64> = (0..SEEDS).map(|seed| sampled(&texts, seed).0).collect();
            let n_low = estimates.iter().filter(|estimate| **estimate < exact).count();
            assert!(n_low <= 2, "{n_low} of {SEEDS} below {exact}: {estimates:?}");
            let most = *estimates.iter().max().expect("some");
            assert!(most < exact * 2, "{most} for {exact}");
        }
    }

    /// Counted in steps and not in time, so that it holds on any machine.
    #[test]
    fn the_cost_of_counting_is_bounded_whatever_comes() {
        const MOST_STEPS: u64 = 10 * MOST as u64;
        let capitals = format!("漢{}", "A".repeat(5_000)).repeat(200);
        for unit in
            ["a", "A", " ", "\n", " \n", "1", "'s", "'", "漢", "漢A", "é\u{301}", "\u{301}", "aA", "/", "\r\n/", "\0"]
        {
            for n_bytes in [200_000, 2_000_000] {
                let (n_tokens, n_steps) = sampled(&[&unit.repeat(n_bytes / unit.len())], 7);
                assert!(n_tokens > 0 && n_steps <= MOST_STEPS, "{n_steps} steps for {n_bytes} bytes of {unit:?}");
            }
        }
        assert!(sampled(&[&capitals], 7).1 <= MOST_STEPS);
    }
}
