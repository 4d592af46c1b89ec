//! Calls of the control plane's own to addresses that people configured. The guard stands where a name becomes an address, so that
//! what is looked at is what is called; nothing is redirected, and no answer is read.

use std::error::Error as _;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use gateway_model::secret::Secret;
use gateway_providers::destination;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{StatusCode, Url, redirect};

/// For all of a call.
const PATIENCE: Duration = Duration::from_secs(10);

/// TLS as for upstreams: the system's roots, or the bundled ones where the system has none.
pub(crate) struct Outbound {
    tls: rustls::ClientConfig,
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
        let mut request = client.post(url).header("content-type", "application/json").body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let answer = request.send().await.map_err(|error| told(&error.without_url()))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status if status.is_redirection() => Err(format!("it answers {status}, and redirections are not followed")),
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                Err(format!("it answers {}: the address is wrong", answer.status()))
            }
            status => Err(format!("it answers {status}")),
        }
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
