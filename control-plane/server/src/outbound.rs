//! Calls of the control plane's own to addresses that people configured. The guard stands where a name becomes an address, so that
//! what is looked at is what is called; nothing is redirected, and of an answer no more is read than tells what was wrong.

pub(crate) mod signature;
pub(crate) mod slack;

use std::error::Error as _;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use gateway_model::secret::Secret;
use gateway_providers::destination;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Method, StatusCode, Url, redirect};

/// For all of a call.
const PATIENCE: Duration = Duration::from_secs(10);

/// TLS as for upstreams: the system's roots, or the bundled ones where the system has none.
pub(crate) struct Outbound {
    tls: rustls::ClientConfig,
}

/// Of an answer.
const MAX_ANSWER: usize = 64 << 10;
/// Of what it says of itself, where people are told.
const MAX_TOLD: usize = 300;

/// What is sent.
pub(crate) struct Message<'a> {
    pub(crate) method: Method,
    pub(crate) headers: &'a [(&'a str, String)],
    pub(crate) body: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    /// Its beginning.
    pub(crate) body: String,
}

/// Which addresses one call may go to.
#[derive(Clone, Copy)]
struct Guard {
    allow_private: bool,
    in_clear: bool,
}

// === impl Outbound ===

impl Outbound {
    pub(crate) fn new() -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default protocol versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { tls }
    }

    /// Sends JSON. Fine is whatever is 2xx; anything else comes back in words, which never hold the address. Takes ten seconds at most.
    pub(crate) async fn post(
        &self,
        url: &Secret,
        allow_private: bool,
        headers: &[(&'static str, String)],
        body: String,
    ) -> Result<(), String> {
        let typed = [("content-type", "application/json".to_owned())];
        let headers: Vec<_> = typed.into_iter().chain(headers.iter().cloned()).collect();
        let message = Message { method: Method::POST, headers: &headers, body: body.into_bytes() };
        let answer = self.call(url, allow_private, message).await?;
        if (200..300).contains(&answer.status) { Ok(()) } else { Err(status_told(answer.status)) }
    }

    /// Sends anything, and hears what is answered. Takes ten seconds at most, and of the answer 64 KiB.
    pub(crate) async fn call(&self, url: &Secret, allow_private: bool, message: Message<'_>) -> Result<Answer, String> {
        self.call_for(url, allow_private, message, MAX_ANSWER).await
    }

    /// The same, with as many bytes of the answer as whoever asks can use.
    pub(crate) async fn call_for(
        &self,
        url: &Secret,
        allow_private: bool,
        message: Message<'_>,
        most: usize,
    ) -> Result<Answer, String> {
        let url = Url::parse(url.expose()).map_err(|error| format!("the address is not understood: {error}"))?;
        let guard = Guard { allow_private, in_clear: url.scheme() == "http" };
        guard.check_url(&url)?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .dns_resolver(Arc::new(guard))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(PATIENCE)
            .user_agent(concat!("gateway-control-plane/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| told(&error.without_url()))?;
        let mut request = client.request(message.method, url).body(message.body);
        for (name, value) in message.headers {
            request = request.header(*name, value);
        }
        let mut answer = request.send().await.map_err(|error| told(&error.without_url()))?;
        let retry_after =
            answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let mut body = Vec::new();
        // What it says is a help; that it was taken does not hang on it.
        while body.len() < most {
            let Ok(Some(piece)) = answer.chunk().await else { break };
            body.extend_from_slice(&piece);
        }
        body.truncate(most);
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status: answer.status().as_u16(), retry_after: retry_after.map(Duration::from_secs), body })
    }
}

// === impl Answer ===

impl Answer {
    /// That it is no success, with what it says of itself.
    pub(crate) fn told(&self) -> String {
        let said: String = self.body.chars().filter(|letter| !letter.is_control()).take(MAX_TOLD).collect();
        let status = status_told(self.status);
        if said.trim().is_empty() { status } else { format!("{status}: {}", said.trim()) }
    }
}

fn status_told(status: u16) -> String {
    let Ok(status) = StatusCode::from_u16(status) else { return format!("it answers {status}") };
    match status {
        _ if status.is_redirection() => format!("it answers {status}, and redirections are not followed"),
        StatusCode::NOT_FOUND | StatusCode::GONE => format!("it answers {status}: the address is wrong"),
        _ => format!("it answers {status}"),
    }
}

/// An error with all that it comes from.
fn told(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}

// === impl Guard ===

impl Guard {
    /// Addresses that stand in the URL itself are looked up by nobody.
    fn check_url(self, url: &Url) -> Result<(), String> {
        if !matches!(url.scheme(), "https" | "http") || !url.username().is_empty() || url.password().is_some() {
            return Err("the address must be https, without a user in it".to_owned());
        }
        let host = url.host_str().unwrap_or_default();
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(ip) => self.check(ip),
            Err(_) => Ok(()),
        }
    }

    fn check(self, ip: IpAddr) -> Result<(), String> {
        let allowed = match self.in_clear {
            true => destination::allowed_in_clear(ip, self.allow_private),
            false => destination::allowed(ip, self.allow_private),
        };
        allowed.map_err(|_| match self.in_clear {
            true => {
                format!("{ip} may not be called without TLS; only private addresses may, with `allow_private_networks`")
            }
            false => format!("{ip} may not be called; private addresses take `allow_private_networks: true`"),
        })
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = *self;
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One that may not be called among them is no accident.
            found.iter().try_for_each(|address| guard.check(address.ip()))?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_inside_are_refused_before_anything_is_sent() {
        let outbound = Outbound::new();
        for (url, allow_private) in [
            ("https://127.0.0.1:1/", false),
            ("https://[::1]:1/", false),
            ("https://localhost:1/", false),
            ("https://10.0.0.1/", false),
            ("https://[::ffff:10.0.0.1]/", false),
            ("https://0x7f000001/", false),
            ("https://2130706433/", false),
            ("https://169.254.169.254/latest", true),
            ("http://169.254.169.254/latest", true),
            ("http://192.0.2.1/", true),
            ("http://8.8.8.8/", true),
            ("http://127.0.0.1:1/", false),
            ("https://user:secret@a.example/", false),
            ("file:///etc/passwd", true),
            ("nonsense", true),
        ] {
            let refused = outbound.post(&Secret::new(url), allow_private, &[], String::new()).await;
            let why = refused.expect_err(url);
            let is_named =
                ["may not be called", "must be https", "not understood"].iter().any(|words| why.contains(words));
            assert!(is_named && !why.contains("secret"), "{url}: {why}");
        }
    }
}
