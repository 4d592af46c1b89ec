//! How replies end.

use gateway_ir::failure::{Code, Failure};

/// How a reply ended; a word per way, in logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Finished,
    ClientGone,
    UpstreamCut,
    /// Refused by us before any upstream was asked.
    Refused,
    /// Every attempt failed.
    Failed,
    Timeout,
    /// A budget that cuts had no more for it.
    Budget,
    /// The key was revoked.
    Revoked,
    /// The node's drain ran out of time.
    Shutdown,
}

// === impl Ending ===

impl Ending {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::ClientGone => "client_gone",
            Self::UpstreamCut => "upstream_cut",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Budget => "budget",
            Self::Revoked => "revoked",
            Self::Shutdown => "shutdown",
        }
    }

    /// How a reply ended that this failure ended.
    pub(crate) fn of(failure: &Failure, asked_upstream: bool) -> Self {
        match failure.code {
            Code::ClientGone => Self::ClientGone,
            Code::UpstreamCut => Self::UpstreamCut,
            Code::FirstByteTimeout | Code::IdleTimeout | Code::TotalTimeout | Code::ConnectTimeout => Self::Timeout,
            Code::InvalidCredential if asked_upstream => Self::Revoked,
            Code::ShuttingDown => Self::Shutdown,
            Code::RateLimited | Code::BudgetUnavailable if asked_upstream => Self::Budget,
            _ if asked_upstream => Self::Failed,
            _ => Self::Refused,
        }
    }
}
