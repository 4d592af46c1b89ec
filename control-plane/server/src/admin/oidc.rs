//! `/admin/oidc/…`: a browser goes to the identity provider and comes back with a code.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use gateway_model::kind::settings::sign_in::Oidc as Settings;
use gateway_store::sessions::Whose;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Deserialize;

use super::access::{Peer, actor};
use super::error::ApiError;
use super::extract::Params;
use super::{cookie, session};
use crate::app::App;
use crate::clock::unix_ms;
use crate::oidc::{Attempt, Refused};
use crate::permission::Grant;

#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct CallbackParams {
    state: Option<String>,
    code: Option<String>,
    /// What went wrong there (RFC 6749, section 4.1.2.1).
    error: Option<String>,
    /// RFC 9207.
    iss: Option<String>,
}

/// How long somebody may take at the provider.
const PATIENCE_S: i64 = 10 * 60;
/// A page that goes on by itself: the session's cookie is not sent with a step that another site began.
const WELCOME: &str = "<!doctype html><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"0;url=/\">\
                       <title>Signed in</title><p>Signed in. <a href=\"/\">To the dashboard</a></p>";

/// Sends the browser to the provider.
pub(crate) async fn begin(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let settings = settings(&app).await?;
    let [state, nonce, verifier] = [(); 3].map(|()| cookie::mint().to_string());
    let attempt = Attempt { state, nonce, verifier };
    let to = app.oidc.begin(&settings, &attempt).await?;
    let to = HeaderValue::try_from(to).map_err(|_| ApiError::internal())?;
    let kept = cookie::set_attempt(&written(&app, &attempt), settings.redirect_url.starts_with("https"), PATIENCE_S);
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, to), (header::SET_COOKIE, kept)]).into_response())
}

/// Takes the code, and gives the browser its session.
pub(crate) async fn callback(
    State(app): State<Arc<App>>,
    Params(params): Params<CallbackParams>,
    request: Request,
) -> Result<Response, ApiError> {
    let answer = signed_in(&app, params, request).await;
    app.meters.sign_in("oidc", answer.as_ref().map_or_else(ApiError::code, |_| "ok"));
    answer
}

async fn signed_in(app: &App, params: CallbackParams, request: Request) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let settings = settings(app).await?;
    let stale = || ApiError::malformed("this sign-in was not begun in this browser, or too long ago; begin again");
    let attempt = attempt(app, &parts.headers).filter(|kept| params.state.as_deref() == Some(kept.state.as_str()));
    let attempt = attempt.ok_or_else(stale)?;
    if params.iss.as_ref().is_some_and(|issuer| *issuer != settings.issuer) {
        return Err(ApiError::malformed("this answer is of another identity provider"));
    }
    let Some(code) = params.code.filter(|_| params.error.is_none()) else {
        return Err(ApiError::refused_there());
    };
    let ip = parts.extensions.get::<Peer>().map(|peer| peer.0.ip());
    app.passwords.take(ip, &settings.issuer)?;
    let vouched = app.oidc.redeem(&settings, &attempt, &code, unix_ms() / 1000).await?;
    app.passwords.give_back(ip, &settings.issuer);
    let actor = actor(&parts, &vouched.name, &Grant::new(vouched.role, &vouched.leads));
    let whose = Whose::Claimed { role: vouched.role, teams: vouched.leads };
    let is_secure = settings.redirect_url.starts_with("https");
    let (_, cookie) = session::open(app, is_secure, &actor, whose).await?;
    let mut response = Html(WELCOME).into_response();
    for cookie in [cookie, cookie::set_attempt("", is_secure, 0)] {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

async fn settings(app: &App) -> Result<Settings, ApiError> {
    let settings = app.changes.set().await?.settings.oidc;
    settings.ok_or_else(|| ApiError::not_found("no identity provider is configured; see `oidc` of the settings"))
}

/// `state.nonce.verifier.tag`, each in letters that a cookie takes.
fn written(app: &App, attempt: &Attempt) -> String {
    let said = format!("{}.{}.{}", attempt.state, attempt.nonce, attempt.verifier);
    let tag = BASE64.encode(app.master_key.seal(&format!("oidc:{said}")));
    format!("{said}.{tag}")
}

/// What this browser began, if it was we who wrote that down.
fn attempt(app: &App, headers: &HeaderMap) -> Option<Attempt> {
    let text = cookie::attempt(headers)?;
    let [state, nonce, verifier, _] = text.split('.').collect::<Vec<_>>().try_into().ok()?;
    let attempt = Attempt { state: state.to_owned(), nonce: nonce.to_owned(), verifier: verifier.to_owned() };
    let is_ours = aws_lc_rs::constant_time::verify_slices_are_equal(written(app, &attempt).as_bytes(), text.as_bytes());
    is_ours.ok().map(|()| attempt)
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::Unreachable(_) | Refused::Busy => Self::unavailable(message),
            Refused::Nobody => Self::unknown_person(message),
            Refused::Code(_) | Refused::Token(_) | Refused::Nonce => Self::malformed(message),
        }
    }
}
