//! The spool's own thread: makes what was written safe every 100 ms and deletes what is stored elsewhere. No request waits for it.

use std::fs::File;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use ahash::AHashMap;
use gateway_wire::v1::UsageEvent;
use prost::Message as _;

use super::disk::{DiskLane, Sealed, Shared};
use crate::telemetry::frame::Kind;
use crate::telemetry::segment::{Name, Next, Reader, USAGE};

/// A power cut loses at most what was written in this time.
const EVERY: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Keeper {
    /// A message ends the thread after a last round; dropped, it ends at once.
    last_round: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

// === impl Keeper ===

impl Keeper {
    pub(super) fn start(shared: Arc<Shared>, lanes: Vec<Arc<DiskLane>>) -> io::Result<Self> {
        let (last_round, commands) = mpsc::channel();
        let thread = std::thread::Builder::new().name("gateway-spool".to_owned()).spawn(move || {
            loop {
                match commands.recv_timeout(EVERY) {
                    Err(mpsc::RecvTimeoutError::Timeout) => keep(&shared, &lanes),
                    Ok(()) => return finish(&shared, &lanes),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Self { last_round, thread })
    }

    /// One last round; blocks until the disk has everything.
    pub(super) fn stop(self) {
        // Where it fails the thread is gone already.
        let _ = self.last_round.send(());
        self.abandon();
    }

    /// Ends the thread as it is.
    pub(super) fn abandon(self) {
        drop(self.last_round);
        // A panic in the thread was reported by it.
        let _ = self.thread.join();
    }
}

pub(super) fn keep(shared: &Shared, lanes: &[Arc<DiskLane>]) {
    for lane in lanes {
        lane.write_held(&mut lane.lock());
        synchronise(lane);
        delete_acknowledged(lane);
    }
    if shared.directory_dirty.swap(false, Ordering::Relaxed)
        && let Err(error) = File::open(&shared.dir).and_then(|dir| dir.sync_all())
    {
        tracing::warn!("usage spool `{}` cannot be synchronised: {error}", shared.dir.display());
    }
}

/// A lane that owes nothing leaves no file behind, so that the next start has nothing to read.
pub(super) fn finish(shared: &Shared, lanes: &[Arc<DiskLane>]) {
    for lane in lanes {
        let mut state = lane.lock();
        if !lane.write_held(&mut state) {
            let n_lost = lane.drop_held(&mut state);
            tracing::error!("{n_lost} usage events are lost: the disk has not taken them to the end");
        }
        if state.open.is_empty() {
            lane.seal(&mut state);
        }
    }
    keep(shared, lanes);
}

fn synchronise(lane: &DiskLane) {
    let dirty = lane.lock().take_dirty();
    for file in dirty {
        if let Err(error) = (lane.shared.synchronise)(&file) {
            tracing::warn!("usage spool of lane {} cannot be synchronised: {error}", lane.index);
        }
    }
}

/// Oldest file first, so that a `started` record never outlives the `settled` one that answers it.
fn delete_acknowledged(lane: &DiskLane) {
    loop {
        let Some(oldest) = lane.lock().sealed.front().copied() else { return };
        let is_done = oldest.last_seq <= lane.acked_seq.load(Ordering::Acquire);
        if !is_done && !lane.shared.uncollected.load(Ordering::Relaxed) {
            return;
        }
        let path = Name { boot: lane.shared.boot.clone(), lane: lane.index, number: oldest.number };
        let path = path.path(&lane.shared.dir, USAGE);
        let deleted = carry_over_open(lane, oldest, &path).and_then(|()| std::fs::remove_file(&path));
        match deleted {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!("usage spool cannot give up `{}`: {error}", path.display());
                return;
            }
        }
        lane.lock().sealed.pop_front();
        lane.shared.n_bytes.fetch_sub(oldest.n_bytes, Ordering::Relaxed);
    }
}

/// Requests that are still open are only known by a record in the file: it is written again before the file goes.
fn carry_over_open(lane: &DiskLane, oldest: Sealed, path: &std::path::Path) -> io::Result<()> {
    let is_open = |number: &u64| *number == oldest.number;
    if !lane.lock().open.values().any(is_open) {
        return Ok(());
    }
    let started = started_in(path)?;
    let mut state = lane.lock();
    let open: Vec<Box<str>> =
        state.open.iter().filter(|(_, number)| is_open(number)).map(|(id, _)| id.clone()).collect();
    for id in open {
        if let Some(payload) = started.get(&*id)
            && !lane.carry_over(&mut state, &id, payload)
        {
            return Err(io::Error::other("its open requests could not be written to a new file"));
        }
    }
    drop(state);
    synchronise(lane);
    Ok(())
}

fn started_in(path: &std::path::Path) -> io::Result<AHashMap<String, Vec<u8>>> {
    let mut started = AHashMap::new();
    let mut reader = Reader::open(path)?;
    while let Next::Frame(kind, payload) = reader.next()? {
        if kind == Kind::Started
            && let Ok(event) = UsageEvent::decode(payload)
        {
            started.insert(event.id, payload.to_vec());
        }
    }
    Ok(started)
}
