//! The rules of the house, each a pure function from what it reads to a list of findings. `tests/tidy.rs` applies them to
//! this repository; the tests beside each rule prove that it can fail.

pub mod source;
pub mod graph;
pub mod edges;
pub mod externals;
pub mod figures;
pub mod licences;
pub mod order;
pub mod text;
pub mod places;
pub mod promises;
pub mod features;
