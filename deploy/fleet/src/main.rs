//! A part of a fleet as a process of its own, where its memory or its time is judged. Started by the tests.

use std::time::Instant;

use gateway_engine::identity::KeyTable;
use gateway_fleet_tests::keys::{self, N_KEYS};
use gateway_fleet_tests::memory::resident;
use gateway_wire::tree::Tree;

/// As in the product's binaries.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let before = resident(None);
    let (table, mut tree) = (KeyTable::default(), Tree::default());
    for number in 0..N_KEYS {
        table.upsert(&keys::entry(number), Instant::now());
    }
    let with_table = resident(None);
    let began = Instant::now();
    for number in 0..N_KEYS {
        tree.upsert(&keys::item(number));
    }
    eprintln!("tree {:?}", began.elapsed());
    let began = Instant::now();
    tree.root();
    eprintln!("root {:?}", began.elapsed());
    let with_tree = resident(None);
    println!("{{\"table\": {}, \"tree\": {}}}", with_table - before, with_tree - with_table);
    std::hint::black_box((table, tree));
}
