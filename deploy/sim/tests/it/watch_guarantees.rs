//! Random edits, partitions, crashes, slow readers, compactions and restored copies, many times over, each run from a seed.
//!
//! `GATEWAY_SIM_SEED=7` runs that seed alone and says what happens (with `RUST_LOG=trace`, every message); `GATEWAY_SIM_RUNS=1000` runs so many instead of the usual
//! number. Both apply to the tests whose name is given to the test runner.

use std::time::{Duration, Instant};

use gateway_sim::script::Scale;
use gateway_sim::world;
use gateway_testing::figure;
use tracing_subscriber::EnvFilter;

const FEW: Scale =
    Scale { n_nodes: 5, trouble: Duration::from_secs(15), pause: Duration::from_millis(200), disks: true };
const MANY: Scale =
    Scale { n_nodes: 100, trouble: Duration::from_secs(6), pause: Duration::from_millis(200), disks: true };

/// Runs seeds one after the other, and prints how to repeat the first that fails.
fn check(test: &str, scale: Scale, first: u64, n_runs: u64) {
    let variable = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let (first, n_runs) = match (variable("GATEWAY_SIM_SEED"), variable("GATEWAY_SIM_RUNS")) {
        (Some(seed), _) => {
            let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
            tracing_subscriber::fmt().without_time().with_ansi(false).with_env_filter(filter).with_test_writer().init();
            (seed, 1)
        }
        (None, n_more) => (first, n_more.unwrap_or(n_runs)),
    };
    let (began, mut slowest, mut n_records) = (Instant::now(), Duration::ZERO, 0);
    for seed in first..first + n_runs {
        let outcome = world::run(seed, scale, None);
        let violations: Vec<String> = outcome
            .violations
            .iter()
            .map(|violation| format!("{:?}: {}", violation.guarantee, violation.what))
            .collect();
        assert!(
            violations.is_empty(),
            "repeat it with GATEWAY_SIM_SEED={seed} cargo test -p gateway-sim --test it {test} -- --nocapture\n{}",
            violations.join("\n")
        );
        slowest = slowest.max(outcome.slowest);
        n_records += outcome.records.len();
    }
    println!("{n_runs} runs, {n_records} changes on nodes, {:?}", began.elapsed());
    figure::note("watch_guarantees", &format!("{test}: violations in {n_runs} runs"), 0.0, "", 0.0);
    figure::note(
        "watch_guarantees",
        &format!("{test}: slowest convergence once nothing is in the way"),
        slowest.as_secs_f64(),
        "s",
        gateway_sim::validate::SOON.as_secs_f64(),
    );
}

#[test]
fn few_nodes_first() {
    check("few_nodes_first", FEW, 0, 60);
}

#[test]
fn few_nodes_second() {
    check("few_nodes_second", FEW, 100_000, 60);
}

#[test]
fn few_nodes_third() {
    check("few_nodes_third", FEW, 200_000, 60);
}

#[test]
fn few_nodes_fourth() {
    check("few_nodes_fourth", FEW, 300_000, 60);
}

#[test]
fn many_nodes() {
    check("many_nodes", MANY, 400_000, 4);
}
