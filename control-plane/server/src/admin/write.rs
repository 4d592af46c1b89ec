//! What all writes have in common: their parameters, the way to `change`, the wait for the nodes, the answer.

use std::time::Duration;

use gateway_model::kind::{Class, Kind};
use gateway_model::unit::Span;
use gateway_store::revisions::Committed;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Caller;
use super::error::ApiError;
use crate::app::App;
use crate::change::{Op, Outcome, Refusal, Request, Wish};

/// `?dry_run=true`, `?wait=applied&timeout=5s`, `?expected_revision=7`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteParams {
    #[serde(default)]
    pub(crate) dry_run: bool,
    pub(crate) wait: Option<Wait>,
    timeout: Option<Span>,
    expected_revision: Option<u64>,
}

/// What to wait for.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wait {
    /// Every connected node has applied or rejected the revision. Of keys this is the default.
    Applied,
    /// It is stored.
    Stored,
}

/// A change that was made, and how the nodes took it.
pub(crate) struct Written {
    pub(crate) outcome: Outcome,
    /// `null` where nobody waited.
    pub(crate) rollout: Value,
}

const DEFAULT_WAIT: Duration = Duration::from_secs(5);
const MAX_WAIT: Duration = Duration::from_secs(300);

/// Makes the change, and waits for the nodes if that was asked for.
pub(crate) async fn write(app: &App, caller: Caller, wish: Wish, params: &WriteParams) -> Result<Written, ApiError> {
    let timeout = patience(params.timeout.as_ref(), DEFAULT_WAIT)?;
    let request =
        Request { actor: caller.0, wish, expected_revision: params.expected_revision, dry_run: params.dry_run };
    let outcome = app.changes.write(&request).await;
    app.meters.config_change(label(&outcome, params.dry_run));
    let outcome = outcome?;
    let rollout = match params.wait {
        Some(Wait::Applied) if !params.dry_run => rollout(app, outcome.revision, &outcome.moved, timeout).await?,
        _ => Value::Null,
    };
    Ok(Written { outcome, rollout })
}

/// How long a caller may have this process wait.
pub(super) fn patience(asked: Option<&Span>, default: Duration) -> Result<Duration, ApiError> {
    match asked.map_or(default, |span| span.0) {
        long if long > MAX_WAIT => Err(ApiError::malformed("`timeout` must be at most 300s")),
        timeout => Ok(timeout),
    }
}

pub(super) async fn rollout(
    app: &App,
    revision: Committed,
    classes: &[Class],
    timeout: Duration,
) -> Result<Value, ApiError> {
    let mut rollout = app.fleet.wait_applied(revision, classes, timeout).await;
    // They will not catch up.
    rollout.offline.retain(|id| !app.members.is_revoked(id));
    serde_json::to_value(rollout).map_err(|_| ApiError::internal())
}

fn label(outcome: &Result<Outcome, Refusal>, dry_run: bool) -> &'static str {
    match outcome {
        Err(_) => "refused",
        Ok(_) if dry_run => "dry_run",
        Ok(outcome) if outcome.changes.iter().all(|change| change.op == Op::Unchanged) => "unchanged",
        Ok(_) => "applied",
    }
}

/// `{"topology": 7, "identity": 3}`
pub(crate) fn revision(revision: Committed) -> Value {
    json!({"topology": revision.topology, "identity": revision.identity})
}

// === impl WriteParams ===

impl WriteParams {
    /// Changes of keys are waited for whoever asks: what was revoked is refused when that is answered, and what was made works.
    pub(super) fn of(&self, kind: Kind) -> Self {
        let wait = if kind == Kind::Key { Some(Wait::Applied) } else { None };
        Self { wait: self.wait.or(wait), ..self.clone() }
    }

    pub(super) const fn waiting(wait: Wait) -> Self {
        Self { dry_run: false, wait: Some(wait), timeout: None, expected_revision: None }
    }
}

// === impl Written ===

impl Written {
    /// What the history, the validator's warnings and the nodes say about a change of one item.
    pub(crate) fn change(&self, op: Op) -> Value {
        json!({
            "op": op,
            "revision": revision(self.outcome.revision),
            "problems": self.outcome.warnings,
            "rollout": self.rollout,
        })
    }

    /// The answer to a change of many items.
    pub(crate) fn summary(&self) -> Value {
        let changes = self
            .outcome
            .changes
            .iter()
            .map(|change| json!({"op": change.op, "kind": change.kind, "name": change.name, "diff": change.diff}));
        let minted = self
            .outcome
            .minted
            .iter()
            .map(|minted| json!({"name": minted.name, "id": minted.id, "key": minted.key.expose()}));
        json!({
            "revision": revision(self.outcome.revision),
            "changes": changes.collect::<Vec<_>>(),
            "problems": self.outcome.warnings,
            "minted": minted.collect::<Vec<_>>(),
            "rollout": self.rollout,
        })
    }
}
