//! What passes without being a conversation or a task, top to bottom: identified, admitted, accounted and logged as everything
//! else is, as the model `proxy:<provider>`; sent as it came and answered as the upstream answers.

mod headers;
mod meter;
mod seal;
mod batch;
mod watch;
mod settle;
mod look;
mod aim;
mod rpc;
mod agent;
mod frames;
mod socket;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant as Arrival};

use bytes::Bytes;
use gateway_dialects::framing::array::StreamForm;
use gateway_dialects::registry;
use gateway_engine::count;
use gateway_engine::limits::{Asked as Tokens, Rates};
use gateway_engine::pass::Reach;
use gateway_engine::retry::{self, Decision, Spent};
use gateway_engine::snapshot::{Policy, Provider, Target};
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::{Code, Failure};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

use self::aim::{Aim, Asking};
pub(crate) use self::look::look;
use self::meter::{Kind, Through};
pub(crate) use self::settle::Settled;
use crate::attempt::{self, Reading};
use crate::billing;
use crate::body::{ReplyBody, RequestBody};
use crate::clock;
use crate::headers::{Hints, Writer};
use crate::ingress::pass::Way;
use crate::pipeline::{Gateway, Head, Said, request_id};
use crate::presented::{Presented, peer};
use crate::record::{Ending, Record};
use crate::relay::{Bounds, Mode, Relay};
use crate::state::Config;
use crate::upstream::UpstreamBody;
use crate::{refusal, reply, task, websocket};

/// What an upstream may say of files, batches or an agent, in bytes.
const MAX_DESCRIPTION: usize = 16 * 1024 * 1024;

/// What an upstream answered, and under which bounds the rest of it comes.
struct Passed {
    target: Arc<Target>,
    metered: Option<Kind>,
    response: Response<Coming>,
    bounds: Bounds,
    rates: Option<Rates>,
}

enum Coming {
    Rest(UpstreamBody),
    Whole(Bytes),
}

/// Answers a request that passes. What fails here is told in OpenAI's words; what fails behind it, in the upstream's.
pub(crate) async fn answer(
    gateway: &Arc<Gateway>,
    way: Way,
    request: Request<Said>,
    arrived: Arrival,
) -> Response<ReplyBody> {
    let mut request = request;
    let socket = socket::wanted(&mut request);
    let (parts, body) = request.into_parts();
    let id = request_id();
    let (method, path) = (parts.method.as_str(), parts.uri.path());
    let mut record = Record::begin(Arc::clone(&gateway.sinks), arrived, &id, method, path);
    record.dialect("pass");
    record.traced(&parts.headers);
    let config = gateway.live.pin();
    match run(gateway, &config, &way, (&parts, body, socket.is_some()), &mut record).await {
        Ok(passed) => {
            let path = parts.uri.path().to_owned();
            let head = Head {
                path,
                from: peer(&parts.extensions),
                headers: parts.headers,
                id,
                form: StreamForm::Events,
                connection: None,
                run: None,
            };
            respond(gateway, &config, (head, socket), passed, record)
        }
        Err(failure) => {
            record.failed(&failure);
            record.status(failure.status);
            refusal::response(&failure, Dialect::OpenAiChat, &id, config.families())
        }
    }
}

async fn run(
    gateway: &Arc<Gateway>,
    config: &Config,
    way: &Way,
    (parts, body, is_socket): (&Parts, Said, bool),
    record: &mut Record,
) -> Result<Passed, Box<Failure>> {
    let caller = gateway.identified(config, Presented::of_parts(parts))?;
    record.caller(&caller);
    let hints = Hints::read(&parts.headers)?;
    record.session(hints.session);
    let asking = Asking { config, caller: &caller, method: &parts.method, uri: &parts.uri, headers: &parts.headers };
    if is_socket {
        websocket::check_origin(&config.snapshot.settings.origins, &parts.headers)?;
    } else if *way == Way::Realtime {
        let message = "`/v1/realtime` is a WebSocket; ask for an upgrade of HTTP/1.1";
        return Err(Box::new(Failure::invalid(message).with_status(426)));
    }
    let aim = asking.aim(way, body).await?;
    let n_bytes = usize::try_from(aim.n_bytes).unwrap_or(usize::MAX);
    let as_model = match way {
        Way::AgentCall { .. } | Way::AgentCard { .. } => aim.provider.name.to_string(),
        _ => format!("proxy:{}", aim.provider.name),
    };
    record.asked(&as_model, false, config.snapshot.revision, n_bytes);
    // Of what is streamed nothing is here.
    let here = || aim.body.as_slices().collect::<Vec<_>>().concat().into();
    let keeping = caller.log_bodies().or(config.snapshot.settings.log_bodies.as_ref());
    record.keeps_bodies(keeping, here, &parts.headers);
    // Of what no model reads, nothing is estimated.
    let n_read = if aim.metered.is_some_and(Kind::is_text) { aim.n_bytes } else { 0 };
    record.reads(n_read);
    record.charged_by(aim.units);
    let n_input = count::estimate(n_read, 0).input;
    let purses = billing::purses_at(&config.snapshot, &caller, [&as_model, &aim.model], &aim.provider);
    // What it will cost is known afterwards.
    let bill = billing::pay(&gateway.leases, &purses, 0).await?;
    let scopes = billing::scopes_at(&config.snapshot, &caller, [&as_model, &aim.model], &aim.provider);
    let asked = gateway.shared(Tokens { n_input, ..Tokens::default() });
    let (permit, bill) =
        billing::admit((&gateway.leases, &gateway.limit_store), &config.snapshot, scopes, asked, bill).await?;
    let rates = permit.rates();
    record.billed(bill, &gateway.leases);
    record.admitted(permit);
    let policy @ Policy { idle, idle_reasoning, total, .. } = aim.provider.passing_policy();
    let bounds = Bounds { idle, idle_reasoning, deadline: Instant::now() + total };
    let target = Target::passing(&aim.provider, &aim.model);
    let (metered, reach, of_batches) = (aim.metered, aim.reach, aim.of_batches);
    let mut headers = headers::of_request(&aim.provider.endpoint, &parts.headers, record.id());
    record.hands_on(&mut headers);
    if is_socket {
        socket::asked(&parts.headers, &mut headers);
    }
    let attempts = Attempts {
        gateway,
        method: &parts.method,
        headers,
        target: Arc::clone(&target),
        policy,
        bounds,
        n_at_most: if hints.no_retry { 1 } else { config.snapshot.settings.passthrough.max_attempts },
    };
    let response = attempts.run(aim, record).await?;
    let told = OnceLock::new();
    let batches = |body: &Bytes| {
        let _ = told.set(body.clone());
        settle::heard(gateway, config, &target.provider, (&caller, reach), body);
        batch::shown(body)
    };
    let response = match (way, reach) {
        (Way::AgentCard { .. }, _) => {
            let card = |body: &Bytes| agent::card(body, parts.uri.path(), &parts.headers);
            edited(response, (&target, bounds), card).await?
        }
        (Way::Kept { tail, .. }, Reach::Own) if !tail.ends_with("/content") => {
            let sealed = |body: &Bytes| {
                let shown = if of_batches { batches(body) } else { body.clone() };
                seal::reply(&shown, &config.peppers, &caller.id, &target.provider.name)
            };
            edited(response, (&target, bounds), sealed).await?
        }
        _ if of_batches => edited(response, (&target, bounds), |body: &Bytes| Some(batches(body))).await?,
        _ => response.map(Coming::Rest),
    };
    if let Some(body) = told.get().filter(|_| parts.method == Method::POST) {
        settle::made(gateway, config, &target.provider, &caller, body).await;
    }
    Ok(Passed { target, metered, response, bounds, rates })
}

/// The loop over attempts of one request, all at one provider.
struct Attempts<'a> {
    gateway: &'a Gateway,
    method: &'a Method,
    headers: HeaderMap,
    target: Arc<Target>,
    policy: Policy,
    bounds: Bounds,
    n_at_most: usize,
}

// === impl Attempts ===

impl Attempts<'_> {
    /// The upstream's answer, whatever its status. What is streamed goes once.
    async fn run(&self, aim: Aim, record: &mut Record) -> Result<Response<UpstreamBody>, Box<Failure>> {
        let began = Instant::now();
        let mut body = aim.body;
        let (provider, patience) = (&self.target.provider, self.policy.queue);
        let slot = attempt::place(provider, patience, self.bounds.deadline, record).await;
        record.placed(slot.map_err(|skip| attempt::no_place(&provider.name, skip, provider, patience))?);
        loop {
            let again = match &body {
                RequestBody::Whole(pieces) => Some(pieces.clone()),
                RequestBody::Upload(_) => None,
            };
            self.target.provider.admit(Arrival::now()).map_err(|wait| full(&self.target.provider, wait))?;
            let n_made = record.attempt_began(&self.target, "pass");
            let clients = (&self.gateway.client, &*self.gateway.tokens);
            let request = self.request(&aim.uri, body);
            let sent =
                attempt::send(clients, &self.target, Box::new(request), &self.policy, self.bounds.deadline).await;
            let (status, failure) = match &sent {
                Ok(response) => (response.status().as_u16(), refused(response)),
                Err(failure) => (0, Some(failure.clone())),
            };
            record.attempt_ended((n_made, &self.target), status, failure.as_deref());
            let (Some(failure), Some(pieces)) = (failure, again) else { return sent };
            let spent = Spent {
                n_attempts: n_made,
                max_attempts: self.n_at_most,
                once_each: false,
                elapsed: began.elapsed(),
                total: self.policy.total,
            };
            match retry::next(&failure, spent, &mut std::iter::empty::<()>()) {
                Decision::Again { after } => tokio::time::sleep(after).await,
                Decision::Stop | Decision::Next(()) => return sent,
            }
            body = pieces.into();
        }
    }

    fn request(&self, uri: &http::Uri, body: RequestBody) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri.clone();
        request.headers_mut().clone_from(&self.headers);
        let signer = self.target.provider.endpoint.signer();
        let signature = signer.map(|signer| {
            signer.sign(request.method(), request.uri(), request.body().as_slices(), clock::unix_seconds())
        });
        request.headers_mut().extend(signature.unwrap_or_default());
        request
    }
}

fn full(provider: &Provider, wait: Duration) -> Box<Failure> {
    let message =
        format!("`{}` is at the limit of requests per minute that the configuration sets it", provider.account);
    Box::new(Failure::new(Code::UpstreamRateLimited, message).with_retry_after(Some(wait)))
}

/// What an upstream's no means; the client gets it as it is.
fn refused<B>(response: &Response<B>) -> Option<Box<Failure>> {
    let status = response.status();
    let is_refusal = status.is_client_error() || status.is_server_error();
    let failure = || Failure::from_upstream_status(status.as_u16(), format!("the upstream answered with {status}"));
    is_refusal.then(|| Box::new(failure().with_retry_after(attempt::retry_after(response.headers()))))
}

/// A reply whose JSON is not for the client as it stands: with ids that are a tenant's alone, say. What is no JSON has none.
async fn edited(
    response: Response<UpstreamBody>,
    (target, bounds): (&Target, Bounds),
    edit: impl Fn(&Bytes) -> Option<Bytes>,
) -> Result<Response<Coming>, Box<Failure>> {
    let kind = response.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if !response.status().is_success() || !kind.starts_with(b"application/json") {
        return Ok(response.map(Coming::Rest));
    }
    let reading = Reading {
        target,
        dialect: registry::dialect(target.provider.dialect),
        by_tool: false,
        idle: bounds.idle,
        deadline: bounds.deadline,
    };
    let (mut head, mut body) = response.into_parts();
    let (bytes, is_whole) = reading.collect(&mut body, MAX_DESCRIPTION).await?;
    if !is_whole {
        return Err(reading.garbage("is larger than 16 MiB, which no description of files, batches or an agent is"));
    }
    let Some(edited) = edit(&bytes) else {
        return Err(reading.garbage("is not a JSON object"));
    };
    head.headers.remove(CONTENT_LENGTH);
    Ok(Response::from_parts(head, Coming::Whole(edited)))
}

fn respond(
    gateway: &Gateway,
    config: &Config,
    (head, socket): (Head, Option<OnUpgrade>),
    passed: Passed,
    mut record: Record,
) -> Response<ReplyBody> {
    let Passed { target, metered, mut response, bounds, rates } = passed;
    let status = response.status();
    record.status(status.as_u16());
    let mut reply = Response::new(ReplyBody::empty());
    *reply.status_mut() = status;
    headers::of_reply(response.headers(), reply.headers_mut());
    let mut writer = Writer::new(reply.headers_mut(), config.families());
    writer.request_id(&head.id);
    match &*target.model {
        "" => writer.provider(&target.provider.name),
        model => writer.target(&target.provider.name, model),
    }
    writer.retries(record.n_attempts().saturating_sub(1));
    writer.revision(config.snapshot.revision);
    if let Some(rates) = rates {
        writer.rates(&rates);
    }
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(client)) = (status, socket) {
        socket::agreed(response.headers(), reply.headers_mut());
        let halves = (client, hyper::upgrade::on(&mut response));
        task::spawn_job(socket::relay(halves, bounds.deadline, gateway.halt(config, &record), record));
        return reply;
    }
    let (upstream, refused) = (response.headers().clone(), refused(&response));
    let body = match response.into_body() {
        Coming::Whole(bytes) => return finished(reply, bytes, refused, record),
        Coming::Rest(mut body) => match body.is_over() {
            true => return finished(reply, Bytes::new(), refused, record),
            false => body,
        },
    };
    let through = Through::new(metered, &upstream, refused);
    if through.is_events() {
        // An error may be told behind what was announced.
        reply.headers_mut().remove(CONTENT_LENGTH);
        reply.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    }
    let ending = gateway.halt(config, &record);
    record.shows_as(reply.headers());
    let relay = Relay::new(body, Mode::Pass(Box::new(through)), bounds, ending, record);
    if reply.headers().contains_key(CONTENT_LENGTH) {
        // A length and trailers exclude each other.
        *reply.body_mut() = ReplyBody::Stream(Box::pin(relay));
        return reply;
    }
    reply::with_trailers(reply, &head, relay)
}

/// A reply that is all here, or has no body.
fn finished(
    mut reply: Response<ReplyBody>,
    bytes: Bytes,
    refused: Option<Box<Failure>>,
    mut record: Record,
) -> Response<ReplyBody> {
    record.forwarded(bytes.len(), 0);
    record.shows_as(reply.headers());
    record.keep_shown(&bytes);
    match refused {
        Some(failure) => record.failed(&failure),
        None => record.ended(Ending::Finished),
    }
    *reply.body_mut() = ReplyBody::whole(bytes);
    reply
}
