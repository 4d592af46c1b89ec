//! Who calls (the Host header, the master key, a session) and whether they have what a route takes; who is told what otherwise. Deny by
//! default is the router's part.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use gateway_model::secret::Secret;
use gateway_model::token::{self, Form, Prefix};
use gateway_store::sessions::SessionRow;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use super::cookie;
use super::error::{ApiError, DatabaseFailed};
use super::extract::collection;
use super::need::Need;
use crate::app::App;
use crate::change::Actor;
use crate::clock;
use crate::permission::{Grant, Permission};
use crate::sessions::Signed;

/// Longest credential that is looked at.
const MAX_CREDENTIAL: usize = 1024;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-gateway-request-id");

/// The other end of the connection, put into each request by the listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The id of this request, in its answer and in the audit log.
#[derive(Clone, Debug)]
struct RequestId(String);

/// Who a handler acts for.
pub(crate) struct Caller(pub(crate) Actor);

/// Whom a request acts for, put into it once that is known.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) grant: Grant,
    /// `None` for who shows a key at each request.
    pub(crate) session: Option<SessionRow>,
}

/// Where who comes first is greeted.
const SESSION: &str = "/admin/session";
/// Name of who has the master key.
pub(crate) const MASTER: &str = "master";

/// Gives each request an id, counts it, and measures it.
pub(crate) async fn observe(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let millis = u64::try_from(clock::unix_ms()).unwrap_or(0);
    let id = ulid::Ulid::from_parts(millis, rand::random()).to_string();
    let method = method_label(request.method());
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    app.meters.admin_request(method, response.status().as_u16(), began.elapsed().as_secs_f64());
    if let Some(DatabaseFailed(kind)) = response.extensions().get() {
        app.meters.database_failure("admin", kind);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Lets pass what comes under one of our names from somebody we know: by the master key, or the cookie of a session.
pub(crate) async fn authenticate(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match identify(&app, &parts).await {
        Ok(identity) => {
            parts.extensions.insert(identity);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(error) => error.into_response(),
    }
}

/// As [`authenticate`], but one who shows no credential may be a stranger: this is where they show who they are.
pub(crate) async fn greet(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match identify(&app, &parts).await {
        Ok(identity) => {
            parts.extensions.insert(identity);
        }
        Err(error) if error.is_of_a_stranger() && !parts.headers.contains_key(header::AUTHORIZATION) => {}
        Err(error) => {
            if parts.uri.path() == SESSION {
                app.meters.sign_in("key", error.code());
            }
            return error.into_response();
        }
    }
    next.run(Request::from_parts(parts, body)).await
}

/// Lets pass who has what the route takes.
pub(crate) async fn allow(State(need): State<Need>, request: Request, next: Next) -> Response {
    let permission = match need {
        Need::Nothing | Need::Greeting | Need::Anybody => None,
        Need::Of(permission) => Some(permission),
        Need::OfKind(doing) => {
            let plural = request.uri().path().split('/').nth(2).unwrap_or_default();
            match collection(plural) {
                Ok(kind) => Some(Permission::of(kind, doing)),
                Err(error) => return error.into_response(),
            }
        }
    };
    let grant = request.extensions().get::<Identity>().map(|identity| &identity.grant);
    match permission.filter(|permission| !grant.is_some_and(|grant| grant.may(*permission))) {
        Some(missing) => ApiError::missing(missing).into_response(),
        None => next.run(request).await,
    }
}

async fn identify(app: &App, request: &Parts) -> Result<Identity, ApiError> {
    let authority = authority(&request.headers, &request.uri);
    let Some(authority) = authority.filter(|authority| app.hosts.allow(authority.host())) else {
        return Err(ApiError::misdirected());
    };
    // No page of another origin has anything to write here, whatever it shows.
    if !request.method.is_safe() && cookie::is_foreign(&request.headers, &authority) {
        return Err(ApiError::foreign());
    }
    match bearer(&request.headers).map(Secret::new) {
        Some(credential) if app.master_key.is(credential.expose()) => {
            Ok(Identity { name: MASTER.to_owned(), grant: Grant::default(), session: None })
        }
        Some(credential) => Err(refuse(app, &credential).await),
        None => by_cookie(app, &request.headers, request.method.is_safe()).await,
    }
}

async fn by_cookie(app: &App, headers: &HeaderMap, only_reads: bool) -> Result<Identity, ApiError> {
    let Some(secret) = cookie::secret(headers) else { return Err(ApiError::unauthorized()) };
    // A page of another site can have a browser send the cookie, and cannot have it send this header.
    if !only_reads && !headers.contains_key(cookie::CSRF) {
        return Err(ApiError::foreign());
    }
    let signed = app.sessions.find(&app.store, &app.master_key.seal(&secret), only_reads).await?;
    let Signed { session, grant } = signed.ok_or_else(ApiError::unauthorized)?;
    Ok(Identity { name: session.actor.clone(), grant, session: Some(session) })
}

/// A virtual key is told that it is one; anything else is nobody's.
async fn refuse(app: &App, credential: &Secret) -> ApiError {
    match is_virtual_key(app, credential.expose()).await {
        Ok(true) => ApiError::forbidden(),
        Ok(false) => ApiError::unauthorized(),
        Err(error) => error,
    }
}

/// Somebody of this name who sends this request.
pub(crate) fn actor(parts: &Parts, name: &str, grant: &Grant) -> Actor {
    let ip = parts.extensions.get::<Peer>().map(|peer| peer.0.ip().to_string()).unwrap_or_default();
    let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    Actor { name: name.to_owned(), ip, request_id, grant: grant.clone() }
}

/// The name the caller used, with the port where it was said.
pub(crate) fn authority(headers: &HeaderMap, uri: &Uri) -> Option<Authority> {
    let mut named = headers.get_all(header::HOST).iter();
    let from_header = match (named.next(), named.next()) {
        (Some(host), None) => Some(host.to_str().ok()?.parse::<Authority>().ok()?),
        // Two answers to one question.
        (Some(_), Some(_)) => return None,
        (None, _) => None,
    };
    from_header.or_else(|| uri.authority().cloned())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credential) = value.split_once(' ')?;
    let credential = credential.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !credential.is_empty() && credential.len() <= MAX_CREDENTIAL)
        .then_some(credential)
}

/// Whether it is a virtual key that is stored; one that was mistyped or made up is nobody's.
async fn is_virtual_key(app: &App, credential: &str) -> Result<bool, ApiError> {
    match token::check(credential) {
        Form::Ours(Prefix::Master | Prefix::Join) | Form::BadChecksum => Ok(false),
        Form::Ours(Prefix::VirtualKey) | Form::Foreign => {
            Ok(app.store.key_by_digest(&app.pepper.digest(credential)).await?.is_some())
        }
    }
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        // Methods can be made up; a label cannot.
        _ => "other",
    }
}

// === impl Caller ===

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let identity = parts.extensions.get::<Identity>().ok_or_else(ApiError::unauthorized)?;
        Ok(Self(actor(parts, &identity.name, &identity.grant)))
    }
}
