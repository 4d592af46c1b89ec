//! The guarantees of the fleet channel, in simulated time.

mod mutations;
mod watch_guarantees;
