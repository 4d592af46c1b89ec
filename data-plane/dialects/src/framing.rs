//! How a stream of bytes is cut into messages. Knows no dialect.

pub mod sse;
pub(crate) mod passing;
