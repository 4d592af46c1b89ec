//! Declared departures of an upstream from its dialect. Rows of the provider catalogue name them; dialects honour them.

use crate::dialect::Dialect;

/// How an upstream departs from its dialect. `Default` is the dialect as its owner documents it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Does not accept `stream_options`; usage then comes unasked or not at all.
    pub no_stream_options: bool,
    /// Wants `max_tokens`, not `max_completion_tokens`.
    pub max_tokens_name: bool,
    /// Knows no `developer` role; send `system`.
    pub no_developer_role: bool,
    /// Knows no tools at all.
    pub no_tools: bool,
    /// Wants message content as one string.
    pub no_content_arrays: bool,
    /// Only streams: a whole reply must be folded from a stream.
    pub stream_only: bool,
    /// Has no legacy completions, though others of its kind have.
    pub no_completions: bool,
    /// `max_tokens` to send where the dialect demands one and the client gave none.
    pub default_max_tokens: Option<u64>,
}

// === impl Quirks ===

impl Quirks {
    /// Whether a request of `dialect` to this upstream must be understood before it can be sent, so that its bytes cannot just
    /// pass. A legacy prompt has nothing that a server could lack.
    pub fn needs_content(&self, dialect: Dialect) -> bool {
        let departs = self.max_tokens_name || self.no_developer_role || self.no_tools || self.no_content_arrays;
        departs && dialect != Dialect::OpenAiCompletions
    }
}
