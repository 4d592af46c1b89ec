//! The table of resource kinds.

pub mod model;
pub mod provider;
pub mod route;
pub mod budget;
pub mod limit;
pub mod key;
pub mod price;
pub mod settings;
pub mod a2a_agent;
pub mod tenant;
pub mod exporter;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A kind of resource. The order is the order of application: what others refer to comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Setting,
    Provider,
    Price,
    Model,
    Route,
    A2aAgent,
    Organization,
    Team,
    User,
    Budget,
    Limit,
    Exporter,
    Key,
}

/// The line of revisions a kind belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    Topology,
    Identity,
}

/// What is fixed for a kind.
pub struct Row {
    pub kind: Kind,
    /// In documents, on the wire, in audit events: `provider`.
    pub name: &'static str,
    /// In files and in URLs: `providers`.
    pub plural: &'static str,
    pub class: Class,
    /// Field paths that hold secrets; `[]` stands for the name of any item.
    pub secrets: &'static [&'static str],
    /// Fields of the design that this version does not honour yet: refused as `unsupported_yet`.
    pub unsupported: &'static [&'static str],
    pub about: &'static str,
}

/// One row per kind, in the order of [`Kind`].
pub const ROWS: &[Row] = &[
    Row {
        kind: Kind::Setting,
        name: "setting",
        plural: "settings",
        class: Class::Topology,
        secrets: &["alerts[].url", "alerts[].secret", "introspection[].client_secret"],
        unsupported: &["guardrails", "capture", "breaker"],
        about: "what holds for the whole gateway",
    },
    Row {
        kind: Kind::Provider,
        name: "provider",
        plural: "providers",
        class: Class::Topology,
        secrets: &[
            "api_key",
            "aws.secret_access_key",
            "aws.session_token",
            "gcp.service_account_json",
            "api_keys[].key",
        ],
        unsupported: &["allowed_models", "cache", "guardrails", "capture"],
        about: "one upstream account",
    },
    Row {
        kind: Kind::Price,
        name: "price",
        plural: "prices",
        class: Class::Topology,
        secrets: &[],
        unsupported: &[],
        about: "what a provider charges for a model",
    },
    Row {
        kind: Kind::Model,
        name: "model",
        plural: "models",
        class: Class::Topology,
        secrets: &[],
        unsupported: &["guardrails", "capture", "system_prompt", "defaults", "mcp_servers", "tiers"],
        about: "a public model name and the targets behind it",
    },
    Row {
        kind: Kind::Route,
        name: "route",
        plural: "routes",
        class: Class::Topology,
        secrets: &[],
        unsupported: &["targets", "guardrails", "capture", "breaker"],
        about: "an ordered rule that sends requests to a model",
    },
    Row {
        kind: Kind::A2aAgent,
        name: "a2a_agent",
        plural: "a2a_agents",
        class: Class::Topology,
        secrets: &["api_key"],
        unsupported: &[],
        about: "an agent behind the gateway",
    },
    Row {
        kind: Kind::Organization,
        name: "organization",
        plural: "organizations",
        class: Class::Topology,
        secrets: &[],
        unsupported: &[],
        about: "an account of teams and users",
    },
    Row {
        kind: Kind::Team,
        name: "team",
        plural: "teams",
        class: Class::Topology,
        secrets: &[],
        unsupported: &["models"],
        about: "people and programs that work on one thing",
    },
    Row {
        kind: Kind::User,
        name: "user",
        plural: "users",
        class: Class::Topology,
        secrets: &[],
        unsupported: &["models", "roles", "password"],
        about: "a person, or a program with an account of its own",
    },
    Row {
        kind: Kind::Budget,
        name: "budget",
        plural: "budgets",
        class: Class::Topology,
        secrets: &[],
        unsupported: &[],
        about: "an amount of money that all requests of a kind share",
    },
    Row {
        kind: Kind::Limit,
        name: "limit",
        plural: "limits",
        class: Class::Topology,
        secrets: &[],
        unsupported: &[],
        about: "limits that all requests of a kind share",
    },
    Row {
        kind: Kind::Exporter,
        name: "exporter",
        plural: "exporters",
        class: Class::Topology,
        secrets: &["url", "api_key", "secret", "s3.secret_access_key"],
        unsupported: &[],
        about: "where records of requests are sent",
    },
    Row {
        kind: Kind::Key,
        name: "key",
        plural: "keys",
        class: Class::Identity,
        secrets: &["secret"],
        unsupported: &["routes", "service_account"],
        about: "a virtual key that applications present",
    },
];

/// Plural names of kinds of the design that this version does not serve yet.
pub const UNSUPPORTED_KINDS: &[&str] = &["guardrails", "mcp_servers"];

// === impl Kind ===

impl Kind {
    pub const ALL: [Self; 13] = [
        Self::Setting,
        Self::Provider,
        Self::Price,
        Self::Model,
        Self::Route,
        Self::A2aAgent,
        Self::Organization,
        Self::Team,
        Self::User,
        Self::Budget,
        Self::Limit,
        Self::Exporter,
        Self::Key,
    ];

    pub fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.row().name
    }

    pub fn plural(self) -> &'static str {
        self.row().plural
    }

    pub fn class(self) -> Class {
        self.row().class
    }

    /// Whether nodes work by it. What is not for them is not sent to them.
    pub fn is_for_nodes(self) -> bool {
        self != Self::Exporter
    }

    /// By name or plural.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == word || kind.plural() == word)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

// === impl Class ===

impl Class {
    pub const ALL: [Self; 2] = [Self::Topology, Self::Identity];

    pub fn name(self) -> &'static str {
        match self {
            Self::Topology => "topology",
            Self::Identity => "identity",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_the_kinds() {
        for (position, row) in ROWS.iter().enumerate() {
            assert_eq!(row.kind as usize, position, "{}", row.name);
        }
        assert_eq!(Kind::ALL.len(), ROWS.len());
    }
}
