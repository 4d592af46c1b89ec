//! A whole configuration. What is wrong with one is in `validate`.

mod validate;

use crate::document::Resource;
use crate::kind::a2a_agent::A2aAgent;
use crate::kind::budget::BudgetRule;
use crate::kind::exporter::Exporter;
use crate::kind::key::Key;
use crate::kind::limit::LimitRule;
use crate::kind::model::Model;
use crate::kind::price::Price;
use crate::kind::provider::Provider;
use crate::kind::route::Route;
use crate::kind::settings::Settings;
use crate::kind::tenant::{Organization, Team, User};
use crate::problem::Problem;

/// Everything that is configured, as people name it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Set {
    pub settings: Settings,
    pub providers: Vec<Provider>,
    pub prices: Vec<Price>,
    pub models: Vec<Model>,
    /// In the order in which they are tried.
    pub routes: Vec<Route>,
    pub a2a_agents: Vec<A2aAgent>,
    pub organizations: Vec<Organization>,
    pub teams: Vec<Team>,
    pub users: Vec<User>,
    pub budgets: Vec<BudgetRule>,
    pub limits: Vec<LimitRule>,
    pub exporters: Vec<Exporter>,
    pub keys: Vec<Key>,
}

// === impl Set ===

impl Set {
    /// Collects resources; routes are put in their order.
    pub fn from_resources(resources: impl IntoIterator<Item = Resource>) -> Self {
        let mut set = Self::default();
        for resource in resources {
            match resource {
                Resource::Settings(settings) => set.settings = *settings,
                Resource::Provider(provider) => set.providers.push(*provider),
                Resource::Price(price) => set.prices.push(*price),
                Resource::Model(model) => set.models.push(*model),
                Resource::Route(route) => set.routes.push(*route),
                Resource::A2aAgent(agent) => set.a2a_agents.push(*agent),
                Resource::Organization(organization) => set.organizations.push(*organization),
                Resource::Team(team) => set.teams.push(*team),
                Resource::User(user) => set.users.push(*user),
                Resource::Budget(budget) => set.budgets.push(*budget),
                Resource::Limit(limit) => set.limits.push(*limit),
                Resource::Exporter(exporter) => set.exporters.push(*exporter),
                Resource::Key(key) => set.keys.push(*key),
            }
        }
        // Stable: equal ones stay as listed.
        set.routes.sort_by_key(|route| route.order.unwrap_or(i64::MAX));
        set
    }

    /// All of it, in order of application: what others refer to comes first.
    pub fn resources(&self) -> Vec<Resource> {
        let settings =
            (self.settings != Settings::default()).then(|| Resource::Settings(Box::new(self.settings.clone())));
        let providers = self.providers.iter().map(|provider| Resource::Provider(Box::new(provider.clone())));
        let prices = self.prices.iter().map(|price| Resource::Price(Box::new(price.clone())));
        let models = self.models.iter().map(|model| Resource::Model(Box::new(model.clone())));
        let routes = self.routes.iter().map(|route| Resource::Route(Box::new(route.clone())));
        let agents = self.a2a_agents.iter().map(|agent| Resource::A2aAgent(Box::new(agent.clone())));
        let organizations = self.organizations.iter().map(|one| Resource::Organization(Box::new(one.clone())));
        let teams = self.teams.iter().map(|team| Resource::Team(Box::new(team.clone())));
        let users = self.users.iter().map(|user| Resource::User(Box::new(user.clone())));
        let limits = self.limits.iter().map(|limit| Resource::Limit(Box::new(limit.clone())));
        let budgets = self.budgets.iter().map(|budget| Resource::Budget(Box::new(budget.clone())));
        let exporters = self.exporters.iter().map(|one| Resource::Exporter(Box::new(one.clone())));
        let keys = self.keys.iter().map(|key| Resource::Key(Box::new(key.clone())));
        settings
            .into_iter()
            .chain(providers)
            .chain(prices)
            .chain(models)
            .chain(routes)
            .chain(agents)
            .chain(organizations)
            .chain(teams)
            .chain(users)
            .chain(budgets)
            .chain(limits)
            .chain(exporters)
            .chain(keys)
            .collect()
    }

    /// Everything that is wrong, errors and warnings, with paths like `providers[openai].base_url`. No error means that a
    /// node can compile it.
    pub fn validate(&self) -> Vec<Problem> {
        validate::problems(self)
    }
}
