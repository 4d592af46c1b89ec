//! What 100,000 keys take: on the wire, in a node's memory, and of a node's time while they go in.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gateway_engine::identity::{KeyTable, Peppers, identify};
use gateway_fleet_tests::keys::{self, N_KEYS};
use gateway_testing::figure;
use gateway_wire::v1::ItemList;
use prost::Message as _;

const MIB: f64 = 1024.0 * 1024.0;

#[test]
fn the_snapshot_is_small() {
    let _turn = crate::TURN.blocking_lock();
    let items = (0..N_KEYS).map(keys::item).collect();
    let encoded = ItemList { items }.encode_to_vec();
    let compressed = zstd::encode_all(encoded.as_slice(), 3).unwrap();
    let encoded = encoded.len() as f64 / MIB;
    figure::note("sizes_100k_keys", "encoded snapshot", encoded, "MiB", 16.0);
    figure::note("sizes_100k_keys", "compressed snapshot", compressed.len() as f64 / MIB, "MiB", 16.0);
    assert!(encoded < 16.0, "{encoded} MiB");
}

#[test]
fn the_key_table_is_small() {
    let _turn = crate::TURN.blocking_lock();
    let part = Command::new(env!("CARGO_BIN_EXE_gateway-fleet-part")).arg("keys").output().unwrap();
    assert!(part.status.success(), "{}", String::from_utf8_lossy(&part.stderr));
    let printed = String::from_utf8(part.stdout).unwrap();
    let bytes: Vec<f64> = printed.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [table, tree] = bytes[..] else { panic!("{printed}") };
    figure::note("sizes_100k_keys", "a node's key table", table / MIB, "MiB", 80.0);
    figure::note("sizes_100k_keys", "a node's hashes", tree / MIB, "MiB", 80.0);
    assert!(table + tree < 80.0 * MIB, "{printed}");
    assert!(table > MIB && tree > MIB, "it measures nothing: {printed}");
}

/// The keys go in on one thread, as a snapshot does on the node's own; another one identifies callers all the while.
#[test]
fn requests_go_on_while_keys_go_in() {
    let _turn = crate::TURN.blocking_lock();
    const SECRET: &str = "a-key-that-is-there-all-the-time";
    /// A table that locked would take as long as the keys do: seconds.
    const LIMIT: Duration = Duration::from_millis(50);
    let peppers = Arc::new(Peppers::new([(1, [7; 32])]).unwrap());
    let (table, done) = (Arc::new(KeyTable::default()), Arc::new(AtomicBool::new(false)));
    let mut known = keys::entry(N_KEYS);
    known.digest = peppers.digest(SECRET).unwrap().1;
    table.upsert(&known);
    let asking = std::thread::spawn({
        let (table, done) = (Arc::clone(&table), Arc::clone(&done));
        move || {
            let (mut longest, mut n_asked) = (Duration::ZERO, 0_u64);
            while !done.load(Ordering::Relaxed) {
                let (waited, began) = (waited_for_a_processor(), Instant::now());
                let found = identify(SECRET, &table, &peppers, 0).is_ok();
                let took = began.elapsed();
                assert!(found);
                longest = longest.max(took.saturating_sub(waited_for_a_processor() - waited));
                n_asked += 1;
            }
            (longest, n_asked)
        }
    });
    let began = Instant::now();
    (0..N_KEYS).for_each(|number| drop(table.upsert(&keys::entry(number))));
    let took = began.elapsed();
    done.store(true, Ordering::Relaxed);
    let (longest, n_asked) = asking.join().unwrap();
    let in_ms = |span: Duration| span.as_secs_f64() * 1e3;
    figure::note("sizes_100k_keys", "all keys go into the table", in_ms(took), "ms", 10_000.0);
    figure::note("sizes_100k_keys", "longest wait of a request meanwhile", in_ms(longest), "ms", in_ms(LIMIT));
    assert!(n_asked > 1000 && longest < LIMIT, "{longest:?} of {n_asked}");
}

/// How long this thread was ready to run and had no processor: that of a loaded machine says nothing about the table.
fn waited_for_a_processor() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds = statistics.split_whitespace().nth(1).and_then(|field| field.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap())
}
