//! Random edits, partitions, crashes, slow readers, compactions and restored copies, many times over, each run from a seed.

use std::time::{Duration, Instant};

use gateway_sim::script::Scale;
use gateway_sim::world;

fn small() -> Scale {
    Scale { n_nodes: 5, trouble: Duration::from_secs(20), pause: Duration::from_millis(250) }
}

#[test]
fn try_one() {
    let from: u64 = std::env::var("GATEWAY_SIM_SEED").map_or(0, |seed| seed.parse().expect("a number"));
    let n: u64 = std::env::var("N").map_or(1, |seed| seed.parse().expect("a number"));
    for seed in from..from + n {
        let began = Instant::now();
        let outcome = world::run(seed, small(), None);
        eprintln!(
            "seed {seed}: {:?} real, {:?} simulated, {} versions, {} records, slowest {:?}, {} violations",
            began.elapsed(),
            outcome.simulated,
            outcome.past.versions.len(),
            outcome.records.len(),
            outcome.slowest,
            outcome.violations.len()
        );
        for violation in outcome.violations.iter().take(10) {
            eprintln!("   {:?}: {}", violation.guarantee, violation.what);
        }
    }
}
