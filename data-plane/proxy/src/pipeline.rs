//! The request, top to bottom. Reading order is execution order; every step returns what the next one needs, and every
//! failure leaves through one exit.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt as _;
use gateway_dialects::framing::array::StreamForm;
use gateway_dialects::registry;
use gateway_engine::identity::{self, Caller};
use gateway_engine::limits;
use gateway_engine::resolve::{self, Ask};
use gateway_engine::retry::Budget;
use gateway_ir::dialect::Dialect;
use gateway_ir::facts::Facts;
use gateway_ir::failure::{Code, Failure};
use gateway_ir::multipart;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, Request, Response};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use crate::attempt::{ANTHROPIC_BETA, Outbound, Terms};
use crate::batches::{self, Batches};
use crate::body::ReplyBody;
use crate::conversations::{Memory, Store};
use crate::headers::{self, Hints};
use crate::ingress::{self, Errand, Operation};
use crate::record::Record;
use crate::responses::background::{self, Behind, Place, vendor};
use crate::responses::{self, Busy, Run, Runs, Thread};
use crate::sinks::Sinks;
use crate::state::{Config, Live};
use crate::tokens::Tokens;
use crate::upstream::Client;
use crate::{clock, ops, pass, receive, refusal, reply};

/// Everything one worker serves requests with.
pub(crate) struct Gateway {
    pub(crate) live: Arc<Live>,
    pub(crate) client: Client,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) retries: Arc<Budget>,
    pub(crate) sinks: Arc<Sinks>,
    pub(crate) conversations: Arc<dyn Store>,
    /// Responses that are made behind their requests.
    pub(crate) runs: Arc<Runs>,
    /// Batches that this node runs itself; `None` where it has no disk for them.
    pub(crate) batches: Option<Arc<Batches>>,
    /// Batches at providers whose cost is settled.
    pub(crate) settled: Arc<pass::Settled>,
    /// Conversations that somebody is adding to.
    pub(crate) busy: Arc<Busy>,
    /// Cancelled when the drain's time is over: open replies write their last words.
    pub(crate) ending: CancellationToken,
    /// Cancelled when the drain begins: sockets end with what they are answering.
    pub(crate) draining: CancellationToken,
    pub(crate) ops: Arc<ops::Ops>,
    /// Whether health and metrics are here, not on a listener of their own.
    pub(crate) serves_ops: bool,
    /// `settings.auth: off` is heeded on loopback only, whatever a later revision says.
    pub(crate) on_loopback: bool,
}

/// A request's head, apart from its body.
pub(crate) struct Head {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) id: String,
    /// How the client wants a stream.
    pub(crate) form: StreamForm,
    /// What the connection remembers, where it is a socket.
    pub(crate) connection: Option<Arc<Memory>>,
    /// What becomes of it, where it is answered behind the request.
    pub(crate) run: Option<Arc<Run>>,
}

/// What an upstream has answered.
struct Reached {
    outcome: reply::Outcome,
    thread: Option<Thread>,
    /// Where the vendor goes on in the background.
    place: Option<Place>,
}

/// How far a request has come.
enum Ran {
    Answered(Box<Reached>),
    /// It is to be answered behind itself.
    Behind(Behind),
}

/// A request's body: still with the client, or here, as a socket's message.
pub(crate) enum Said {
    Coming(Incoming),
    Here(Bytes),
    /// It is asked behind another request, for the key of this id, which was identified then.
    For(Arc<str>, Bytes),
}

/// Bytes of header names and values that a client may send.
const MAX_HEAD: usize = 64 * 1024;

/// Headers of the client that go on to an upstream of any kind; nothing else does.
static FORWARDED: [HeaderName; 3] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("traceparent"),
];

// === impl Gateway ===

impl Gateway {
    /// Answers one request; [`Gateway::serve`] is what the listener asks.
    pub(crate) async fn answer(self: &Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> Response<ReplyBody> {
        let arrived = Instant::now();
        let dialect = ingress::error_dialect(request.uri().path());
        if head_bytes(request.headers()) > MAX_HEAD {
            let failure =
                Failure::new(Code::BodyTooLarge, "the request's headers are larger than 64 KiB").with_status(431);
            return refusal::response(&failure, dialect, &request_id(), self.live.load().families());
        }
        let operation = match ingress::operation(request.method(), request.uri().path()) {
            Ok(operation) => operation,
            Err(failure) => {
                let mut refused = refusal::response(&failure, dialect, &request_id(), self.live.load().families());
                if failure.code == Code::MethodNotAllowed {
                    let methods = ingress::methods(request.uri().path());
                    refused.headers_mut().insert(ALLOW, ingress::allow(&methods));
                }
                return refused;
            }
        };
        match operation {
            Operation::Chat(dialect) => {
                self.guarded(dialect, peer, self.ask(Errand::Chat, dialect, request, arrived)).await
            }
            Operation::CountTokens(dialect) => {
                self.guarded(dialect, peer, self.ask(Errand::CountTokens, dialect, request, arrived)).await
            }
            Operation::Task(form) => {
                let dialect = Dialect::OpenAiChat;
                self.guarded(dialect, peer, self.ask(Errand::Task(form), dialect, request, arrived)).await
            }
            Operation::Pass(way) => self.guarded(dialect, peer, batches::or_pass(self, way, request, arrived)).await,
            Operation::Socket => responses::socket::open(self, request, peer),
            Operation::Stored(stored) => {
                self.guarded(dialect, peer, responses::answer(self, stored, request, arrived)).await
            }
            Operation::Conversations(wanted) => {
                self.guarded(dialect, peer, responses::converse(self, wanted, request)).await
            }
            other => Box::pin(ops::answer(self, other, &request)).await,
        }
    }

    /// What `asked` answers, or what there is to say where it panics.
    pub(crate) async fn guarded(
        &self,
        dialect: Dialect,
        peer: SocketAddr,
        asked: impl Future<Output = Response<ReplyBody>>,
    ) -> Response<ReplyBody> {
        // On the heap: the pipeline's state is large, idle connections should not carry it.
        let asked = Box::pin(asked);
        AssertUnwindSafe(asked).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(%peer, "a request ended in a panic; the node serves on");
            let failure = Failure::new(Code::Internal, "the gateway met a fault of its own; it has been logged");
            refusal::response(&failure, dialect, &request_id(), self.live.load().families())
        })
    }

    async fn ask(
        self: &Arc<Self>,
        errand: Errand,
        dialect: Dialect,
        request: Request<Incoming>,
        arrived: Instant,
    ) -> Response<ReplyBody> {
        let (mut parts, body) = request.into_parts();
        let id = request_id();
        let mut record = Record::begin(Arc::clone(&self.sinks), arrived, id.clone(), "POST", parts.uri.path());
        record.dialect(errand.language(dialect));
        let mut form = StreamForm::Events;
        if dialect == Dialect::GeminiGenerate {
            form = ingress::gemini::form(parts.uri.query());
            ingress::gemini::key_to_header(parts.uri.query(), &mut parts.headers);
        }
        let head =
            Head { path: parts.uri.path().to_owned(), headers: parts.headers, id, form, connection: None, run: None };
        self.converse((errand, dialect), &head, Said::Coming(body), record).await
    }

    /// Runs a request whose head has been read, and makes its reply.
    pub(crate) async fn converse(
        self: &Arc<Self>,
        (errand, dialect): (Errand, Dialect),
        head: &Head,
        body: Said,
        mut record: Record,
    ) -> Response<ReplyBody> {
        let config = self.live.pin();
        match self.run(&config, (errand, dialect), head, body, &mut record).await {
            Ok(Ran::Behind(behind)) => {
                let answer = background::start(self, head, behind, record).await;
                answer.unwrap_or_else(|_| background::lost(&config, &head.id))
            }
            Ok(Ran::Answered(reached)) => {
                let Reached { outcome, thread, place } = *reached;
                let thread = thread.filter(|_| head.run.is_none());
                let keeper = thread.and_then(|thread| thread.keeper(&outcome.answered, &self.conversations, &config));
                let made = place.map(|place| vendor::Made {
                    target: Arc::clone(&outcome.answered.target),
                    max_time: config.snapshot.settings.background.max_time,
                    place,
                });
                let (response, record) = reply::response(self, &config, dialect, head, outcome, record);
                let response = match keeper {
                    Some(keeper) => keeper.over(response, &config),
                    None => response,
                };
                match (made, record) {
                    (None, _) => {}
                    (Some(made), Some(record)) => vendor::follow(self, made, response.body(), record),
                    (Some(made), None) => return vendor::read_on(response, made),
                }
                response
            }
            Err(failure) => {
                record.failed(&failure);
                record.status(failure.status);
                refusal::response(&failure, dialect, &head.id, config.families())
            }
        }
    }

    async fn run(
        &self,
        config: &Config,
        (errand, dialect): (Errand, Dialect),
        head: &Head,
        body: Said,
        record: &mut Record,
    ) -> Result<Ran, Box<Failure>> {
        let snapshot = &config.snapshot;
        let caller = match &body {
            Said::For(key, _) => self.still(config, key)?,
            Said::Coming(_) | Said::Here(_) => self.identified(config, &head.headers)?,
        };
        record.caller(&caller);
        let (body, facts, multipart) = received(errand, head, body, receive::Bounds::of(&snapshot.settings)).await?;
        let (body, facts, mut thread) = self.threaded(config, &caller, (errand, dialect), head, (body, facts)).await?;
        let default_stream = dialect == Dialect::OpenAiChat && snapshot.settings.default_stream;
        let stream = errand == Errand::Chat && (head.run.is_some() || facts.stream.unwrap_or(default_stream));
        let mut hints = Hints::read(&head.headers);
        let keeper = thread.as_ref().and_then(Thread::provider);
        if let Some(provider) = &keeper {
            hints.provider = Some(provider);
        }
        record.session(hints.session);
        record.asked(&facts.model, stream, snapshot.revision, body.len());
        let resolved = resolve::resolve(snapshot, &wanted(head, &facts, &hints), &caller)?;
        let mut place = None;
        if let Some(thread) = &thread {
            thread.check(&caller, &resolved, self.conversations.place())?;
            if thread.is_background() {
                let taken = self.runs.place(&caller.id, &snapshot.settings.background)?;
                match thread.background(&resolved, &facts, &body)? {
                    Some(body) => {
                        let owner = Arc::clone(&caller.id);
                        return Ok(Ran::Behind(Behind { place: taken, owner, body, stream }));
                    }
                    None => place = Some(taken),
                }
            }
        }
        record.route(resolved.route.as_deref());
        let permit = limits::admit(&caller, Instant::now())?;
        let rate = permit.rate();
        if errand == Errand::CountTokens {
            record.costs_nothing();
        }
        if let Errand::Task(form) = errand {
            record.charged_by(registry::family(form.task()).units_of_request(&body));
        }
        record.admitted(permit);
        if let (Some(run), Some(thread)) = (&head.run, &mut thread) {
            run.proceeds(self, config, &facts.model, thread, &head.id);
        }
        let mut forwarded = forwarded(&head.headers, dialect, &head.id);
        if let Some(session) = hints.session.filter(|_| head.connection.is_some()) {
            headers::set_session(&mut forwarded, session);
        }
        let inbound = ingress::spoken(dialect);
        let strict = hints.strict.unwrap_or(snapshot.settings.strict);
        let is_behind = head.run.is_some() || place.is_some();
        let total = is_behind.then_some(snapshot.settings.background.max_time);
        let terms = Terms { once_each: hints.no_retry, strict, total };
        let clients = (&self.client, &*self.tokens, &*self.retries);
        let mut outbound = Outbound::new(clients, (errand, inbound), &body, &facts, stream, forwarded, terms);
        outbound.multipart = multipart;
        let answered = outbound.run(&resolved, record).await?;
        let outcome = reply::Outcome {
            answered,
            route: resolved.route.clone(),
            model: facts.model,
            stream,
            include_usage: facts.include_usage,
            functions: facts.has_functions,
            stored: thread.as_ref().is_some_and(|thread| thread.stored),
            previous: thread.as_ref().and_then(|thread| thread.previous.clone()),
            rate,
        };
        Ok(Ran::Answered(Box::new(Reached { outcome, thread, place })))
    }

    /// What the request goes on from, for clients of the one API that has memory.
    async fn threaded(
        &self,
        config: &Config,
        caller: &Caller,
        (errand, dialect): (Errand, Dialect),
        head: &Head,
        (body, facts): (Bytes, Facts),
    ) -> Result<(Bytes, Facts, Option<Thread>), Box<Failure>> {
        if errand != Errand::Chat || dialect != Dialect::OpenAiResponses {
            return Ok((body, facts, None));
        }
        let connection = head.connection.as_ref();
        let (whole, thread) =
            Thread::find((&self.conversations, &self.busy), connection, config, caller, &body).await?;
        let (body, facts) = match whole {
            Some(whole) => (whole.clone(), Facts::scan(&whole)?),
            None => (body, facts),
        };
        Ok((body, facts, Some(thread)))
    }

    /// Who calls, once there is a configuration to know anybody by.
    pub(crate) fn identified(&self, config: &Config, headers: &HeaderMap) -> Result<Arc<Caller>, Box<Failure>> {
        if config.ready {
            return self.identify(config, headers);
        }
        let message = "this node has no configuration yet; it serves as soon as it has reached its control plane";
        Err(Box::new(Failure::new(Code::NoConfig, message)))
    }

    /// The key of this id, for what is done behind its request: it must still be one that may call.
    pub(crate) fn still(&self, config: &Config, key: &str) -> Result<Arc<Caller>, Box<Failure>> {
        if config.snapshot.settings.auth_off && self.on_loopback {
            return Ok(Caller::anonymous());
        }
        identity::still(key, &self.live.keys, clock::unix_ms())
    }

    /// Who calls. Every operation that needs a caller asks here.
    pub(crate) fn identify(&self, config: &Config, headers: &HeaderMap) -> Result<Arc<Caller>, Box<Failure>> {
        let credential = identity::credential(headers)?;
        if config.snapshot.settings.auth_off && self.on_loopback {
            return Ok(Caller::anonymous());
        }
        let Some(credential) = credential else {
            let message = "no API key was sent; use `Authorization: Bearer <key>`, `x-api-key`, `api-key` or \
                `x-goog-api-key`";
            return Err(Box::new(Failure::new(Code::MissingCredential, message)));
        };
        identity::identify(credential, &self.live.keys, &config.peppers, clock::unix_ms())
    }
}

/// The body, what its beginning says, and, where it is a form of several parts, what is needed to send it on.
async fn received(
    errand: Errand,
    head: &Head,
    body: Said,
    bounds: receive::Bounds,
) -> Result<(Bytes, Facts, Option<receive::Multipart>), Box<Failure>> {
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
        let multipart = receive::Multipart { kind: kind.to_owned(), rest };
        return Ok((bytes, Facts::of_form(&model), Some(multipart)));
    }
    let body = receive::body(&head.headers, body, bounds).await?;
    let facts = match ingress::gemini::asked(&head.path) {
        Some(asked) => Facts::scan_named(&body, asked.model, asked.stream)?,
        None => Facts::scan(&body)?,
    };
    Ok((body, facts, None))
}

/// Names and values, without separators.
fn head_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

fn wanted<'a>(head: &'a Head, facts: &'a Facts, hints: &Hints<'a>) -> Ask<'a> {
    Ask {
        path: &head.path,
        headers: &head.headers,
        model: &facts.model,
        forced_provider: hints.provider,
        forced_model: hints.model,
        forced_route: hints.route,
        session: hints.session,
    }
}

/// A few headers by name; a client's credentials and cookies are never among them.
fn forwarded(headers: &HeaderMap, dialect: Dialect, id: &str) -> HeaderMap {
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
        && let Ok(value) = http::HeaderValue::from_str(id)
    {
        forwarded.insert(&FORWARDED[0], value);
    }
    forwarded
}

/// UUIDv7: sorts by time, so that stores keep requests in order.
pub(crate) fn request_id() -> String {
    let millis = u64::try_from(clock::unix_ms()).unwrap_or_default();
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid();
    id.hyphenated().to_string()
}
