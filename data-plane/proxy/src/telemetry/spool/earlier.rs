//! What earlier boots of this node left behind: events that nobody acknowledged, and requests that were open when the process
//! died. The latter are charged by what was known when they were admitted.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use ahash::AHashMap;
use gateway_wire::v1::{SettledBy, UsageBatch, UsageEvent};
use prost::Message as _;

use crate::telemetry::batch::{Collector, MAX_RECORDS};
use crate::telemetry::frame::Kind;
use crate::telemetry::segment::{Found, Next, Reader};

/// Recovered events are numbered in a lane of their own, because the last number of the lane they belong to may be unreadable.
pub(super) const RECOVERED: u32 = 1 << 31;

/// One lane of one earlier boot. Its files are deleted together, once everything is acknowledged, so that a crash in between
/// finds the same events under the same numbers.
#[derive(Debug)]
pub(super) struct Earlier {
    pub(super) boot: String,
    lane: u32,
    files: Vec<Found>,
    pub(super) recovered: Vec<UsageEvent>,
    last_seq: u64,
    /// Sent, and acknowledged.
    progress: Progress,
    acked_seq: u64,
    acked_recovered: u64,
}

/// How far this connection has read.
#[derive(Debug, Default)]
struct Progress {
    n_files: usize,
    reader: Option<Reader>,
    collector: Collector<UsageEvent>,
    n_recovered: usize,
}

// === impl Earlier ===

impl Earlier {
    /// Groups files by boot and lane, and reads them once to find what never settled.
    pub(super) fn all(found: Vec<Found>) -> Vec<Self> {
        let mut groups: BTreeMap<(String, u32), Vec<Found>> = BTreeMap::new();
        for file in found {
            groups.entry((file.name.boot.clone(), file.name.lane)).or_default().push(file);
        }
        groups.into_iter().map(|((boot, lane), files)| Self::scan(boot, lane, files)).collect()
    }

    fn scan(boot: String, lane: u32, files: Vec<Found>) -> Self {
        let mut open: AHashMap<String, UsageEvent> = AHashMap::new();
        let mut last_seq = 0;
        for file in &files {
            let read = each(&file.path, |kind, payload| match kind {
                Kind::Started => {
                    if let Ok(event) = UsageEvent::decode(payload) {
                        open.insert(event.id.clone(), event);
                    }
                }
                Kind::Logged | Kind::Body => {}
                Kind::Settled => {
                    if let Some((seq, event)) = settled(payload) {
                        open.remove(&event.id);
                        last_seq = seq;
                    }
                }
            });
            if let Err(error) = read {
                tracing::warn!("usage spool file `{}` cannot be read to its end: {error}", file.path.display());
            }
        }
        let mut recovered: Vec<UsageEvent> = open.into_values().collect();
        recovered.sort_by(|one, other| (one.started_unix_ms, &one.id).cmp(&(other.started_unix_ms, &other.id)));
        for event in &mut recovered {
            event.settled_by = SettledBy::Recovery.into();
        }
        let progress = Progress::default();
        Self { boot, lane, files, recovered, last_seq, progress, acked_seq: 0, acked_recovered: 0 }
    }

    /// What has not been sent on this connection; `None` when everything has been.
    pub(super) fn next(&mut self) -> Option<UsageBatch> {
        self.next_settled().or_else(|| self.next_recovered())
    }

    /// Everything is stored elsewhere.
    pub(super) fn is_done(&self) -> bool {
        self.acked_seq >= self.last_seq && self.acked_recovered >= self.recovered.len() as u64
    }

    pub(super) fn acknowledged(&mut self, lane: u32, up_to_seq: u64) {
        if lane == self.lane {
            self.acked_seq = self.acked_seq.max(up_to_seq);
        } else if lane == self.lane | RECOVERED {
            self.acked_recovered = self.acked_recovered.max(up_to_seq);
        }
    }

    pub(super) fn rewind(&mut self) {
        self.progress = Progress::default();
    }

    /// Returns how many bytes are free again. What cannot be deleted is delivered again at the next start, to no effect.
    pub(super) fn delete(self) -> u64 {
        for file in &self.files {
            if let Err(error) = std::fs::remove_file(&file.path) {
                tracing::warn!("usage spool cannot give up `{}`: {error}", file.path.display());
            }
        }
        self.files.iter().map(|file| file.n_bytes).sum()
    }

    fn next_settled(&mut self) -> Option<UsageBatch> {
        let progress = &mut self.progress;
        while let Some(file) = self.files.get(progress.n_files) {
            if progress.reader.is_none() {
                progress.reader = Reader::open(&file.path).ok();
            }
            let next = progress.reader.as_mut().map(Reader::next);
            match next {
                Some(Ok(Next::Frame(Kind::Settled, payload))) => {
                    if let Some((seq, event)) = settled(payload)
                        && seq > self.acked_seq
                        && progress.collector.push(seq, event)
                    {
                        break;
                    }
                }
                Some(Ok(Next::Frame(Kind::Started | Kind::Logged | Kind::Body, _))) => {}
                // The scan has said what is wrong with it.
                None | Some(Ok(Next::End | Next::Damaged) | Err(_)) => {
                    progress.reader = None;
                    progress.n_files += 1;
                }
            }
        }
        let (first_seq, events) = progress.collector.take()?;
        Some(UsageBatch { lane: self.lane, first_seq, events, ..UsageBatch::default() })
    }

    fn next_recovered(&mut self) -> Option<UsageBatch> {
        let first = self.progress.n_recovered;
        let events: Vec<UsageEvent> = self.recovered[first..].iter().take(MAX_RECORDS).cloned().collect();
        self.progress.n_recovered += events.len();
        let lane = self.lane | RECOVERED;
        let filled = !events.is_empty();
        filled.then(|| UsageBatch { lane, first_seq: first as u64 + 1, events, ..UsageBatch::default() })
    }
}

/// Number and event of a `settled` record.
pub(super) fn settled(payload: &[u8]) -> Option<(u64, UsageEvent)> {
    let (seq, event) = payload.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*seq), UsageEvent::decode(event).ok()?))
}

fn each(path: &Path, mut record: impl FnMut(Kind, &[u8])) -> io::Result<()> {
    let mut reader = Reader::open(path)?;
    loop {
        match reader.next()? {
            Next::Frame(kind, payload) => record(kind, payload),
            Next::End => return Ok(()),
            Next::Damaged => return Err(io::Error::other("a damaged record; what follows it is lost")),
        }
    }
}
