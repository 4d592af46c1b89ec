//! The guarantees of the fleet channel, in simulated time, and of what a fleet counts.

mod exact;
mod mutations;
mod watch_guarantees;
