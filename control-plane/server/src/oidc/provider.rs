//! What is known of the identity provider: its endpoints and its keys, asked for when they are needed and kept for a while.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gateway_engine::jws::{self, Key};
use gateway_model::secret::Secret;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Refused;

#[derive(Debug, Default)]
pub(super) struct Provider {
    http: OnceLock<reqwest::Client>,
    /// Held while it is asked, so that many who sign in at once ask once.
    known: Mutex<Option<Arc<Known>>>,
}

/// As it was at some time.
#[derive(Debug)]
pub(super) struct Known {
    issuer: String,
    pub(super) authorization_endpoint: String,
    token_endpoint: String,
    pub(super) keys: Vec<Key>,
    at: Instant,
    /// Since it was asked for keys that nobody knew.
    renewed_at: Option<Instant>,
}

/// OpenID Connect Discovery 1.0, section 3.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
}

const FRESH: Duration = Duration::from_secs(60 * 60);
/// Tokens of keys that nobody knows have it asked again, but not more often than this.
const PAUSE: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 256 * 1024;

// === impl Provider ===

impl Provider {
    pub(super) async fn known(&self, issuer: &str) -> Result<Arc<Known>, Refused> {
        let mut known = self.known.lock().await;
        match known.as_ref().filter(|known| known.issuer == issuer && known.at.elapsed() < FRESH) {
            Some(known) => Ok(Arc::clone(known)),
            None => Ok(Arc::clone(known.insert(Arc::new(self.ask(issuer).await?)))),
        }
    }

    /// As it is now, unless it was asked a moment ago.
    pub(super) async fn renewed(&self, old: &Known) -> Result<Arc<Known>, Refused> {
        let mut known = self.known.lock().await;
        let is_recent =
            |known: &&Arc<Known>| known.issuer == old.issuer && known.renewed_at.is_some_and(|at| at.elapsed() < PAUSE);
        match known.as_ref().filter(is_recent) {
            Some(known) => Ok(Arc::clone(known)),
            None => {
                let asked = self.ask(&old.issuer).await?;
                Ok(Arc::clone(known.insert(Arc::new(Known { renewed_at: Some(Instant::now()), ..asked }))))
            }
        }
    }

    /// The token endpoint's answer. A client with a secret shows it as RFC 6749, section 2.3.1, has it.
    pub(super) async fn redeem(
        &self,
        known: &Known,
        form: &[(&str, &str)],
        client_id: &str,
        secret: Option<&Secret>,
    ) -> Result<Value, Refused> {
        let body: String = reqwest::Url::parse_with_params("http://form", form)
            .map_err(|_| unreachable("the form cannot be written"))?
            .query()
            .unwrap_or_default()
            .to_owned();
        let mut request = self.client()?.post(&known.token_endpoint);
        request = request.header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        if let Some(secret) = secret {
            request = request.basic_auth(client_id, Some(secret.expose()));
        }
        let (status, answer) = answer(request).await?;
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        // A word of RFC 6749, section 5.2; the rest of what it says is not for strangers.
        let word = answer["error"].as_str().filter(|word| word.len() < 64 && word.is_ascii());
        Err(Refused::Code(format!("{status} {}", word.unwrap_or_default())))
    }

    async fn ask(&self, issuer: &str) -> Result<Known, Refused> {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let document: Document = serde_json::from_slice(&self.get(&url).await?)
            .map_err(|_| unreachable("its discovery document is not understood"))?;
        if document.issuer != issuer {
            return Err(unreachable("its discovery document is of another issuer"));
        }
        for endpoint in [&document.authorization_endpoint, &document.token_endpoint, &document.jwks_uri] {
            if !is_safe(endpoint) {
                return Err(unreachable("its discovery document names an endpoint without TLS"));
            }
        }
        let keys =
            jws::keys(&self.get(&document.jwks_uri).await?).ok_or_else(|| unreachable("its keys are no key set"))?;
        Ok(Known {
            issuer: document.issuer,
            authorization_endpoint: document.authorization_endpoint,
            token_endpoint: document.token_endpoint,
            keys,
            at: Instant::now(),
            renewed_at: None,
        })
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, Refused> {
        match answer(self.client()?.get(url)).await? {
            (status, answer) if status.is_success() => Ok(answer),
            (status, _) => Err(unreachable(&format!("it answers {status}"))),
        }
    }

    fn client(&self) -> Result<&reqwest::Client, Refused> {
        if let Some(client) = self.http.get() {
            return Ok(client);
        }
        // One for the whole process; a second installation only repeats the first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // Codes and secrets go where the configuration says and nowhere else.
        let builder = reqwest::Client::builder().connect_timeout(CONNECT).timeout(WHOLE);
        let built = builder.redirect(reqwest::redirect::Policy::none()).no_proxy().build();
        let client = built.map_err(|_| unreachable("no HTTP client can be made here"))?;
        Ok(self.http.get_or_init(|| client))
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<(http::StatusCode, Vec<u8>), Refused> {
    let mut response = request.send().await.map_err(|error| {
        tracing::warn!(error = &error.without_url() as &dyn std::error::Error, "the identity provider was not reached");
        unreachable("it does not answer")
    })?;
    let mut answer = Vec::new();
    while let Some(bytes) = response.chunk().await.map_err(|_| unreachable("its answer broke off"))? {
        answer.extend_from_slice(&bytes);
        if answer.len() > MAX_ANSWER {
            return Err(unreachable("its answer is too large"));
        }
    }
    Ok((response.status(), answer))
}

/// TLS, but on this machine.
fn is_safe(url: &str) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let is_loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        url.scheme() == "https" || url.scheme() == "http" && is_loopback
    })
}

fn unreachable(why: &str) -> Refused {
    Refused::Unreachable(why.to_owned())
}
