//! What HTTP and browsers ask of every answer, whoever makes it: pages of other origins, `HEAD`, `OPTIONS`, and which methods a
//! path takes. A request that asks for none of it passes with a look at its method and one header.

use std::net::SocketAddr;
use std::sync::Arc;

use gateway_engine::snapshot::Origins;
use gateway_ir::failure::{Code, Failure};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_LENGTH, HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, Method, Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;

use crate::body::ReplyBody;
use crate::pipeline::{Gateway, request_id};
use crate::{ingress, ops, refusal};

/// What `*` takes, as a server (RFC 9110, section 9.3.7).
const ALL_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// A day; browsers take less where they must.
const PREFLIGHT_AGE: &str = "86400";

// === impl Gateway ===

impl Gateway {
    /// Answers one request. Never fails and never panics: a bug costs one request its answer, not the node.
    pub(crate) async fn serve(self: &Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> Response<ReplyBody> {
        let is_plain = matches!(*request.method(), Method::POST | Method::GET);
        if is_plain && !request.headers().contains_key(ORIGIN) {
            return self.answer(request, peer).await;
        }
        let is_head = request.method() == Method::HEAD;
        let response = match request.headers().get(ORIGIN).cloned() {
            None => self.answer_or_options(request, peer).await,
            Some(origin) => self.answer_page(&origin, request, peer).await,
        };
        if is_head { without_body(response) } else { response }
    }

    async fn answer_or_options(self: &Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> Response<ReplyBody> {
        if request.method() == Method::OPTIONS && request.uri().path() == "*" {
            return ops::options(ALL_METHODS);
        }
        self.answer(request, peer).await
    }

    /// Answers a page of this origin.
    async fn answer_page(
        self: &Arc<Self>,
        origin: &HeaderValue,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<ReplyBody> {
        let (allowed, is_open) = {
            let config = self.live.load();
            let settings = &config.snapshot.settings;
            (allowed(&settings.origins, origin), settings.auth_off && self.on_loopback)
        };
        let path = request.uri().path();
        if allowed.is_none() && is_open {
            // Without keys, it is the origin that tells the user's own pages from any other page that the user looks at.
            let message = "nobody needs a key here, so pages of other origins are refused; name this one in \
                settings.server.cors_origins";
            let failure = Failure::new(Code::NotAllowed, message);
            let families = self.live.load().families();
            return refusal::response(&failure, ingress::error_dialect(path), &request_id(), families);
        }
        let asks_first =
            request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let methods = if asks_first { ingress::methods(path) } else { String::new() };
        let mut response = match methods.as_str() {
            "" => self.answer_or_options(request, peer).await,
            methods => preflight(methods, request.headers(), allowed.is_some()),
        };
        if let Some(allowed) = allowed {
            let headers = response.headers_mut();
            if allowed != "*" {
                headers.append(VARY, HeaderValue::from_static("origin"));
            }
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
        }
        response
    }
}

/// What a page of this origin is told; `None` where it may not read the answer. Cookies are never read, so that `*` gives a page
/// nothing that it has not got a key for.
fn allowed(origins: &Origins, origin: &HeaderValue) -> Option<HeaderValue> {
    match origins {
        Origins::Any => Some(HeaderValue::from_static("*")),
        some => some.allow(origin.to_str().ok()?).then(|| origin.clone()),
    }
}

/// What a browser asks before it sends a page's request (Fetch standard, "CORS-preflight request").
fn preflight(methods: &str, asked: &HeaderMap, is_allowed: bool) -> Response<ReplyBody> {
    let mut response = ops::options(methods);
    if is_allowed {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, ingress::allow(methods));
        // Headers are not what anything is guarded by; `*` would not cover `authorization`.
        if let Some(wanted) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_AGE));
    }
    response
}

/// The head that `GET` would have had. HTTP/1 drops the body by itself, HTTP/2 does not.
fn without_body(mut response: Response<ReplyBody>) -> Response<ReplyBody> {
    // What passes from an upstream has no body of itself, says how long that would be, and settles when it ends.
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
        *response.body_mut() = ReplyBody::empty();
    }
    response
}
