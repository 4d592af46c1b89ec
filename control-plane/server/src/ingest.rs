//! What nodes report: usage, counted once however often it arrives; log records, stored and passed on to those who follow.
//!
//! Everything is acknowledged after it was committed, so that what is lost on the way comes again.

mod terms;
mod rows;
mod bodies;

use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use gateway_store::logs::LogRow;
use gateway_store::usage::{Sender, UsageRow};
use gateway_store::{Error, Store};
use gateway_wire::v1::{BodyBatch, IngestAck, LogBatch, UsageBatch};
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_stream::wrappers::BroadcastStream;
use tonic::Status;

pub(crate) use self::bodies::document;
use crate::clock;
use crate::meters::Meters;

/// Records that a follower may lag behind before it misses some.
const BACKLOG: usize = 1024;
/// Of one batch; a node sends fewer.
const MAX_RECORDS: usize = 10_000;

/// Log records as they arrive.
#[derive(Clone, Debug)]
pub struct Tail(broadcast::Sender<Arc<LogRow>>);

/// The way into the store.
#[derive(Debug)]
pub struct Ingest {
    store: Store,
    tail: Tail,
    meters: Arc<Meters>,
}

// === impl Tail ===

impl Tail {
    pub fn new() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }

    /// Records from now on. One that is too slow misses some; they are in the store.
    pub fn subscribe(&self) -> impl Stream<Item = Arc<LogRow>> + Send + use<> {
        BroadcastStream::new(self.0.subscribe()).filter_map(|row| std::future::ready(row.ok()))
    }

    pub(crate) fn n_followers(&self) -> usize {
        self.0.receiver_count()
    }

    pub fn send(&self, row: Arc<LogRow>) {
        // Nobody following is no error.
        let _ = self.0.send(row);
    }
}

impl Default for Tail {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Ingest ===

impl Ingest {
    pub fn new(store: Store, tail: Tail, meters: Arc<Meters>) -> Self {
        Self { store, tail, meters }
    }

    /// Events, sums and watermark in one transaction; safe to send again.
    pub async fn usage(&self, batch: UsageBatch) -> Result<IngestAck, Status> {
        let began = Instant::now();
        self.check("usage", &batch.node_id, &batch.boot_id, batch.first_seq, batch.events.len())?;
        let last = batch.first_seq + batch.events.len() as u64 - 1;
        let rows: Vec<UsageRow> = batch.events.into_iter().map(|event| rows::usage(&batch.node_id, event)).collect();
        let from = Sender { node: &batch.node_id, boot: &batch.boot_id, at_ms: clock::unix_ms() };
        let stored = self.store.ingest_usage(from, batch.lane, batch.first_seq, &rows).await;
        // A database that was made anew does not know what it had before; the node has deleted that on its word. What is in
        // this batch is stored, and batches come in order.
        let stored = stored.map_err(|error| self.refused("usage", &error))?.max(last);
        self.meters.ingested("usage", rows.len(), began.elapsed().as_secs_f64());
        Ok(IngestAck { up_to_seq: stored, lane: batch.lane, boot_id: batch.boot_id })
    }

    pub(crate) async fn logs(&self, batch: LogBatch) -> Result<IngestAck, Status> {
        let began = Instant::now();
        self.check("logs", &batch.node_id, &batch.boot_id, batch.first_seq, batch.records.len())?;
        let rows: Vec<LogRow> = batch.records.iter().map(rows::log).collect();
        let from = Sender { node: &batch.node_id, boot: &batch.boot_id, at_ms: clock::unix_ms() };
        let stored = self.store.ingest_logs(from, batch.first_seq, &rows, batch.dropped_total).await;
        let up_to_seq = stored.map_err(|error| self.refused("logs", &error))?;
        self.meters.ingested("logs", rows.len(), began.elapsed().as_secs_f64());
        rows.into_iter().for_each(|row| self.tail.send(Arc::new(row)));
        Ok(IngestAck { up_to_seq, lane: 0, boot_id: batch.boot_id })
    }

    pub(crate) async fn bodies(&self, batch: BodyBatch) -> Result<IngestAck, Status> {
        let began = Instant::now();
        self.check("bodies", &batch.node_id, &batch.boot_id, batch.first_seq, batch.bodies.len())?;
        let rows = batch.bodies.into_iter().map(bodies::row).collect::<Result<Vec<_>, _>>();
        let rows = rows.map_err(|error| Status::internal(format!("bodies cannot be compressed: {error}")))?;
        let n_rows = rows.len();
        let from = Sender { node: &batch.node_id, boot: &batch.boot_id, at_ms: clock::unix_ms() };
        let stored = self.store.ingest_bodies(from, batch.first_seq, rows, batch.dropped_total).await;
        let up_to_seq = stored.map_err(|error| self.refused("bodies", &error))?;
        self.meters.ingested("bodies", n_rows, began.elapsed().as_secs_f64());
        Ok(IngestAck { up_to_seq, lane: 0, boot_id: batch.boot_id })
    }

    fn check(
        &self,
        class: &'static str,
        node_id: &str,
        boot_id: &str,
        first_seq: u64,
        n_records: usize,
    ) -> Result<(), Status> {
        check(node_id, boot_id, first_seq, n_records).inspect_err(|_| self.meters.batch(class, "invalid"))
    }

    /// The node keeps what it has and comes again.
    fn refused(&self, class: &'static str, error: &Error) -> Status {
        self.meters.batch(class, "failed");
        self.meters.database_failed("ingest", error);
        tracing::error!(
            error = error as &dyn std::error::Error,
            "what a node reports cannot be stored, it will come again"
        );
        Status::unavailable("the control plane cannot write its database")
    }
}

fn check(node_id: &str, boot_id: &str, first_seq: u64, n_records: usize) -> Result<(), Status> {
    crate::fleet::check_id(node_id)?;
    crate::fleet::check_id(boot_id)?;
    if n_records == 0 || n_records > MAX_RECORDS || first_seq == 0 {
        return Err(Status::invalid_argument(format!("a batch must hold 1 to {MAX_RECORDS} records, numbered from 1")));
    }
    Ok(())
}
