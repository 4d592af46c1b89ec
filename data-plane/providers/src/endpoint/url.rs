//! A provider's URL: taken apart and checked once, put together cheaply for every request.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use gateway_model::problem::Code;
use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// A base URL longer than this is no address that a person wrote.
const MAX_BASE: usize = 2048;
/// As much of a model's name goes into a path; a longer one is no deployment that exists.
const MAX_MODEL: usize = 4096;

/// Where the chat operation is.
pub(super) struct Url {
    tls: bool,
    host: Arc<str>,
    port: u16,
    authority: Bytes,
    target: Target,
}

enum Target {
    /// The same for every model.
    Fixed(Uri),
    /// The model stands in the path.
    AroundModel { scheme: Scheme, authority: Authority, before: String, after: String },
    /// There is no server.
    Nowhere,
}

/// A base URL that has been checked.
#[derive(Clone)]
pub(super) struct Base {
    scheme: Scheme,
    authority: Authority,
    path: String,
}

/// What is wrong with a base URL.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) message: String,
}

// === impl Base ===

impl Base {
    /// `https://host[:port][/prefix]`; `http://` only where private networks are allowed.
    pub(super) fn parse(text: &str, allow_private_networks: bool) -> Result<Self, Fault> {
        let invalid = |message: &str| Fault { code: Code::InvalidValue, message: message.to_owned() };
        if text.len() > MAX_BASE {
            return Err(invalid("the URL is longer than 2048 bytes"));
        }
        let parts = text.parse::<Uri>().map_err(|_| invalid("this is no URL like `https://host/v1`"))?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(invalid("the URL must be absolute, like `https://host/v1`"));
        };
        if authority.as_str().contains('@') {
            return Err(invalid("the URL may not hold a user name or a password; put the credential in `api_key`"));
        }
        if authority.host().is_empty() {
            return Err(invalid("the URL has no host"));
        }
        if parts.path_and_query.as_ref().is_some_and(|path| path.query().is_some()) {
            return Err(invalid("the URL may not have a query"));
        }
        if scheme != Scheme::HTTPS && scheme != Scheme::HTTP {
            return Err(invalid("the URL must begin with `https://`"));
        }
        if scheme == Scheme::HTTP && !allow_private_networks {
            let message = "without TLS the credential could be read on the way; use `https://`, or `allow_private_networks: \
                true` for a server on a private network";
            return Err(Fault { code: Code::InsecureDestination, message: message.to_owned() });
        }
        let path = parts.path_and_query.as_ref().map_or("", PathAndQuery::path).trim_end_matches('/').to_owned();
        Ok(Self { scheme, authority, path })
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The same URL for all models.
    pub(super) fn fixed(self, tail: &str) -> Result<Url, Fault> {
        let path = format!("{}{tail}", self.path);
        let uri = assembled(&self.scheme, &self.authority, path)
            .map_err(|_| Fault { code: Code::InvalidValue, message: format!("`{tail}` cannot follow this URL") })?;
        Ok(self.url(|_, _| Target::Fixed(uri)))
    }

    /// A URL with the model between `before` and `after`.
    pub(super) fn around_model(self, before: &str, after: &str) -> Result<Url, Fault> {
        let before = format!("{}{before}", self.path);
        let after = after.to_owned();
        Ok(self.url(|scheme, authority| Target::AroundModel { scheme, authority, before, after }))
    }

    fn url(self, target: impl FnOnce(Scheme, Authority) -> Target) -> Url {
        let tls = self.scheme == Scheme::HTTPS;
        Url {
            tls,
            host: self.authority.host().into(),
            port: self.authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: Bytes::copy_from_slice(self.authority.as_str().as_bytes()),
            target: target(self.scheme, self.authority),
        }
    }
}

// === impl Url ===

impl Url {
    pub(super) fn nowhere() -> Self {
        Self {
            tls: false,
            host: "demo".into(),
            port: 0,
            authority: Bytes::from_static(b"demo"),
            target: Target::Nowhere,
        }
    }

    pub(super) fn for_model(&self, model: &str) -> Uri {
        match &self.target {
            Target::Fixed(uri) => uri.clone(),
            Target::Nowhere => Uri::default(),
            Target::AroundModel { scheme, authority, before, after } => {
                let model = &model[..model.floor_char_boundary(MAX_MODEL)];
                let path = format!("{before}{}{after}", encoded(model));
                assembled(scheme, authority, path).expect("all parts are encoded and far below the limit of a URI")
            }
        }
    }

    /// Another path on the same host; `None` where there is no host.
    pub(super) fn elsewhere(&self, path: PathAndQuery) -> Option<Uri> {
        let (scheme, authority) = match &self.target {
            Target::Fixed(uri) => (uri.scheme()?, uri.authority()?),
            Target::AroundModel { scheme, authority, .. } => (scheme, authority),
            Target::Nowhere => return None,
        };
        Uri::builder().scheme(scheme.clone()).authority(authority.clone()).path_and_query(path).build().ok()
    }

    pub(super) fn tls(&self) -> bool {
        self.tls
    }

    pub(super) fn host(&self) -> &Arc<str> {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn authority(&self) -> &Bytes {
        &self.authority
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Fixed(uri) => write!(f, "{uri}"),
            Target::AroundModel { scheme, authority, before, after } => {
                write!(f, "{scheme}://{authority}{before}{{model}}{after}")
            }
            Target::Nowhere => f.write_str("demo"),
        }
    }
}

fn assembled(scheme: &Scheme, authority: &Authority, path: String) -> Result<Uri, http::Error> {
    Uri::builder().scheme(scheme.clone()).authority(authority.clone()).path_and_query(path).build()
}

/// Everything but unreserved characters percent-encoded, so that a text stays one path segment or one query value.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    encoded
}
