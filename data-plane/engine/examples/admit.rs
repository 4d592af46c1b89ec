//! How long admission and settlement take: a request with six limits of its key, its team and its organization. `make bench` runs
//! it; by hand: `cargo run --release -p gateway-engine --example admit`. Ends with 1 where a limit is not kept.
//!
//! Alone, and then by 64 threads on the same key at once. There a request's time is the processor's: so long as the cores are
//! busy, divided by what they got through.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on should stop where it is")]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_engine::compile::compile;
use gateway_engine::identity::{Access, Belongs, Caller, KeyEntry, KeyTable, Peppers, identify};
use gateway_engine::limits::{Asked, Settlement, admit};
use gateway_engine::snapshot::Snapshot;
use gateway_ir::usage::Usage;
use gateway_model::file;
use gateway_model::limits::Limits;

const ALONE: Duration = Duration::from_micros(2);
const TOGETHER: Duration = Duration::from_micros(5);
const N_THREADS: u32 = 64;
const ROUNDS: u32 = 1_000_000;

const CONFIG: &str = "
organizations:
  - {name: acme, limits: {tpd: 1000000000000}}
teams:
  - {name: search, organization: acme, limits: {rpm: 1000000000, tpm: 100000000000}}
";

fn main() -> ExitCode {
    let (snapshot, caller) = (snapshot(), caller());
    let one = |n: u32| (0..n).for_each(|_| admitted(&snapshot, &caller));
    one(ROUNDS / 10);
    let began = Instant::now();
    one(ROUNDS);
    let alone = began.elapsed() / ROUNDS;
    let n_cores = u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..N_THREADS {
            scope.spawn(|| one(ROUNDS / N_THREADS));
        }
    });
    let together = began.elapsed() * n_cores.min(N_THREADS) / ROUNDS;
    println!(
        "admit and settle, six limits: {alone:?} alone (limit {ALONE:?}), {together:?} by {N_THREADS} (limit {TOGETHER:?})"
    );
    if alone < ALONE && together < TOGETHER { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn admitted(snapshot: &Snapshot, caller: &Caller) {
    let standing = snapshot.tenants.standing(caller).unwrap();
    let asked = Asked { n_input: 400, max_output: Some(200), n_nodes: 1, ..Asked::default() };
    let permit = admit(standing.scopes(caller), asked, Instant::now()).unwrap();
    permit.settle(Settlement { usage: Usage { input: 390, output: 100, ..Usage::default() } });
}

fn snapshot() -> Snapshot {
    let parsed = file::parse("bench.yaml", CONFIG, &|_| None, &|_: &Path| Err(std::io::ErrorKind::NotFound.into()));
    compile(&parsed.unwrap().set, 1).unwrap()
}

fn caller() -> Arc<Caller> {
    let peppers = Peppers::new([(1, "pepper")]).unwrap();
    let belongs = Belongs { user: None, team: Some("search".into()) };
    let limits =
        Limits { rpm: Some(1_000_000_000), tpm: Some(100_000_000_000), concurrency: Some(1000), ..Limits::default() };
    let entry = KeyEntry {
        id: "vk_1".into(),
        digest: peppers.digest("secret").unwrap().1,
        enabled: true,
        limits,
        access: Access { belongs, ..Access::default() },
        ..KeyEntry::default()
    };
    let keys = KeyTable::default();
    keys.upsert(&entry);
    identify("secret", &keys, &peppers, 0).unwrap()
}
