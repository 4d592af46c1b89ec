//! A ClickHouse that keeps the records of requests, asked over its HTTP interface. What is said to it is taken by version 18.16, which
//! Debian has, and by those of today: no bound parameters, no setting and no function that one of them lacks.
//!
//! Like `db`, this gives no meaning to what is in the rows; what is asked is in `logs::clickhouse`.

mod address;
mod fault;
mod literal;
mod table;
mod client;
mod writer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gateway_model::secret::Secret;
use serde_json::Value;

use crate::error::Error;
use address::Address;
use client::{Client, Request};
use writer::Writer;

pub(crate) use fault::Fault;
pub(crate) use literal::{number, quoted};
pub(crate) use table::{TABLE, stored_day};

/// One server, or what stands before several. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ClickHouse(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    writer: Writer,
    /// The table was there when it was last asked for.
    is_made: AtomicBool,
    /// Why the last call failed; `None` where it did not.
    trouble: Mutex<Option<Fault>>,
}

/// A search that takes longer is looking for too much.
const MOST_SEARCHED: Duration = Duration::from_secs(4);

// === impl ClickHouse ===

impl ClickHouse {
    /// By its address. Nobody is asked yet: a control plane starts while its logs are away.
    pub(crate) fn new(url: &Secret) -> Result<Self, Error> {
        let client = Client::new(Address::parse(url)?).map_err(Error::from)?;
        let inner =
            Inner { client, writer: Writer::default(), is_made: AtomicBool::new(false), trouble: Mutex::default() };
        Ok(Self(Arc::new(inner)))
    }

    /// Rows of a question, which may take four seconds: [`Fault::TimeUp`] says then that it was stopped.
    pub(crate) async fn ask(&self, question: &str) -> Result<Vec<Value>, Fault> {
        let answer = self.noted(self.asked(question).await)?;
        let rows = answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(serde_json::from_slice);
        rows.collect::<Result<_, _>>().map_err(|_| self.0.client.unreadable())
    }

    /// Changes the table.
    pub(crate) async fn alter(&self, statement: &str) -> Result<(), Fault> {
        let altered = async {
            self.make().await?;
            self.0.client.call(Request::of(statement)).await.map(drop)
        };
        self.noted(altered.await)
    }

    /// Rows as objects without what [`table::end`] puts behind each. They are there when this returns; where it fails they may be.
    pub(crate) async fn write(&self, at_ms: i64, rows: Vec<String>) -> Result<(), Fault> {
        let insert = |lines: Vec<u8>| async move {
            self.make().await?;
            self.0.client.call(Request::insert(lines)).await.map(drop)
        };
        self.noted(self.0.writer.write(at_ms, rows, insert).await)
    }

    /// Sees to it that the table is there.
    pub(crate) async fn make(&self) -> Result<(), Fault> {
        if !self.0.is_made.load(Ordering::Relaxed) {
            let made = self.0.client.call(Request::of(table::CREATE)).await;
            self.noted(made)?;
            self.0.is_made.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    pub(crate) fn trouble(&self) -> Option<Fault> {
        self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn asked(&self, question: &str) -> Result<Vec<u8>, Fault> {
        self.make().await?;
        self.0.client.call(Request::of(question).within(MOST_SEARCHED)).await
    }

    /// Remembers how a call went, for who asks how the logs are.
    fn noted<T>(&self, outcome: Result<T, Fault>) -> Result<T, Fault> {
        if matches!(outcome, Err(Fault::NoTable)) {
            self.0.is_made.store(false, Ordering::Relaxed);
        }
        let fault = outcome.as_ref().err().filter(|fault| !matches!(fault, Fault::TimeUp)).cloned();
        *self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        outcome
    }
}
