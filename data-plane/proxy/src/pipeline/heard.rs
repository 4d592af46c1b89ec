//! A request as it has come in: its body, what that says of itself, and what goes on with it.

use std::sync::Arc;

use bytes::Bytes;
use gateway_engine::count;
use gateway_engine::resolve::Ask;
use gateway_engine::snapshot::Settings;
use gateway_ir::dialect::Dialect;
use gateway_ir::facts::Facts;
use gateway_ir::failure::Failure;
use gateway_ir::multipart;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName};
use hyper::body::Incoming;

use super::Head;
use crate::attempt::ANTHROPIC_BETA;
use crate::headers::{self, Hints};
use crate::ingress::{self, Errand};
use crate::responses::Thread;
use crate::trace_context::{TRACEPARENT, TRACESTATE};
use crate::{clock, receive};

/// A request's body: still with the client, or here, as a socket's message.
pub(crate) enum Said {
    Coming(Incoming),
    Here(Bytes),
    /// It is asked behind another request, for whom that was identified as.
    For(Owner, Bytes),
}

/// Somebody who was identified before.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    /// Of a key, or of somebody for whom another system spoke.
    pub(crate) id: Arc<str>,
    /// What the latter might use then; a key is asked itself.
    pub(crate) models: Vec<String>,
}

/// A request that is here as far as it has to be.
pub(super) struct Heard {
    pub(super) body: Bytes,
    pub(super) facts: Facts,
    /// What is needed to send a form of several parts on.
    pub(super) multipart: Option<Box<receive::Multipart>>,
    /// What it goes on from.
    pub(super) thread: Option<Box<Thread>>,
    /// Whether the reply is to be one.
    pub(super) stream: bool,
}

/// Headers of the client that go on to an upstream of any kind; nothing else does.
static FORWARDED: [HeaderName; 4] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static(TRACEPARENT),
    HeaderName::from_static(TRACESTATE),
];

/// The body, what its beginning says, and, where it is a form of several parts, what is needed to send it on.
pub(super) async fn received(
    errand: Errand,
    head: &Head,
    body: Said,
    settings: &Settings,
) -> Result<(Bytes, Facts, Option<Box<receive::Multipart>>), Box<Failure>> {
    let bounds = receive::Bounds::of(settings);
    let body = match body {
        Said::Coming(body) => body,
        Said::Here(body) | Said::For(_, body) => return Facts::scan(&body).map(|facts| (body, facts, None)),
    };
    if let Errand::Task(form) = errand
        && form.takes_parts()
        && let Some(kind) = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok())
        && let Some(boundary) = multipart::boundary(kind)
    {
        let (bytes, model, rest) = receive::form(&head.headers, boundary?, body, bounds).await?;
        let multipart = Box::new(receive::Multipart { kind: kind.to_owned(), rest });
        return Ok((bytes, Facts::of_form(&model), Some(multipart)));
    }
    let body = receive::body(&head.headers, body, bounds).await?;
    let facts = match ingress::gemini::asked(&head.path) {
        Some(asked) => Facts::scan_named(&body, asked.model, asked.stream)?,
        None => Facts::scan(&body)?,
    };
    Ok((body, facts, None))
}

/// Where it wants to go.
pub(super) fn wanted<'a>(head: &'a Head, facts: &'a Facts, body: &'a Bytes, hints: &Hints<'a>) -> Ask<'a> {
    Ask {
        needs: facts.needs,
        n_input: count::estimated(facts, body.len()),
        body,
        unix_ms: clock::unix_ms(),
        forced_provider: hints.provider,
        forced_model: hints.model,
        forced_route: hints.route,
        session: hints.session,
        ..Ask::new(&head.path, &head.headers, &facts.model)
    }
}

/// A few headers by name; a client's credentials and cookies are never among them.
pub(super) fn forwarded(head: &Head, dialect: Dialect, hints: &Hints<'_>) -> HeaderMap {
    let headers = &head.headers;
    let mut forwarded = HeaderMap::with_capacity(4);
    for name in &FORWARDED {
        if let Some(value) = headers.get(name) {
            forwarded.insert(name, value.clone());
        }
    }
    if dialect == Dialect::AnthropicMessages
        && let Some(value) = headers.get(&ANTHROPIC_BETA)
    {
        forwarded.insert(ANTHROPIC_BETA, value.clone());
    }
    if !forwarded.contains_key(&FORWARDED[0])
        && let Ok(value) = http::HeaderValue::from_str(&head.id)
    {
        forwarded.insert(&FORWARDED[0], value);
    }
    // A socket's session is known to the socket alone.
    if let Some(session) = hints.session.filter(|_| head.connection.is_some()) {
        headers::set_session(&mut forwarded, session);
    }
    forwarded
}
