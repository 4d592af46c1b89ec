//! `priority`: always the first target that is left, equal ones as listed.

use std::sync::Arc;

use crate::snapshot::{Group, Order, Target};

/// A group of targets of the same priority, as listed; those of weight 0 come last, and other weights mean nothing here.
pub(crate) fn group(mut targets: Vec<(Arc<Target>, u32)>) -> Group {
    targets.sort_by_key(|(_, weight)| *weight == 0);
    Group::new(targets, Order::Listed)
}
