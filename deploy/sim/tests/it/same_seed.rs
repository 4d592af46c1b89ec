//! A seed that failed must fail again.

use std::time::Duration;

use gateway_sim::script::Scale;
use gateway_sim::world;

#[test]
fn the_same_seed_gives_the_same_run() {
    let scale = Scale { n_nodes: 5, trouble: Duration::from_secs(15), pause: Duration::from_millis(200) };
    for seed in 900..906 {
        let (one, other) = (world::run(seed, scale, None), world::run(seed, scale, None));
        assert_eq!(one.simulated, other.simulated, "seed {seed}");
        let differ = one.records.iter().zip(&other.records).find(|(one, other)| one != other);
        assert!(differ.is_none(), "seed {seed}: {differ:?}");
        assert_eq!(one.records.len(), other.records.len(), "seed {seed}");
    }
}
