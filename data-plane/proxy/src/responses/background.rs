//! Responses with `background`: made behind their requests, whether the client stays or not. The request goes through the pipeline
//! like any other, as a stream, on a task of its own; what comes of it is noted in its [`Run`], which answers the client as soon as
//! the request has been admitted, and everybody who asks later.
//!
//! Where every provider of a model makes such responses itself, the request passes, and only its record waits ([`vendor`]).

mod events;
mod place;
mod run;
mod runs;
mod follow;
pub(crate) mod vendor;
pub(super) mod fleet;

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use gateway_dialects::framing::array::StreamForm;
use gateway_dialects::framing::sse;
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::{Code, Failure};
use gateway_ir::fold::Reply;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, TE};
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::oneshot;

pub(crate) use self::place::Place;
pub(crate) use self::run::Run;
pub(crate) use self::runs::Runs;
use super::thread::{STORE, Thread};
use crate::attempt::reply_context;
use crate::body::ReplyBody;
use crate::conversations::Key;
use crate::headers::Writer;
use crate::ingress::{self, Errand};
use crate::pipeline::{Gateway, Head, Said};
use crate::record::Record;
use crate::state::Config;
use crate::{refusal, task};

const DIALECT: Dialect = Dialect::OpenAiResponses;

/// A request that is to be answered behind itself.
pub(crate) struct Behind {
    pub(crate) place: Place,
    pub(crate) owner: Arc<str>,
    /// As the client sent it, without `background`.
    pub(crate) body: Bytes,
    /// The client wants its events, now.
    pub(crate) stream: bool,
}

/// Starts the work. What comes is the request's own answer: that it has been admitted, or why not.
pub(crate) fn start(
    gateway: &Arc<Gateway>,
    head: &Head,
    behind: Behind,
    record: Record,
) -> oneshot::Receiver<Response<ReplyBody>> {
    let Behind { place, owner, body, stream } = behind;
    let (answer, answered) = oneshot::channel();
    // The name that it has in the words of other dialects' encoders, too.
    let key = Key::new(&owner, &format!("resp_{}", head.id.replace('-', "")));
    let store = Arc::clone(&gateway.conversations);
    let run = Arc::new(Run::new(key, stream, place, answer, store, Arc::clone(gateway.runs.n_bytes())));
    let mut headers = head.headers.clone();
    headers.remove(TE);
    let head = Head {
        path: head.path.clone(),
        headers,
        from: head.from,
        id: head.id.clone(),
        form: StreamForm::Events,
        connection: None,
        run: Some(Arc::clone(&run)),
    };
    task::spawn_job(work(Arc::clone(gateway), run, head, body, record));
    answered
}

/// Until the response is over, whichever way. Boxed by type, because the pipeline, which this runs, starts it.
fn work(
    gateway: Arc<Gateway>,
    run: Arc<Run>,
    head: Head,
    body: Bytes,
    record: Record,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let made = AssertUnwindSafe(make(&gateway, &run, &head, body, record)).catch_unwind();
        tokio::select! {
            made = made => if made.is_err() {
                tracing::error!("a response in the background ended in a panic; the node serves on");
                run.failed(error(&Failure::new(Code::Internal, "the gateway met a fault of its own; it has been logged")));
            },
            () = run.cancelled() => run.was_cancelled(),
            () = fleet::attend(&*gateway.conversations, &run.key) => run.was_cancelled(),
        }
        gateway.runs.ended(&run.key);
    })
}

async fn make(gateway: &Arc<Gateway>, run: &Arc<Run>, head: &Head, body: Bytes, record: Record) {
    let asked = gateway.converse((Errand::Chat, DIALECT), head, Said::Here(body), record);
    let response = tokio::select! {
        response = asked => response,
        // What has begun to answer says so itself.
        () = gateway.ending.cancelled() => {
            let message = "the gateway is shutting down; please send the request again";
            return run.failed(error(&Failure::new(Code::ShuttingDown, message)));
        }
    };
    if !run.is_admitted() {
        return run.answer(response);
    }
    let max_events = gateway.live.load().snapshot.settings.background.max_events;
    let is_success = response.status().is_success();
    let mut body = response.into_body();
    if !is_success {
        let refused = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        return run.failed(events::error(&refused));
    }
    let mut parser = sse::Parser::default();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(chunk) = frame.into_data() else { continue };
        let mut is_over = false;
        let parsed = parser.push(&chunk, |event| {
            is_over = is_over || run.heard(&event.data);
            Ok(())
        });
        gateway.runs.shrink(run, max_events);
        if parsed.is_err() {
            break;
        }
        if is_over {
            // The rest is for the record: that the reply has ended.
            while let Some(Ok(_)) = body.frame().await {}
            return;
        }
    }
    run.failed(error(&Failure::new(Code::UpstreamCut, "the upstream ended its reply before it had finished")));
}

/// `response.error`.
fn error(failure: &Failure) -> Value {
    json!({"code": failure.code.name(), "message": failure.message})
}

// === impl Run ===

impl Run {
    /// Called by the pipeline, once nothing stands between the request and its upstream but time.
    pub(crate) fn proceeds(
        self: &Arc<Self>,
        gateway: &Gateway,
        config: &Config,
        model: &str,
        thread: &mut Thread,
        id: &str,
    ) {
        let settings = &config.snapshot.settings;
        let mut context = reply_context(id, model, true, false);
        context.stored = true;
        context.previous.clone_from(&thread.previous);
        context.conversation.clone_from(&thread.conversation);
        let object = ingress::spoken(DIALECT).encode_reply(&Reply::default(), &context);
        let ttl_ms = i64::try_from(settings.store_ttl.as_millis()).unwrap_or(i64::MAX);
        gateway.runs.add(self);
        self.admitted(serde_json::from_slice(&object).unwrap_or_default(), thread.input(), ttl_ms, thread.talk());
        let mut response = if self.stream { self.events(0) } else { self.standing() };
        let families = config.families();
        if families.gateway {
            response.headers_mut().insert(STORE, HeaderValue::from_static(gateway.conversations.place()));
        }
        let mut writer = Writer::new(response.headers_mut(), families);
        writer.request_id(id);
        writer.revision(config.snapshot.revision);
        self.answer(response);
    }

    /// The response as it stands.
    pub(crate) fn standing(&self) -> Response<ReplyBody> {
        let mut response = Response::new(ReplyBody::whole(self.response()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    /// Its events behind the first `n_told`.
    pub(crate) fn events(self: &Arc<Self>, n_told: usize) -> Response<ReplyBody> {
        let mut response = Response::new(follow::events(Arc::clone(self), n_told));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }
}

/// Where the work ended without a word.
pub(crate) fn lost(config: &Config, id: &str) -> Response<ReplyBody> {
    let failure = Failure::new(Code::Internal, "the gateway met a fault of its own; it has been logged");
    let mut response = refusal::response(&failure, DIALECT, id, config.families());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
