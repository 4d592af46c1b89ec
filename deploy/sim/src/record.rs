//! What the nodes did: each change of a class, as the node itself saw it in the moment in which it began to serve.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gateway_model::kind::Class;

/// One change of one class on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Since the simulation began.
    pub at: Duration,
    pub node: usize,
    /// Counts the starts of the node's process.
    pub boot: u32,
    pub class: Class,
    pub epoch: String,
    pub revision: u64,
    pub root: Vec<u8>,
    /// The newest revision of this epoch that is safe on the node's disk then; 0 without one.
    pub persisted: u64,
    pub seen: Seen,
}

/// What really serves then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Keys that were tried, and those with which a request was let in.
    Keys { tried: BTreeSet<u32>, let_in: BTreeSet<u32> },
    /// The compiled configuration's own revision, and its providers.
    Topology { revision: u64, providers: BTreeSet<String> },
}

/// All records in the order in which they were made. Cloning shares.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<Record>>>);

// === impl Journal ===

impl Journal {
    pub fn add(&self, record: Record) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }

    pub fn records(&self) -> Vec<Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last thing that this start of a node did in a class.
    pub fn last(&self, node: usize, boot: u32, class: Class) -> Option<Record> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_class = |record: &&Record| record.node == node && record.boot == boot && record.class == class;
        records.iter().rev().find(of_class).cloned()
    }
}
