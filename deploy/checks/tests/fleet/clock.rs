//! A node whose clock is an hour off.

use std::path::PathBuf;

use gateway_testing::missing;

use crate::eventually;
use crate::load::Load;
use crate::world::Fleet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_an_hour_off() {
    let Some(library) = library() else {
        missing("libfaketime is not installed (package libfaketime)");
        return;
    };
    let Some(mut fleet) = Fleet::start(1, 0).await else { return };
    for shift in ["+1h", "-1h"] {
        let mut node = fleet.node(&[]);
        let library = library.to_str().expect("a plain path").to_owned();
        for (name, value) in [("LD_PRELOAD", library.as_str()), ("FAKETIME", shift), ("DONT_FAKE_MONOTONIC", "1")] {
            node.variables.push((name.to_owned(), value.to_owned()));
        }
        node.start().await;
        fleet.nodes.push(node);
    }
    // They have joined, and are kept current.
    fleet.in_step().await;
    fleet.change("after").await;
    fleet.in_step().await;
    for node in 0..2 {
        let load = Load::start(fleet.nodes[node].address("base_url"), &fleet.key, 20);
        load.answered(20).await;
        let tally = load.finish().await;
        assert!(tally.failures.is_empty(), "{tally:?}");
        eventually("the fleet view to say it", || async {
            let seen = fleet.seen(node).await;
            seen["warnings"].to_string().contains("clock").then_some(())
        })
        .await;
    }
}

fn library() -> Option<PathBuf> {
    let folders = ["/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib64/faketime"];
    folders.map(|folder| PathBuf::from(folder).join("libfaketime.so.1")).into_iter().find(|library| library.is_file())
}
