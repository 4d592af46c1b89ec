//! Vertex AI: its URLs, and where its tokens come from. What is asked of the token's server is decided here; asking is I/O and
//! is done where tokens are kept.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gateway_model::kind::provider::{Gcp, Provider};
use gateway_model::problem::Code;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use serde_json::Value;

use super::url::{Base, Fault, Url, encoded};
use crate::sign::jwt::Account;

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// <https://google.aip.dev/auth/4112>
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// <https://cloud.google.com/compute/docs/metadata/querying-metadata>
const METADATA_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";
const METADATA_FLAVOR: (HeaderName, HeaderValue) =
    (HeaderName::from_static("metadata-flavor"), HeaderValue::from_static("Google"));
/// Google's metadata server by its address, so that no resolver can say that it is somebody else.
const METADATA_ROOT: &str = "http://169.254.169.254";

/// Who hands out tokens, and as whom we ask.
pub struct TokenSource {
    id: Arc<str>,
    server: Url,
    allow_private_networks: bool,
    asks: Asks,
}

enum Asks {
    Account { account: Box<Account>, audience: String },
    Metadata { is_googles: bool },
}

/// A request for a token, ready to be sent to [`TokenSource`]'s server.
pub type TokenRequest = Request<Bytes>;

/// The answer holds no token; it is not shown, because it may hold half of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer holds no `access_token` with a lifetime")]
pub struct Unusable;

/// What stands before a model, behind the version.
pub(super) fn models(gcp: &Gcp) -> String {
    format!("/projects/{}/locations/{}/publishers/google/models/", encoded(&gcp.project), encoded(&gcp.location))
}

/// `None` where another credential is given. Problems come with the field.
pub(super) fn token_source(provider: &Provider) -> Result<Option<TokenSource>, (&'static str, Fault)> {
    let Some(gcp) = provider.gcp.as_ref().filter(|_| provider.api_key.is_none()) else { return Ok(None) };
    let is_private = provider.allow_private_networks;
    if let Some(secret) = &gcp.service_account_json {
        const FIELD: &str = "gcp.service_account_json";
        let invalid = |reason: &str| (FIELD, Fault { code: Code::InvalidValue, message: reason.to_owned() });
        let json: Value = serde_json::from_str(secret.expose()).map_err(|_| invalid("is no JSON"))?;
        let account = Account::read(&json).map_err(invalid)?;
        let audience = json.get("token_uri").and_then(Value::as_str).unwrap_or(TOKEN_URI).to_owned();
        if !is_private && !is_googles(&audience) {
            return Err(invalid("its `token_uri` is not Google's, which takes `allow_private_networks: true`"));
        }
        let server = Base::parse(&audience, is_private)
            .and_then(|base| base.fixed(""))
            .map_err(|fault| (FIELD, Fault { message: format!("its `token_uri`: {}", fault.message), ..fault }))?;
        // With the key: who has only heard of an account may not have its tokens.
        let id = format!("{} {} {audience}", account.email(), account.fingerprint()).into();
        let asks = Asks::Account { account: Box::new(account), audience };
        return Ok(Some(TokenSource { id, server, allow_private_networks: is_private, asks }));
    }
    let root = gcp.metadata_url.as_deref();
    // Google's is called in clear on its link-local address, which only the connector's own exception lets through.
    let base = Base::parse(root.unwrap_or(METADATA_ROOT), is_private || root.is_none());
    let server = base.and_then(|base| base.fixed(METADATA_PATH)).map_err(|fault| ("gcp.metadata_url", fault))?;
    let id = format!("metadata {}", root.unwrap_or(METADATA_ROOT)).into();
    let asks = Asks::Metadata { is_googles: root.is_none() };
    Ok(Some(TokenSource { id, server, allow_private_networks: is_private, asks }))
}

/// A credential says where to send what proves it; it may not send that just anywhere.
fn is_googles(token_uri: &str) -> bool {
    let host = token_uri.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_ascii_lowercase));
    host.is_some_and(|host| host == "accounts.google.com" || host.ends_with(".googleapis.com"))
}

// === impl TokenSource ===

impl TokenSource {
    /// Equal for sources that hand out the same tokens; names no secret.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// What to send at `unix_seconds`.
    pub fn request(&self, unix_seconds: i64) -> TokenRequest {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = self.uri();
        let headers = request.headers_mut();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        match &self.asks {
            Asks::Metadata { .. } => {
                let (name, value) = METADATA_FLAVOR;
                headers.insert(name, value);
            }
            Asks::Account { account, audience } => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
                let assertion = account.assertion(audience, SCOPE, unix_seconds);
                *request.method_mut() = Method::POST;
                *request.body_mut() = format!("grant_type={}&assertion={assertion}", encoded(GRANT)).into();
            }
        }
        request
    }

    /// The value of `authorization`, marked sensitive, and how long it holds.
    pub fn read(&self, answer: &[u8]) -> Result<(HeaderValue, Duration), Unusable> {
        let answer: Value = serde_json::from_slice(answer).map_err(|_| Unusable)?;
        let token = answer.get("access_token").and_then(Value::as_str).filter(|token| !token.is_empty());
        let lifetime = answer.get("expires_in").and_then(Value::as_u64);
        let (Some(token), Some(lifetime)) = (token, lifetime) else { return Err(Unusable) };
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| Unusable)?;
        value.set_sensitive(true);
        Ok((value, Duration::from_secs(lifetime)))
    }

    pub fn uri(&self) -> Uri {
        self.server.for_model("")
    }

    pub fn tls(&self) -> bool {
        self.server.tls()
    }

    pub fn host(&self) -> &Arc<str> {
        self.server.host()
    }

    pub fn port(&self) -> u16 {
        self.server.port()
    }

    pub fn authority(&self) -> &Bytes {
        self.server.authority()
    }

    pub fn allow_private_networks(&self) -> bool {
        self.allow_private_networks
    }

    /// Google's own metadata server: the one address of its kind that may be called, for this and for nothing else.
    pub fn is_metadata_server(&self) -> bool {
        matches!(self.asks, Asks::Metadata { is_googles: true })
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) fn gcp(location: &str) -> Gcp {
    let project = "my-project".to_owned();
    Gcp { project, location: location.to_owned(), service_account_json: None, metadata_url: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_names_no_token_server_but_googles() {
        for (token_uri, expected) in [
            (TOKEN_URI, true),
            ("https://accounts.google.com/o/oauth2/token", true),
            ("https://OAUTH2.googleapis.com/token", true),
            ("https://sts.us-east1.rep.googleapis.com/token", true),
            ("https://googleapis.com.example/token", false),
            ("https://oauth2.googleapis.com@example/token", false),
            ("https://notgoogleapis.com/token", false),
            ("oauth2.googleapis.com/token", false),
            ("", false),
        ] {
            assert_eq!(is_googles(token_uri), expected, "{token_uri}");
        }
    }
}
