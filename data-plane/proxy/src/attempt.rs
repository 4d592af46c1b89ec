//! The only loop over targets: encode for the target, send, read enough of the reply to know whether it is one, and decide
//! what a failure means. Nothing has gone to the client while this runs.

mod reading;
mod beginning;
mod count;
mod task;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gateway_dialects::dialect::{ClientDialect, Dialect, Encoded, ReplyContext, StreamDecoder, TapOptions, Upstream};
use gateway_dialects::task::{Asked, Family};
use gateway_dialects::{fitting, registry, repair, signed_id};
use gateway_engine::health::Skip;
use gateway_engine::resolve::Resolved;
use gateway_engine::retry::{self, Budget, Decision, Spent};
use gateway_engine::routing::{self, Choice, Shape};
use gateway_engine::snapshot::Target;
use gateway_ir::chat::ChatRequest;
use gateway_ir::facts::{Facts, Rewrite};
use gateway_ir::failure::{Code, Failure};
use gateway_ir::fold::Reply;
use gateway_ir::json;
use gateway_ir::usage::Usage;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, UPGRADE};
use http::{HeaderMap, Method, Request, Response, Uri};
use tokio::time::{Instant, timeout_at};

use self::beginning::Probe;
pub(crate) use self::reading::{Reading, retry_after};
use self::reading::{first_byte_timeout, is_json, must_be_stream, refusal, total_timeout};
use crate::body::{Pieces, RequestBody};
use crate::clock;
use crate::ingress::Errand;
use crate::receive::Multipart;
use crate::record::Record;
use crate::tokens::Tokens;
use crate::upstream::{Client, Origin, UpstreamBody, demo_answer};

/// Features that a client of Anthropic's asks for; a word for Anthropic and nobody else.
pub(crate) const ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");

/// Tokens of an answer that may be as long as it likes, where targets are compared by price.
const EXPECTED_OUTPUT: u64 = 500;

/// A JSON reply is held whole up to here, so that its headers are exact.
pub(crate) const MAX_HELD_REPLY: usize = 4 * 1024 * 1024;
/// A reply that must be translated is never larger than this.
pub(crate) const MAX_TRANSLATED_REPLY: usize = 32 * 1024 * 1024;

/// A request on its way to some upstream.
pub(crate) struct Outbound<'a> {
    pub(crate) client: &'a Client,
    pub(crate) tokens: &'a Tokens,
    pub(crate) retries: &'a Budget,
    pub(crate) errand: Errand,
    pub(crate) inbound: &'static dyn ClientDialect,
    pub(crate) body: &'a Bytes,
    pub(crate) facts: &'a Facts,
    /// The client gets a stream.
    pub(crate) stream: bool,
    /// Headers of the client that go on (`anthropic-beta`, `x-request-id`).
    pub(crate) forwarded: HeaderMap,
    pub(crate) terms: Terms,
    /// The body is a form of several parts, or the beginning of one.
    pub(crate) multipart: Option<Multipart>,
    decoded: Option<ChatRequest>,
    /// The same of a request that is no conversation.
    asked: Option<Box<dyn Asked>>,
}

/// What the client, or the configuration for it, demands of every attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// No target is asked twice; the others still are.
    pub(crate) once_each: bool,
    /// A target that cannot be told everything is not asked.
    pub(crate) strict: bool,
    /// In place of a policy's time for all of it.
    pub(crate) total: Option<Duration>,
}

/// What came back, before the client has seen any of it.
pub(crate) enum Answer {
    /// A whole reply in the client's own dialect, byte for byte the upstream's.
    Whole { bytes: Bytes, usage: Option<Usage> },
    /// A whole reply, to be encoded for the client.
    Folded(Box<Reply>),
    /// A stream in the client's own dialect.
    Passing { body: UpstreamBody, strip_usage: bool },
    /// A whole reply, too large to hold, in the client's own dialect: what was read, and the rest.
    PassingWhole { head: Bytes, body: UpstreamBody },
    /// A stream to be translated.
    Translating { body: UpstreamBody, decoder: Box<dyn StreamDecoder> },
    /// What a task made, in the client's form, and bytes of what was read for it; no text that a model wrote.
    Made { bytes: Bytes, usage: Option<Usage>, n_read: u64 },
    /// The same where it is no JSON or too large to hold: what was read, and the rest.
    PassingMade {
        family: &'static dyn Family,
        /// Its media type.
        kind: Option<HeaderValue>,
        head: Bytes,
        body: UpstreamBody,
        n_read: u64,
    },
    /// A number of tokens, as the client expects it: the vendor's own, or our estimate.
    Counted { bytes: Bytes, is_exact: bool },
}

/// An answer and where it came from.
pub(crate) struct Answered {
    pub(crate) answer: Answer,
    pub(crate) target: Arc<Target>,
    pub(crate) status: u16,
    pub(crate) idle: Duration,
    pub(crate) deadline: Instant,
    /// What the upstream could not be told.
    pub(crate) dropped: Vec<String>,
}

/// What goes to an upstream, apart from what its endpoint adds.
struct Sent {
    body: RequestBody,
    /// Headers that belong to the body.
    headers: Vec<(&'static str, String)>,
    dropped: Vec<String>,
    /// The answer comes as a tool's call.
    by_tool: bool,
}

// === impl Sent ===

impl Sent {
    /// With what was lost on the way in and on the way out.
    fn translated(encoded: Encoded, request: &ChatRequest) -> Self {
        let dropped = request.repaired.iter().cloned().chain(encoded.dropped).collect();
        Self { body: Pieces::from(encoded.body).into(), headers: encoded.headers, dropped, by_tool: false }
    }
}

/// Bytes pass, or the conversation is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Pass,
    Translate,
}

// === impl Lane ===

impl Lane {
    fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Translate => "translate",
        }
    }

    /// The one place that decides. Bytes pass if both sides speak the same dialect and nothing in them, and nothing that the target
    /// declares, needs the content to be read.
    pub(crate) fn choose(
        client: &dyn ClientDialect,
        target: &Target,
        stream: bool,
        facts: &Facts,
        body: &[u8],
    ) -> Self {
        let inbound = client.id();
        let same = inbound == target.provider.dialect_for(inbound);
        let folds = target.quirks.stream_only && !stream;
        let must_read = || target.quirks.needs_content(inbound, facts.says, body);
        // Ids that carry another vendor's signature are longer than this one takes.
        let is_foreign = || signed_id::is_in(body) || client.holds_foreign(body);
        let may_pass = same && !folds && !must_read() && !is_foreign() && !repair::is_needed(inbound, facts, body);
        if may_pass { Self::Pass } else { Self::Translate }
    }
}

// === impl Outbound ===

impl<'a> Outbound<'a> {
    pub(crate) fn new(
        (client, tokens, retries): (&'a Client, &'a Tokens, &'a Budget),
        (errand, inbound): (Errand, &'static dyn ClientDialect),
        body: &'a Bytes,
        facts: &'a Facts,
        stream: bool,
        forwarded: HeaderMap,
        terms: Terms,
    ) -> Self {
        Self {
            client,
            tokens,
            retries,
            errand,
            inbound,
            body,
            facts,
            stream,
            forwarded,
            terms,
            multipart: None,
            decoded: None,
            asked: None,
        }
    }

    /// Tries targets until one answers, none is left, or a failure says to stop. The last failure is the one reported.
    pub(crate) async fn run(&mut self, resolved: &Resolved, record: &mut Record) -> Result<Answered, Box<Failure>> {
        let began = Instant::now();
        self.retries.earn();
        let n_input = gateway_engine::count::estimate(self.body.len() as u64, 0).input;
        let shape = Shape::new(n_input, self.facts.max_output_tokens.unwrap_or(EXPECTED_OUTPUT));
        let mut plan = routing::plan(resolved, shape, began.into_std());
        let mut next = plan.next();
        loop {
            let Some(Choice { target, mut seat }) = next else {
                return Err(nobody_left(&self.facts.model, &plan.skipped, record));
            };
            let mut policy = resolved.policy(&target, self.stream);
            policy.total = self.terms.total.unwrap_or(policy.total);
            let deadline = began + policy.total;
            let lane = match self.errand {
                Errand::Task(form) => self.task_lane(form, &target),
                Errand::Chat | Errand::CountTokens => {
                    Lane::choose(self.inbound, &target, self.stream, self.facts, self.body)
                }
            };
            let n_made = record.attempt_began(&target, lane.name());
            let answered = match self.errand {
                Errand::Chat => self.attempt(&target, lane, &policy, deadline, record.id()).await,
                Errand::CountTokens => self.count(&target, &policy, deadline).await,
                Errand::Task(form) => self.task(form, (&target, lane), &policy, deadline, record.id()).await,
            };
            let now = std::time::Instant::now();
            let failure = match answered {
                Ok((answer, status, dropped)) => {
                    record.attempt_ended(status, None);
                    seat.answered(now);
                    record.seated(seat, &plan.skipped);
                    return Ok(Answered { answer, target, status, idle: policy.idle, deadline, dropped });
                }
                Err(failure) => failure,
            };
            record.attempt_ended(0, Some(&failure));
            seat.failed(&failure, now);
            drop(seat);
            let spent = Spent {
                n_attempts: n_made,
                max_attempts: policy.max_attempts,
                once_each: self.terms.once_each,
                elapsed: began.elapsed(),
                total: policy.total,
            };
            // Without a breaker an upstream is asked whatever happens.
            let may_spend = || target.breaker.is_none() || self.retries.spend(now);
            next = match retry::next(&failure, spent, plan.at(now)) {
                Decision::Next(choice) if may_spend() => Some(choice),
                Decision::Again { after } if may_spend() => {
                    tokio::time::sleep(after).await;
                    Choice::again(target, std::time::Instant::now()).ok()
                }
                _ => None,
            };
            if next.is_none() {
                record.passed_over(&plan.skipped);
                return Err(failure);
            }
        }
    }

    async fn attempt(
        &mut self,
        target: &Arc<Target>,
        lane: Lane,
        policy: &gateway_engine::snapshot::Policy,
        deadline: Instant,
        request_id: &str,
    ) -> Result<(Answer, u16, Vec<String>), Box<Failure>> {
        if !target.provider.converses() {
            return Err(task::no_such_operation("conversations", target));
        }
        let dialect = registry::dialect(target.provider.dialect_for(self.inbound.id()));
        let upstream_streams = self.stream || target.quirks.stream_only;
        let Sent { body, headers, dropped, by_tool } = self.encode(target, lane, upstream_streams, dialect)?;
        let response = if target.provider.endpoint.is_demo() {
            demo_answer(request_id, &target.model, upstream_streams, self.body.len(), clock::unix_seconds())
        } else {
            let uri = target.provider.endpoint.uri(dialect.id(), &target.model, upstream_streams);
            self.send(target, self.request(target, uri, body, headers), policy, deadline).await?
        };
        let status = response.status().as_u16();
        if !response.status().is_success() {
            return Err(refusal(dialect, response, target, policy.idle.min(Duration::from_secs(10))).await);
        }
        let reading = Reading { target, dialect, by_tool, idle: policy.idle, deadline };
        let answer = match (upstream_streams, is_json(response.headers())) {
            // Asked for a stream, answered with a whole reply: still an answer.
            (true, false) => {
                must_be_stream(response.headers(), dialect.stream_media_type(), target)?;
                self.streamed(lane, reading, response.into_body()).await?
            }
            _ => self.whole(lane, reading, response).await?,
        };
        Ok((answer, status, dropped))
    }

    async fn send(
        &self,
        target: &Target,
        request: Request<RequestBody>,
        policy: &gateway_engine::snapshot::Policy,
        deadline: Instant,
    ) -> Result<Response<UpstreamBody>, Box<Failure>> {
        send((self.client, self.tokens), target, request, policy, deadline).await
    }

    /// The upstream's body, headers that belong to it, and the names of what could not be said.
    fn encode(
        &mut self,
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
        let request = match &mut self.decoded {
            Some(request) => request,
            None => self.decoded.insert(self.inbound.decode_request(self.body)?),
        };
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

    fn request(
        &self,
        target: &Target,
        uri: Uri,
        body: RequestBody,
        headers: Vec<(&'static str, String)>,
    ) -> Request<RequestBody> {
        let endpoint = &target.provider.endpoint;
        let mut request = Request::new(body);
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

    async fn streamed(&self, lane: Lane, reading: Reading<'_>, mut body: UpstreamBody) -> Result<Answer, Box<Failure>> {
        match (lane, self.stream) {
            (Lane::Pass, true) => {
                let strip_usage = !self.facts.include_usage && !reading.target.quirks.no_stream_options;
                let tap = self.inbound.stream_tap(TapOptions::default());
                Probe::Pass(tap).read(&reading, &mut body).await?;
                Ok(Answer::Passing { body, strip_usage })
            }
            (Lane::Translate, true) => {
                Probe::Translate(reading.decoder()).read(&reading, &mut body).await?;
                Ok(Answer::Translating { body, decoder: reading.decoder() })
            }
            (_, false) => reading.fold_stream(body).await.map(|reply| Answer::Folded(Box::new(reply))),
        }
    }

    async fn whole(
        &self,
        lane: Lane,
        reading: Reading<'_>,
        response: Response<UpstreamBody>,
    ) -> Result<Answer, Box<Failure>> {
        let mut body = response.into_body();
        let may_pass = lane == Lane::Pass && !self.stream;
        let limit = if may_pass { MAX_HELD_REPLY } else { MAX_TRANSLATED_REPLY };
        let (bytes, whole) = reading.collect(&mut body, limit).await?;
        if !whole {
            if may_pass {
                return Ok(Answer::PassingWhole { head: bytes, body });
            }
            return Err(reading.garbage("is larger than 32 MiB"));
        }
        if may_pass {
            if json::scan_object(&bytes, |_| ()).is_err() {
                return Err(reading.garbage("is not a JSON object"));
            }
            let usage = self.inbound.usage_of_reply(&bytes);
            return Ok(Answer::Whole { bytes, usage });
        }
        let events = reading.events(&bytes)?;
        reading.complete(gateway_ir::fold::fold(events)).map(|reply| Answer::Folded(Box::new(reply)))
    }
}

/// Nobody could be asked at all.
fn nobody_left(model: &str, skipped: &[(Arc<Target>, Skip)], record: &mut Record) -> Box<Failure> {
    record.passed_over(skipped);
    let Some((target, skip)) = skipped.iter().min_by_key(|(_, skip)| skip.left()) else {
        let message = format!("every target of `{model}` is disabled; enable one");
        return Box::new(Failure::new(Code::ModelNotFound, message).with_status(503));
    };
    let name = format!("{}/{}", target.provider.name, target.model);
    let why = match skip {
        Skip::OnTrial => "is being tried by another request",
        _ => "has failed too often lately and is left alone for a while",
    };
    // The code and not the upstream's words, which were said to somebody else.
    let last = target.health.last_failure();
    let last = last.map(|last| format!("; it failed with {} ({})", last.status, last.code.name())).unwrap_or_default();
    let message = format!("no target of `{model}` can be asked now: `{name}` {why}{last}");
    // In whole seconds, of which none is too short.
    let left = skip.left().map(|left| Duration::from_secs(left.as_secs() + 1));
    Box::new(Failure::new(Code::NoTarget, message).with_retry_after(left.or(Some(Duration::from_secs(1)))))
}

/// Sends a request and waits for the head of its answer, whatever its status.
pub(crate) async fn send(
    (client, tokens): (&Client, &Tokens),
    target: &Target,
    mut request: Request<RequestBody>,
    policy: &gateway_engine::snapshot::Policy,
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
            request.headers_mut().insert(AUTHORIZATION, tokens.get(source).await?);
        }
        client.send(&origin, request, policy.connect).await
    });
    sent.await.map_err(|_| match first_byte == deadline {
        true => total_timeout(&target.provider.name),
        false => first_byte_timeout(&target.provider.name, policy.first_byte),
    })?
}

/// What a reply must say about itself where the upstream said nothing.
pub(crate) fn reply_context(request_id: &str, model: &str, include_usage: bool, functions: bool) -> ReplyContext {
    ReplyContext {
        request_id: request_id.to_owned(),
        model: model.to_owned(),
        created: clock::unix_seconds(),
        include_usage,
        functions,
        stored: false,
        previous: None,
    }
}
