//! The canonical conversation: what every dialect is decoded into and encoded from. Values only; no I/O, no async, no clock.
//!
//! A request is a [`chat::ChatRequest`]; a reply, streamed or whole, is a sequence of [`event::Event`]s, and a whole reply is
//! the [`fold`] of that sequence, so that the two can never disagree.

pub mod dialect;
pub mod task;
pub mod offer;
pub mod usage;
pub mod failure;
pub mod extra;
pub mod embeddings;
pub mod rerank;
pub mod chat;
pub mod parameters;
pub mod quirks;
pub mod event;
pub mod legal;
pub mod fold;
pub mod json;
pub mod prompt;
pub mod needs;
pub mod multipart;
pub mod facts;
