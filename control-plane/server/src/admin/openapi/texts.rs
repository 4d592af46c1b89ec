//! What each route is for: one text per line of the table of routes.

use super::JSON;
use super::shape::Shape::{Document, Item, Items, Named, Of, PageOf, Patch, Written};
use super::shape::{Answer, Make, Shape, of};
use crate::admin::{audit, config, logs, nodes, resources, rollout, snapshot, tokens, usage, write};
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

const NOT_READY: Answer =
    Answer { status: "503", media: JSON, shape: Some(Named("AdminError")), about: "The database does not answer" };
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
pub(super) const TEXTS: &[Text] = &[
    text("GET", "/", "adminLanding", PAGES, "A page with links").answers(&[raw("text/html")]),
    text("GET", "/docs", "adminDocs", PAGES, "This reference as a page").answers(&[raw("text/html")]),
    text("GET", "/docs/style.css", "adminDocsStyle", PAGES, "How the page looks").answers(&[raw("text/css")]),
    text("GET", "/openapi.json", "adminOpenapi", PAGES, "This document").answers(&[raw(JSON)]),
    text("GET", "/docs/openapi.yaml", "adminOpenapiYaml", PAGES, "This document").answers(&[raw("application/yaml")]),
    text("GET", "/health", "adminHealth", OPERATIONS, "Whether the process answers")
        .answers(&[given("200", Named("AdminHealth"))]),
    text("GET", "/ready", "adminReady", OPERATIONS, "Whether it can do its work: the database answers")
        .answers(&[given("200", Named("AdminHealth")), NOT_READY]),
    text("GET", "/metrics", "adminMetrics", OPERATIONS, "Numbers for Prometheus").answers(&[raw("text/plain")]),
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
        .answers(&[given("200", PageOf("LogRecord"))]),
    text(
        "GET",
        "/admin/logs/follow",
        "followLogs",
        RECORDS,
        "The same as they happen; `Last-Event-ID` gives what was missed",
    )
    .query(of::<logs::LogParams>)
    .answers(&[raw("text/event-stream")]),
    text("GET", "/admin/logs/{id}", "getLog", RECORDS, "One request").answers(&[given("200", Named("LogRecord"))]),
    text("GET", "/admin/usage", "listUsage", RECORDS, "What each request used, newest first")
        .query(of::<usage::UsageParams>)
        .answers(&[given("200", PageOf("Usage"))]),
    text("GET", "/admin/usage/summary", "sumUsage", RECORDS, "What was used, summed up")
        .query(of::<usage::SummaryParams>)
        .answers(&[given("200", PageOf("UsageSum"))]),
    text("GET", "/admin/audit", "listAudit", RECORDS, "Who changed what, newest first")
        .query(of::<audit::AuditParams>)
        .answers(&[given("200", PageOf("AuditEntry"))]),
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
