//! The guarantees of the fleet channel, in simulated time.

mod watch_guarantees;
