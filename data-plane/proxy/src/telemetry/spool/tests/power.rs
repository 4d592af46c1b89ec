//! The power goes off: of what was written since it was last made safe any part may be gone, and files that are new altogether. The fault is
//! put in where files are synchronised: what the spool never asked to be safe is not.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsRawFd as _;

use gateway_testing::figure;

use super::super::keeper::{finish, keep};
use super::*;

const TEST: &str = "power_loss_sim_of_usage";

thread_local! {
    /// How much of a file is safe.
    static SAFE: RefCell<BTreeMap<PathBuf, u64>> = const { RefCell::new(BTreeMap::new()) };
}

/// In the place of the kernel.
fn synchronise(file: &File) -> io::Result<()> {
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let n_bytes = file.metadata()?.len();
    SAFE.with_borrow_mut(|safe| safe.insert(path, n_bytes));
    Ok(())
}

/// Numbers that are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n.max(1)
    }
}

/// One lane, whose keeper is called by hand.
struct Node {
    dir: tempfile::TempDir,
    lane: Arc<DiskLane>,
    /// Requests that are not over.
    open: BTreeSet<String>,
    settled: BTreeSet<String>,
    n_requests: usize,
}

// === impl Node ===

impl Node {
    fn start() -> Self {
        SAFE.with_borrow_mut(BTreeMap::clear);
        let dir = tempfile::tempdir().expect("a directory");
        let spool = dir.path().join("spool");
        fs::create_dir(&spool).expect("a directory");
        let shared = Shared {
            dir: spool,
            boot: BOOT.to_owned(),
            n_bytes: AtomicU64::new(0),
            quota: QUOTA,
            n_dropped: AtomicU64::new(0),
            uncollected: AtomicBool::new(false),
            owed: Mutex::default(),
            directory_dirty: AtomicBool::new(false),
            synchronise,
            warnings: Arc::default(),
        };
        let lane = Arc::new(DiskLane::new(0, Arc::new(shared)));
        Self { dir, lane, open: BTreeSet::new(), settled: BTreeSet::new(), n_requests: 0 }
    }

    /// Requests begin and end; now and then a file is full.
    fn work(&mut self, chance: &mut Chance) {
        for _ in 0..chance.below(12) {
            match chance.below(5) {
                0 => self.lane.seal(&mut self.lane.lock()),
                1 | 2 => {
                    let id = format!("r{}", self.n_requests);
                    self.n_requests += 1;
                    self.lane.started(&Event::from(&event(&id)));
                    self.open.insert(id);
                }
                _ => {
                    let Some(id) = self.open.pop_first() else { continue };
                    self.lane.settled(&Event::from(&event(&id)));
                    self.settled.insert(id);
                }
            }
        }
    }

    /// What is left when the power is back: of each file what was safe and a piece of the rest.
    fn after_the_cut(&self, chance: &mut Chance) -> tempfile::TempDir {
        let after = tempfile::tempdir().expect("a directory");
        fs::create_dir(after.path().join("spool")).expect("a directory");
        for path in files(self.dir.path()) {
            let bytes = fs::read(&path).expect("a file");
            let safe = SAFE.with_borrow(|safe| safe.get(&path).copied());
            let n_bytes = bytes.len() as u64;
            let n_left = safe.unwrap_or(0) + chance.below(n_bytes - safe.unwrap_or(0) + 1);
            if safe.is_some() || chance.below(2) == 0 {
                let name = path.file_name().expect("a name");
                fs::write(after.path().join("spool").join(name), &bytes[..n_left as usize]).expect("it is ours");
            }
        }
        after
    }
}

#[test]
fn power_loss_sim_of_usage() {
    const N_CASES: u64 = 400;
    let mut n_lost = 0;
    for case in 0..N_CASES {
        let (mut node, mut chance) = (Node::start(), Chance(case));
        for _ in 0..1 + chance.below(4) {
            node.work(&mut chance);
            keep(&node.lane.shared, std::slice::from_ref(&node.lane));
        }
        let is_ended = case % 4 == 0;
        let safe: BTreeSet<String> = if is_ended {
            node.work(&mut chance);
            finish(&node.lane.shared, std::slice::from_ref(&node.lane));
            node.open.union(&node.settled).cloned().collect()
        } else {
            let safe = node.open.union(&node.settled).cloned().collect();
            // Less than a tenth of a second goes by.
            node.work(&mut chance);
            safe
        };
        let after = node.after_the_cut(&mut chance);
        let spool = open(after.path(), "boot2");
        let found = collect(&mut spool.outbox());
        let found_ids: BTreeSet<String> = found.iter().map(|event| event.id.clone()).collect();
        assert_eq!(found.len(), found_ids.len(), "case {case}: something is charged twice");
        let known: BTreeSet<String> = node.open.union(&node.settled).cloned().collect();
        assert!(found_ids.is_subset(&known), "case {case}: something was made up");
        n_lost += safe.difference(&found_ids).count();
    }
    figure::note(TEST, "usage records lost that are older than 100 ms", n_lost as f64, "records", 0.0);
    figure::note_at_least(TEST, "power cuts tried", N_CASES as f64, "cases", 400.0);
    assert_eq!(n_lost, 0);
}
