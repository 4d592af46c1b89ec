//! Policy on streams that break off: whether another target is asked for the rest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fault, faults};

/// A stream of text that breaks off after the client has been told some of it is gone on with by another target, where that is
/// safe. Never across a tool call, reasoning, a schema or several choices. Requests for which it is on are read and written anew,
/// also where bytes could pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Continuation {
    /// `false` switches off what a farther level says.
    pub enabled: bool,
    /// Times that one reply is gone on with. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 5))]
    pub max: Option<u32>,
    /// The target that broke off may be asked for the rest where nobody else is left. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_target: Option<bool>,
}

// === impl Continuation ===

impl Continuation {
    /// As those of [`super::Retry`].
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let is_wrong = self.max.is_some_and(|max| !(1..=5).contains(&max));
        faults([("continuation.max", "must be from 1 to 5; `enabled: false` means none", is_wrong)])
    }
}
