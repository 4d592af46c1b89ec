//! Who may call: the Host header, the master key, and who is told what otherwise. Deny by default is the router's part.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use gateway_model::secret::Secret;
use gateway_model::token::{self, Form, Prefix};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};

use super::error::ApiError;
use crate::app::App;
use crate::change::Actor;
use crate::clock;

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

/// Gives each request an id, counts it, and measures it.
pub(crate) async fn observe(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let millis = u64::try_from(clock::unix_ms()).unwrap_or(0);
    let id = ulid::Ulid::from_parts(millis, rand::random()).to_string();
    let method = method_label(request.method());
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    app.meters.admin_request(method, response.status().as_u16(), began.elapsed().as_secs_f64());
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Lets pass what comes under one of our names and has the master key.
pub(crate) async fn require_master(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if !host(request.headers(), request.uri()).is_some_and(|host| app.hosts.allow(&host)) {
        return ApiError::misdirected().into_response();
    }
    let credential = bearer(request.headers()).map(Secret::new);
    match credential {
        Some(credential) if app.master_key.is(credential.expose()) => next.run(request).await,
        Some(credential) => refuse(&app, &credential).await.into_response(),
        None => ApiError::unauthorized().into_response(),
    }
}

/// A virtual key is told that it is one; anything else is nobody's.
async fn refuse(app: &App, credential: &Secret) -> ApiError {
    match is_virtual_key(app, credential.expose()).await {
        Ok(true) => ApiError::forbidden(),
        Ok(false) => ApiError::unauthorized(),
        Err(error) => error,
    }
}

/// The name the caller used, without the port.
fn host(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let mut named = headers.get_all(header::HOST).iter();
    let from_header = match (named.next(), named.next()) {
        (Some(host), None) => Some(host.to_str().ok()?.parse::<http::uri::Authority>().ok()?),
        // Two answers to one question.
        (Some(_), Some(_)) => return None,
        (None, _) => None,
    };
    let authority = from_header.as_ref().or(uri.authority())?;
    Some(authority.host().to_owned())
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
        let ip = parts.extensions.get::<Peer>().map(|peer| peer.0.ip().to_string()).unwrap_or_default();
        let request_id = parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        Ok(Self(Actor { name: "master".to_owned(), ip, request_id }))
    }
}
