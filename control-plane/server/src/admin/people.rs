//! People and their sessions: passwords that are set for them or chosen by them, invitations, who is signed in.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::{Extension, Json};
use gateway_model::kind::Kind;
use gateway_model::person::PersonRole;
use gateway_model::secret::Secret;
use gateway_store::people::{Invitation, Password};
use gateway_store::sessions::{SessionRow, Whose};
use gateway_store::{ItemKind, StoredItem};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::access::{Caller, Identity, Peer, actor};
use super::cookie;
use super::error::ApiError;
use super::extract::{Path, Payload, small};
use super::scope;
use super::session::name;
use crate::app::App;
use crate::change::Actor;
use crate::clock::{rfc3339, unix_ms};
use crate::members::audit;
use crate::passwords::LENGTHS;
use crate::permission::{Grant, Permission};
use crate::sessions::may_sign_in;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordBody {
    /// 10 to 256 characters.
    password: Secret,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnPasswordBody {
    /// The one that it replaces.
    current: Secret,
    /// 10 to 256 characters.
    password: Secret,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AcceptBody {
    token: Secret,
    /// 10 to 256 characters.
    password: Secret,
}

/// Who leads a team.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Leaders {
    /// Names of users, in their order.
    data: Vec<String>,
}

const INVITED_FOR_MS: i64 = 72 * 60 * 60 * 1000;
/// Sessions in one list.
const MAX_SESSIONS: usize = 1000;
/// Users read at once.
const STRIDE: usize = 500;

/// Everybody who is signed in, the newest first.
pub(crate) async fn sessions(State(app): State<Arc<App>>) -> Result<Json<Value>, ApiError> {
    Ok(Json(listed(&app.store.sessions(unix_ms(), MAX_SESSIONS).await?)))
}

/// Where who asks is signed in, the newest first.
pub(crate) async fn own_sessions(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Identity>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(listed(&app.store.sessions_of(&identity.name, unix_ms(), MAX_SESSIONS).await?)))
}

fn listed(rows: &[SessionRow]) -> Value {
    let shown = rows.iter().map(|row| {
        json!({
            "id": name(row),
            "actor": row.actor,
            "user": match &row.whose { Whose::User(name) => Some(name), _ => None },
            "began_at": rfc3339(row.created_at_ms),
            "expires_at": rfc3339(row.expires_at_ms),
        })
    });
    json!({"data": shown.collect::<Vec<_>>()})
}

/// Dead on every replica when this is answered.
pub(crate) async fn end_session(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    ended(&app, &caller.0, &id, &app.store.sessions(unix_ms(), MAX_SESSIONS).await?).await
}

/// As [`end_session`], one's own. Those of others are not there.
pub(crate) async fn end_own_session(
    State(app): State<Arc<App>>,
    caller: Caller,
    Extension(identity): Extension<Identity>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    ended(&app, &caller.0, &id, &app.store.sessions_of(&identity.name, unix_ms(), MAX_SESSIONS).await?).await
}

async fn ended(app: &App, actor: &Actor, id: &str, rows: &[SessionRow]) -> Result<StatusCode, ApiError> {
    let row = rows.iter().find(|row| name(row) == id);
    let row = row.ok_or_else(|| ApiError::not_found(format!("there is no session `{id}`")))?;
    let written = audit(actor, "revoke", "session", id, &json!({"actor": row.actor}), unix_ms());
    app.store.end_session(&row.digest, written).await?;
    app.sessions.forget(&row.digest);
    Ok(StatusCode::NO_CONTENT)
}

/// Who leads a team, by name: what a team-admin is told of people, who sees none of them otherwise. Whom an identity provider makes
/// one is known to it alone.
pub(crate) async fn leaders(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(team): Path<String>,
) -> Result<Json<Leaders>, ApiError> {
    let found = scope::find(&app, &caller.0.grant, Kind::Team, &team).await?;
    let team = found.ok_or_else(|| ApiError::not_found(format!("there is no team named `{team}`")))?;
    let (mut data, mut after) = (Vec::new(), String::new());
    loop {
        let read = app.store.items(ItemKind::Resource(Kind::User), &after, STRIDE).await?;
        let leading = read
            .iter()
            .filter_map(may_sign_in)
            .filter(|(user, role)| *role == PersonRole::TeamAdmin && user.leads.contains(&team.name));
        data.extend(leading.map(|(user, _)| user.name));
        match read.into_iter().nth(STRIDE - 1) {
            Some(last) => after = last.name,
            None => return Ok(Json(Leaders { data })),
        }
    }
}

/// What was begun with the password before ends.
pub(crate) async fn set_password(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
    Payload(body): Payload,
) -> Result<StatusCode, ApiError> {
    // What is wrong with the body is not repeated: there is a secret in it.
    let body: PasswordBody =
        serde_json::from_value(body).map_err(|_| ApiError::malformed("the body must be `{\"password\": \"…\"}`"))?;
    let item = person(&app, &caller.0.grant, &user).await?;
    let password = hashed(&app, body.password).await?;
    let row = audit(&caller.0, "set_password", "user", &item.name, &Value::Null, password.set_at_ms);
    app.store.set_password(&item.name, &password, row).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Somebody changes their own password, with the one before. Their other sessions end, on every replica, before this is answered.
pub(crate) async fn change_own_password(
    State(app): State<Arc<App>>,
    caller: Caller,
    Extension(identity): Extension<Identity>,
    peer: Option<Extension<Peer>>,
    Payload(body): Payload,
) -> Result<StatusCode, ApiError> {
    // What is wrong with the body is not repeated: there are secrets in it.
    let body: OwnPasswordBody = serde_json::from_value(body)
        .map_err(|_| ApiError::malformed("the body must be `{\"current\": \"…\", \"password\": \"…\"}`"))?;
    let own = identity.session.as_ref().and_then(|session| match &session.whose {
        Whose::User(name) => Some((session, name)),
        Whose::Master | Whose::Claimed { .. } => None,
    });
    let (session, user) = own.ok_or_else(|| {
        let message = "only who has signed in with a password has one to change; the identity provider changes its own";
        ApiError::conflict(message)
    })?;
    let ip = peer.map(|Extension(peer)| peer.0.ip());
    // Whoever finds an open browser tries no more often than at the door.
    app.passwords.take(ip, user)?;
    let hash = app.store.password(user).await?.map(|password| password.hash);
    if !app.passwords.are_same(body.current, hash).await? {
        return Err(ApiError::other_password());
    }
    app.passwords.give_back(ip, user);
    let password = hashed(&app, body.password).await?;
    let row = audit(&caller.0, "change_password", "user", user, &Value::Null, password.set_at_ms);
    app.store.change_password(user, &password, &session.digest, row).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A secret to choose a password with, shown this once. One that was made before is good no more.
pub(crate) async fn invite(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let item = person(&app, &caller.0.grant, &user).await?;
    let token = cookie::mint();
    let now_ms = unix_ms();
    let invitation = Invitation {
        user: item.name.clone(),
        digest: app.master_key.seal(&token),
        created_at_ms: now_ms,
        expires_at_ms: now_ms + INVITED_FOR_MS,
    };
    let until = rfc3339(invitation.expires_at_ms);
    let row = audit(&caller.0, "invite", "user", &item.name, &json!({"expires_at": until}), now_ms);
    app.store.invite(&invitation, row).await?;
    // Behind the mark, so that it stands in no log of a proxy.
    let path = format!("/#/invitation/{}", *token);
    Ok((StatusCode::CREATED, Json(json!({"user": item.name, "token": *token, "path": path, "expires_at": until}))))
}

/// Chooses a password with an invitation, once.
pub(crate) async fn accept(State(app): State<Arc<App>>, request: Request) -> Result<StatusCode, ApiError> {
    let (parts, body) = request.into_parts();
    let body: AcceptBody = serde_json::from_slice(&small(body).await?)
        .map_err(|_| ApiError::malformed("the body must be `{\"token\": \"…\", \"password\": \"…\"}`"))?;
    app.passwords.take(parts.extensions.get::<Peer>().map(|peer| peer.0.ip()), "")?;
    let gone = || ApiError::not_found("this invitation was used, or has run out; ask for another one");
    let invitation = app.store.invitation(&app.master_key.seal(body.token.expose()), unix_ms()).await?;
    let invitation = invitation.ok_or_else(gone)?;
    let item = app.store.item(ItemKind::Resource(Kind::User), &invitation.user).await?;
    let item = item.filter(|item| item.name == invitation.user && item.created_at_ms <= invitation.created_at_ms);
    let (_, role) = item.as_ref().and_then(may_sign_in).ok_or_else(gone)?;
    let password = hashed(&app, body.password).await?;
    let actor = actor(&parts, &format!("user:{}", invitation.user), &Grant::new(role, &[]));
    let row = audit(&actor, "accept_invitation", "user", &invitation.user, &Value::Null, password.set_at_ms);
    match app.store.accept(&invitation, &password, row).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(gone()),
    }
}

/// Somebody who may sign in. Who can give an owner a password is one.
async fn person(app: &App, grant: &Grant, user: &str) -> Result<StoredItem, ApiError> {
    let item = app.store.item(ItemKind::Resource(Kind::User), user).await?;
    let item = item.ok_or_else(|| ApiError::not_found(format!("there is no user named `{user}`")))?;
    match may_sign_in(&item) {
        Some((_, PersonRole::Owner)) if !grant.may(Permission::Ownership) => {
            Err(ApiError::missing(Permission::Ownership))
        }
        Some(_) => Ok(item),
        None => {
            Err(ApiError::conflict(format!("user `{user}` may not sign in; give them a `role` and an `email` first")))
        }
    }
}

async fn hashed(app: &App, password: Secret) -> Result<Password, ApiError> {
    if !LENGTHS.contains(&password.expose().chars().count()) {
        let (least, most) = (LENGTHS.start(), LENGTHS.end());
        return Err(ApiError::malformed(format!("a password has {least} to {most} characters")));
    }
    let hash = app.passwords.hash(password).await?.ok_or_else(ApiError::internal)?;
    Ok(Password { hash, set_at_ms: unix_ms() })
}
