//! The contract between the two planes: generated messages, the protocol's version and limits, and the hash that both
//! sides compute over a class of config. No I/O, no decisions.

/// Generated from `proto/gateway/v1/*.proto`; never edited (see `tests/generated.rs`).
#[allow(clippy::all, clippy::allow_attributes_without_reason, clippy::too_many_lines, unreachable_pub, missing_docs, reason = "generated code")]
#[rustfmt::skip]
#[path = "generated/gateway.v1.rs"]
pub mod v1;
mod redact;
pub mod metric;
pub mod text;
pub mod tree;
pub mod seal;

/// Version of the contract. A control plane accepts nodes of its own and the previous version.
pub const SCHEMA: u32 = 1;

/// Largest piece of a snapshot on the wire; far below the 4 MiB that gRPC peers accept by default.
pub const CHUNK: usize = 512 * 1024;

/// Identity deltas that may be on their way to one node without an answer.
pub const MAX_UNACKED_IDENTITY: usize = 16;

/// Feature names a node announces in `Hello`: the resource kinds it compiles. A publisher never sends other kinds.
pub const FEATURES: &[&str] = &[
    "provider",
    "model",
    "route",
    "price",
    "setting",
    "a2a_agent",
    "organization",
    "team",
    "user",
    "budget",
    "limit",
    "key",
    "pepper",
];

/// Kind of the identity item that carries the pepper; its id is the version in decimal.
pub const PEPPER_KIND: &str = "pepper";
/// Kind of the identity items that carry virtual keys; their id is the key id (`vk_…`).
pub const KEY_KIND: &str = "key";

/// Name in the fleet listener's certificate, whatever address it is reached at: nodes trust the authority, not a host name.
pub const FLEET_SERVER_NAME: &str = "control-plane.gateway.internal";
