//! The guarantees of the fleet channel, in simulated time.

mod mutations;
mod same_seed;
mod watch_guarantees;
