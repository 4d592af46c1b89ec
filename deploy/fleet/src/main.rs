//! A part of a fleet as a process of its own, where its memory is judged. Started by the tests, one part per process.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Parser as _;
use gateway_engine::identity::KeyTable;
use gateway_fleet_tests::keys::{self, N_KEYS};
use gateway_fleet_tests::memory::resident;
use gateway_server::command::ControlPlane;
use gateway_wire::tree::Tree;

/// As in the product's binaries.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> anyhow::Result<ExitCode> {
    match std::env::args().nth(1).as_deref() {
        Some("keys") => keys(),
        Some("control-plane") => return control_plane(std::env::args().nth(2).map(PathBuf::from)),
        _ => return Err(anyhow!("name a part: keys, control-plane")),
    }
    Ok(ExitCode::SUCCESS)
}

/// The product's own command, on free ports. It writes `ready.json` into its data directory.
fn control_plane(data_dir: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let data_dir = data_dir.ok_or_else(|| anyhow!("name the data directory"))?;
    let ready_file = data_dir.join("ready.json");
    let anywhere = OsStr::new("127.0.0.1:0");
    let arguments = [
        OsStr::new("control-plane"),
        OsStr::new("--data-dir"),
        data_dir.as_os_str(),
        OsStr::new("--ready-file"),
        ready_file.as_os_str(),
        OsStr::new("--admin-listen"),
        anywhere,
        OsStr::new("--fleet-listen"),
        anywhere,
    ];
    Ok(ControlPlane::try_parse_from(arguments)?.run())
}

/// What a node keeps of all keys: the table and the hashes. Prints how many bytes either takes.
fn keys() {
    let (table, mut tree) = (KeyTable::default(), Tree::default());
    let empty = resident(None);
    (0..N_KEYS).for_each(|number| drop(table.upsert(&keys::entry(number))));
    let with_table = resident(None);
    (0..N_KEYS).for_each(|number| tree.upsert(&keys::item(number)));
    let with_tree = resident(None);
    println!("{} {}", with_table - empty, with_tree - with_table);
    drop((table, tree));
}
