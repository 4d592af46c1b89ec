//! WebSockets (RFC 6455) on our listener: who may open one, the handshake, and a connection's bounds, pings and last words.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use gateway_engine::snapshot::Origins;
use gateway_ir::failure::{Code, Failure};
use http::header::{
    CONNECTION, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Interval, MissedTickBehavior, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::body::ReplyBody;

/// Largest message of a client, in bytes.
pub(crate) const MAX_MESSAGE: usize = 10 * 1024 * 1024;
/// A client that says nothing is asked this often …
const PING_EVERY: Duration = Duration::from_secs(30);
/// … and is gone after so many questions.
const MAX_UNANSWERED: u32 = 2;
/// A client that does not read is gone after this.
const SEND_WITHIN: Duration = Duration::from_secs(60);
/// How long a client may take to say goodbye too.
const GOODBYE: Duration = Duration::from_secs(1);
const VERSION: &str = "13";

/// A connection that speaks text messages. Each method may be dropped while it waits.
pub(crate) struct Socket {
    stream: WebSocketStream<TokioIo<Upgraded>>,
    pings: Interval,
    n_unanswered: u32,
}

/// Why a connection ends; `Gone` where there is nobody to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Gone,
    /// Nothing was asked for a long time.
    Idle,
    /// The node is shutting down.
    Away,
    /// The key was revoked.
    Revoked,
    /// Only text is understood.
    Binary,
    TooLarge,
    NotText,
    Protocol,
}

/// The answer that turns a connection into a socket, and the socket to come; drop it, and the connection closes. Refused: what is
/// no handshake, and pages of other origins than `origins`, which browsers do not keep from opening sockets.
pub(crate) fn accept(
    request: &mut Request<Incoming>,
    origins: &Origins,
) -> Result<(Response<ReplyBody>, OnUpgrade), Box<Failure>> {
    let headers = request.headers();
    let asks = lists(headers, &CONNECTION, "upgrade") && lists(headers, &UPGRADE, "websocket");
    let version = headers.get(SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
    if !asks || version != Some(VERSION.as_bytes()) {
        let message = "GET opens a WebSocket here: send `connection: upgrade`, `upgrade: websocket` and \
            `sec-websocket-version: 13` on HTTP/1.1, or POST the request";
        return Err(Box::new(Failure::new(Code::MethodNotAllowed, message).with_status(426)));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
    let Some(key) = key else {
        return Err(Box::new(Failure::invalid("`sec-websocket-key` must be 16 bytes in base64")));
    };
    check_origin(origins, headers)?;
    let accepted = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).expect("base64 is visible ASCII");
    let mut response = Response::new(ReplyBody::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accepted);
    Ok((response, hyper::upgrade::on(request)))
}

/// Browsers ask nobody before they open a WebSocket for a page: that is for whoever is asked.
pub(crate) fn check_origin(origins: &Origins, headers: &HeaderMap) -> Result<(), Box<Failure>> {
    match headers.get(ORIGIN).map(HeaderValue::to_str) {
        None => Ok(()),
        Some(Ok(origin)) if origins.allow(origin) => Ok(()),
        Some(_) => {
            let message = "pages of this origin may not open a WebSocket; name it in settings.server.cors_origins";
            Err(Box::new(Failure::new(Code::NotAllowed, message)))
        }
    }
}

/// Whether a list of words has this one.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|listed| listed.trim().eq_ignore_ascii_case(word))
}

// === impl Socket ===

impl Socket {
    /// The connection, once our answer has gone out; `None` where it broke before.
    pub(crate) async fn open(upgrade: OnUpgrade) -> Option<Self> {
        let upgraded = timeout(SEND_WITHIN, upgrade).await.ok()?.ok()?;
        let config = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .write_buffer_size(16 * 1024)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        let mut pings = tokio::time::interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(Self { stream, pings, n_unanswered: 0 })
    }

    /// The next message. Pings are answered, and sent, while this waits.
    pub(crate) async fn next(&mut self) -> Result<Utf8Bytes, End> {
        loop {
            let heard = tokio::select! {
                biased;
                heard = self.stream.next() => heard,
                _ = self.pings.tick() => {
                    if self.n_unanswered == MAX_UNANSWERED {
                        return Err(End::Gone);
                    }
                    self.n_unanswered += 1;
                    self.write(Message::Ping(bytes::Bytes::new())).await?;
                    continue;
                }
            };
            self.n_unanswered = 0;
            match heard {
                Some(Ok(Message::Text(text))) => return Ok(text),
                Some(Ok(Message::Binary(_))) => return Err(End::Binary),
                Some(Ok(Message::Close(_))) | None => return Err(End::Gone),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(End::of(&error)),
            }
        }
    }

    /// Returns when the message is on its way, so that a slow reader slows whoever writes.
    pub(crate) async fn send(&mut self, text: impl Into<Utf8Bytes>) -> Result<(), End> {
        self.write(Message::Text(text.into())).await
    }

    async fn write(&mut self, message: Message) -> Result<(), End> {
        match timeout(SEND_WITHIN, self.stream.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }

    /// Says why, and hears the client out for a moment, so that it reads it.
    pub(crate) async fn close(mut self, end: End) {
        let _ = timeout(GOODBYE, async {
            let frame = end.code().map(|(code, reason)| CloseFrame { code, reason: Utf8Bytes::from_static(reason) });
            if frame.is_some() {
                self.stream.close(frame).await?;
            }
            while let Some(heard) = self.stream.next().await {
                heard?;
            }
            Ok::<_, Error>(())
        })
        .await;
    }
}

// === impl End ===

impl End {
    fn of(error: &Error) -> Self {
        match error {
            Error::Capacity(_) => Self::TooLarge,
            Error::Utf8(_) => Self::NotText,
            Error::Protocol(_) => Self::Protocol,
            _ => Self::Gone,
        }
    }

    fn code(self) -> Option<(CloseCode, &'static str)> {
        match self {
            Self::Gone => None,
            Self::Idle => Some((CloseCode::Normal, "nothing was asked for ten minutes")),
            Self::Away => Some((CloseCode::Away, "the gateway is shutting down; connect again")),
            Self::Revoked => Some((CloseCode::Policy, "the API key has been revoked")),
            Self::Binary => Some((CloseCode::Unsupported, "messages are JSON as text")),
            Self::TooLarge => Some((CloseCode::Size, "a message may have 10 MiB")),
            Self::NotText => Some((CloseCode::Invalid, "the message is no UTF-8")),
            Self::Protocol => Some((CloseCode::Protocol, "this breaks RFC 6455")),
        }
    }
}
