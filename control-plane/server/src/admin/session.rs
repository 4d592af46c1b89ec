//! `/admin/session`: a browser shows the master key once, or a person their e-mail address and password, and gets a cookie for it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use gateway_model::secret::Secret;
use gateway_store::sessions::{SessionRow, Whose};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::{Caller, Identity, Peer, actor};
use super::cookie;
use super::error::ApiError;
use super::extract::small;
use crate::app::App;
use crate::change::Actor;
use crate::clock::{rfc3339, unix_ms};
use crate::members::audit;
use crate::permission::Grant;
use crate::sessions::may_sign_in;
use crate::vault::hex;

const LIFE_MS: i64 = 12 * 60 * 60 * 1000;
/// Of the digest, to tell sessions apart in lists and in the audit log.
const N_NAME_BYTES: usize = 6;

/// Who a person says they are. Empty where the master key is shown instead.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    email: String,
    password: Secret,
}

/// Who asks.
pub(crate) async fn show(Extension(identity): Extension<Identity>) -> Json<Value> {
    Json(shown(&identity.name, &identity.grant, identity.session.as_ref()))
}

pub(crate) async fn begin(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let with = if request.extensions().get::<Identity>().is_some() { "key" } else { "password" };
    let answer = signed_in(&app, request).await;
    app.meters.sign_in(with, answer.as_ref().map_or_else(ApiError::code, |_| "ok"));
    answer
}

async fn signed_in(app: &App, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    match parts.extensions.get::<Identity>().cloned() {
        Some(Identity { session: Some(_), .. }) => {
            Err(ApiError::conflict("this browser is signed in already; sign out first"))
        }
        Some(Identity { name, grant, session: None }) => {
            let actor = actor(&parts, &name, &grant);
            greeted(app, &parts.headers, &actor, Whose::Master).await
        }
        None => {
            let ip = parts.extensions.get::<Peer>().map(|peer| peer.0.ip());
            let body = small(body).await?;
            if body.is_empty() {
                return Err(ApiError::unauthorized());
            }
            // What is wrong with the body is not repeated: there is a secret in it.
            let shown: SignIn = serde_json::from_slice(&body).map_err(|_| {
                ApiError::malformed("the body must be `{\"email\": \"…\", \"password\": \"…\"}` and nothing else")
            })?;
            let (user, grant) = by_password(app, ip, shown).await?;
            let actor = actor(&parts, &format!("user:{user}"), &grant);
            greeted(app, &parts.headers, &actor, Whose::User(user)).await
        }
    }
}

/// Dead on every replica when this is answered.
pub(crate) async fn end(
    State(app): State<Arc<App>>,
    caller: Caller,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if let Some(session) = &identity.session {
        let row = audit(&caller.0, "sign_out", "session", &name(session), &Value::Null, unix_ms());
        app.store.end_session(&session.digest, row).await?;
        app.sessions.forget(&session.digest);
    }
    let is_secure = app.speaks_tls || cookie::came_by_tls(&headers);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie::set("", is_secure, 0))]).into_response())
}

async fn greeted(app: &App, headers: &HeaderMap, actor: &Actor, whose: Whose) -> Result<Response, ApiError> {
    let (session, cookie) = open(app, cookie::came_by_tls(headers), actor, whose).await?;
    let body = Json(shown(&session.actor, &actor.grant, Some(&session)));
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, cookie)], body).into_response())
}

/// Begins a session, and makes the cookie for it.
pub(super) async fn open(
    app: &App,
    came_by_tls: bool,
    actor: &Actor,
    whose: Whose,
) -> Result<(SessionRow, HeaderValue), ApiError> {
    let secret = cookie::mint();
    let now_ms = unix_ms();
    let role_then = matches!(whose, Whose::User(_)).then(|| actor.grant.role());
    let session = SessionRow {
        digest: app.master_key.seal(&secret),
        actor: actor.name.clone(),
        whose,
        role_then,
        created_at_ms: now_ms,
        expires_at_ms: now_ms + LIFE_MS,
    };
    let after = json!({"expires_at": rfc3339(session.expires_at_ms), "role": actor.grant.role()});
    let row = audit(actor, "sign_in", "session", &name(&session), &after, now_ms);
    app.store.begin_session(&session, row).await?;
    Ok((session, cookie::set(&secret, app.speaks_tls || came_by_tls, LIFE_MS / 1000)))
}

/// The user with this address and password. Whatever is wrong is told in the same words after the same time.
async fn by_password(app: &App, ip: Option<IpAddr>, shown: SignIn) -> Result<(String, Grant), ApiError> {
    let email = shown.email.trim();
    app.passwords.take(ip, email)?;
    let mut found = None;
    for item in app.store.users_by_email(email).await? {
        let Some((user, role)) = may_sign_in(&item) else { continue };
        if user.email.as_deref().is_some_and(|own| own.to_lowercase() == email.to_lowercase()) {
            // A password is that of the user who was there when it was set.
            let password = app.store.password(&user.name).await?.filter(|set| set.set_at_ms >= item.created_at_ms);
            found = password.map(|password| (user.name, Grant::new(role, &user.leads), password.hash));
            break;
        }
    }
    let hash = found.as_ref().map(|(.., hash)| hash.clone());
    let is_theirs = app.passwords.are_same(shown.password, hash).await?;
    match found.filter(|_| is_theirs) {
        Some((name, grant, _)) => {
            app.passwords.give_back(ip, email);
            Ok((name, grant))
        }
        None => Err(ApiError::wrong_password()),
    }
}

fn shown(actor: &str, grant: &Grant, session: Option<&SessionRow>) -> Value {
    json!({
        "actor": actor,
        "role": grant.role(),
        "teams": grant.teams(),
        "permissions": grant.names(),
        "began_at": session.map(|session| rfc3339(session.created_at_ms)),
        "expires_at": session.map(|session| rfc3339(session.expires_at_ms)),
    })
}

pub(super) fn name(session: &SessionRow) -> String {
    hex(session.digest.get(..N_NAME_BYTES).unwrap_or_default())
}
