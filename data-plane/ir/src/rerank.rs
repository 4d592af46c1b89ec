//! A request to order documents by what they say to a question, and its answer, whoever gives it.

use serde_json::value::RawValue;

use crate::usage::Usage;

#[derive(Clone, Debug)]
pub struct Request {
    /// A JSON string.
    pub query: Box<RawValue>,
    /// Each a JSON string or object, as the client wrote it.
    pub documents: Vec<Box<RawValue>>,
    /// Only so many results.
    pub top_n: Option<u64>,
    /// The client wants the documents again, beside their scores.
    pub return_documents: bool,
    /// Members that have no canonical meaning, as the client wrote them.
    pub extra: Vec<(String, Box<RawValue>)>,
}

/// Results in the order of the upstream: the best first.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub id: Option<String>,
    pub results: Vec<Scored>,
    pub model: Option<String>,
    pub usage: Option<Usage>,
    /// What vendors charge for that do not charge by tokens.
    pub search_units: Option<u64>,
}

/// One document's score.
#[derive(Clone, Debug)]
pub struct Scored {
    /// Its place in the request.
    pub index: usize,
    /// A JSON number, as the upstream wrote it.
    pub score: Box<RawValue>,
}
