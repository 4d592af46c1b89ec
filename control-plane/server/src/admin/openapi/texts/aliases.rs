//! The texts of what is there under the names of other gateways.

use super::super::shape::Shape::{Named, Of, PageOf};
use super::super::shape::of;
use super::{GONE, Text, given, text};
use crate::admin::alias::deployments as targets;
use crate::admin::alias::{calculate, gateway, litellm, management};
use crate::admin::{audit, deployments, exports, people, providers, resources, session, usage};
use crate::change::switch::Deployment;

const ALIASES: &str = "aliases";

pub(super) const TEXTS: &[Text] = &[
    text("POST", "/key/generate", "litellmGenerateKey", ALIASES, "Make a key, in the words of LiteLLM")
        .body(Named("Foreign"))
        .answers(&[given("200", Named("Foreign"))]),
    text("GET", "/key/info", "litellmKeyInfo", ALIASES, "One key, without its secret")
        .query(of::<litellm::KeyParams>)
        .answers(&[given("200", Named("Foreign"))]),
    text("POST", "/key/update", "litellmUpdateKey", ALIASES, "Change what is said of a key")
        .body(Named("Foreign"))
        .answers(&[given("200", Named("Foreign"))]),
    text("POST", "/key/delete", "litellmDeleteKeys", ALIASES, "Delete keys; they stop working at once")
        .body(Named("Foreign"))
        .answers(&[given("200", Named("Foreign"))]),
    text("POST", "/team/new", "litellmNewTeam", ALIASES, "Make a team")
        .body(Named("Foreign"))
        .answers(&[given("200", Named("Foreign"))]),
    text("GET", "/team/info", "litellmTeamInfo", ALIASES, "One team")
        .query(of::<litellm::TeamParams>)
        .answers(&[given("200", Named("Foreign"))]),
    text("POST", "/user/new", "litellmNewUser", ALIASES, "Make a user, with a key unless `auto_create_key` is false")
        .body(Named("Foreign"))
        .answers(&[given("200", Named("Foreign"))]),
    text("GET", "/user/info", "litellmUserInfo", ALIASES, "One user")
        .query(of::<litellm::UserParams>)
        .answers(&[given("200", Named("Foreign"))]),
    text("GET", "/model/info", "litellmModelInfo", ALIASES, "Every model with its targets")
        .answers(&[given("200", Named("Foreign"))]),
    text("GET", "/spend/logs", "litellmSpendLogs", ALIASES, "The newest requests, or the sums of days")
        .query(of::<litellm::LogParams>)
        .answers(&[given("200", Named("ForeignList"))]),
    text("POST", "/spend/calculate", "litellmCalculateSpend", ALIASES, "What a request costs, or would cost")
        .body(Of(of::<calculate::Calculated>))
        .answers(&[given("200", Of(of::<calculate::Told>))]),
    text("GET", "/v1/management/keys", "managementListKeys", ALIASES, "All keys, by name")
        .query(of::<resources::ListParams>)
        .answers(&[given("200", PageOf("Foreign"))]),
    text("POST", "/v1/management/keys", "managementCreateKey", ALIASES, "Make one")
        .body(Named("Foreign"))
        .answers(&[given("201", Named("Foreign"))]),
    text("GET", "/v1/management/keys/{id}", "managementGetKey", ALIASES, "One of them")
        .answers(&[given("200", Named("Foreign"))]),
    text("PUT", "/v1/management/keys/{id}", "managementUpdateKey", ALIASES, "Change what is said")
        .body(Named("Foreign"))
        .answers(&[given("200", Named("Foreign"))]),
    text("DELETE", "/v1/management/keys/{id}", "managementDeleteKey", ALIASES, "Delete it").answers(&[GONE]),
    text("GET", "/v1/management/teams", "managementListTeams", ALIASES, "All teams, by name")
        .query(of::<resources::ListParams>)
        .answers(&[given("200", PageOf("Foreign"))]),
    text("POST", "/v1/management/teams", "managementCreateTeam", ALIASES, "Make one")
        .body(Named("Foreign"))
        .answers(&[given("201", Named("Foreign"))]),
    text("GET", "/v1/management/teams/{id}", "managementGetTeam", ALIASES, "One of them")
        .answers(&[given("200", Named("Foreign"))]),
    text("PUT", "/v1/management/teams/{id}", "managementUpdateTeam", ALIASES, "Change what is said")
        .body(Named("Foreign"))
        .answers(&[given("200", Named("Foreign"))]),
    text("DELETE", "/v1/management/teams/{id}", "managementDeleteTeam", ALIASES, "Delete it").answers(&[GONE]),
    text("GET", "/v1/management/users", "managementListUsers", ALIASES, "All users, by name")
        .query(of::<resources::ListParams>)
        .answers(&[given("200", PageOf("Foreign"))]),
    text("POST", "/v1/management/users", "managementCreateUser", ALIASES, "Make one")
        .body(Named("Foreign"))
        .answers(&[given("201", Named("Foreign"))]),
    text("GET", "/v1/management/users/{id}", "managementGetUser", ALIASES, "One of them")
        .answers(&[given("200", Named("Foreign"))]),
    text("PUT", "/v1/management/users/{id}", "managementUpdateUser", ALIASES, "Change what is said")
        .body(Named("Foreign"))
        .answers(&[given("200", Named("Foreign"))]),
    text("DELETE", "/v1/management/users/{id}", "managementDeleteUser", ALIASES, "Delete it").answers(&[GONE]),
    text("GET", "/v1/management/organizations", "managementListOrganizations", ALIASES, "All organizations, by name")
        .query(of::<resources::ListParams>)
        .answers(&[given("200", PageOf("Foreign"))]),
    text("POST", "/v1/management/organizations", "managementCreateOrganization", ALIASES, "Make one")
        .body(Named("Foreign"))
        .answers(&[given("201", Named("Foreign"))]),
    text("GET", "/v1/management/organizations/{id}", "managementGetOrganization", ALIASES, "One of them")
        .answers(&[given("200", Named("Foreign"))]),
    text("PUT", "/v1/management/organizations/{id}", "managementUpdateOrganization", ALIASES, "Change what is said")
        .body(Named("Foreign"))
        .answers(&[given("200", Named("Foreign"))]),
    text("DELETE", "/v1/management/organizations/{id}", "managementDeleteOrganization", ALIASES, "Delete it")
        .answers(&[GONE]),
    text("GET", "/v1/management/pricing", "managementListPricing", ALIASES, "All pricing, by name")
        .query(of::<resources::ListParams>)
        .answers(&[given("200", PageOf("Foreign"))]),
    text("GET", "/v1/management/providers", "managementListProviders", ALIASES, "All providers, by name")
        .query(of::<resources::ListParams>)
        .answers(&[given("200", PageOf("Foreign"))]),
    text("GET", "/v1/management/keys/{id}/usage", "managementKeyUsage", ALIASES, "What a key has used altogether")
        .answers(&[given("200", Named("SpendSum"))]),
    text(
        "GET",
        "/v1/management/keys/{id}/usage/daily",
        "managementKeyUsageDaily",
        ALIASES,
        "What a key has used, by day",
    )
    .query(of::<management::DailyParams>)
    .answers(&[given("200", Named("Spend"))]),
    text("GET", "/v1/management/deployments", "managementListDeployments", ALIASES, "The targets of all models")
        .answers(&[given("200", Of(of::<deployments::Listed>))]),
    text("PUT", "/v1/management/deployments/{id}", "managementSwitchDeployment", ALIASES, "In rotation or out of it")
        .body(Of(of::<management::DeploymentBody>))
        .answers(&[given("200", Named("Foreign"))]),
    text("GET", "/v1/management/usage", "managementUsage", ALIASES, "What each request used, newest first")
        .query(of::<usage::UsageParams>)
        .answers(&[given("200", PageOf("Usage"))]),
    text("GET", "/v1/management/usage/daily", "managementUsageDaily", ALIASES, "What was used, by day")
        .query(of::<management::DailyParams>)
        .answers(&[given("200", Named("Spend"))]),
    text(
        "POST",
        "/v1/management/deployments",
        "managementCreateDeployment",
        ALIASES,
        "Add a target to a model, which is made if it is not there",
    )
    .body(Of(of::<targets::DeploymentMade>))
    .answers(&[given("201", Of(of::<Deployment>))]),
    text("GET", "/v1/management/deployments/{id}", "managementGetDeployment", ALIASES, "One target")
        .answers(&[given("200", Of(of::<Deployment>))]),
    text(
        "DELETE",
        "/v1/management/deployments/{id}",
        "managementDeleteDeployment",
        ALIASES,
        "Take a target from its model; a model without any is deleted",
    )
    .answers(&[GONE]),
    text(
        "PUT",
        "/v1/management/deployments/alias-strategy",
        "managementPutAliasStrategy",
        ALIASES,
        "How all targets of a model are chosen among",
    )
    .body(Of(of::<targets::AliasStrategy>))
    .answers(&[given("200", Of(of::<deployments::Listed>))]),
    text(
        "GET",
        "/v1/management/routing-policy",
        "managementListRoutingPolicies",
        ALIASES,
        "How the targets of each model are chosen among",
    )
    .answers(&[given("200", Named("Foreign"))]),
    text(
        "GET",
        "/v1/management/routing-policy/{alias}",
        "managementGetRoutingPolicy",
        ALIASES,
        "The same of one model",
    )
    .answers(&[given("200", Named("Foreign"))]),
    text("PUT", "/v1/management/routing-policy/{alias}", "managementPutRoutingPolicy", ALIASES, "Change it")
        .body(Of(of::<targets::RoutingPolicy>))
        .answers(&[given("200", Named("Foreign"))]),
    text("POST", "/v1/management/pricing", "managementCreatePricing", ALIASES, "Make a price")
        .body(Named("Foreign"))
        .answers(&[given("201", Named("Foreign"))]),
    text("GET", "/v1/management/pricing/{provider}/{model}", "managementGetPricing", ALIASES, "One price")
        .answers(&[given("200", Named("Foreign"))]),
    text("PUT", "/v1/management/pricing/{provider}/{model}", "managementPutPricing", ALIASES, "Make or replace it")
        .body(Named("Foreign"))
        .answers(&[given("200", Named("Foreign"))]),
    text("DELETE", "/v1/management/pricing/{provider}/{model}", "managementDeletePricing", ALIASES, "Delete it")
        .answers(&[GONE]),
    text(
        "GET",
        "/v1/management/credentials",
        "managementListCredentials",
        ALIASES,
        "The providers, which hold the credentials, with their keys masked",
    )
    .query(of::<resources::ListParams>)
    .answers(&[given("200", PageOf("Foreign"))]),
    text("POST", "/v1/management/credentials", "managementCreateCredential", ALIASES, "Make a provider")
        .body(Named("Foreign"))
        .answers(&[given("201", Named("Foreign"))]),
    text("GET", "/v1/management/credentials/{id}", "managementGetCredential", ALIASES, "One of them")
        .answers(&[given("200", Named("Foreign"))]),
    text("PUT", "/v1/management/credentials/{id}", "managementPutCredential", ALIASES, "Change what is said")
        .body(Named("Foreign"))
        .answers(&[given("200", Named("Foreign"))]),
    text("DELETE", "/v1/management/credentials/{id}", "managementDeleteCredential", ALIASES, "Delete it")
        .answers(&[GONE]),
    text(
        "POST",
        "/v1/management/credentials/{id}/test",
        "managementTestCredential",
        ALIASES,
        "Ask the provider for its models, now",
    )
    .query(of::<providers::TrialParams>)
    .answers(&[given("200", Of(of::<providers::ProviderTrial>))]),
    text(
        "POST",
        "/v1/management/credentials/test-raw",
        "managementTestRawCredential",
        ALIASES,
        "The same of one that is not stored",
    )
    .body(Named("Foreign"))
    .answers(&[given("200", Of(of::<providers::ProviderTrial>))]),
    text(
        "POST",
        "/v1/management/providers/discover",
        "managementDiscoverModels",
        ALIASES,
        "The models that a key reaches",
    )
    .body(Named("Foreign"))
    .answers(&[given("200", Named("Foreign"))]),
    text("GET", "/v1/management/callbacks", "managementListCallbacks", ALIASES, "All exporters, by name")
        .query(of::<resources::ListParams>)
        .answers(&[given("200", PageOf("Foreign"))]),
    text("POST", "/v1/management/callbacks", "managementCreateCallback", ALIASES, "Make an exporter")
        .body(Named("Foreign"))
        .answers(&[given("201", Named("Foreign"))]),
    text(
        "POST",
        "/v1/management/callbacks/test",
        "managementTestCallback",
        ALIASES,
        "Sends an exporter a record that is none, now",
    )
    .body(Of(of::<gateway::CallbackTest>))
    .answers(&[given("200", Of(of::<exports::ExporterTrial>))]),
    text("POST", "/v1/management/users/login", "managementSignIn", ALIASES, "Begin a session, as at `/admin/session`")
        .body(Of(of::<session::SignIn>))
        .answers(&[given("201", Named("Foreign"))]),
    text(
        "POST",
        "/v1/management/users/register",
        "managementAcceptInvitation",
        ALIASES,
        "Choose a password with an invitation, as at `/admin/invitation`",
    )
    .body(Of(of::<people::AcceptBody>))
    .answers(&[GONE]),
    text("GET", "/v1/management/audit", "managementAudit", ALIASES, "Who changed what, newest first")
        .query(of::<audit::AuditParams>)
        .answers(&[given("200", PageOf("AuditEntry"))]),
    text("GET", "/v1/audit", "v1Audit", ALIASES, "Who changed what, newest first")
        .query(of::<audit::AuditParams>)
        .answers(&[given("200", PageOf("AuditEntry"))]),
    text("GET", "/api/config", "apiGetConfig", ALIASES, "The settings, and what of them others have a word for")
        .answers(&[given("200", Named("Foreign"))]),
    text("PUT", "/api/config", "apiPutConfig", ALIASES, "Change what of it can be: `retries`")
        .body(Named("Foreign"))
        .answers(&[given("200", Named("Foreign"))]),
    text("GET", "/team/info/{id}", "litellmTeamInfoByPath", ALIASES, "One team")
        .answers(&[given("200", Named("Foreign"))]),
    text("POST", "/budget/new", "litellmNewBudget", ALIASES, "Says the body back; nothing is stored")
        .body(Named("Foreign"))
        .answers(&[given("200", Named("Foreign"))]),
    text("GET", "/v1/management/savings", "managementSavings", ALIASES, "What each request saved, newest first")
        .query(of::<usage::UsageParams>)
        .answers(&[given("200", PageOf("Saving"))]),
    text("GET", "/v1/management/savings/daily", "managementSavingsDaily", ALIASES, "What was saved, by day")
        .query(of::<management::DailyParams>)
        .answers(&[given("200", Named("Spend"))]),
    text("GET", "/v1/management/savings/{id}", "managementSaving", ALIASES, "What one request saved")
        .answers(&[given("200", Named("Saving"))]),
];
