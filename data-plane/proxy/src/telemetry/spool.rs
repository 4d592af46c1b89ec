//! Usage that must not be lost: on disk before an upstream is asked, until the control plane has it.
//!
//! One append-only file per worker at a time. `started` and `settled` cost one `write` each and never wait for the disk; a
//! killed process loses nothing, a power cut at most 100 ms. Full or failing, the spool drops and counts, and traffic goes on.

mod event;
mod disk;
mod memory;
mod earlier;
mod keeper;
mod outbox;

#[cfg(test)]
mod tests;

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use gateway_wire::v1::{SpoolState, UsageEvent};

use super::segment::{Found, USAGE};
use crate::warnings::Warnings;
use disk::{DiskLane, Shared};
use earlier::Earlier;
use keeper::Keeper;
use memory::MemoryLane;
use outbox::Source;

pub use event::Event;
pub(crate) use outbox::Outbox;

/// Room that the spool may take on the disk.
const QUOTA: u64 = 256 * 1024 * 1024;

/// The spool of one node.
#[derive(Debug)]
pub struct Spool {
    boot: String,
    lanes: Vec<Lane>,
    disk: Option<Disk>,
}

#[derive(Debug)]
struct Disk {
    shared: Arc<Shared>,
    /// Files of earlier boots, until somebody collects them.
    earlier: Mutex<Vec<Found>>,
    keeper: Mutex<Option<Keeper>>,
    /// Held for as long as the spool is: no two processes share one.
    _lock: File,
}

/// Where one worker leaves its usage. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lane(Inner);

#[derive(Clone, Debug)]
enum Inner {
    Off,
    Disk(Arc<DiskLane>),
    Memory(Arc<MemoryLane>),
}

// === impl Spool ===

impl Spool {
    /// Without a directory nothing is kept. A directory that cannot be written to is a warning, and usage is kept in memory;
    /// one that another process uses is an error.
    pub fn open(data_dir: Option<&Path>, boot: &str, n_lanes: usize, warnings: &Arc<Warnings>) -> anyhow::Result<Self> {
        Self::open_bounded(data_dir, boot, n_lanes, warnings, QUOTA)
    }

    fn open_bounded(
        data_dir: Option<&Path>,
        boot: &str,
        n_lanes: usize,
        warnings: &Arc<Warnings>,
        quota: u64,
    ) -> anyhow::Result<Self> {
        let indices = 0..u32::try_from(n_lanes).context("more workers than a machine has")?;
        let Some(data_dir) = data_dir else {
            return Ok(Self { boot: boot.to_owned(), lanes: indices.map(|_| Lane(Inner::Off)).collect(), disk: None });
        };
        let dir = data_dir.join("spool");
        match open_directory(&dir) {
            Ok((lock, found)) => {
                let n_bytes = AtomicU64::new(found.iter().map(|file| file.n_bytes).sum());
                let shared = Arc::new(Shared {
                    dir,
                    boot: boot.to_owned(),
                    n_bytes,
                    quota,
                    n_dropped: AtomicU64::new(0),
                    uncollected: AtomicBool::new(false),
                    owed: Mutex::new(found.iter().map(|file| file.name.boot.clone()).collect()),
                    directory_dirty: AtomicBool::new(false),
                    synchronise: File::sync_data,
                    warnings: Arc::clone(warnings),
                });
                let lanes: Vec<_> = indices.map(|index| Arc::new(DiskLane::new(index, Arc::clone(&shared)))).collect();
                let keeper =
                    Keeper::start(Arc::clone(&shared), lanes.clone()).context("starting the spool's thread")?;
                let earlier = Mutex::new(found);
                let disk = Disk { shared, earlier, keeper: Mutex::new(Some(keeper)), _lock: lock };
                let lanes = lanes.into_iter().map(|lane| Lane(Inner::Disk(lane))).collect();
                Ok(Self { boot: boot.to_owned(), lanes, disk: Some(disk) })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(anyhow::anyhow!(
                "another process uses the data directory `{}`; stop it, or give this one a directory of its own",
                data_dir.display()
            )),
            Err(error) => {
                let dir = dir.display();
                let text = format!(
                    "the disk with the usage spool `{dir}` cannot be used, usage is kept in memory and lost with the process: {error}"
                );
                tracing::warn!("{text}");
                warnings.set("usage-spool", text);
                let lanes = indices.map(|index| Lane(Inner::Memory(Arc::new(MemoryLane::new(index))))).collect();
                Ok(Self { boot: boot.to_owned(), lanes, disk: None })
            }
        }
    }

    pub fn lane(&self, index: usize) -> Lane {
        self.lanes[index].clone()
    }

    /// For the one who delivers to the control plane. Reads what earlier boots left, which takes time in proportion to it.
    pub(crate) fn outbox(&self) -> Outbox {
        let lanes = self.lanes.iter().filter_map(Lane::source).collect();
        let shared = self.disk.as_ref().map(|disk| Arc::clone(&disk.shared));
        Outbox { boot: self.boot.clone(), shared, earlier: self.take_earlier(), lanes, turn: 0 }
    }

    /// There is nobody to deliver to: files go as soon as nothing in them is open. Returns the requests that an earlier
    /// process left open when it died.
    pub(crate) fn settle_locally(&self) -> Vec<UsageEvent> {
        let Some(disk) = &self.disk else { return Vec::new() };
        disk.shared.uncollected.store(true, Ordering::Relaxed);
        let mut recovered = Vec::new();
        for mut earlier in self.take_earlier() {
            recovered.append(&mut earlier.recovered);
            disk.shared.n_bytes.fetch_sub(earlier.delete(), Ordering::Relaxed);
        }
        recovered
    }

    /// What the control plane is told about the spool; the fields about logs are others' business.
    pub(crate) fn state(&self) -> SpoolState {
        let lanes = &self.lanes;
        SpoolState {
            usage_bytes: self.disk.as_ref().map_or(0, |disk| disk.shared.n_bytes.load(Ordering::Relaxed)),
            usage_pending: lanes.iter().map(Lane::n_pending).sum(),
            usage_dropped: lanes.iter().map(Lane::n_dropped).sum::<u64>()
                + self.disk.as_ref().map_or(0, |disk| disk.shared.n_dropped.load(Ordering::Relaxed)),
            ..SpoolState::default()
        }
    }

    /// Whether usage of an earlier boot may still be delivered. What never reached a disk is not known to be delivered.
    pub(crate) fn owes(&self, boot: &str) -> bool {
        self.disk.as_ref().is_none_or(|disk| lock(&disk.shared.owed).contains(boot))
    }

    /// Writes everything to the disk; blocks for as long as that takes. Nothing may be written afterwards.
    pub(crate) fn close(&self) {
        let keeper = self.disk.as_ref().and_then(|disk| lock(&disk.keeper).take());
        if let Some(keeper) = keeper {
            keeper.stop();
        }
    }

    fn take_earlier(&self) -> Vec<Earlier> {
        let found = self.disk.as_ref().map(|disk| std::mem::take(&mut *lock(&disk.earlier)));
        Earlier::all(found.unwrap_or_default())
    }
}

// === impl Lane ===

impl Lane {
    /// A lane that keeps nothing.
    pub fn off() -> Self {
        Self(Inner::Off)
    }

    /// The request has been admitted. The event holds what is charged if the process dies before `settled`.
    pub fn started<'a>(&self, event: impl Into<Event<'a>>) {
        // In memory it would die with the request.
        if let Inner::Disk(lane) = &self.0 {
            lane.started(&event.into());
        }
    }

    /// The request has ended, however it did. To be called once for each `started`.
    pub fn settled<'a>(&self, event: impl Into<Event<'a>>) {
        match &self.0 {
            Inner::Off => {}
            Inner::Disk(lane) => lane.settled(&event.into()),
            Inner::Memory(lane) => lane.settled(event.into().owned()),
        }
    }

    fn source(&self) -> Option<Source> {
        match &self.0 {
            Inner::Off => None,
            Inner::Disk(lane) => Some(Source::disk(Arc::clone(lane))),
            Inner::Memory(lane) => Some(Source::Memory(Arc::clone(lane))),
        }
    }

    fn n_pending(&self) -> u64 {
        match &self.0 {
            Inner::Off => 0,
            Inner::Disk(lane) => lane.n_pending(),
            Inner::Memory(lane) => lane.n_pending(),
        }
    }

    fn n_dropped(&self) -> u64 {
        match &self.0 {
            Inner::Off | Inner::Disk(_) => 0,
            Inner::Memory(lane) => lane.n_dropped.load(Ordering::Relaxed),
        }
    }
}

/// Makes the directory, takes its lock and lists what is in it.
fn open_directory(dir: &Path) -> io::Result<(File, Vec<Found>)> {
    std::fs::create_dir_all(dir)?;
    let lock = File::options().create(true).truncate(false).write(true).open(dir.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    Ok((lock, Found::all(dir, USAGE)?))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
