//! A request for embeddings and its answer, whoever gives it.

use serde_json::value::RawValue;

use crate::usage::Usage;

/// What is to be embedded, and how.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub inputs: Vec<Input>,
    pub dimensions: Option<u64>,
    pub encoding: Encoding,
    /// What the vectors are for; vendors that distinguish this give other vectors for each.
    pub purpose: Option<Purpose>,
    pub user: Option<String>,
    /// Members that have no canonical meaning, as the client wrote them.
    pub extra: Vec<(String, Box<RawValue>)>,
}

/// One input, as the client wrote it: nothing is lost between vendors that write JSON.
#[derive(Clone, Debug)]
pub enum Input {
    /// A JSON string.
    Text(Box<RawValue>),
    /// A JSON array of token numbers, and how many they are. Only OpenAI's vocabularies are meant.
    Tokens(Box<RawValue>, usize),
}

/// How a vector is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// An array of numbers.
    #[default]
    Float,
    /// Standard base64 of 32-bit floats, least significant byte first.
    Base64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Query,
    Document,
    Classification,
    Clustering,
    Similarity,
}

/// One vector for each input, in the order of the inputs.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub vectors: Vec<Vector>,
    pub model: Option<String>,
    pub usage: Option<Usage>,
}

/// A vector as the upstream wrote it.
#[derive(Clone, Debug)]
pub enum Vector {
    /// A JSON array.
    Numbers(Box<RawValue>),
    Base64(String),
}
