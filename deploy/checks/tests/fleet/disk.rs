//! A disk that is full, one that cannot be written, files on it that are damaged or not this node's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gateway_testing::figure;

use crate::eventually;
use crate::load::Load;
use crate::world::Fleet;

/// A small file system of its own, in memory. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    folder: PathBuf,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disk_full() {
    const TEST: &str = "disk_full";
    let Some(mut fleet) = Fleet::control_planes(1).await else { return };
    let Some(disk) = SmallDisk::mount(&fleet.path("node1"), 4) else { return };
    let mut node = fleet.node(&[]);
    node.start().await;
    fleet.nodes.push(node);
    fleet.in_step().await;
    let load = Load::start(fleet.nodes[0].address("base_url"), &fleet.key, 50);
    load.answered(50).await;
    disk.fill();
    load.answered(100).await;
    // Configuration goes on, too: it is applied, though it cannot be kept.
    fleet.change("while-full").await;
    fleet.in_step().await;
    let (warned, _) = eventually("the fleet view to say it", || async {
        let seen = fleet.seen(0).await;
        seen["warnings"].as_array().is_some_and(|all| !all.is_empty()).then(|| seen["warnings"].clone())
    })
    .await;
    assert!(warned.to_string().contains("disk") || warned.to_string().contains("space"), "{warned}");
    disk.free();
    load.answered(100).await;
    fleet.change("after").await;
    let (_, recovered) = eventually("the node to be well again", || async {
        let seen = fleet.seen(0).await;
        let is_kept = seen["topology"]["persisted"] == seen["topology"]["revision"];
        (is_kept && seen["warnings"].as_array().is_some_and(Vec::is_empty)).then_some(())
    })
    .await;
    let tally = load.finish().await;
    let n_requests = tally.n_answered + tally.failures.len();
    // What could not be written was held in memory; beyond that it would be lost, and counted.
    let (n_dropped, _) = eventually("each request to be stored or counted as lost", || async {
        let n_stored = fleet.count("SELECT count(*) FROM usage_event");
        let n_dropped = fleet.seen(0).await["spool"]["usage_dropped"].as_u64().unwrap_or_default() as usize;
        (n_stored + n_dropped == n_requests).then_some(n_dropped)
    })
    .await;

    figure::note(
        TEST,
        "failed requests, the node's disk a tmpfs of 4 MiB that is full",
        tally.failures.len() as f64,
        "requests",
        0.0,
    );
    figure::note(TEST, "usage records lost and counted", n_dropped as f64, "records", 0.0);
    figure::note(TEST, "well again after there is room", recovered.as_secs_f64(), "s", 60.0);
    assert!(tally.failures.is_empty(), "{tally:?}");
    assert_eq!(n_dropped, 0, "a minute of this load fits into memory many times");
    assert!(recovered.as_secs() < 60, "{recovered:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_only_disk() {
    const TEST: &str = "read_only_disk";
    let Some(mut fleet) = Fleet::control_planes(1).await else { return };
    let Some(disk) = SmallDisk::mount(&fleet.path("node1"), 4) else { return };
    let mut node = fleet.node(&[]);
    node.start().await;
    fleet.nodes.push(node);
    fleet.in_step().await;
    fleet.nodes[0].stop().await;
    disk.make_read_only();
    fleet.nodes[0].start().await;
    fleet.in_step().await;
    let load = Load::start(fleet.nodes[0].address("base_url"), &fleet.key, 20);
    load.answered(40).await;
    let tally = load.finish().await;
    assert!(tally.failures.is_empty(), "{tally:?}");
    fleet.usage_is(tally.n_answered).await;
    let seen = fleet.seen(0).await;
    let n_warnings = seen["warnings"].as_array().map_or(0, Vec::len);
    figure::note(
        TEST,
        "failed requests, the node's disk a tmpfs mounted read-only",
        tally.failures.len() as f64,
        "requests",
        0.0,
    );
    fleet.note_usage(TEST, tally.n_answered);
    figure::note_at_least(TEST, "warnings in the fleet view", n_warnings as f64, "warnings", 1.0);
    assert!(seen["warnings"].to_string().contains("disk"), "the fleet view says it: {seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_and_foreign_state() {
    let Some(mut fleet) = Fleet::start(1, 2).await else { return };
    fleet.change("one").await;
    fleet.in_step().await;
    // Both generations and the journal: there is nothing to fall back on.
    for (what, harm) in [
        ("damaged", (|own: &Path, _: &Path| damage(&own.join("config"))) as fn(&Path, &Path)),
        ("of another node", |own, other| copy(&other.join("config"), &own.join("config"))),
        ("under another key", |own, _| fs::write(own.join("state.key"), [7; 32]).expect("it is ours")),
    ] {
        fleet.nodes[0].stop().await;
        harm(&fleet.path("node1"), &fleet.path("node2"));
        fleet.control[0].kill().await;
        // Alone, it lives, and lets nobody in.
        fleet.nodes[0].launch();
        let address = fleet.nodes[0].told("--listen");
        eventually("the node to be live", || async {
            status(address, "/health", "").await.filter(|&status| status == 200)
        })
        .await;
        assert_eq!(status(address, "/ready", "").await, Some(503), "{what}: {}", fleet.nodes[0].log());
        let refused = status(address, "/v1/models", &fleet.key).await;
        assert!(refused.is_some_and(|status| status >= 400), "{what}: {refused:?}");
        // The control plane makes it whole.
        fleet.control[0].start().await;
        fleet.nodes[0].until_ready().await;
        fleet.in_step().await;
        assert_eq!(status(address, "/v1/models", &fleet.key).await, Some(200), "{what}");
    }
}

async fn status(addr: std::net::SocketAddr, path: &str, key: &str) -> Option<u16> {
    crate::http::send(addr, "GET", path, key, String::new()).await.ok().map(|reply| reply.status)
}

/// The middle of every file is turned.
fn damage(folder: &Path) {
    for entry in fs::read_dir(folder).expect("the node keeps its configuration").flatten() {
        let mut bytes = fs::read(entry.path()).expect("it is ours");
        let middle = bytes.len() / 2;
        for byte in bytes.iter_mut().skip(middle).take(8) {
            *byte = !*byte;
        }
        fs::write(entry.path(), bytes).expect("it is ours");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::remove_dir_all(to).expect("it is there");
    fs::create_dir(to).expect("it is not there");
    for entry in fs::read_dir(from).expect("the node keeps its configuration").flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).expect("it is ours");
    }
}

// === impl SmallDisk ===

impl SmallDisk {
    /// Of so many MiB. `None`, said, where this process may not mount.
    pub(crate) fn mount(folder: &Path, mib: u32) -> Option<Self> {
        fs::create_dir(folder).expect("it is not there yet");
        let folder = folder.to_owned();
        let mounted = mount(&["-t", "tmpfs", "-o", &format!("size={mib}m,mode=0700"), "tmpfs"], &folder);
        if !mounted {
            eprintln!("SKIPPED: a small disk cannot be mounted here (root with CAP_SYS_ADMIN is needed)");
        }
        mounted.then_some(Self { folder })
    }

    /// Leaves no room at all.
    fn fill(&self) {
        for size in [4 << 20, 64 << 10, 4 << 10, 1] {
            let name = self.folder.join(format!("filler-{size}"));
            // Ends with "no space left", and that is the point.
            let _ = fs::write(name, vec![0; size]);
        }
    }

    fn free(&self) {
        for entry in fs::read_dir(&self.folder).expect("it is there").flatten() {
            if entry.file_name().to_string_lossy().starts_with("filler-") {
                fs::remove_file(entry.path()).expect("it is ours");
            }
        }
    }

    fn make_read_only(&self) {
        assert!(mount(&["-o", "remount,ro"], &self.folder), "a file system of ours can be made read-only");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the node on it may still be ending.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

fn mount(args: &[&str], folder: &Path) -> bool {
    let output = Command::new("mount").args(args).arg(folder).output();
    output.is_ok_and(|output| output.status.success())
}
