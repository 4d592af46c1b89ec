//! Responses that a vendor makes in the background: it keeps them, and what they cost is known when they are over. Until then the
//! request's record stays open, whether the client stays or not.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use gateway_dialects::registry;
use gateway_engine::snapshot::Target;
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::{Code, Failure};
use gateway_providers::endpoint::encoded;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use super::place::Place;
use crate::attempt::{self, Reading};
use crate::body::{Aborted, Chunk, Pieces, ReplyBody, ReplyStream, RequestBody};
use crate::pipeline::Gateway;
use crate::record::{Ending, Record};
use crate::{clock, ingress, task};

const DIALECT: Dialect = Dialect::OpenAiResponses;
/// From one question to the next: so long at first, then twice as long each time, up to so long.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// Pieces of a stream that wait for a client.
const MAX_WAITING: usize = 16;

/// What matters of a response object.
#[derive(Deserialize)]
struct Standing {
    id: String,
    status: String,
}

/// Who made a response, how long it may take, and the right to have it made.
pub(crate) struct Made {
    pub(crate) target: Arc<Target>,
    pub(crate) max_time: Duration,
    pub(crate) place: Place,
}

/// Keeps `record` open until the response that the vendor has just told of is over.
pub(crate) fn follow(gateway: &Arc<Gateway>, made: Made, reply: &ReplyBody, record: Record) {
    let ReplyBody::Whole(pieces) = reply else { return };
    let told: Vec<u8> = pieces.as_slices().collect::<Vec<_>>().concat();
    let Some(standing) = standing(&told).filter(Standing::is_open) else { return };
    let gateway = Arc::clone(gateway);
    task::spawn_job(async move {
        let mut record = record;
        let deadline = Instant::now() + made.max_time;
        tokio::select! {
            end = end(&gateway, &made.target, &standing.id, deadline) => match end {
                Ok(whole) => {
                    if let Some(usage) = ingress::spoken(DIALECT).usage_of_reply(&whole) {
                        record.used(usage);
                    }
                    record.ended(Ending::Finished);
                }
                Err(failure) => record.failed(&failure),
            },
            () = gateway.ending.cancelled() => {
                let message = "the gateway shut down while the vendor was still making the response";
                record.failed(&Failure::new(Code::ShuttingDown, message));
            }
        }
        drop((record, made.place));
    });
}

/// The response object, once it is over.
async fn end(gateway: &Gateway, target: &Target, id: &str, deadline: Instant) -> Result<Bytes, Box<Failure>> {
    let mut wait = FIRST_WAIT;
    loop {
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
        if Instant::now() >= deadline {
            let message = "the vendor was still making the response when its time was over";
            return Err(Box::new(Failure::new(Code::TotalTimeout, message)));
        }
        match asked(gateway, target, id, deadline).await {
            Ok(whole) if standing(&whole).is_none_or(|standing| standing.is_open()) => {}
            Ok(whole) => return Ok(whole),
            // Deleted, or the vendor keeps it no longer: nobody will ever know.
            Err(failure) if failure.code == Code::NotFound => return Err(failure),
            Err(failure) => tracing::debug!("asking `{}` how a response stands: {failure}", target.provider.name),
        }
    }
}

async fn asked(gateway: &Gateway, target: &Target, id: &str, deadline: Instant) -> Result<Bytes, Box<Failure>> {
    let (provider, policy) = (&target.provider, target.provider.passing_policy());
    let uri = provider.endpoint.under_api(&format!("/responses/{}", encoded(id)), None);
    let uri = uri.ok_or_else(|| Box::new(Failure::new(Code::UpstreamGarbage, "the response's id fits no URL")))?;
    let mut request = Request::new(RequestBody::from(Pieces::default()));
    *request.uri_mut() = uri;
    request.headers_mut().clone_from(provider.endpoint.headers());
    let signed = provider
        .endpoint
        .signer()
        .map(|signer| signer.sign(request.method(), request.uri(), request.body().as_slices(), clock::unix_seconds()));
    request.headers_mut().extend(signed.unwrap_or_default());
    let response =
        attempt::send((&gateway.client, &gateway.tokens), target, Box::new(request), &policy, deadline).await?;
    match response.status() {
        status if status.is_success() => {}
        StatusCode::NOT_FOUND => return Err(Box::new(Failure::new(Code::NotFound, "the vendor does not keep it"))),
        status => {
            let message = format!("the vendor answered with {status}");
            return Err(Box::new(Failure::from_upstream_status(status.as_u16(), message)));
        }
    }
    let dialect = registry::dialect(DIALECT);
    let reading = Reading { target, dialect, by_tool: false, idle: policy.idle, deadline };
    let mut body = response.into_body();
    let (whole, is_whole) = reading.collect(&mut body, attempt::MAX_TRANSLATED_REPLY).await?;
    if is_whole { Ok(whole) } else { Err(reading.garbage("is larger than 32 MiB")) }
}

fn standing(response: &[u8]) -> Option<Standing> {
    serde_json::from_slice(response).ok()
}

/// Reads a stream of the vendor's to its end, whether the client stays or not.
pub(crate) fn read_on(mut response: Response<ReplyBody>, made: Made) -> Response<ReplyBody> {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    let mut body = std::mem::replace(response.body_mut(), ReplyBody::Stream(Box::pin(Received(receiver))));
    task::spawn_job(async move {
        let deadline = Instant::now() + made.max_time;
        let mut is_heard = true;
        while let Ok(Some(frame)) = timeout_at(deadline, body.frame()).await {
            if is_heard {
                is_heard = sender.send(frame.map(chunk)).await.is_ok();
            }
        }
        drop((body, made.place));
    });
    response
}

fn chunk(frame: http_body::Frame<Bytes>) -> Chunk {
    match frame.into_data() {
        Ok(bytes) => Chunk::Data(bytes),
        Err(frame) => Chunk::Trailers(frame.into_trailers().unwrap_or_default()),
    }
}

struct Received(mpsc::Receiver<Result<Chunk, Aborted>>);

// === impl Standing ===

impl Standing {
    fn is_open(&self) -> bool {
        matches!(self.status.as_str(), "queued" | "in_progress")
    }
}

// === impl Received ===

impl ReplyStream for Received {
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Chunk, Aborted>>> {
        self.0.poll_recv(context)
    }
}
