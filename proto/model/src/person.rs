//! What people who have signed in may do on the admin plane, by name. What each name allows is the control plane's table.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What somebody is to this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PersonRole {
    /// Everything, and alone to name other owners, to export the configuration and to begin an epoch.
    Owner,
    /// Everything else.
    Admin,
    /// Providers, models, routes, settings and nodes; sees the rest, people and the audit log among it.
    Operator,
    /// Prices, budgets and what was spent; sees keys and accounts.
    Billing,
    /// Sees the configuration, the fleet, keys, requests and what was spent, and changes nothing.
    Viewer,
    /// The keys and the spending of the teams that they lead, and nothing else.
    TeamAdmin,
}

// === impl PersonRole ===

impl PersonRole {
    /// The strongest first.
    pub const ALL: [Self; 6] = [Self::Owner, Self::Admin, Self::Operator, Self::Billing, Self::Viewer, Self::TeamAdmin];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Billing => "billing",
            Self::Viewer => "viewer",
            Self::TeamAdmin => "team-admin",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for PersonRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
