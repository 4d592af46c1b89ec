//! What is no conversation, asked of one target: the bytes pass where both sides use the same form, else the request becomes the
//! target's, in as many calls as it needs for it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use gateway_dialects::dialect::Encoded;
use gateway_dialects::registry;
use gateway_dialects::task::{Asked, Context, Upstream};
use gateway_engine::count;
use gateway_engine::snapshot::{Policy, Target};
use gateway_ir::facts::Rewrite;
use gateway_ir::failure::{Failure, Retry};
use gateway_ir::json;
use gateway_ir::task::Form;
use gateway_providers::endpoint::Operation;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use tokio::time::Instant;

use super::reading::{Reading, no_such_operation, refusal};
use super::told::Told;
use super::{Answer, Lane, MAX_HELD_REPLY, MAX_TRANSLATED_REPLY, Outbound};
use crate::body::{Pieces, RequestBody, Upload};
use crate::upstream::UpstreamBody;

/// Calls of one request that run at once.
const MAX_CALLS: usize = 4;
/// No input takes fewer bytes in an array: `1,`.
const SHORTEST_INPUT: usize = 2;

/// One target's answer to one call, not read yet.
struct Said {
    body: UpstreamBody,
    status: u16,
    /// Its media type.
    kind: Option<HeaderValue>,
}

/// Where the calls of one attempt go, and their bounds.
struct Calls<'a> {
    target: &'a Target,
    operation: &'a Operation,
    policy: &'a Policy,
    deadline: Instant,
}

// === impl Outbound ===

impl Outbound<'_> {
    /// The same form on both sides, and no more inputs than the target takes at once.
    pub(super) fn task_lane(&self, form: Form, target: &Target) -> Lane {
        // A small body cannot hold too many; they are counted in large ones only.
        let is_in_one = |at_once: usize| {
            self.body.len() / SHORTEST_INPUT <= at_once || registry::family(form.task()).n_inputs(self.body) <= at_once
        };
        let passes = target
            .provider
            .endpoint
            .task(form.task(), &target.model)
            .filter(|operation| operation.form == form && !form.names_models_within())
            .is_some_and(|operation| operation.at_once.is_none_or(is_in_one));
        if passes { Lane::Pass } else { Lane::Translate }
    }

    /// One target's answer. If one of its calls fails, so has the target.
    pub(super) async fn task(
        &mut self,
        form: Form,
        (target, lane): (&Target, Lane),
        policy: &Policy,
        deadline: Instant,
        request_id: &str,
    ) -> Told {
        let Some(operation) = target.provider.endpoint.task(form.task(), &target.model) else {
            return Err(no_such_operation(form.task().name(), target));
        };
        if self.asked.is_none() && lane == Lane::Translate {
            self.asked = Some(registry::family(form.task()).read(form, self.body)?);
        }
        let calls = Calls { target, operation: &operation, policy, deadline };
        match self.asked.as_deref().filter(|_| lane == Lane::Translate) {
            Some(asked) => self.translated(asked, &calls, request_id).await,
            None => self.passed(form, &calls).await,
        }
    }

    async fn passed(&mut self, form: Form, calls: &Calls<'_>) -> Told {
        let (body, headers) = self.as_asked(calls.target);
        let is_gone = matches!(body, RequestBody::Upload(_));
        let said = self.call(calls, body, headers).await;
        let Said { mut body, status, kind } = said.map_err(|failure| match is_gone {
            // The files went with this call: nobody has them any more.
            true => Box::new(Failure { retry: Retry::Never, ..*failure }),
            false => failure,
        })?;
        let reading = calls.reading();
        // The bytes of a recording or a picture say nothing of tokens.
        let n_read = if self.multipart.is_some() { 0 } else { self.body.len() as u64 };
        let family = registry::family(form.task());
        // Sound goes on as it comes, and so do events.
        if kind.as_ref().is_some_and(|kind| !kind.as_bytes().starts_with(b"application/json")) {
            return Ok((
                Answer::PassingMade { family, kind, head: Bytes::new(), body, n_read },
                status.into(),
                Vec::new(),
            ));
        }
        let read = reading.collect(&mut body, MAX_HELD_REPLY).await;
        let (bytes, whole) = read.map_err(|failure| Box::new(failure.said_with(status)))?;
        if !whole {
            return Ok((Answer::PassingMade { family, kind, head: bytes, body, n_read }, status.into(), Vec::new()));
        }
        if json::scan_object(&bytes, |_| ()).is_err() {
            return Err(Box::new(reading.garbage("is not a JSON object").said_with(status)));
        }
        let usage = family.usage_of_reply(&bytes);
        Ok((Answer::Made { bytes, usage, n_read }, status.into(), Vec::new()))
    }

    /// The client's own body with the target's model, and headers that belong to it. The files of a form that is not all here go
    /// with the first call.
    fn as_asked(&mut self, target: &Target) -> (RequestBody, Vec<(&'static str, String)>) {
        let pieces = self.facts.rewrite(self.body, &Rewrite { model: &target.model, ..Rewrite::default() });
        let headers = self.multipart.iter().map(|form| ("content-type", form.kind.clone())).collect();
        let body = match self.multipart.as_mut().and_then(|form| form.rest.take()) {
            Some(rest) => RequestBody::Upload(Box::new(Upload::new(Pieces::new(pieces), rest))),
            None => Pieces::joined_if_small(pieces).into(),
        };
        (body, headers)
    }

    async fn translated(&self, asked: &dyn Asked, calls: &Calls<'_>, request_id: &str) -> Told {
        let Operation { form, at_once, .. } = *calls.operation;
        let upstream = Upstream { form, model: &calls.target.model, at_once };
        let mut encoded = asked.encode(&upstream)?;
        // All parts say the same things, so that the first names what all of them leave out.
        let dropped = encoded.first_mut().map(|first| std::mem::take(&mut first.dropped)).unwrap_or_default();
        let replies: Vec<Bytes> = futures_util::stream::iter(encoded)
            .map(|Encoded { body, headers, .. }| self.whole_call(calls, body, headers))
            .buffered(MAX_CALLS)
            .try_collect()
            .await?;
        let n_read = asked.n_content_bytes();
        let estimated = count::estimate(n_read, 0).input;
        let context = Context { model: &self.facts.model, request_id, estimated };
        let answer = asked.answer(&upstream, &replies, &context);
        let answer = answer.map_err(|failure| Box::new(failure.said_with(200)))?;
        Ok((Answer::Made { bytes: answer.bytes, usage: answer.usage, n_read }, 200.into(), dropped))
    }

    async fn whole_call(
        &self,
        calls: &Calls<'_>,
        body: Bytes,
        headers: Vec<(&'static str, String)>,
    ) -> Result<Bytes, Box<Failure>> {
        let Said { mut body, status, .. } = self.call(calls, Pieces::from(body).into(), headers).await?;
        let reading = calls.reading();
        let read = match reading.collect(&mut body, MAX_TRANSLATED_REPLY).await {
            Ok((bytes, true)) => Ok(bytes),
            Ok((_, false)) => Err(reading.garbage("is larger than 32 MiB")),
            Err(failure) => Err(failure),
        };
        read.map_err(|failure| Box::new(failure.said_with(status)))
    }

    async fn call(
        &self,
        calls: &Calls<'_>,
        body: RequestBody,
        headers: Vec<(&'static str, String)>,
    ) -> Result<Said, Box<Failure>> {
        let Calls { target, operation, policy, deadline } = *calls;
        let request = self.request(target, operation.uri.clone(), body, headers);
        let response = self.send(target, request, policy, deadline).await?;
        let status = response.status().as_u16();
        if !response.status().is_success() {
            let dialect = registry::dialect(target.provider.dialect);
            let failure = refusal(dialect, response, target, policy.idle.min(Duration::from_secs(10))).await;
            return Err(Box::new(failure.said_with(status)));
        }
        let kind = response.headers().get(CONTENT_TYPE).cloned();
        Ok(Said { body: response.into_body(), status, kind })
    }
}

// === impl Calls ===

impl Calls<'_> {
    fn reading(&self) -> Reading<'_> {
        let dialect = registry::dialect(self.target.provider.dialect);
        Reading { target: self.target, dialect, by_tool: false, idle: self.policy.idle, deadline: self.deadline }
    }
}
