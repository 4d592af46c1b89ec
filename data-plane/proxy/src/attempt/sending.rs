//! What one target is sent: the client's own bytes or the encoded conversation, its headers, and the wait for the head of the answer.

use gateway_dialects::dialect::{Dialect, Encoded, Upstream};
use gateway_dialects::fitting;
use gateway_engine::snapshot::{Policy, Target};
use gateway_ir::chat::ChatRequest;
use gateway_ir::facts::Rewrite;
use gateway_ir::failure::Failure;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, UPGRADE};
use http::{Method, Request, Response, Uri};
use tokio::time::{Instant, timeout_at};

use super::reading::{first_byte_timeout, total_timeout};
use super::{ANTHROPIC_BETA, Lane, Outbound, rest};
use crate::body::{Pieces, RequestBody};
use crate::clock;
use crate::tokens::Tokens;
use crate::upstream::{Client, Origin, UpstreamBody};

/// What goes to an upstream, apart from what its endpoint adds.
pub(super) struct Sent {
    pub(super) body: RequestBody,
    /// Headers that belong to the body.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) dropped: Vec<String>,
    /// The answer comes as a tool's call.
    pub(super) by_tool: bool,
}

// === impl Sent ===

impl Sent {
    /// With what was lost on the way in and on the way out.
    pub(super) fn translated(encoded: Encoded, request: &ChatRequest) -> Self {
        let dropped = request.repaired.iter().cloned().chain(encoded.dropped).collect();
        Self { body: Pieces::from(encoded.body).into(), headers: encoded.headers, dropped, by_tool: false }
    }
}

// === impl Outbound ===

impl Outbound<'_> {
    pub(super) fn send<'s>(
        &'s self,
        target: &'s Target,
        request: Box<Request<RequestBody>>,
        policy: &'s Policy,
        deadline: Instant,
    ) -> impl Future<Output = Result<Response<UpstreamBody>, Box<Failure>>> + Send + use<'s> {
        send((self.client, self.tokens), target, request, policy, deadline)
    }

    /// The upstream's body, headers that belong to it, and the names of what could not be said.
    pub(super) fn encode(
        &self,
        target: &Target,
        lane: Lane,
        stream: bool,
        dialect: &'static dyn Dialect,
    ) -> Result<Sent, Box<Failure>> {
        if lane == Lane::Pass {
            use gateway_ir::dialect::Dialect::{OpenAiChat, OpenAiCompletions};
            let may_ask = matches!(dialect.id(), OpenAiChat | OpenAiCompletions);
            let ask_usage = stream && may_ask && !target.quirks.no_stream_options;
            let rewrite = Rewrite { model: &target.model, ask_usage, stream: stream.then_some(true) };
            let pieces = self.facts.rewrite(self.body, &rewrite);
            return Ok(Sent {
                body: Pieces::joined_if_small(pieces).into(),
                headers: Vec::new(),
                dropped: Vec::new(),
                by_tool: false,
            });
        }
        let request = rest::going_on(self.decoded()?, self.said, target, self.inbound.id());
        let request = request.as_ref();
        let upstream = Upstream { model: &target.model, stream, quirks: &target.quirks };
        let fitted = fitting::fit(request, &target.quirks)?;
        let mut encoded = dialect.encode_request(&fitted.request, &upstream)?;
        let by_tool = fitted.by_tool;
        encoded.dropped = fitted.with(encoded.dropped);
        if self.terms.strict && !encoded.dropped.is_empty() {
            return Err(fitting::refusal(&encoded.dropped, &target.provider.name, &target.model));
        }
        Ok(Sent { by_tool, ..Sent::translated(encoded, request) })
    }

    /// The conversation, read once for all targets.
    pub(super) fn decoded(&self) -> Result<&ChatRequest, Box<Failure>> {
        match self.decoded.get() {
            Some(request) => Ok(request),
            None => {
                let request = self.inbound.decode_document(self.facts.document.raw())?;
                Ok(self.decoded.get_or_init(|| Box::new(request)))
            }
        }
    }

    pub(super) fn request(
        &self,
        target: &Target,
        uri: Uri,
        body: RequestBody,
        headers: Vec<(&'static str, String)>,
    ) -> Box<Request<RequestBody>> {
        let endpoint = &target.provider.endpoint;
        let mut request = Box::new(Request::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        let signature = endpoint
            .signer()
            .map(|signer| {
                signer.sign(request.method(), request.uri(), request.body().as_slices(), clock::unix_seconds())
            })
            .unwrap_or_default();
        let speaks = target.provider.dialect_for(self.inbound.id());
        let sent = request.headers_mut();
        sent.clone_from(endpoint.headers());
        for (name, value) in &self.forwarded {
            if *name == ANTHROPIC_BETA && speaks != gateway_ir::dialect::Dialect::AnthropicMessages {
                continue;
            }
            sent.entry(name).or_insert_with(|| value.clone());
        }
        sent.extend(signature);
        for (name, value) in headers {
            // Lists such as `anthropic-beta` are joined with what the client sent.
            let value = match sent.get(name).and_then(|other| other.to_str().ok()) {
                Some(other) if name != CONTENT_TYPE.as_str() => format!("{other},{value}"),
                _ => value,
            };
            if let Ok(value) = HeaderValue::from_str(&value) {
                sent.insert(name, value);
            }
        }
        request
    }
}

/// Sends a request and waits for the head of its answer, whatever its status.
pub(crate) async fn send(
    (client, tokens): (&Client, &Tokens),
    target: &Target,
    mut request: Box<Request<RequestBody>>,
    policy: &Policy,
    deadline: Instant,
) -> Result<Response<UpstreamBody>, Box<Failure>> {
    // Nobody answers before having read: how long that takes is the client's doing.
    let first_byte = match request.body() {
        RequestBody::Whole(_) => deadline.min(Instant::now() + policy.first_byte),
        RequestBody::Upload(_) => deadline,
    };
    let only_h1 = request.headers().contains_key(UPGRADE);
    let origin = Origin { only_h1, ..Origin::of(&target.provider.endpoint) };
    let sent = timeout_at(first_byte, async {
        if let Some(source) = target.provider.endpoint.token_source() {
            // On the heap, as dialling is: what is rare should not make every request larger.
            request.headers_mut().insert(AUTHORIZATION, Box::pin(tokens.get(source)).await?);
        }
        client.send(&origin, request, policy.connect).await
    });
    sent.await.map_err(|_| match first_byte == deadline {
        true => total_timeout(&target.provider.name),
        false => first_byte_timeout(&target.provider.name, policy.first_byte),
    })?
}
