//! WebSockets that pass: both sides agree with each other, and from then on the bytes of each go to the other as they come. What the
//! upstream says of usage is added up on the way and settled once, when the connection ends.

use std::time::Duration;

use gateway_ir::failure::{Code, Failure};
use gateway_ir::usage::Usage;
use http::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, Method, Request, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use super::frames::Frames;
use crate::aborts::Halt;
use crate::record::{Ending, Record};

/// Both sides have agreed by now, or never will.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// After one side has left, the other may finish what it was saying.
const FAREWELL: Duration = Duration::from_secs(5);
const MAX_READ: usize = 16 * 1024;
/// A close with the code 1001, "going away".
const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];
/// A close with the code 1008, "policy violation".
const POLICY: [u8; 4] = [0x88, 2, 0x03, 0xf0];
/// Browsers, which cannot send headers, show a credential to OpenAI in this way.
const CREDENTIAL_PROTOCOL: &str = "openai-insecure-api-key.";

/// The client's half, if the request asks for a WebSocket.
pub(super) fn wanted<B>(request: &mut Request<B>) -> Option<OnUpgrade> {
    let is_websocket = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    let is_asked = request.version() == Version::HTTP_11
        && *request.method() == Method::GET
        && request.headers().get(UPGRADE).is_some_and(is_websocket)
        && request.headers().contains_key(SEC_WEBSOCKET_KEY);
    is_asked.then(|| hyper::upgrade::on(request))
}

/// What of the handshake goes on: neither extensions, which would hide what is said, nor a credential.
pub(super) fn asked(client: &HeaderMap, upstream: &mut HeaderMap) {
    upstream.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    upstream.insert(UPGRADE, HeaderValue::from_static("websocket"));
    for name in [SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION] {
        if let Some(value) = client.get(&name) {
            upstream.insert(name, value.clone());
        }
    }
    let protocols = client.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let kept: Vec<&str> = protocols
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|protocol| !protocol.starts_with(CREDENTIAL_PROTOCOL))
        .collect();
    if let Ok(value) = HeaderValue::from_str(&kept.join(", "))
        && !kept.is_empty()
    {
        upstream.insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
}

/// The upstream's side of the handshake, for the client whose key it answers.
pub(super) fn agreed(upstream: &HeaderMap, client: &mut HeaderMap) {
    let names: [HeaderName; 4] = [CONNECTION, UPGRADE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL];
    for name in names {
        if let Some(value) = upstream.get(&name) {
            client.insert(name, value.clone());
        }
    }
}

/// Passes bytes in both directions until one side is done, the time is over or the node ends. Each direction reads on only when
/// what it read has been taken.
pub(super) async fn relay(
    (client, upstream): (OnUpgrade, OnUpgrade),
    deadline: Instant,
    mut halt: Halt,
    mut record: Record,
) {
    record.streams();
    let Ok(Ok((client, upstream))) = timeout(HANDSHAKE, async { tokio::try_join!(client, upstream) }).await else {
        record.failed(&Failure::new(Code::UpstreamCut, "the WebSocket was not established on both sides"));
        return;
    };
    let (mut from_client, mut to_client) = tokio::io::split(TokioIo::new(client));
    let (mut from_upstream, mut to_upstream) = tokio::io::split(TokioIo::new(upstream));
    let (mut asked, mut answered) = (Frames::default(), Meter::default());
    let passing = async {
        let there = pump(&mut from_client, &mut to_upstream, |bytes| asked.push(bytes, |_| ()));
        let back = pump(&mut from_upstream, &mut to_client, |bytes| answered.push(bytes, &mut record));
        tokio::pin!(there, back);
        tokio::select! {
            ended = &mut there => ended.and(timeout(FAREWELL, back).await.unwrap_or(Ok(()))),
            ended = &mut back => ended.and(timeout(FAREWELL, there).await.unwrap_or(Ok(()))),
        }
    };
    let ended = tokio::select! {
        ended = timeout_at(deadline, passing) => ended.unwrap_or_else(|_| Err(too_long())),
        failure = halt.halted() => Err(failure),
    };
    match ended {
        Ok(()) => record.ended(Ending::Finished),
        Err(failure) => {
            record.failed(&failure);
            // Not within a frame of the upstream's.
            if answered.frames.is_between() {
                let last = if halt.is_revoked() { &POLICY } else { &GOING_AWAY };
                let _ = timeout(FAREWELL, to_client.write_all(last)).await;
            }
        }
    }
}

/// Until the reading side has ended, or either is broken, which is an end too. An error: what was read may not pass.
async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut see: impl FnMut(&[u8]) -> Result<(), Box<Failure>>,
) -> Result<(), Box<Failure>> {
    let mut buffer = vec![0; MAX_READ];
    loop {
        let n_bytes = from.read(&mut buffer).await.unwrap_or(0);
        if n_bytes == 0 {
            let _ = to.shutdown().await;
            return Ok(());
        }
        see(&buffer[..n_bytes])?;
        if to.write_all(&buffer[..n_bytes]).await.is_err() || to.flush().await.is_err() {
            return Ok(());
        }
    }
}

/// Adds up what the upstream says was used.
#[derive(Default)]
struct Meter {
    frames: Frames,
    used: Option<Usage>,
}

// === impl Meter ===

impl Meter {
    fn push(&mut self, bytes: &[u8], record: &mut Record) -> Result<(), Box<Failure>> {
        let used = &mut self.used;
        self.frames.push(bytes, |text| {
            if let Some(more) = usage_of(text) {
                *used = Some(sum(used.unwrap_or_default(), more));
            }
        })?;
        if let Some(used) = self.used {
            record.used(used);
        }
        record.forwarded(bytes.len(), 0);
        Ok(())
    }
}

/// `response.done` of OpenAI's Realtime API, <https://platform.openai.com/docs/api-reference/realtime-server-events/response/done>.
#[derive(Deserialize)]
struct Event {
    r#type: String,
    response: Option<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    usage: Option<Counts>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Counts {
    input_tokens: u64,
    output_tokens: u64,
    input_token_details: Option<Details>,
    output_token_details: Option<Details>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Details {
    cached_tokens: u64,
    audio_tokens: u64,
    image_tokens: u64,
    reasoning_tokens: u64,
}

fn usage_of(text: &[u8]) -> Option<Usage> {
    // Most events are pieces of sound, and are not read.
    memchr::memmem::find(text, b"response.done")?;
    let event: Event = serde_json::from_slice(text).ok().filter(|event: &Event| event.r#type == "response.done")?;
    let counts = event.response?.usage?;
    let read = counts.input_token_details.unwrap_or_default();
    let written = counts.output_token_details.unwrap_or_default();
    let cache_read = read.cached_tokens.min(counts.input_tokens);
    let input = counts.input_tokens - cache_read;
    Some(Usage {
        input,
        cache_read,
        output: counts.output_tokens,
        reasoning: written.reasoning_tokens.min(counts.output_tokens),
        input_audio: read.audio_tokens.min(input),
        output_audio: written.audio_tokens.min(counts.output_tokens),
        input_image: read.image_tokens.min(input),
        ..Usage::default()
    })
}

fn sum(one: Usage, other: Usage) -> Usage {
    Usage { units: one.units.or(other.units), ..one.plus(&other) }
}

fn too_long() -> Box<Failure> {
    Box::new(Failure::new(Code::TotalTimeout, "the connection was open for the total time allowed"))
}
