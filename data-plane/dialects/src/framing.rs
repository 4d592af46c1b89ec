//! How a stream of bytes is cut into messages. Knows no dialect.

pub mod eventstream;
pub(crate) mod ndjson;
pub mod sse;
pub(crate) mod passing;
pub mod array;
