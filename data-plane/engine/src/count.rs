//! A count of tokens where the upstream gave none. An estimate, marked as such wherever it is shown.

use gateway_ir::usage::Usage;

/// Bytes of English text per token in the vocabularies that are common today. Other scripts have fewer bytes per token in
/// new vocabularies and more tokens per byte in old ones, and the JSON around the text counts in full, so the estimate is
/// rather too high than too low for a request and about right for a reply's text.
const BYTES_PER_TOKEN: u64 = 4;

/// Tokens of a request body and of a reply's content by their bytes, each rounded up. All of the prompt counts as uncached.
pub fn estimate(n_input_bytes: u64, n_output_bytes: u64) -> Usage {
    Usage {
        input: n_input_bytes.div_ceil(BYTES_PER_TOKEN),
        output: n_output_bytes.div_ceil(BYTES_PER_TOKEN),
        ..Usage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_up_and_never_overflows() {
        for (n_bytes, tokens) in [(0, 0), (1, 1), (4, 1), (5, 2), (u64::MAX, 1 << 62)] {
            let usage = estimate(n_bytes, n_bytes);
            assert_eq!((usage.input, usage.output, usage.total()), (tokens, tokens, 2 * tokens));
        }
    }
}
