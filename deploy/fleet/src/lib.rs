//! What the tests of a whole fleet are made of.

pub mod keys;
pub mod memory;
