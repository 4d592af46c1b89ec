//! The request, top to bottom. Reading order is execution order; every step returns what the next one needs, and every
//! failure leaves through one exit.

mod heard;
mod estimate;
mod admission;
mod recall;

use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use gateway_dialects::framing::array::StreamForm;
use gateway_engine::choice;
use gateway_engine::identity::Caller;
use gateway_engine::resolve::Resolved;
use gateway_engine::retry::Budget;
use gateway_ir::dialect::Dialect;
use gateway_ir::facts::Facts;
use gateway_ir::failure::{Code, Failure};
use http::header::ALLOW;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use self::heard::Heard;
pub(crate) use self::heard::{Owner, Said};
use crate::aborts::Aborts;
use crate::attempt::{Means, Outbound, Sequel, Terms};
use crate::batches::{self, Batches};
use crate::body::ReplyBody;
use crate::cache::Cache;
use crate::conversations::{Memory, Store};
use crate::headers::Hints;
use crate::ingress::{self, Errand, Operation};
use crate::jwt;
use crate::leases::Leases;
use crate::limit_store::LimitStore;
use crate::presented::{Peer, peer};
use crate::record::Record;
use crate::relay::Resume;
use crate::responses::background::{self, Behind, Place, vendor};
use crate::responses::{self, Busy, Run, Runs, Thread};
use crate::shadow::Shadow;
use crate::sinks::Sinks;
use crate::state::{Config, Live};
use crate::tokens::Tokens;
use crate::upstream::Client;
use crate::{clock, ops, pass, refusal, reply, shadow};

/// Everything one worker serves requests with.
pub(crate) struct Gateway {
    pub(crate) live: Arc<Live>,
    pub(crate) client: Client,
    pub(crate) tokens: Arc<Tokens>,
    /// Tokens of other systems that are used as keys.
    pub(crate) foreign: jwt::Tokens,
    pub(crate) retries: Arc<Budget>,
    pub(crate) sinks: Arc<Sinks>,
    pub(crate) conversations: Arc<dyn Store>,
    /// Responses that are made behind their requests.
    pub(crate) runs: Arc<Runs>,
    /// Replies that are given again.
    pub(crate) cache: Arc<Cache>,
    /// Batches that this node runs itself; `None` where it has no disk for them.
    pub(crate) batches: Option<Arc<Batches>>,
    /// Money for requests that found too little.
    pub(crate) leases: Arc<Leases>,
    /// Streams that end with their key.
    pub(crate) aborts: Arc<Aborts>,
    /// Limits that are counted for all nodes, where the settings say so.
    pub(crate) limit_store: Arc<LimitStore>,
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
    /// The other end of its connection.
    pub(crate) from: IpAddr,
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
    thread: Option<Box<Thread>>,
    /// Where the vendor goes on in the background.
    place: Option<Place>,
    /// A challenger is to be asked too, now that the reply begins.
    shadow: Option<Box<Shadow>>,
}

/// When a request is answered that goes on from something.
enum Turn {
    /// With a place where its vendor is to go on in the background.
    Now(Option<Place>),
    /// Behind itself, as this body.
    Behind(Place, Bytes),
}

/// How far a request has come.
enum Ran {
    Answered(Box<Reached>),
    /// The answer was there.
    Recalled(Box<reply::Again>),
    /// It is to be answered behind itself.
    Behind(Behind),
}

/// Bytes of header names and values that a client may send.
const MAX_HEAD: usize = 64 * 1024;

// === impl Gateway ===

impl Gateway {
    /// Answers one request; [`Gateway::serve`] is what the listener asks.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<ReplyBody> {
        let arrived = Instant::now();
        request.extensions_mut().insert(Peer(peer.ip()));
        let dialect = ingress::error_dialect(request.uri().path());
        if head_bytes(request.headers()) > MAX_HEAD {
            let failure =
                Failure::new(Code::BodyTooLarge, "the request's headers are larger than 64 KiB").with_status(431);
            return refusal::response(&failure, dialect, &request_id(), self.live.load().families());
        }
        let operation = match ingress::operation(request.method(), request.uri().path()) {
            Ok(operation) => operation,
            Err(_) if let Some(admin) = self.ops.admin(request.uri().path()) => {
                return Box::pin(admin.answer(request, peer)).await.map(ReplyBody::whole);
            }
            Err(failure) => {
                let mut refused = refusal::response(&failure, dialect, &request_id(), self.live.load().families());
                if failure.code == Code::MethodNotAllowed {
                    let methods = ingress::methods(request.uri().path());
                    refused.headers_mut().insert(ALLOW, ingress::allow(&methods));
                }
                return refused;
            }
        };
        self.look(&operation, &mut request).await;
        let (dialect, asked): (_, BoxFuture<'_, _>) = match operation {
            Operation::Chat(dialect) => (dialect, Box::pin(self.ask(Errand::Chat, dialect, request, arrived))),
            Operation::CountTokens(dialect) => {
                (dialect, Box::pin(self.ask(Errand::CountTokens, dialect, request, arrived)))
            }
            Operation::Task(form) => {
                let dialect = ingress::task_dialect(form);
                (dialect, Box::pin(self.ask(Errand::Task(form), dialect, request, arrived)))
            }
            Operation::Pass(way) => (dialect, Box::pin(batches::or_pass(self, way, request, arrived))),
            Operation::Socket => return responses::socket::open(self, request, peer),
            Operation::Stored(stored) => (dialect, Box::pin(responses::answer(self, stored, request, arrived))),
            Operation::Conversations(wanted) => {
                (dialect, Box::pin(responses::converse(self, wanted, request, arrived)))
            }
            other => return Box::pin(ops::answer(self, other, &request)).await,
        };
        self.guarded(dialect, peer, asked).await
    }

    /// What `asked` answers, or what there is to say where it panics. It comes on the heap: a request's state is large, and
    /// idle connections should not carry it.
    pub(crate) async fn guarded(
        &self,
        dialect: Dialect,
        peer: SocketAddr,
        asked: BoxFuture<'_, Response<ReplyBody>>,
    ) -> Response<ReplyBody> {
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
        let mut record = Record::begin(Arc::clone(&self.sinks), arrived, &id, "POST", parts.uri.path());
        record.dialect(errand.language(dialect));
        record.traced(&parts.headers);
        let mut form = StreamForm::Events;
        if dialect == Dialect::GeminiGenerate {
            form = ingress::gemini::form(parts.uri.query());
            ingress::gemini::key_to_header(parts.uri.query(), &mut parts.headers);
        }
        let head = Head {
            path: parts.uri.path().to_owned(),
            from: peer(&parts.extensions),
            headers: parts.headers,
            id,
            form,
            connection: None,
            run: None,
        };
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
            Ok(Ran::Recalled(again)) => reply::again(&config, dialect, head, *again, record),
            Ok(Ran::Answered(reached)) => {
                let Reached { outcome, thread, place, shadow } = *reached;
                let thread = thread.filter(|_| head.run.is_none());
                let keeper = thread.and_then(|thread| thread.keeper(&outcome.answered, &self.conversations, &config));
                let made = place.map(|place| vendor::Made {
                    target: Arc::clone(&outcome.answered.target),
                    max_time: config.snapshot.settings.background.max_time,
                    place,
                });
                let (response, record) = reply::response(self, &config, dialect, head, outcome, record);
                if let Some(shadow) = shadow {
                    shadow::cast(self, &config, dialect, head, shadow);
                }
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
                let refused = refusal::response(&failure, dialect, &head.id, config.families());
                record.shows_as(refused.headers());
                refused.body().as_slices().for_each(|piece| record.keep_shown(piece));
                refused
            }
        }
    }

    async fn run(
        self: &Arc<Self>,
        config: &Config,
        operation @ (errand, dialect): (Errand, Dialect),
        head: &Head,
        body: Said,
        record: &mut Record,
    ) -> Result<Ran, Box<Failure>> {
        let snapshot = &config.snapshot;
        let caller = self.caller(config, head, &body)?;
        record.caller(&caller);
        let Heard { body, facts, multipart, mut thread, stream } =
            self.heard(config, &caller, operation, head, body).await?;
        let mut hints = Hints::read(&head.headers)?;
        let keeper = thread.as_deref().and_then(Thread::provider);
        hints.provider = keeper.as_deref().or(hints.provider);
        record.session(hints.session);
        record.asked(&facts.model, stream, snapshot.revision, body.len());
        let wanted = heard::wanted(head, &facts, &body, &hints);
        let read = choice::read(snapshot, &wanted, &body);
        let (mut resolved, chosen) = choice::choose(snapshot, &wanted, read, &body, &caller)?;
        let place = match &thread {
            None => None,
            Some(thread) => match self.turn(config, thread, &caller, &resolved, (&body, &facts))? {
                Turn::Now(place) => place,
                Turn::Behind(place, body) => {
                    return Ok(Ran::Behind(Behind { place, owner: Arc::clone(&caller.id), body, stream }));
                }
            },
        };
        record.route(resolved.route.as_deref());
        record.keeps_bodies(resolved.log_bodies.as_ref(), || body.clone(), &head.headers);
        record.chosen(&chosen, &resolved.model.name);
        let rates = self.admitted(operation, snapshot, &caller, &mut resolved, (&body, &facts), record).await?;
        if let (Some(run), Some(thread)) = (&head.run, &mut thread) {
            run.proceeds(self, config, &facts.model, thread, &head.id);
        }
        let strict = hints.strict.unwrap_or(snapshot.settings.strict);
        let is_free = head.run.is_none() && thread.as_deref().is_none_or(Thread::is_free);
        let (said, way) = ((&facts, &body), (&*head.path, &head.headers, head.form));
        let asked =
            recall::Asked { operation, head: way, hints: &hints, said, caller: &caller, strict, stream, is_free };
        if let Some(recalling) = recall::begin(&self.cache, snapshot, &resolved, asked, record)
            && let Some(hit) = recall::end(recalling, record).await
        {
            let asked = reply::Asked::new(&resolved, facts, stream, rates, chosen);
            return Ok(Ran::Recalled(Box::new(reply::Again { hit, asked })));
        }
        let is_behind = head.run.is_some() || place.is_some();
        let total = is_behind.then_some(snapshot.settings.background.max_time);
        let may_continue = !hints.no_continuation && !is_behind && thread.as_deref().is_none_or(Thread::is_here);
        let terms = Terms { once_each: hints.no_retry, strict, may_hedge: !is_behind && is_free, may_continue, total };
        let mut forwarded = heard::forwarded(head, dialect, &hints);
        record.hands_on(&mut forwarded);
        let inbound = ingress::spoken(dialect);
        let mut outbound = Outbound::new(self.means(), (errand, inbound), &body, &facts, stream, forwarded, terms);
        outbound.multipart = multipart;
        let began = tokio::time::Instant::now();
        let answered = outbound.run(&resolved, record).await?;
        let forwarded = outbound.forwarded;
        let shadow = shadow::of(self, &resolved, errand, (&body, &facts), stream, record);
        let may_continue = stream && may_continue && answered.n_continued > 0;
        let again = may_continue.then(|| facts.clone());
        let asked = reply::Asked::new(&resolved, facts, stream, rates, chosen);
        let sequel = again.map(|facts| -> Arc<dyn Resume> {
            let means = Arc::clone(self) as Arc<dyn Means>;
            Arc::new(Sequel { means, inbound, body, facts, forwarded, terms, resolved, began })
        });
        let outcome = reply::Outcome {
            answered,
            asked,
            sequel,
            stored: thread.as_ref().is_some_and(|thread| thread.stored),
            previous: thread.as_ref().and_then(|thread| thread.previous.clone()),
            conversation: thread.as_ref().and_then(|thread| thread.conversation.clone()),
        };
        Ok(Ran::Answered(Box::new(Reached { outcome, thread, place, shadow })))
    }

    /// The request's body, and what it goes on from.
    async fn heard(
        &self,
        config: &Config,
        caller: &Caller,
        operation @ (errand, dialect): (Errand, Dialect),
        head: &Head,
        body: Said,
    ) -> Result<Heard, Box<Failure>> {
        let settings = &config.snapshot.settings;
        let (body, facts, multipart) = heard::received(errand, head, body, settings).await?;
        let (body, facts, thread) = self.threaded(config, caller, operation, head, (body, facts)).await?;
        let default_stream = dialect == Dialect::OpenAiChat && settings.default_stream;
        let stream = errand == Errand::Chat && (head.run.is_some() || facts.stream.unwrap_or(default_stream));
        Ok(Heard { body, facts, multipart, thread, stream })
    }

    /// What the request goes on from, for clients of the one API that has memory.
    async fn threaded(
        &self,
        config: &Config,
        caller: &Caller,
        (errand, dialect): (Errand, Dialect),
        head: &Head,
        (body, facts): (Bytes, Facts),
    ) -> Result<(Bytes, Facts, Option<Box<Thread>>), Box<Failure>> {
        if errand != Errand::Chat || dialect != Dialect::OpenAiResponses {
            return Ok((body, facts, None));
        }
        let connection = head.connection.as_ref();
        let (whole, thread) =
            Box::pin(Thread::find((&self.conversations, &self.busy), connection, config, caller, &body)).await?;
        let (body, facts) = match whole {
            Some(whole) => (whole.clone(), Facts::scan(&whole)?),
            None => (body, facts),
        };
        Ok((body, facts, Some(Box::new(thread))))
    }

    /// Whether it is answered now, or behind itself.
    fn turn(
        &self,
        config: &Config,
        thread: &Thread,
        caller: &Caller,
        resolved: &Resolved,
        (body, facts): (&Bytes, &Facts),
    ) -> Result<Turn, Box<Failure>> {
        thread.check(caller, resolved, self.conversations.place())?;
        if !thread.is_background() {
            return Ok(Turn::Now(None));
        }
        let place = self.runs.place(&caller.id, &config.snapshot.settings.background)?;
        Ok(match thread.background(resolved, facts, body)? {
            Some(body) => Turn::Behind(place, body),
            None => Turn::Now(Some(place)),
        })
    }
}

impl Means for Gateway {
    fn means(&self) -> (&Client, &Tokens, &Budget) {
        (&self.client, &self.tokens, &self.retries)
    }
}

/// Names and values, without separators.
fn head_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// UUIDv7: sorts by time, so that stores keep requests in order.
pub(crate) fn request_id() -> String {
    let millis = u64::try_from(clock::unix_ms()).unwrap_or_default();
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid();
    id.hyphenated().to_string()
}
