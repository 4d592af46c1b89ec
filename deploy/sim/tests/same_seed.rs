//! A seed that failed must fail again. In a process of its own: runs side by side share a count that decides what a crash closes
//! first.

use std::time::Duration;

use gateway_sim::script::Scale;
use gateway_sim::world;

const SCALE: Scale =
    Scale { n_nodes: 4, trouble: Duration::from_secs(10), pause: Duration::from_millis(200), disks: false };
/// So often one run has to come …
const N_SAME: usize = 3;
/// … among so many: a seed that failed fails again in a few tries.
const N_RUNS: usize = 8;

/// Most runs are one and the same. Not every single one: how long the HTTP/2 library remembers a stream that it has reset goes by
/// the clock on the wall, so that a frame that comes late is ignored on a fast machine and answered on a slow one.
#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 900..903 {
        let mut runs: Vec<world::Outcome> = Vec::new();
        let n_same = loop {
            let run = world::run(seed, SCALE, None);
            runs.push(run);
            let last = runs.last().expect("one was pushed");
            let is_like = |other: &&world::Outcome| other.simulated == last.simulated && other.records == last.records;
            let n_same = runs.iter().filter(is_like).count();
            if n_same == N_SAME || runs.len() == N_RUNS {
                break n_same;
            }
        };
        assert_eq!(n_same, N_SAME, "seed {seed} goes another way each time, in {N_RUNS} runs");
        assert_ne!(runs[0].records, world::run(seed + 1000, SCALE, None).records, "another seed goes another way");
    }
}
