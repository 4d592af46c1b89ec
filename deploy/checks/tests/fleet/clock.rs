//! Clocks that are off: of one node by an hour, and of the whole world by days, so that certificates expire.

use std::path::{Path, PathBuf};

use gateway_testing::missing;

use crate::eventually;
use crate::load::Load;
use crate::world::Fleet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clock_an_hour_off() {
    let Some(library) = library() else { return };
    let Some(mut fleet) = Fleet::start(1, 0).await else { return };
    for shift in ["+1h", "-1h"] {
        let mut node = fleet.node(&[]);
        node.variables = shifted(&library, shift);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_cert_expired() {
    let Some(library) = library() else { return };
    let Some(mut fleet) = Fleet::start(1, 1).await else { return };
    fleet.in_step().await;
    let first = fleet.seen(0).await["certificate"]["serial"].clone();
    let id = fleet.nodes[0].ready["node_id"].clone();
    // A certificate is good for a week. Two days after that it still serves to get the next one; forty days after that it does
    // not, and a person has to let the node in anew. It serves on in any case.
    for (shift, is_let_in) in [("+9d", true), ("+49d", false)] {
        fleet.nodes[0].stop().await;
        fleet.control[0].stop().await;
        fleet.control[0].variables = shifted(&library, shift);
        fleet.nodes[0].variables = shifted(&library, shift);
        fleet.control[0].start().await;
        let said = fleet.nodes[0].log().len();
        fleet.nodes[0].start().await;
        assert_eq!(fleet.nodes[0].ready["node_id"], id, "{shift}");
        if is_let_in {
            fleet.in_step().await;
            assert_ne!(fleet.seen(0).await["certificate"]["serial"], first, "{shift}: it has been renewed");
        } else {
            let refused = || async { fleet.nodes[0].log()[said..].contains("expired").then_some(()) };
            eventually("the node to say why it is alone", refused).await;
            assert_ne!(fleet.seen(0).await["connected"], true, "{shift}");
        }
        let load = Load::start(fleet.nodes[0].address("base_url"), &fleet.key, 20);
        load.answered(20).await;
        let tally = load.finish().await;
        assert!(tally.failures.is_empty(), "{shift}: {tally:?}");
    }
}

/// Environment variables under which a process lives at another time; what it measures spans with is left alone.
fn shifted(library: &Path, shift: &str) -> Vec<(String, String)> {
    let library = library.to_str().expect("a plain path");
    let variables = [("LD_PRELOAD", library), ("FAKETIME", shift), ("DONT_FAKE_MONOTONIC", "1")];
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

fn library() -> Option<PathBuf> {
    let folders = ["/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib64/faketime"];
    let library =
        folders.map(|folder| Path::new(folder).join("libfaketime.so.1")).into_iter().find(|file| file.is_file());
    if library.is_none() {
        missing("libfaketime is not installed (package libfaketime)");
    }
    library
}
