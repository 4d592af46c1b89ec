//! The WebSocket mode of the Responses API: `GET /v1/responses`. Each message is a request like any other, identified, admitted and
//! recorded by itself; one is answered at a time, its events as messages. What was made on a connection can be gone on from there,
//! whatever `store` says, and nowhere else.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_dialects::framing::array::StreamForm;
use gateway_dialects::framing::sse;
use gateway_engine::identity::Call;
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::{Code, Failure};
use gateway_model::access::RevokeMode;
use http::header::{HeaderValue, TE, UPGRADE};
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::Thread;
use super::frame::{self, Create};
use crate::body::ReplyBody;
use crate::conversations::{Bounds, Key, Memory};
use crate::headers::{self, Hints};
use crate::ingress::{self, Errand};
use crate::pipeline::{Gateway, Head, Said, request_id};
use crate::presented::Presented;
use crate::record::Record;
use crate::websocket::{self, End, MAX_MESSAGE, Socket};
use crate::{clock, receive, refusal, task};

/// A connection that asks for nothing is closed after this.
const IDLE: Duration = Duration::from_secs(600);
/// Messages, and bytes of them, that wait for their turn; beyond, nothing is read.
const MAX_WAITING: usize = 8;
const DIALECT: Dialect = Dialect::OpenAiResponses;
const ERRAND: Errand = Errand::Chat;
const PATH: &str = "/v1/responses";

/// One client's connection.
struct Connection {
    gateway: Arc<Gateway>,
    peer: SocketAddr,
    /// Of the handshake, and for every request.
    headers: HeaderMap,
    /// Whose connection it is.
    owner: Arc<str>,
    revoke_mode: Option<RevokeMode>,
    memory: Arc<Memory>,
}

/// Messages that came while another was answered.
#[derive(Default)]
struct Waiting {
    messages: VecDeque<Utf8Bytes>,
    n_bytes: usize,
}

/// Answers a handshake. The socket lives on beside the request, on the same worker.
pub(crate) fn open(gateway: &Arc<Gateway>, mut request: Request<Incoming>, peer: SocketAddr) -> Response<ReplyBody> {
    match accepted(gateway, &mut request, peer) {
        Ok((response, upgrade, connection)) => {
            task::spawn_connection(async move {
                if let Some(socket) = Socket::open(upgrade).await {
                    connection.run(socket).await;
                }
                Ok::<_, ()>(())
            });
            response
        }
        Err(failure) => {
            let mut response = refusal::response(&failure, DIALECT, &request_id(), gateway.live.load().families());
            if failure.status == 426 {
                response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
            }
            response
        }
    }
}

fn accepted(
    gateway: &Arc<Gateway>,
    request: &mut Request<Incoming>,
    peer: SocketAddr,
) -> Result<(Response<ReplyBody>, OnUpgrade, Connection), Box<Failure>> {
    let config = gateway.live.pin();
    let (response, upgrade) = websocket::accept(request, &config.snapshot.settings.origins)?;
    let caller = gateway.identified(&config, presented(request.headers(), peer))?;
    let mut headers = std::mem::take(request.headers_mut());
    headers.remove(TE);
    if Hints::read(&headers)?.session.is_none() {
        headers::set_session(&mut headers, &format!("wsresp_{}", request_id()));
    }
    let memory = Arc::new(Memory::new(1, Bounds::CONNECTION));
    let gateway = Arc::clone(gateway);
    let (owner, revoke_mode) = (Arc::clone(&caller.id), caller.revoke_mode());
    Ok((response, upgrade, Connection { gateway, peer, headers, owner, revoke_mode, memory }))
}

/// What a socket is for is to ask for responses: whoever may do that may open one.
fn presented(headers: &HeaderMap, peer: SocketAddr) -> Presented<'_> {
    Presented { headers, call: Call { method: "POST", path: PATH, from: peer.ip() } }
}

// === impl Connection ===

impl Connection {
    async fn run(self, mut socket: Socket) {
        let end = self.serve(&mut socket).await;
        socket.close(end).await;
    }

    /// Until the client leaves, says what cannot be understood, or the node drains; what is being answered then is answered.
    async fn serve(&self, socket: &mut Socket) -> End {
        let mut waiting = Waiting::default();
        let (draining, gateway) = (&self.gateway.draining, &self.gateway);
        let config = gateway.live.pin();
        let revocable = (&*self.owner, self.revoke_mode);
        let mut halt = gateway.aborts.halt((&gateway.live, &config), revocable, &gateway.ending);
        loop {
            let message = match waiting.pop() {
                _ if draining.is_cancelled() => return End::Away,
                _ if halt.is_revoked() => return End::Revoked,
                Some(message) => message,
                None => tokio::select! {
                    () = draining.cancelled() => return End::Away,
                    _ = halt.halted() => return if halt.is_revoked() { End::Revoked } else { End::Away },
                    next = tokio::time::timeout(IDLE, socket.next()) => match next {
                        Ok(Ok(message)) => message,
                        Ok(Err(end)) => return end,
                        Err(_) => return End::Idle,
                    },
                },
            };
            if let Err(end) = self.answer(socket, &mut waiting, &message).await {
                return end;
            }
        }
    }

    /// Answers one message, whatever comes of it.
    async fn answer(&self, socket: &mut Socket, waiting: &mut Waiting, message: &str) -> Result<(), End> {
        let limit = self.gateway.live.load().snapshot.settings.max_body;
        let create = match message.len() as u64 > limit {
            true => Err(receive::too_large(limit)),
            false => Create::read(message),
        };
        let told = match create {
            Ok(create) if create.is_warm_up => self.warmed_up(&create).await,
            Ok(create) => return self.converse(socket, waiting, create).await,
            Err(failure) => Err(failure),
        };
        match told {
            Ok(events) => {
                for event in events {
                    socket.send(event.to_string()).await?;
                }
                Ok(())
            }
            Err(failure) => {
                let body = ingress::spoken(DIALECT).encode_error(&failure, &request_id());
                socket.send(frame::error(failure.status, &body)).await
            }
        }
    }

    /// Through the pipeline; meanwhile, what else comes waits.
    async fn converse(&self, socket: &mut Socket, waiting: &mut Waiting, create: Create) -> Result<(), End> {
        let id = request_id();
        let sinks = Arc::clone(&self.gateway.sinks);
        let mut record = Record::begin(sinks, Instant::now(), &id, "GET", PATH);
        record.dialect(ERRAND.language(DIALECT));
        record.traced(&self.headers);
        let head = Head {
            path: PATH.to_owned(),
            headers: self.headers.clone(),
            from: self.peer.ip(),
            id,
            form: StreamForm::Events,
            connection: Some(Arc::clone(&self.memory)),
            run: None,
        };
        let asked = self.gateway.converse((ERRAND, DIALECT), &head, Said::Here(create.body), record);
        let mut asked = Box::pin(self.gateway.guarded(DIALECT, self.peer, Box::pin(asked)));
        let response = loop {
            tokio::select! {
                response = &mut asked => break response,
                message = socket.next(), if waiting.has_room() => waiting.push(message?),
            }
        };
        let is_finished = match response.status().is_success() {
            true => self.relay(socket, waiting, response).await?,
            false => {
                let status = response.status().as_u16();
                let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                socket.send(frame::error(status, &body)).await?;
                false
            }
        };
        if let Some(previous) = create.previous.filter(|_| !is_finished) {
            self.memory.forget(&Key::new(&self.owner, &previous));
        }
        Ok(())
    }

    /// Events as messages; whether the reply came to its end.
    async fn relay(
        &self,
        socket: &mut Socket,
        waiting: &mut Waiting,
        response: Response<ReplyBody>,
    ) -> Result<bool, End> {
        let mut body = response.into_body();
        let mut parser = sse::Parser::default();
        let mut events: Vec<(bool, Vec<u8>)> = Vec::new();
        let mut is_finished = false;
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                message = socket.next(), if waiting.has_room() => {
                    waiting.push(message?);
                    continue;
                }
            };
            let chunk = match frame {
                None => return Ok(is_finished),
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(_)) => {
                    let failure = Failure::new(Code::UpstreamCut, "the reply was cut");
                    let body = ingress::spoken(DIALECT).encode_error(&failure, &request_id());
                    socket.send(frame::error(failure.status, &body)).await?;
                    return Ok(false);
                }
            };
            let parsed = parser.push(&chunk, |event| {
                is_finished |= matches!(event.name, b"response.completed" | b"response.incomplete");
                events.push((event.name == b"error", event.data.into_owned()));
                Ok(())
            });
            if parsed.is_err() {
                return Err(End::Gone);
            }
            for (is_error, data) in events.drain(..) {
                let text = if is_error { frame::error_within(&data) } else { lossless(data) };
                socket.send(text).await?;
            }
        }
    }

    /// Nobody is asked; what the message says can be gone on from under a new id.
    async fn warmed_up(&self, create: &Create) -> Result<[Value; 2], Box<Failure>> {
        let config = self.gateway.live.pin();
        let caller = self.gateway.identified(&config, presented(&self.headers, self.peer))?;
        let (store, connection) = (&self.gateway.conversations, Some(&self.memory));
        let (_, thread) = Thread::find((store, &self.gateway.busy), connection, &config, &caller, &create.body).await?;
        let mut response = json!({
            "id": format!("resp_ws_{}", request_id()),
            "object": "response",
            "created_at": clock::unix_seconds(),
            "status": "in_progress",
            "error": null,
            "incomplete_details": null,
            "model": create.model,
            "output": [],
            "previous_response_id": thread.previous,
            "conversation": thread.conversation.as_ref().map(|id| json!({"id": id})),
            "store": false,
            "usage": null,
        });
        let created = json!({"type": "response.created", "sequence_number": 0, "response": response});
        response["status"] = "completed".into();
        thread.remember(&response);
        Ok([created, json!({"type": "response.completed", "sequence_number": 1, "response": response})])
    }
}

/// What is no UTF-8 is no JSON either, and nobody could read it.
fn lossless(data: Vec<u8>) -> String {
    String::from_utf8(data).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

// === impl Waiting ===

impl Waiting {
    fn has_room(&self) -> bool {
        self.messages.len() < MAX_WAITING && self.n_bytes < MAX_MESSAGE
    }

    fn push(&mut self, message: Utf8Bytes) {
        self.n_bytes += message.len();
        self.messages.push_back(message);
    }

    fn pop(&mut self) -> Option<Utf8Bytes> {
        let message = self.messages.pop_front()?;
        self.n_bytes -= message.len();
        Some(message)
    }
}
