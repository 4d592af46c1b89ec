//! The resource language: what people write, what the store keeps, what travels to the nodes. No I/O, no async, no clock.
//!
//! One set of types is the YAML file, the admin API's body, the stored text and the payload on the stream.

pub mod problem;
pub mod secret;
pub mod token;
pub mod unit;
pub mod pattern;
pub mod catalog;
pub mod policy;
pub mod cache;
pub mod bodies;
pub mod limits;
pub mod access;
pub mod person;
pub mod kind;
pub mod document;
pub mod set;
pub mod file;
pub mod schema;
