//! A part of a fleet as a process of its own, where its memory is judged. Started by the tests, one part per process.

use std::time::Instant;

use gateway_engine::identity::KeyTable;
use gateway_fleet_tests::keys::{self, N_KEYS};
use gateway_fleet_tests::memory::resident;
use gateway_wire::tree::Tree;

/// As in the product's binaries.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("keys") => keys(),
        _ => anyhow::bail!("name a part: keys"),
    }
    Ok(())
}

/// What a node keeps of all keys: the table and the hashes. Prints how many bytes either takes.
fn keys() {
    let (table, mut tree) = (KeyTable::default(), Tree::default());
    let empty = resident(None);
    (0..N_KEYS).for_each(|number| drop(table.upsert(&keys::entry(number), Instant::now())));
    let with_table = resident(None);
    (0..N_KEYS).for_each(|number| tree.upsert(&keys::item(number)));
    let with_tree = resident(None);
    println!("{} {}", with_table - empty, with_tree - with_table);
    drop((table, tree));
}
