//! Why a change was not made. Nothing was written.

use gateway_model::kind::Kind;
use gateway_model::problem::Problem;
use gateway_store::StoredItem;

use crate::permission::Permission;
use crate::vault;

#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("there is no {kind} named `{name}`")]
    NotFound { kind: &'static str, name: String },
    #[error("a {kind} named `{name}` exists already; use PUT to replace it or PATCH to change it")]
    Exists { kind: &'static str, name: String },
    #[error("{kind} `{name}` cannot be given another name; make a new one and delete this one")]
    Renamed { kind: &'static str, name: String },
    #[error(
        "the targets of model `{model}` are chosen by `{is}`, not by `{wanted}`; leave `routing_strategy` out, or change it for all of \
         them with `PUT /v1/management/deployments/alias-strategy`"
    )]
    OtherStrategy { model: String, is: String, wanted: String },
    #[error(
        "key `{name}` cannot have this secret: it is that of key `{other}`; delete `{other}` first, or use another secret"
    )]
    Taken { name: String, other: String },
    #[error("{class} is at revision {head}, not at {expected}; read it again and repeat the change")]
    Moved { class: &'static str, head: u64, expected: u64 },
    #[error("there is no revision before the first one")]
    NothingBefore,
    #[error("others keep changing the configuration; try again")]
    Busy,
    /// Who asks may not.
    #[error("{message}")]
    Forbidden { message: String },
    /// The configuration would not be valid.
    #[error("{message}")]
    Invalid { message: String, problems: Vec<Problem> },
    #[error(
        "{kind} `{name}` is stored in a form that this version cannot read; delete it, or use the version that wrote it"
    )]
    Unreadable { kind: &'static str, name: String },
    #[error(transparent)]
    Store(#[from] gateway_store::Error),
    #[error(transparent)]
    Vault(#[from] vault::Error),
}

// === impl Refusal ===

impl Refusal {
    pub(super) fn invalid(message: String, problems: Vec<Problem>) -> Self {
        Self::Invalid { message, problems }
    }

    pub(super) fn forbidden(kind: Kind, name: &str, missing: Permission) -> Self {
        let message =
            format!("to change {kind} `{name}` takes the permission `{}`, which your role has not", missing.name());
        Self::Forbidden { message }
    }

    pub(super) fn unreadable(item: &StoredItem) -> Self {
        Self::Unreadable { kind: item.kind.name(), name: item.name.clone() }
    }

    /// What is wrong in detail; empty where the message says it all.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Invalid { problems, .. } => problems,
            _ => &[],
        }
    }
}

impl From<Vec<Problem>> for Refusal {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Invalid { message: "the document is refused".to_owned(), problems }
    }
}
