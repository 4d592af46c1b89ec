//! `priority`: always the first target that is left, equal ones as listed.

use std::sync::Arc;

use crate::snapshot::{Group, Order, Target};

/// A group of targets of the same priority, as listed. Weights mean nothing here.
pub(crate) fn group(targets: Vec<(Arc<Target>, u32)>) -> Group {
    Group::new(targets, Order::Listed)
}
