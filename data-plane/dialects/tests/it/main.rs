//! Dialects from outside: recorded traffic, and properties that hold for any split of a stream.

mod recorded;
mod openai_chat;
mod openai_completions;
mod counting;
mod tasks;
mod usage;
mod pairs;
mod normalisation;
mod matrix;
