//! What is kept of the bodies of requests, and what is hidden in it. Decided per request by key, route and settings; where nothing is
//! kept, nothing of this is asked.

mod looks;
mod places;
mod walk;

use std::sync::Arc;

use ahash::RandomState;
use gateway_model::bodies::Rule;

use looks::Looks;
use places::Places;

/// A rule, ready to be asked.
#[derive(Debug)]
pub struct Keeping {
    /// As people write it, in JSON.
    written: String,
    pub request: bool,
    pub response: bool,
    /// Of 2^32 requests.
    sample: u64,
    /// Of each body.
    pub max_bytes: usize,
    places: Places,
    looks: Looks,
}

/// What a body is, as far as hiding parts of it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    Json,
    /// Server-sent events, whose data are JSON.
    Events,
    Other,
}

/// What may be kept of a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Kept {
    pub content: Vec<u8>,
    /// Places at which something was hidden.
    pub n_hidden: u32,
    /// It could not be read well enough to hide what is to be hidden; there is no content.
    pub withheld: bool,
}

const HIDDEN: &str = "[redacted]";

// === impl Keeping ===

impl Keeping {
    pub fn compile(rule: &Rule) -> Arc<Self> {
        let max_bytes = rule.max_bytes.map_or(Rule::MAX_BYTES, |bytes| bytes.0.min(Rule::MOST_BYTES));
        let sample = rule.sample.unwrap_or(1.0).clamp(0.0, 1.0);
        Arc::new(Self {
            // Names, numbers and words are JSON.
            written: serde_json::to_string(rule).unwrap_or_default(),
            request: rule.request.unwrap_or(false),
            response: rule.response.unwrap_or(false),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 2^32")]
            sample: (sample * ALL) as u64,
            max_bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX),
            places: Places::compile(&rule.redact),
            looks: Looks::compile(rule.patterns.as_deref()),
        })
    }

    /// The way back.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// Whether anything is kept of the request of this id: the same for whoever asks.
    pub fn takes(&self, id: &str) -> bool {
        (self.request || self.response) && DRAW.hash_one(id) >> 32 < self.sample
    }

    /// What may be kept of a body of which these are the first bytes. `secrets` are hidden whatever the rule says.
    pub fn hide(&self, media: Media, first: &[u8], is_cut: bool, secrets: &[&[u8]]) -> Kept {
        let first = if is_cut { whole_characters(self.looks.whole_words(first)) } else { first };
        let walked = match media {
            Media::Json => walk::json(first, is_cut, &self.places, &self.looks),
            Media::Events => walk::events(first, is_cut, &self.places, &self.looks),
            // Where a member is in it, nobody can say.
            Media::Other if !self.places.is_empty() => None,
            Media::Other => Some(self.looks.hidden_in(first)),
        };
        let Some((mut content, mut n_hidden)) = walked else {
            return Kept { withheld: true, ..Kept::default() };
        };
        for secret in secrets.iter().filter(|secret| secret.len() >= SHORTEST_SECRET) {
            n_hidden += looks::take_out(&mut content, secret);
        }
        content.truncate(self.max_bytes);
        Kept { content, n_hidden, withheld: false }
    }
}

/// Without the beginning of a character that was cut.
fn whole_characters(text: &[u8]) -> &[u8] {
    match std::str::from_utf8(text) {
        Err(error) if error.error_len().is_none() => &text[..error.valid_up_to()],
        _ => text,
    }
}

/// Seeds that stay.
const DRAW: RandomState = RandomState::with_seeds(1, 2, 3, 4);
const ALL: f64 = 4_294_967_296.0;
/// A shorter one is found everywhere.
const SHORTEST_SECRET: usize = 8;

/// By what is written: it says everything.
impl PartialEq for Keeping {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Keeping {}

// === impl Media ===

impl Media {
    pub fn of(content_type: &str) -> Self {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "text/event-stream" => Self::Events,
            // What does not say is a request's, which are JSON unless they say otherwise.
            "" => Self::Json,
            kind if kind.ends_with("json") => Self::Json,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests;
