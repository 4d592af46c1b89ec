//! The fleet channel in simulated time: real publishers, sessions and nodes on a simulated network, with everything that can go
//! wrong drawn from a seed, and validators over what each node recorded. For tests only.

pub mod thing;
pub mod history;
pub mod access;
pub mod record;
pub mod replica;
pub mod node;
pub mod script;
pub mod validate;
pub mod world;
