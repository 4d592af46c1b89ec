//! The collector: where it is, what it is sent, and how often it is tried.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Uri};
use tokio::time::timeout;

use crate::backoff::Backoff;
use crate::body::{Pieces, RequestBody};
use crate::config::Otlp;
use crate::upstream::{Client, Origin};

const CONNECT: Duration = Duration::from_secs(5);
/// For one try.
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_TRIES: usize = 5;
/// Of an answer that nobody needs; read so that the connection can be used again.
const MAX_ANSWER: usize = 64 * 1024;

pub(super) struct Collector {
    client: Client,
    origin: Origin,
    base: String,
    headers: HeaderMap,
}

/// What became of a try.
enum Failed {
    /// It may be taken another time.
    NotNow(String),
    Never(String),
}

// === impl Collector ===

impl Collector {
    pub(super) fn new(options: &Otlp, tls: &Arc<rustls::ClientConfig>) -> anyhow::Result<Self> {
        let base = options.endpoint.trim_end_matches('/').to_owned();
        let uri: Uri = base.parse().with_context(|| format!("the OTLP endpoint `{base}` is no URL"))?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => anyhow::bail!("the OTLP endpoint `{base}` must begin with http:// or https://"),
        };
        let authority = uri.authority().with_context(|| format!("the OTLP endpoint `{base}` names no host"))?;
        anyhow::ensure!(
            !authority.as_str().contains('@'),
            "the OTLP endpoint must not hold credentials; use a file of headers"
        );
        let origin = Origin {
            tls: is_tls,
            host: authority.host().trim_matches(['[', ']']).into(),
            authority: Bytes::copy_from_slice(authority.as_str().as_bytes()),
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            // Whoever starts the process says where; collectors are mostly next door.
            allow_private: true,
            only_h1: false,
            is_metadata_server: false,
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if let Some(secret) = &options.headers {
            for pair in secret.expose().split([',', '\n']).filter(|pair| !pair.trim().is_empty()) {
                let (name, value) = pair.split_once('=').context("headers for OTLP are `name=value`, one a line")?;
                let name: HeaderName = name.trim().parse().context("a header for OTLP has no valid name")?;
                let mut value = HeaderValue::from_str(value.trim()).context("a header for OTLP has no valid value")?;
                value.set_sensitive(name == AUTHORIZATION);
                headers.insert(name, value);
            }
        }
        Ok(Self { client: Client::new(Arc::clone(tls)), origin, base, headers })
    }

    /// `signal` is `traces` or `metrics`. Tries a few times, about half a minute in all, and says then that it was in vain.
    pub(super) async fn send(&self, signal: &str, body: Vec<u8>) -> Result<(), ()> {
        let (body, mut backoff) = (Bytes::from(body), Backoff::default());
        for number in 1..=MAX_TRIES {
            match self.post(signal, body.clone()).await {
                Ok(()) => return Ok(()),
                Err(Failed::Never(why)) => {
                    tracing::warn!(signal, "the OTLP collector refuses what it is sent: {why}");
                    return Err(());
                }
                Err(Failed::NotNow(why)) if number == MAX_TRIES => {
                    tracing::warn!(signal, "the OTLP collector does not take what it is sent: {why}");
                }
                Err(Failed::NotNow(why)) => {
                    tracing::debug!(signal, "the OTLP collector does not take it now: {why}");
                    tokio::time::sleep(backoff.next(Duration::ZERO)).await;
                }
            }
        }
        Err(())
    }

    async fn post(&self, signal: &str, body: Bytes) -> Result<(), Failed> {
        let uri = format!("{}/v1/{signal}", self.base).parse().map_err(|_| Failed::Never("no address".to_owned()))?;
        let mut request = Request::new(RequestBody::from(Pieces::from(body)));
        (*request.method_mut(), *request.uri_mut()) = (Method::POST, uri);
        *request.headers_mut() = self.headers.clone();
        let sent = timeout(PATIENCE, self.client.send(&self.origin, Box::new(request), CONNECT)).await;
        let response = sent
            .map_err(|_| Failed::NotNow(format!("no answer within {PATIENCE:?}")))?
            .map_err(|failure| Failed::NotNow(failure.message.to_string()))?;
        let status = response.status();
        let mut answer = response.into_body();
        let mut n_bytes = 0;
        while let Some(Ok(bytes)) = answer.data().await {
            n_bytes += bytes.len();
            if n_bytes > MAX_ANSWER {
                break;
            }
        }
        match status.as_u16() {
            200..=299 => Ok(()),
            429 | 502 | 503 | 504 => Err(Failed::NotNow(format!("status {status}"))),
            _ => Err(Failed::Never(format!("status {status}"))),
        }
    }
}
