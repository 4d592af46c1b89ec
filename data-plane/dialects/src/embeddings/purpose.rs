//! What vectors are for, in the words of each vendor.

use gateway_ir::embeddings::Purpose;

/// In the order of [`Vendor`]; empty where it has no word.
const WORDS: [(Purpose, [&str; 4]); 5] = [
    (Purpose::Query, ["search_query", "query", "RETRIEVAL_QUERY", "retrieval.query"]),
    (Purpose::Document, ["search_document", "document", "RETRIEVAL_DOCUMENT", "retrieval.passage"]),
    (Purpose::Classification, ["classification", "", "CLASSIFICATION", "classification"]),
    (Purpose::Clustering, ["clustering", "", "CLUSTERING", "separation"]),
    (Purpose::Similarity, ["", "", "SEMANTIC_SIMILARITY", "text-matching"]),
];

/// Whose words.
#[derive(Clone, Copy, Debug)]
pub(super) enum Vendor {
    Cohere,
    Voyage,
    Gemini,
    Jina,
}

/// Any vendor's word for it.
pub(super) fn parse(word: &str) -> Option<Purpose> {
    // OpenAI-compatible servers of search models say `passage`.
    let word = if word == "passage" { "document" } else { word };
    let known = |(_, words): &&(Purpose, [&str; 4])| !word.is_empty() && words.contains(&word);
    WORDS.iter().find(known).map(|(purpose, _)| *purpose)
}

/// The vendor's word; `None` where it makes no such distinction.
pub(super) fn word(purpose: Purpose, vendor: Vendor) -> Option<&'static str> {
    let (_, words) = WORDS.iter().find(|(known, _)| *known == purpose)?;
    Some(words[vendor as usize]).filter(|word| !word.is_empty())
}
