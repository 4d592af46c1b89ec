//! Tokens by class. The classes are disjoint, whatever shape a vendor reports, so that sums and prices are exact.

/// What one request used. `input` excludes cache reads and writes; `reasoning` is a part of `output`, not beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: u64,
    pub cache_read: u64,
    /// Cache writes with the short (5 minute) lifetime, or of unknown lifetime.
    pub cache_write: u64,
    pub cache_write_1h: u64,
    pub output: u64,
    pub reasoning: u64,
    pub input_audio: u64,
    pub output_audio: u64,
}

// === impl Usage ===

impl Usage {
    /// All prompt tokens, in the sense of OpenAI's `prompt_tokens`: cache reads and writes included.
    pub fn prompt(&self) -> u64 {
        self.input.saturating_add(self.cache_read).saturating_add(self.cache_write).saturating_add(self.cache_write_1h)
    }

    /// OpenAI's `total_tokens`.
    pub fn total(&self) -> u64 {
        self.prompt().saturating_add(self.output)
    }

    /// Of both together. No class overflows.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let sum = |of: fn(&Self) -> u64| of(self).saturating_add(of(other));
        Self {
            input: sum(|usage| usage.input),
            cache_read: sum(|usage| usage.cache_read),
            cache_write: sum(|usage| usage.cache_write),
            cache_write_1h: sum(|usage| usage.cache_write_1h),
            output: sum(|usage| usage.output),
            reasoning: sum(|usage| usage.reasoning),
            input_audio: sum(|usage| usage.input_audio),
            output_audio: sum(|usage| usage.output_audio),
        }
    }
}
