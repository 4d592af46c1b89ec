//! What the spool still owes to the control plane, batch by batch: earlier boots first, then the lanes in turn.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use gateway_wire::v1::{IngestAck, UsageBatch, UsageEvent};

use super::disk::{DiskLane, Shared};
use super::earlier::{self, Earlier};
use super::memory::MemoryLane;
use crate::telemetry::batch::{Collector, MAX_RECORDS};
use crate::telemetry::frame::Kind;
use crate::telemetry::segment::{Name, Next, Reader, USAGE};

/// The one collector of a spool. Reads from the disk, which for what was just written means from memory.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(super) boot: String,
    pub(super) shared: Option<Arc<Shared>>,
    pub(super) earlier: Vec<Earlier>,
    pub(super) lanes: Vec<Source>,
    /// The lane whose turn it is.
    pub(super) turn: usize,
}

#[derive(Debug)]
pub(super) enum Source {
    Disk(Box<Cursor>),
    Memory(Arc<MemoryLane>),
}

/// How far a lane of this boot has been read.
#[derive(Debug)]
pub(super) struct Cursor {
    lane: Arc<DiskLane>,
    reader: Option<(u64, Reader)>,
    from_segment: u64,
    sent_seq: u64,
    collector: Collector<UsageEvent>,
}

// === impl Outbox ===

impl Outbox {
    /// What has not been sent since the last rewind; `None` when there is nothing more now.
    pub(crate) fn next(&mut self) -> Option<UsageBatch> {
        self.delete_done();
        // Oldest first; one whose files cannot be read any more holds up none of the others.
        for earlier in &mut self.earlier {
            if let Some(batch) = earlier.next() {
                return Some(UsageBatch { boot_id: earlier.boot.clone(), ..batch });
            }
        }
        for _ in 0..self.lanes.len() {
            self.turn = (self.turn + 1) % self.lanes.len();
            let batch = match &mut self.lanes[self.turn] {
                Source::Disk(cursor) => cursor.next(),
                Source::Memory(lane) => lane.take(MAX_RECORDS),
            };
            if let Some(batch) = batch {
                return Some(UsageBatch { boot_id: self.boot.clone(), ..batch });
            }
        }
        None
    }

    pub(crate) fn acknowledged(&mut self, ack: &IngestAck) {
        if ack.boot_id == self.boot {
            for source in &self.lanes {
                source.acknowledged(ack);
            }
        } else {
            for earlier in self.earlier.iter_mut().filter(|earlier| earlier.boot == ack.boot_id) {
                earlier.acknowledged(ack.lane, ack.up_to_seq);
            }
        }
        self.delete_done();
    }

    /// The connection is new: what was not acknowledged goes again.
    pub(crate) fn rewind(&mut self) {
        self.earlier.iter_mut().for_each(Earlier::rewind);
        for source in &mut self.lanes {
            match source {
                Source::Disk(cursor) => cursor.rewind(),
                Source::Memory(lane) => lane.rewind(),
            }
        }
    }

    /// Requests that were open when an earlier boot ended.
    pub(crate) fn recovered(&self) -> impl Iterator<Item = &UsageEvent> {
        self.earlier.iter().flat_map(|earlier| &earlier.recovered)
    }

    /// Nothing is owed: everything was sent and acknowledged.
    pub(crate) fn is_clear(&self) -> bool {
        self.earlier.is_empty() && self.lanes.iter().all(|source| source.n_pending() == 0)
    }

    fn delete_done(&mut self) {
        let n_before = self.earlier.len();
        for done in self.earlier.extract_if(.., |earlier| earlier.is_done()) {
            let freed = done.delete();
            if let Some(shared) = &self.shared {
                shared.n_bytes.fetch_sub(freed, Ordering::Relaxed);
            }
        }
        if let Some(shared) = self.shared.as_ref().filter(|_| self.earlier.len() < n_before) {
            let owed = self.earlier.iter().map(|earlier| earlier.boot.clone()).collect();
            *shared.owed.lock().unwrap_or_else(PoisonError::into_inner) = owed;
        }
    }
}

// === impl Source ===

impl Source {
    pub(super) fn disk(lane: Arc<DiskLane>) -> Self {
        let sent_seq = lane.acked_seq.load(Ordering::Acquire);
        Self::Disk(Box::new(Cursor { lane, reader: None, from_segment: 0, sent_seq, collector: Collector::default() }))
    }

    fn acknowledged(&self, ack: &IngestAck) {
        match self {
            Self::Disk(cursor) if cursor.lane.index == ack.lane => {
                // Never beyond what was read for sending: a peer that is wrong must not make us forget what comes.
                let up_to = ack.up_to_seq.min(cursor.sent_seq);
                cursor.lane.acked_seq.fetch_max(up_to, Ordering::AcqRel);
            }
            Self::Memory(lane) if lane.index == ack.lane => lane.acknowledged(ack.up_to_seq),
            Self::Disk(_) | Self::Memory(_) => {}
        }
    }

    fn n_pending(&self) -> u64 {
        match self {
            Self::Disk(cursor) => cursor.lane.n_pending(),
            Self::Memory(lane) => lane.n_pending(),
        }
    }
}

// === impl Cursor ===

impl Cursor {
    fn next(&mut self) -> Option<UsageBatch> {
        let last_seq = self.lane.last_seq.load(Ordering::Acquire);
        if self.sent_seq >= last_seq && self.collector.is_empty() {
            return None;
        }
        if let Err(error) = self.collect() {
            tracing::warn!("usage spool of lane {} cannot be read: {error}", self.lane.index);
            self.skip_segment();
        }
        let (first_seq, events) = self.collector.take()?;
        Some(UsageBatch { lane: self.lane.index, first_seq, events, ..UsageBatch::default() })
    }

    fn rewind(&mut self) {
        self.reader = None;
        self.from_segment = 0;
        self.sent_seq = self.lane.acked_seq.load(Ordering::Acquire);
        self.collector = Collector::default();
    }

    /// Fills the collector from the files.
    fn collect(&mut self) -> io::Result<()> {
        loop {
            // Asked before reading: what is closed now gets no more records, so its end is its end.
            let Some((number, is_sealed)) = self.lane.segment_from(self.from_segment) else { return Ok(()) };
            if self.reader.as_ref().is_none_or(|(open, _)| *open != number) {
                let name = Name { boot: self.lane.shared.boot.clone(), lane: self.lane.index, number };
                self.from_segment = number;
                self.reader = Some((number, Reader::open(&name.path(&self.lane.shared.dir, USAGE))?));
            }
            let Some((_, reader)) = &mut self.reader else { return Ok(()) };
            loop {
                match reader.next()? {
                    Next::Frame(Kind::Settled, payload) => {
                        if let Some((seq, event)) = earlier::settled(payload)
                            && seq > self.sent_seq
                        {
                            self.sent_seq = seq;
                            if self.collector.push(seq, event) {
                                return Ok(());
                            }
                        }
                    }
                    Next::Frame(Kind::Started | Kind::Logged | Kind::Body, _) => {}
                    Next::End | Next::Damaged if is_sealed => break,
                    Next::End | Next::Damaged => return Ok(()),
                }
            }
            self.skip_segment();
        }
    }

    fn skip_segment(&mut self) {
        self.reader = None;
        self.from_segment += 1;
    }
}
