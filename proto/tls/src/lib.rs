//! TLS of the listeners that people and programs call: a certificate from two files, read again when they change, and the door
//! that a connection passes before it is spoken to. Nodes and control planes know each other by other means.

mod certificate;
mod door;
mod stream;

pub use certificate::{Certificate, Error, Files};
pub use door::Door;
pub use stream::Stream;
