//! What becomes of log records, in numbers that outlive the process: how many were pushed, how many are accounted for. The
//! difference is what a killed process has lost.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Slots of eight bytes; after these, one per lane for what was pushed there.
const SAFE: usize = 0;
const DROPPED: usize = 1;
const REPORTED: usize = 2;
const LANES: usize = 3;

/// The numbers of one boot. Each is written with one `write` where it is, and never waits for the disk.
#[derive(Debug)]
pub(super) struct Counts {
    file: File,
}

// === impl Counts ===

impl Counts {
    /// A new file for this boot, and what earlier boots have lost and not told anybody.
    pub(super) fn open(dir: &Path, boot: &str, n_lanes: usize, extension: &str) -> io::Result<(Self, u64)> {
        let earlier = earlier(dir, extension)?;
        let n_lost = earlier.iter().map(|path| lost(path)).sum();
        let path = dir.join(format!("{boot}.{extension}"));
        let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all_at(&vec![0; (LANES + n_lanes) * 8], 0)?;
        let counts = Self { file };
        // Taken over before it is forgotten there.
        counts.put(DROPPED, n_lost);
        for path in earlier {
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(
                    "`{}` cannot be removed, log records are counted as lost twice: {error}",
                    path.display()
                );
            }
        }
        Ok((counts, n_lost))
    }

    /// So many records were pushed to this lane.
    pub(super) fn pushed(&self, lane: usize, n_records: u64) {
        self.put(LANES + lane, n_records);
    }

    /// So many records are on disk, delivered or dropped.
    pub(super) fn safe(&self, n_records: u64) {
        self.put(SAFE, n_records);
    }

    pub(super) fn dropped(&self, n_records: u64) {
        self.put(DROPPED, n_records);
    }

    /// So many of the dropped ones are known to the control plane.
    pub(super) fn reported(&self, n_records: u64) {
        self.put(REPORTED, n_records);
    }

    fn put(&self, slot: usize, value: u64) {
        // The place is there; a disk that takes no more than that makes the count less exact and nothing else.
        let _ = self.file.write_all_at(&value.to_le_bytes(), slot as u64 * 8);
    }
}

fn earlier(dir: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn lost(path: &Path) -> u64 {
    let bytes = std::fs::read(path).unwrap_or_default();
    let slots: Vec<u64> =
        bytes.chunks_exact(8).filter_map(|slot| slot.try_into().ok().map(u64::from_le_bytes)).collect();
    let [safe, dropped, reported, pushed @ ..] = slots.as_slice() else { return 0 };
    let n_pushed: u64 = pushed.iter().fold(0, |sum, pushed| sum.saturating_add(*pushed));
    n_pushed.saturating_sub(*safe).saturating_add(dropped.saturating_sub(*reported))
}
