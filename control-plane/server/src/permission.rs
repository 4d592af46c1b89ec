//! Who may do what: the permissions there are, and one table of what each role has. What is not in the table is not allowed.

use std::sync::Arc;

use gateway_model::kind::Kind;
use gateway_model::person::PersonRole;

/// Something that may be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// How the gateway is doing: its version and its load.
    StatusRead,
    /// Providers, models, routes, limits, agents, settings, and their history.
    ConfigRead,
    ConfigWrite,
    /// Nodes, the rollout, join tokens.
    FleetRead,
    FleetWrite,
    KeysRead,
    KeysWrite,
    /// Organizations, teams and users.
    AccountsRead,
    AccountsWrite,
    /// Prices and budgets.
    MoneyRead,
    MoneyWrite,
    /// Sums of what was spent.
    SpendRead,
    /// Single requests: log and usage, and where one would go.
    RequestsRead,
    /// What was asked and answered in them, where that is kept.
    BodiesRead,
    AuditRead,
    /// Who may sign in and as what; their passwords and sessions.
    PeopleRead,
    PeopleWrite,
    /// Other owners, the sealed snapshot, a new epoch.
    Ownership,
}

/// Whether something is looked at or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    Reading,
    Writing,
}

/// What somebody may do, and on whose account.
#[derive(Clone, Debug)]
pub struct Grant {
    role: PersonRole,
    /// Of a team-admin.
    teams: Arc<[String]>,
}

/// Beside these, anybody who is signed in may see and end their own session.
const fn permissions(role: PersonRole) -> &'static [Permission] {
    use Permission::*;
    match role {
        PersonRole::Owner => &Permission::ALL,
        PersonRole::Admin => &[
            StatusRead,
            ConfigRead,
            ConfigWrite,
            FleetRead,
            FleetWrite,
            KeysRead,
            KeysWrite,
            AccountsRead,
            AccountsWrite,
            MoneyRead,
            MoneyWrite,
            SpendRead,
            RequestsRead,
            BodiesRead,
            AuditRead,
            PeopleRead,
            PeopleWrite,
        ],
        PersonRole::Operator => &[
            StatusRead,
            ConfigRead,
            ConfigWrite,
            FleetRead,
            FleetWrite,
            KeysRead,
            AccountsRead,
            MoneyRead,
            SpendRead,
            RequestsRead,
            AuditRead,
            PeopleRead,
        ],
        PersonRole::Billing => &[StatusRead, KeysRead, AccountsRead, MoneyRead, MoneyWrite, SpendRead],
        PersonRole::Viewer => {
            &[StatusRead, ConfigRead, FleetRead, KeysRead, AccountsRead, MoneyRead, SpendRead, RequestsRead]
        }
        // Each of them for its own teams only: see `Grant::teams`.
        PersonRole::TeamAdmin => &[KeysRead, KeysWrite, AccountsRead, MoneyRead, SpendRead],
    }
}

// === impl Permission ===

impl Permission {
    pub const ALL: [Self; 18] = [
        Self::StatusRead,
        Self::ConfigRead,
        Self::ConfigWrite,
        Self::FleetRead,
        Self::FleetWrite,
        Self::KeysRead,
        Self::KeysWrite,
        Self::AccountsRead,
        Self::AccountsWrite,
        Self::MoneyRead,
        Self::MoneyWrite,
        Self::SpendRead,
        Self::RequestsRead,
        Self::BodiesRead,
        Self::AuditRead,
        Self::PeopleRead,
        Self::PeopleWrite,
        Self::Ownership,
    ];

    /// What it takes to see or change resources of a kind.
    pub fn of(kind: Kind, doing: Doing) -> Self {
        let (reading, writing) = match kind {
            Kind::Key => (Self::KeysRead, Self::KeysWrite),
            Kind::Organization | Kind::Team | Kind::User => (Self::AccountsRead, Self::AccountsWrite),
            Kind::Price | Kind::Budget => (Self::MoneyRead, Self::MoneyWrite),
            Kind::Setting
            | Kind::Provider
            | Kind::Model
            | Kind::Route
            | Kind::A2aAgent
            | Kind::Limit
            | Kind::Exporter => (Self::ConfigRead, Self::ConfigWrite),
        };
        match doing {
            Doing::Reading => reading,
            Doing::Writing => writing,
        }
    }

    /// As refusals and the dashboard call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::StatusRead => "status:read",
            Self::ConfigRead => "config:read",
            Self::ConfigWrite => "config:write",
            Self::FleetRead => "fleet:read",
            Self::FleetWrite => "fleet:write",
            Self::KeysRead => "keys:read",
            Self::KeysWrite => "keys:write",
            Self::AccountsRead => "accounts:read",
            Self::AccountsWrite => "accounts:write",
            Self::MoneyRead => "money:read",
            Self::MoneyWrite => "money:write",
            Self::SpendRead => "spend:read",
            Self::RequestsRead => "requests:read",
            Self::BodiesRead => "bodies:read",
            Self::AuditRead => "audit:read",
            Self::PeopleRead => "people:read",
            Self::PeopleWrite => "people:write",
            Self::Ownership => "ownership",
        }
    }
}

// === impl Grant ===

impl Grant {
    /// `teams` are those that a team-admin leads; to any other role they say nothing.
    pub fn new(role: PersonRole, teams: &[String]) -> Self {
        Self { role, teams: if role == PersonRole::TeamAdmin { teams.into() } else { Arc::default() } }
    }

    pub fn role(&self) -> PersonRole {
        self.role
    }

    pub fn may(&self, permission: Permission) -> bool {
        permissions(self.role).contains(&permission)
    }

    /// What it allows, by name.
    pub fn names(&self) -> Vec<&'static str> {
        permissions(self.role).iter().map(|permission| permission.name()).collect()
    }

    /// The only teams whose things are seen and changed; `None` where it is not about teams.
    pub fn teams(&self) -> Option<&[String]> {
        (self.role == PersonRole::TeamAdmin).then_some(&*self.teams)
    }

    /// Whether what is on this team's account may be touched.
    pub fn reaches(&self, team: Option<&str>) -> bool {
        self.teams().is_none_or(|teams| team.is_some_and(|team| teams.iter().any(|own| own == team)))
    }
}

/// Of this process itself: what is done at its start, and for who has its master key.
impl Default for Grant {
    fn default() -> Self {
        Self::new(PersonRole::Owner, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_what_it_is_for() {
        use Permission::*;
        for (role, has, lacks) in [
            (PersonRole::Admin, vec![KeysWrite, PeopleWrite, ConfigWrite], vec![Ownership]),
            (
                PersonRole::Operator,
                vec![ConfigWrite, FleetWrite],
                vec![BodiesRead, KeysWrite, AccountsWrite, MoneyWrite, PeopleWrite],
            ),
            (PersonRole::Billing, vec![MoneyWrite, SpendRead], vec![ConfigRead, RequestsRead, KeysWrite, AuditRead]),
            (PersonRole::Viewer, vec![ConfigRead, RequestsRead], vec![BodiesRead, AuditRead, PeopleRead]),
            (
                PersonRole::TeamAdmin,
                vec![KeysWrite, SpendRead],
                vec![RequestsRead, ConfigRead, AccountsWrite, MoneyWrite],
            ),
        ] {
            let grant = Grant::new(role, &[]);
            assert!(has.iter().all(|one| grant.may(*one)), "{role} has {has:?}");
            assert!(!lacks.iter().any(|one| grant.may(*one)), "{role} lacks {lacks:?}");
        }
        let viewer = Grant::new(PersonRole::Viewer, &[]);
        assert!(viewer.names().iter().all(|name| name.ends_with(":read")), "viewers change nothing");
        assert!(Permission::ALL.into_iter().all(|one| Grant::default().may(one)));
    }

    #[test]
    fn a_team_admin_reaches_its_teams_only() {
        let grant = Grant::new(PersonRole::TeamAdmin, &["search".to_owned()]);
        for (team, expected) in [(Some("search"), true), (Some("sales"), false), (None, false)] {
            assert_eq!(grant.reaches(team), expected, "{team:?}");
        }
        assert!(Grant::default().reaches(None));
        assert!(!Grant::new(PersonRole::TeamAdmin, &[]).reaches(Some("search")), "who leads nothing reaches nothing");
    }
}
