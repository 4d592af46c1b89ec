//! What an attempt that succeeds comes back with.

use gateway_ir::failure::Failure;
use gateway_ir::usage::Tier;

use super::Answer;

/// An answer with what its head says, and what its target could not be told.
pub(super) type Told = Result<(Answer, Head, Vec<String>), Box<Failure>>;

/// What is of interest in the head of an answer.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Where the body need not say in which it was served.
    pub(super) tier: Tier,
}

// === impl Head ===

impl From<u16> for Head {
    fn from(status: u16) -> Self {
        Self { status, tier: Tier::default() }
    }
}
