//! The node as its clients see it: a real node from a file, a scripted upstream, HTTP in between.

mod gateway;
mod wires;
mod gemini;
mod vertex;
mod lanes;
mod responses;
mod vendors;
mod steering;
mod streaming;
mod completions;
mod azure;
mod counting;
mod embeddings;
mod tasks;
mod multipart;
mod parameters;
mod endings;
mod refusals;
mod reload;
mod tls;
mod fleet;
mod control;
mod channel;
mod member;
mod disk;
mod revisions;
