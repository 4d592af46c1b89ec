//! `weighted` and `round-robin`: each target its share of the requests, evenly spread, without a random number and without a lock. The order of
//! turns is worked out when the configuration changes; per request a counter moves on by one.

use std::sync::Arc;

use crate::snapshot::{Group, Order, Target, Turns};

/// Turns in one round, at most: shares in hundredths of a percent are exact. Those that need a longer round are rounded to
/// this one, but nobody's to nothing.
const MAX_ROUND: u64 = 10_000;

/// A group of targets with their weights, as listed. After a failure heavier ones come first; weight 0 comes last and has no
/// turn.
pub(crate) fn group(mut targets: Vec<(Arc<Target>, u32)>) -> Group {
    targets.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    let weights: Vec<u32> = targets.iter().map(|(_, weight)| *weight).take_while(|weight| *weight > 0).collect();
    Group::new(targets, by_turns(&weights))
}

/// `round-robin`: a turn for each that weighs anything.
pub(crate) fn even(mut targets: Vec<(Arc<Target>, u32)>) -> Group {
    targets.sort_by_key(|(_, weight)| *weight == 0);
    let n_even = targets.iter().take_while(|(_, weight)| *weight > 0).count();
    Group::new(targets, by_turns(&vec![1; n_even]))
}

fn by_turns(weights: &[u32]) -> Order {
    let round = if weights.len() > 1 { round(weights) } else { Vec::new() };
    Turns::new(round).map_or(Order::Listed, Order::Turns)
}

/// Turns by weight where order matters: places keep their numbers, and weight 0 has no turn. Where nothing weighs anything all
/// have the same. `None` for no places.
pub(crate) fn turns(weights: &[u32]) -> Option<Turns> {
    let is_even = weights.iter().all(|weight| *weight == 0);
    let places = (0_u32..).zip(weights).filter(|(_, weight)| is_even || **weight > 0);
    let (places, weights): (Vec<u32>, Vec<u32>) = places.map(|(place, weight)| (place, (*weight).max(1))).unzip();
    Turns::new(round(&weights).into_iter().map(|turn| places[turn as usize]).collect())
}

/// One round of turns: place `i` occurs in proportion to `weights[i]`, exactly if the round is short enough. All weights are
/// above 0.
fn round(weights: &[u32]) -> Vec<u32> {
    let shares = shares(weights);
    let mut turns: Vec<(u64, u64, u32)> = Vec::new();
    for (place, share) in (0_u32..).zip(&shares) {
        // The k-th of n turns belongs in the middle of the k-th n-th of the round.
        turns.extend((0..*share).map(|k| (2 * k + 1, *share, place)));
    }
    // By (2k+1)/n without dividing; the stable sort leaves equal ones in the order of their places.
    turns.sort_by(|(a, of_a, _), (b, of_b, _)| (a * of_b).cmp(&(b * of_a)));
    turns.into_iter().map(|(_, _, place)| place).collect()
}

/// Turns per round of each: the weights in lowest terms, or rounded to the longest round.
fn shares(weights: &[u32]) -> Vec<u64> {
    let divisor = weights.iter().fold(0, |divisor, weight| gcd(divisor, *weight)).max(1);
    let lowest: Vec<u64> = weights.iter().map(|weight| u64::from(weight / divisor)).collect();
    let total: u64 = lowest.iter().sum();
    if total <= MAX_ROUND {
        return lowest;
    }
    lowest.iter().map(|share| ((share * MAX_ROUND + total / 2) / total).max(1)).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counted(round: &[u32], n_places: usize) -> Vec<u64> {
        let mut counts = vec![0; n_places];
        round.iter().for_each(|place| counts[*place as usize] += 1);
        counts
    }

    #[test]
    fn turns_are_spread() {
        let cases: [(&[u32], &[u32]); 5] = [
            (&[1, 1], &[0, 1]),
            (&[5, 5, 5], &[0, 1, 2]),
            (&[70, 30], &[0, 1, 0, 0, 0, 1, 0, 0, 1, 0]),
            (&[2, 1], &[0, 1, 0]),
            (&[3, 2, 1], &[0, 1, 0, 2, 1, 0]),
        ];
        for (weights, expected) in cases {
            assert_eq!(round(weights), expected, "{weights:?}");
        }
    }

    #[test]
    fn enormous_weights_are_rounded_and_forget_nobody() {
        let round = round(&[u32::MAX, u32::MAX / 2, 1]);
        let counts = counted(&round, 3);
        assert_eq!(counts[2], 1);
        assert!((6665..=6668).contains(&counts[0]) && (3332..=3335).contains(&counts[1]), "{counts:?}");
    }

    proptest! {
        #[test]
        fn a_round_has_exact_proportions(weights in prop::collection::vec(1_u32..60, 1..20)) {
            let round = round(&weights);
            let counts = counted(&round, weights.len());
            for (count, weight) in counts.iter().zip(&weights) {
                // count / round = weight / total, in integers.
                let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
                prop_assert_eq!(count * total, u64::from(*weight) * round.len() as u64);
            }
        }

        /// No stretch of the round runs far ahead of its share: two targets differ from it by less than one turn.
        #[test]
        fn two_targets_are_never_a_turn_off(a in 1_u32..50, b in 1_u32..50) {
            let round = round(&[a, b]);
            let mut n_first = 0_i64;
            for (n, place) in (1_i64..).zip(&round) {
                n_first += i64::from(*place == 0);
                let off = n_first * i64::from(a + b) - n * i64::from(a);
                prop_assert!(off.abs() <= i64::from(a + b), "{} after {} turns of {}:{}", n_first, n, a, b);
            }
        }
    }
}
