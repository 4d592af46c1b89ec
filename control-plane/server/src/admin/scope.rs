//! What of the configuration somebody sees who sees a part of it only: a team-admin the teams that they lead, and the keys of these.
//! Anything else is not there for them.

use gateway_model::kind::Kind;
use gateway_store::{ItemKind, StoredItem};

use super::error::ApiError;
use crate::app::App;
use crate::permission::Grant;
use crate::view;

/// Read at once where most of what is read is not shown.
const STRIDE: usize = 500;

pub(crate) fn sees(grant: &Grant, item: &StoredItem) -> bool {
    grant.teams().is_none()
        || match item.kind {
            ItemKind::Resource(Kind::Key) => grant.reaches(view::spec(item)["team"].as_str()),
            ItemKind::Resource(Kind::Team) => grant.reaches(Some(&item.name)),
            _ => false,
        }
}

/// Up to `limit` that are seen, by name, after the name `after`. For a team-admin it costs a walk over all that there are.
pub(crate) async fn items(
    app: &App,
    grant: &Grant,
    kind: Kind,
    after: &str,
    limit: usize,
) -> Result<Vec<StoredItem>, ApiError> {
    if grant.teams().is_none() {
        return Ok(app.store.items(ItemKind::Resource(kind), after, limit).await?);
    }
    let (mut seen, mut after) = (Vec::new(), after.to_owned());
    loop {
        let read = app.store.items(ItemKind::Resource(kind), &after, STRIDE).await?;
        let is_last = read.len() < STRIDE;
        after = read.last().map_or(after, |item| item.name.clone());
        seen.extend(read.into_iter().filter(|item| sees(grant, item)));
        if is_last || seen.len() >= limit {
            seen.truncate(limit);
            return Ok(seen);
        }
    }
}

/// By name or id.
pub(crate) async fn find(app: &App, grant: &Grant, kind: Kind, name: &str) -> Result<Option<StoredItem>, ApiError> {
    let item = app.store.item(ItemKind::Resource(kind), name).await?;
    Ok(item.filter(|item| sees(grant, item)))
}

/// The team to which an answer is confined that is not about single items; `None` where it is about all of them.
pub(crate) fn team(grant: &Grant, asked: Option<&str>) -> Result<Option<String>, ApiError> {
    let Some(teams) = grant.teams() else { return Ok(asked.map(str::to_owned)) };
    match (asked, teams) {
        (Some(asked), _) if grant.reaches(Some(asked)) => Ok(Some(asked.to_owned())),
        (Some(asked), _) => Err(ApiError::not_found(format!("there is no team named `{asked}`"))),
        (None, [one]) => Ok(Some(one.clone())),
        (None, many) => Err(ApiError::malformed(format!("say which `team`: one of `{}`", many.join("`, `")))),
    }
}
