//! What a route takes of who calls it.

use crate::permission::{Doing, Permission};

/// Every route says one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: health, readiness, metrics, the reference of the API.
    Nothing,
    /// No credential yet: this is where people show one.
    Greeting,
    /// Somebody we know, whatever they may do beside.
    Anybody,
    Of(Permission),
    /// What its kind takes, which the path names.
    OfKind(Doing),
}

// === impl Need ===

impl Need {
    /// As documentation tells it.
    pub fn told(self) -> String {
        match self {
            Self::Nothing => "Takes no credential.".to_owned(),
            Self::Greeting => "Takes no credential but what is shown here.".to_owned(),
            Self::Anybody => "Takes the master key or a session.".to_owned(),
            Self::Of(permission) => format!("Takes the permission `{}`.", permission.name()),
            Self::OfKind(Doing::Reading) => "Takes the permission to read resources of this kind.".to_owned(),
            Self::OfKind(Doing::Writing) => "Takes the permission to write resources of this kind.".to_owned(),
        }
    }
}
