//! Access tokens for upstreams that take no lasting key: fetched when first needed, kept for the whole node, renewed in the
//! background before they run out. Reading one takes no lock; only where there is none at all do the requests for that provider
//! wait, for one fetch that they share, also where it fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use gateway_ir::failure::{Code, Failure};
use gateway_providers::endpoint::TokenSource;
use http::HeaderValue;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::body::{Pieces, RequestBody};
use crate::upstream::{Client, Origin};
use crate::{clock, task};

/// The tokens of a node.
pub(crate) struct Tokens {
    tls: Arc<rustls::ClientConfig>,
    /// By source. Entries of sources that the configuration has no more are few and small.
    kept: papaya::HashMap<Arc<str>, Arc<Kept>>,
}

/// The token of one source.
#[derive(Default)]
struct Kept {
    current: ArcSwapOption<Token>,
    /// Held while the first one, or one after a long silence, is fetched; and how the last fetch failed, for all who waited.
    fetching: Mutex<Option<(Instant, Box<Failure>)>>,
    is_renewing: AtomicBool,
}

struct Token {
    value: HeaderValue,
    renew_at: Instant,
    ends_at: Instant,
}

const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(10);
/// A token is renewed this long before its end, or in the last quarter of a short life.
const RENEW_BEFORE: Duration = Duration::from_secs(5 * 60);
/// And is not used in the last moments, which a request may spend on its way.
const UNUSED: Duration = Duration::from_secs(10);
/// After a renewal that failed; the old token serves until its end.
const PAUSE: Duration = Duration::from_secs(5);
const MAX_ANSWER: usize = 64 * 1024;

// === impl Tokens ===

impl Tokens {
    pub(crate) fn new(tls: Arc<rustls::ClientConfig>) -> Self {
        Self { tls, kept: papaya::HashMap::new() }
    }

    /// The value of `authorization`. Waits only where there is no token that holds; dropping the future lets the next one
    /// fetch.
    pub(crate) async fn get(&self, source: &Arc<TokenSource>) -> Result<HeaderValue, Box<Failure>> {
        let kept = Arc::clone(self.kept.pin().get_or_insert_with(Arc::clone(source.id()), Arc::default));
        if let Some(value) = self.held(&kept, source) {
            return Ok(value);
        }
        let asked = Instant::now();
        let mut failed = kept.fetching.lock().await;
        if let Some(value) = self.held(&kept, source) {
            return Ok(value);
        }
        if let Some((_, failure)) = failed.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(failure.clone());
        }
        let token =
            fetch(&self.tls, source).await.inspect_err(|failure| *failed = Some((Instant::now(), failure.clone())))?;
        *failed = None;
        let value = token.value.clone();
        kept.current.store(Some(Arc::new(token)));
        Ok(value)
    }

    /// A token that still holds; begins to renew it where its end is near.
    fn held(&self, kept: &Arc<Kept>, source: &Arc<TokenSource>) -> Option<HeaderValue> {
        let now = Instant::now();
        let token = kept.current.load();
        let token = token.as_ref().filter(|token| now < token.ends_at)?;
        if now >= token.renew_at && !kept.is_renewing.swap(true, Ordering::AcqRel) {
            let (tls, kept, source) = (Arc::clone(&self.tls), Arc::clone(kept), Arc::clone(source));
            task::spawn_job(renew(tls, kept, source));
        }
        Some(token.value.clone())
    }
}

async fn renew(tls: Arc<rustls::ClientConfig>, kept: Arc<Kept>, source: Arc<TokenSource>) {
    match fetch(&tls, &source).await {
        Ok(token) => kept.current.store(Some(Arc::new(token))),
        Err(failure) => {
            tracing::warn!(source = %source.id(), %failure, "a token could not be renewed; the old one serves until it runs out");
            sleep(PAUSE).await;
        }
    }
    kept.is_renewing.store(false, Ordering::Release);
}

/// Over a connection of its own: a fetch is rare, and must not wait behind requests.
async fn fetch(tls: &Arc<rustls::ClientConfig>, source: &TokenSource) -> Result<Token, Box<Failure>> {
    let failed =
        |code, what: String| Box::new(Failure::new(code, format!("no access token from `{}`: {what}", source.host())));
    let client = Client::new(Arc::clone(tls));
    let origin = Origin {
        tls: source.tls(),
        host: Arc::clone(source.host()),
        authority: source.authority().clone(),
        port: source.port(),
        allow_private: source.allow_private_networks(),
        only_h1: true,
        is_metadata_server: source.is_metadata_server(),
    };
    let request = source.request(clock::unix_seconds()).map(|bytes| RequestBody::from(Pieces::from(bytes)));
    let asked = timeout(WHOLE, async {
        let response = client.send(&origin, Box::new(request), CONNECT).await?;
        let status = response.status();
        let mut body = response.into_body();
        let mut answer = Vec::new();
        while let Some(bytes) = body.data().await {
            let bytes: Bytes = bytes.map_err(|reason| failed(Code::UpstreamUnreachable, reason))?;
            answer.extend_from_slice(&bytes);
            if answer.len() > MAX_ANSWER {
                return Err(failed(Code::UpstreamGarbage, "the answer is larger than 64 KiB".to_owned()));
            }
        }
        Ok((status, answer))
    });
    let began = Instant::now();
    let (status, answer) = asked
        .await
        .unwrap_or_else(|_| Err(failed(Code::UpstreamUnreachable, format!("no answer within {WHOLE:?}"))))?;
    if !status.is_success() {
        let code = match status.as_u16() {
            429 => Code::UpstreamRateLimited,
            400..=499 => Code::UpstreamCredential,
            _ => Code::UpstreamUnreachable,
        };
        return Err(failed(code, format!("it answered with status {status}{}", reason(&answer))));
    }
    let (value, lifetime) =
        source.read(&answer).map_err(|unusable| failed(Code::UpstreamGarbage, unusable.to_string()))?;
    let ends_at = began + lifetime.saturating_sub(UNUSED).max(lifetime / 2);
    let renew_at = ends_at - RENEW_BEFORE.min(lifetime / 4);
    Ok(Token { value, renew_at, ends_at })
}

/// OAuth's own words for a refusal, RFC 6749 5.2.
fn reason(answer: &[u8]) -> String {
    let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    let word = |name: &str| answer.get(name).and_then(serde_json::Value::as_str).map(|word| format!(": {word}"));
    let mut reason: String = ["error", "error_description"].iter().filter_map(|name| word(name)).collect();
    reason.truncate(reason.floor_char_boundary(400));
    reason
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use gateway_fake::{Script, Upstream};
    use gateway_model::catalog;
    use gateway_providers::endpoint::Endpoint;
    use serde_json::json;

    use super::*;
    use crate::upstream::tls_client_config;

    fn source(url: &str) -> Arc<TokenSource> {
        let provider = serde_json::from_value(json!({"name": "p", "kind": "vertex", "allow_private_networks": true,
            "gcp": {"project": "x", "metadata_url": url}}));
        let row = catalog::row("vertex").expect("a row");
        let endpoint = Endpoint::compile(&provider.expect("a provider"), row).expect("an endpoint");
        Arc::clone(endpoint.token_source().expect("a source"))
    }

    /// All begin before the first answer can be read, because they are polled one after the other.
    #[tokio::test]
    async fn whoever_waited_for_a_fetch_shares_how_it_ended() {
        let refused = || Script::json(403, &json!({"error": "access_denied"}));
        let busy = || Script::json(429, &json!({}));
        let token = || Script::json(200, &json!({"access_token": "t", "expires_in": 3600}));
        let cases = [
            (refused(), Err(Code::UpstreamCredential)),
            (busy(), Err(Code::UpstreamRateLimited)),
            (Script::json(503, &json!({})), Err(Code::UpstreamUnreachable)),
            (Script::json(200, &json!({})), Err(Code::UpstreamGarbage)),
            (token(), Ok(())),
        ];
        let server = Upstream::start().await;
        let (source, tokens) = (source(&server.url()), Tokens::new(tls_client_config()));
        for (n_before, (script, expected)) in cases.into_iter().enumerate() {
            server.push(script);
            for found in join_all((0..20).map(|_| tokens.get(&source))).await {
                assert_eq!(found.map(drop).map_err(|failure| failure.code), expected);
            }
            assert_eq!(server.requests().len(), n_before + 1, "one fetch for all");
        }
    }
}
