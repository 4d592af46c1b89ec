//! `/admin/nodes`: the data-plane nodes, connected or not, what they run or refused, and whether they belong to the fleet.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use gateway_store::membership::MemberRow;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Caller;
use super::error::ApiError;
use super::extract::{Params, Path, limit, page};
use crate::app::App;
use crate::clock::rfc3339;
use crate::fleet::NodeView;
use crate::members::NotRevoked;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeParams {
    #[schemars(range(min = 1, max = 500))]
    limit: Option<usize>,
    after: Option<String>,
}

/// As many as there are nodes shown.
const MAX_MEMBERS: usize = 10_000;

pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Params(params): Params<NodeParams>,
) -> Result<Json<Value>, ApiError> {
    let limit = limit(params.limit)?;
    let after = params.after.unwrap_or_default();
    let mut nodes = app.fleet.nodes().await?;
    nodes.sort_by(|a, b| a.id.cmp(&b.id));
    let following = nodes.into_iter().filter(|node| node.id > after).take(limit + 1).collect();
    let (nodes, next) = page(following, limit, |node| node.id.clone());
    let members = app.store.members(MAX_MEMBERS).await?;
    let members: HashMap<&str, &MemberRow> = members.iter().map(|member| (member.node_id.as_str(), member)).collect();
    let shown = nodes.iter().map(|node| shown(node, members.get(node.id.as_str()).copied()));
    Ok(Json(json!({"data": shown.collect::<Vec<_>>(), "next": next})))
}

pub(crate) async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    view(&app, &id).await.map(Json)
}

/// Puts the node out of the fleet, for good.
pub(crate) async fn revoke(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    app.members.revoke(&id, &caller.0).await?;
    view(&app, &id).await.map(Json)
}

async fn view(app: &App, id: &str) -> Result<Value, ApiError> {
    let node = app.fleet.nodes().await?.into_iter().find(|node| node.id == id);
    let member = app.store.member(id).await?;
    match (node, member) {
        (Some(node), member) => Ok(shown(&node, member.as_ref())),
        // It has been away for so long that nothing else is known.
        (None, Some(member)) => {
            let mut view = json!({"id": id, "connected": false});
            add_membership(&mut view, Some(&member));
            Ok(view)
        }
        (None, None) => Err(ApiError::not_found(format!("there is no node `{id}`"))),
    }
}

fn shown(node: &NodeView, member: Option<&MemberRow>) -> Value {
    let mut view = json!(node);
    add_membership(&mut view, member);
    view
}

/// A node of the control plane's own process has no certificate.
fn add_membership(view: &mut Value, member: Option<&MemberRow>) {
    let certificate = member.filter(|member| !member.serial.is_empty());
    view["certificate"] = certificate
        .map_or(Value::Null, |member| json!({"not_after": rfc3339(member.not_after_ms), "serial": member.serial}));
    view["enrolled_at"] = json!(member.map(|member| rfc3339(member.enrolled_at_ms)));
    view["revoked_at"] = json!(member.and_then(|member| member.revoked_at_ms).map(rfc3339));
}

impl From<NotRevoked> for ApiError {
    fn from(error: NotRevoked) -> Self {
        let message = error.to_string();
        match error {
            NotRevoked::Unknown(_) => Self::not_found(message),
            NotRevoked::Local(_) => Self::conflict(message),
            NotRevoked::Store(error) => error.into(),
        }
    }
}
