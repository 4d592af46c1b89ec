//! The wire languages. One module per dialect, each in both directions; pure, so that it can be fuzzed.
//!
//! Knows nothing of providers, keys, routes or sockets.

mod fields;
pub mod dialect;
pub mod framing;
mod writer;
mod reading;
mod counts;
mod call_id;
mod sequence;
mod choices;
mod dropped;
mod counting;
mod patience;
mod refused;
mod media;
pub mod units;
pub mod task;
mod items;
pub mod signed_id;
pub mod repair;
pub mod openai_chat;
pub mod openai_completions;
pub mod openai_responses;
pub mod anthropic_messages;
pub mod gemini_generate;
pub mod cohere_v2;
pub mod ollama_chat;
pub mod bedrock_converse;
mod embeddings;
mod rerank;
pub mod task_events;
mod passing;
pub mod fitting;
pub mod listing;
pub mod registry;
pub mod legal;
