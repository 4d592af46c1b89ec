//! What waits for the control plane: log records, and the bodies of requests. Each in a backlog of its own, so that bodies, which are large, are
//! never in a record's way, and go first.

use gateway_wire::v1::{BodyPart, LogBody, LogRecord};
use prost::Message;

use crate::telemetry::frame::Kind;
use crate::telemetry::segment::{BODIES, LOGS};

pub(crate) trait Piece: Message + Default + Clone + 'static {
    const WHAT: &'static str;
    /// On disk.
    const KIND: Kind;
    const FILES: &'static str;
    const COUNTS: &'static str;
    /// Room on the disk.
    const QUOTA: u64;
    /// Bytes in memory while the control plane takes them; more go to the disk.
    const FLOWING: usize;
    /// Bytes in memory where there is no disk.
    const MAX_BYTES: usize;

    /// In memory, about.
    fn n_bytes(&self) -> usize;
}

/// Consecutive ones of one boot.
#[derive(Clone, Debug)]
pub(crate) struct Batch<R> {
    pub(crate) boot_id: String,
    pub(crate) first_seq: u64,
    pub(crate) records: Vec<R>,
    /// Of this boot, so far.
    pub(crate) dropped_total: u64,
}

// === impl LogRecord ===

impl Piece for LogRecord {
    const WHAT: &'static str = "log records";
    const KIND: Kind = Kind::Logged;
    const FILES: &'static str = LOGS;
    const COUNTS: &'static str = "counts";
    const QUOTA: u64 = 256 * 1024 * 1024;
    const FLOWING: usize = 4 * 1024 * 1024;
    const MAX_BYTES: usize = 16 * 1024 * 1024;

    fn n_bytes(&self) -> usize {
        1024
    }
}

// === impl LogBody ===

impl Piece for LogBody {
    const WHAT: &'static str = "bodies of requests";
    const KIND: Kind = Kind::Body;
    const FILES: &'static str = BODIES;
    const COUNTS: &'static str = "bodycounts";
    const QUOTA: u64 = 512 * 1024 * 1024;
    const FLOWING: usize = 8 * 1024 * 1024;
    const MAX_BYTES: usize = 24 * 1024 * 1024;

    fn n_bytes(&self) -> usize {
        let part = |part: &Option<BodyPart>| part.as_ref().map_or(0, |part| part.content.len() + 128);
        128 + part(&self.request) + part(&self.response)
    }
}
