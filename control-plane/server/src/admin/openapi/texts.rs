//! What each route is for: one text per line of the table of routes.

mod aliases;

use gateway_model::kind::provider::Provider;

use super::JSON;
use super::shape::Shape::{Document, Found, Item, Items, Named, Of, PageOf, Patch, Written};
use super::shape::{Answer, Make, Shape, of};
use crate::admin::{
    alerts, audit, budgets, catalog, config, deployments, explain, exports, logs, nodes, oidc, people, providers,
    resources, rollout, session, snapshot, spend, tokens, traffic, usage, write,
};
use crate::change::switch::Which;
use crate::fleet::Rollout;

/// The words and types of one route.
pub(super) struct Text {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// `{Kind}` is replaced where the path has `{kind}`.
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) about: &'static str,
    pub(super) query: Option<Make>,
    pub(super) body: Option<Shape>,
    pub(super) answers: &'static [Answer],
}

const fn text(
    method: &'static str,
    path: &'static str,
    id: &'static str,
    tag: &'static str,
    about: &'static str,
) -> Text {
    Text { method, path, id, tag, about, query: None, body: None, answers: &[] }
}

const fn given(status: &'static str, shape: Shape) -> Answer {
    Answer { status, media: JSON, shape: Some(shape), about: "What was asked for" }
}

const fn raw(media: &'static str) -> Answer {
    Answer { status: "200", media, shape: None, about: "What was asked for" }
}

const OPERATIONS: &str = "operations";
const PAGES: &str = "pages";
const CONFIGURATION: &str = "configuration";
const RESOURCES: &str = "resources";
const FLEET: &str = "fleet";
const RECORDS: &str = "records";
const PEOPLE: &str = "people";

const NOT_READY: Answer =
    Answer { status: "503", media: JSON, shape: Some(Named("AdminError")), about: "The database does not answer" };
const NO_FILE: Answer =
    Answer { status: "404", media: JSON, shape: Some(Named("AdminError")), about: "The dashboard has no such file" };
const TO_PROVIDER: Answer = Answer { status: "303", media: "", shape: None, about: "To the identity provider" };
const GONE: Answer = Answer { status: "204", media: "", shape: None, about: "Done" };

// === impl Text ===

impl Text {
    const fn query(self, query: Make) -> Self {
        Self { query: Some(query), ..self }
    }

    const fn body(self, body: Shape) -> Self {
        Self { body: Some(body), ..self }
    }

    const fn answers(self, answers: &'static [Answer]) -> Self {
        Self { answers, ..self }
    }
}

/// One per route.
/// All of them.
pub(super) fn texts() -> impl Iterator<Item = &'static Text> {
    TEXTS.iter().chain(aliases::TEXTS)
}

const TEXTS: &[Text] = &[
    text("GET", "/", "adminDashboard", PAGES, "The dashboard").answers(&[raw("text/html")]),
    text("GET", "/ui/{version}/{folder}/{file}", "adminDashboardFile", PAGES, "What the dashboard is made of")
        .answers(&[raw("text/plain"), NO_FILE]),
    text("GET", "/docs", "adminDocs", PAGES, "This reference as a page").answers(&[raw("text/html")]),
    text("GET", "/docs/style.css", "adminDocsStyle", PAGES, "How the page looks").answers(&[raw("text/css")]),
    text("GET", "/openapi.json", "adminOpenapi", PAGES, "This document").answers(&[raw(JSON)]),
    text("GET", "/docs/openapi.yaml", "adminOpenapiYaml", PAGES, "This document").answers(&[raw("application/yaml")]),
    text("GET", "/health", "adminHealth", OPERATIONS, "Whether the process answers")
        .answers(&[given("200", Named("AdminHealth"))]),
    text("GET", "/ready", "adminReady", OPERATIONS, "Whether it can do its work: the database answers")
        .answers(&[given("200", Named("AdminHealth")), NOT_READY]),
    text("GET", "/metrics", "adminMetrics", OPERATIONS, "Numbers for Prometheus").answers(&[raw("text/plain")]),
    text("GET", "/admin/session", "getSession", OPERATIONS, "Who asks, and until when the browser's session lasts")
        .answers(&[given("200", Named("Session"))]),
    text(
        "POST",
        "/admin/session",
        "signIn",
        OPERATIONS,
        "Show the master key, or an e-mail address and a password; a browser gets a cookie for it",
    )
    .body(Of(of::<session::SignIn>))
    .answers(&[given("201", Named("Session"))]),
    text("DELETE", "/admin/session", "signOut", OPERATIONS, "End the session, on every replica at once")
        .answers(&[GONE]),
    text(
        "PUT",
        "/admin/session/password",
        "changeOwnPassword",
        PEOPLE,
        "Change one's own password, and end one's other sessions on every replica",
    )
    .body(Of(of::<people::OwnPasswordBody>))
    .answers(&[GONE]),
    text("GET", "/admin/oidc/begin", "beginOidc", PEOPLE, "Send the browser to the identity provider")
        .answers(&[TO_PROVIDER]),
    text("GET", "/admin/oidc/callback", "endOidc", PEOPLE, "Where the identity provider sends it back to")
        .query(of::<oidc::CallbackParams>)
        .answers(&[raw("text/html")]),
    text("GET", "/admin/session/own", "listOwnSessions", PEOPLE, "Where who asks is signed in, the newest first")
        .answers(&[given("200", Named("Sessions"))]),
    text(
        "DELETE",
        "/admin/session/own/{id}",
        "endOwnSession",
        PEOPLE,
        "End one's own session, on every replica at once",
    )
    .answers(&[GONE]),
    text(
        "GET",
        "/admin/teams/{name}/leaders",
        "listLeaders",
        PEOPLE,
        "Who leads a team; a team-admin is told of the teams that they lead",
    )
    .answers(&[given("200", Of(of::<people::Leaders>))]),
    text("GET", "/admin/sessions", "listSessions", PEOPLE, "Who is signed in, the newest first")
        .answers(&[given("200", Named("Sessions"))]),
    text("DELETE", "/admin/sessions/{id}", "endSession", PEOPLE, "End somebody's session, on every replica at once")
        .answers(&[GONE]),
    text(
        "PUT",
        "/admin/users/{name}/password",
        "setPassword",
        PEOPLE,
        "Give a user a password, and end their sessions",
    )
    .body(Of(of::<people::PasswordBody>))
    .answers(&[GONE]),
    text(
        "POST",
        "/admin/users/{name}/invitation",
        "invite",
        PEOPLE,
        "A secret with which a user chooses a password, once",
    )
    .answers(&[given("201", Named("Invited"))]),
    text("POST", "/admin/invitation", "acceptInvitation", PEOPLE, "Choose a password with an invitation")
        .body(Of(of::<people::AcceptBody>))
        .answers(&[GONE]),
    text("GET", "/admin/status", "getStatus", CONFIGURATION, "Version, revision and nodes at a glance")
        .answers(&[given("200", Named("Status"))]),
    text("POST", "/admin/apply", "apply", CONFIGURATION, "Make the configuration what a file says")
        .query(of::<write::WriteParams>)
        .body(Of(of::<config::ApplyBody>))
        .answers(&[given("200", Named("Changed"))]),
    text("GET", "/admin/config/revisions", "listRevisions", CONFIGURATION, "The history, newest first")
        .query(of::<config::RevisionParams>)
        .answers(&[given("200", PageOf("Revision"))]),
    text("GET", "/admin/config/diff", "diffRevisions", CONFIGURATION, "What differs between two revisions of topology")
        .query(of::<config::DiffParams>)
        .answers(&[given("200", Named("RevisionDiff"))]),
    text("POST", "/admin/config/rollback", "rollback", CONFIGURATION, "Make topology what it was")
        .query(of::<write::WriteParams>)
        .body(Of(of::<config::RollbackBody>))
        .answers(&[given("200", Named("Changed"))]),
    text("POST", "/admin/epoch", "createEpoch", CONFIGURATION, "Have every node take everything anew; after a restore")
        .answers(&[given("200", Named("Epoch"))]),
    text(
        "POST",
        "/admin/snapshot",
        "createSnapshot",
        CONFIGURATION,
        "The whole configuration, sealed, for nodes to start from",
    )
    .body(Of(of::<snapshot::SnapshotBody>))
    .answers(&[raw("application/octet-stream")]),
    text("GET", "/admin/nodes", "listNodes", FLEET, "The nodes, connected or not")
        .query(of::<nodes::NodeParams>)
        .answers(&[given("200", PageOf("NodeMember"))]),
    text("GET", "/admin/nodes/{id}", "getNode", FLEET, "One node").answers(&[given("200", Named("NodeMember"))]),
    text("POST", "/admin/nodes/{id}/revoke", "revokeNode", FLEET, "Put a node out of the fleet, for good")
        .answers(&[given("200", Named("NodeMember"))]),
    text("GET", "/admin/rollout", "getRollout", FLEET, "How the nodes took a revision")
        .query(of::<rollout::RolloutParams>)
        .answers(&[given("200", Of(of::<Rollout>))]),
    text("GET", "/admin/nodes/tokens", "listJoinTokens", FLEET, "The join tokens that can still be used")
        .query(of::<tokens::TokenParams>)
        .answers(&[given("200", PageOf("JoinToken"))]),
    text("POST", "/admin/nodes/tokens", "createJoinToken", FLEET, "A join token; it is shown this once")
        .body(Of(of::<tokens::TokenBody>))
        .answers(&[given("201", Named("MadeJoinToken"))]),
    text("DELETE", "/admin/nodes/tokens/{id}", "deleteJoinToken", FLEET, "No node joins with it any more")
        .answers(&[GONE]),
    text("GET", "/admin/logs", "listLogs", RECORDS, "Requests as they went, newest first; never a prompt or an answer")
        .query(of::<logs::LogParams>)
        .answers(&[given("200", Found("LogRecord"))]),
    text(
        "GET",
        "/admin/logs/follow",
        "followLogs",
        RECORDS,
        "The same as they happen; `Last-Event-ID` gives what was missed",
    )
    .query(of::<logs::LogParams>)
    .answers(&[raw("text/event-stream")]),
    text(
        "GET",
        "/admin/logs/sessions",
        "listLogSessions",
        RECORDS,
        "Requests summed up by the session that their clients named, those first that were used last",
    )
    .query(of::<logs::sessions::SessionParams>)
    .answers(&[given("200", Of(of::<logs::sessions::SessionPage>))]),
    text("GET", "/admin/logs/{id}", "getLog", RECORDS, "One request").answers(&[given("200", Named("LogRecord"))]),
    text(
        "GET",
        "/admin/logs/{id}/body",
        "getLogBody",
        RECORDS,
        "What one request asked and was answered, where that is kept; each reading is in the audit log",
    )
    .answers(&[given("200", Named("LogBody"))]),
    text(
        "POST",
        "/admin/explain",
        "explainRequest",
        RECORDS,
        "Where a request would go and why, without sending it: routes, targets in order, who is passed over",
    )
    .body(Of(of::<explain::Described>))
    .answers(&[given("200", Of(of::<explain::Told>))]),
    text("GET", "/admin/usage", "listUsage", RECORDS, "What each request used, newest first")
        .query(of::<usage::UsageParams>)
        .answers(&[given("200", PageOf("Usage"))]),
    text("GET", "/admin/usage/summary", "sumUsage", RECORDS, "What was used, summed up")
        .query(of::<usage::SummaryParams>)
        .answers(&[given("200", PageOf("UsageSum"))]),
    text("GET", "/admin/usage/budgets", "listBudgetUse", RECORDS, "What is spent of each budget in its window")
        .query(of::<budgets::BudgetParams>)
        .answers(&[given("200", Of(of::<budgets::Spending>))]),
    text(
        "GET",
        "/admin/alerts",
        "listAlerts",
        RECORDS,
        "Whom alerts on budgets are sent to, how that goes, the last of them",
    )
    .answers(&[given("200", Of(of::<alerts::AlertsTold>))]),
    text(
        "GET",
        "/admin/exporters/{name}/health",
        "getExporterHealth",
        RECORDS,
        "How sending records to an exporter goes",
    )
    .answers(&[given("200", Of(of::<exports::ExporterHealth>))]),
    text(
        "POST",
        "/admin/exporters/{name}/test",
        "testExporter",
        RECORDS,
        "Sends an exporter a record that is none, now",
    )
    .answers(&[given("200", Of(of::<exports::ExporterTrial>))]),
    text(
        "POST",
        "/admin/providers/{name}/test",
        "testProvider",
        CONFIGURATION,
        "Asks a provider for its models, now, with the key that is stored",
    )
    .query(of::<providers::TrialParams>)
    .answers(&[given("200", Of(of::<providers::ProviderTrial>))]),
    text(
        "POST",
        "/admin/catalog/test",
        "testUnsavedProvider",
        CONFIGURATION,
        "The same of a provider that is not stored: which models does its key reach",
    )
    .body(Of(of::<Provider>))
    .answers(&[given("200", Of(of::<providers::ProviderTrial>))]),
    text("POST", "/admin/alerts/test", "testAlerts", RECORDS, "Sends a message to those whom alerts are sent to")
        .body(Of(of::<alerts::AlertTest>))
        .answers(&[given("200", Of(of::<alerts::AlertTrials>))]),
    text(
        "POST",
        "/admin/alerts/{id}/acknowledge",
        "acknowledgeAlert",
        RECORDS,
        "Somebody sees to it: what waits to be sent of this alert is not sent any more; again, it changes nothing",
    )
    .answers(&[given("200", Of(of::<alerts::AlertTold>))]),
    text("GET", "/admin/spend", "getSpend", RECORDS, "What was spent, by any of its dimensions together; days are UTC")
        .query(of::<spend::SpendParams>)
        .answers(&[given("200", Named("Spend")), raw("text/csv")]),
    text(
        "POST",
        "/admin/spend/reprice",
        "repriceUsage",
        RECORDS,
        "What a past window costs by other prices: told, or with `dry_run: false` written",
    )
    .body(Of(of::<spend::reprice::Reprice>))
    .answers(&[given("200", Of(of::<spend::reprice::Repriced>))]),
    text(
        "GET",
        "/admin/traffic",
        "getTraffic",
        RECORDS,
        "Requests, errors, tokens, cost and percentiles of times by the minute, as charts need them",
    )
    .query(of::<traffic::TrafficParams>)
    .answers(&[given("200", Named("Traffic"))]),
    text("GET", "/admin/audit", "listAudit", RECORDS, "Who changed what, newest first")
        .query(of::<audit::AuditParams>)
        .answers(&[given("200", PageOf("AuditEntry"))]),
    text("GET", "/admin/catalog", "listProviderKinds", RESOURCES, "The kinds of providers that there are")
        .answers(&[given("200", Of(of::<catalog::Catalog>))]),
    text("GET", "/admin/deployments", "listDeployments", RESOURCES, "The targets of all models, in rotation or not")
        .answers(&[given("200", Of(of::<deployments::Listed>))]),
    text(
        "POST",
        "/admin/deployments/disable",
        "disableDeployments",
        RESOURCES,
        "Take deployments out of rotation; answered when the nodes have it",
    )
    .query(of::<write::WriteParams>)
    .body(Of(of::<Which>))
    .answers(&[given("200", Of(of::<deployments::Switched>))]),
    text("POST", "/admin/deployments/enable", "enableDeployments", RESOURCES, "Put them back")
        .query(of::<write::WriteParams>)
        .body(Of(of::<Which>))
        .answers(&[given("200", Of(of::<deployments::Switched>))]),
    text("GET", "/admin/settings", "getSettings", RESOURCES, "What holds for the whole gateway")
        .answers(&[given("200", Item)]),
    text("PUT", "/admin/settings", "replaceSettings", RESOURCES, "Replace the settings")
        .query(of::<write::WriteParams>)
        .body(Document)
        .answers(&[given("200", Written), given("201", Written)]),
    text("PATCH", "/admin/settings", "patchSettings", RESOURCES, "Change some settings")
        .query(of::<write::WriteParams>)
        .body(Patch)
        .answers(&[given("200", Written), given("201", Written)]),
    text(
        "POST",
        "/admin/keys/{id}/rotate",
        "rotateKey",
        RESOURCES,
        "A new secret for a key; the old one works for a while yet",
    )
    .query(of::<write::WriteParams>)
    .body(Of(of::<resources::RotateBody>))
    .answers(&[given("200", Named("RotatedKey"))]),
    text("GET", "/admin/{kind}", "list{Kind}s", RESOURCES, "All {kinds}, by name")
        .query(of::<resources::ListParams>)
        .answers(&[given("200", Items)]),
    text("POST", "/admin/{kind}", "create{Kind}", RESOURCES, "Make a {kind}; refused where the name is taken")
        .query(of::<write::WriteParams>)
        .body(Document)
        .answers(&[given("201", Written)]),
    text("GET", "/admin/{kind}/{name}", "get{Kind}", RESOURCES, "One {kind}").answers(&[given("200", Item)]),
    text("PUT", "/admin/{kind}/{name}", "replace{Kind}", RESOURCES, "Make a {kind}, or replace it")
        .query(of::<write::WriteParams>)
        .body(Document)
        .answers(&[given("200", Written), given("201", Written)]),
    text("PATCH", "/admin/{kind}/{name}", "patch{Kind}", RESOURCES, "Change some fields of a {kind}")
        .query(of::<write::WriteParams>)
        .body(Patch)
        .answers(&[given("200", Written)]),
    text("DELETE", "/admin/{kind}/{name}", "delete{Kind}", RESOURCES, "Delete a {kind}; a key stops working at once")
        .query(of::<write::WriteParams>)
        .answers(&[GONE, given("200", Written)]),
];
