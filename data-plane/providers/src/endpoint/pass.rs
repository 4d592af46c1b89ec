//! Where requests go that pass as they are: anywhere on the vendor's host, or below the root of its API.

use gateway_model::catalog::{Auth, Row};
use gateway_model::kind::provider::Provider;
use http::Uri;
use http::uri::PathAndQuery;

use super::url::Base;
use super::{Endpoint, azure};

/// What stands around the tail of an OpenAI path, such as `/files`.
#[derive(Default)]
pub(super) struct Api {
    /// What ends in `/v1`, or what the vendor has in its place.
    root: String,
    /// Demanded with every request: `api-version=…`.
    query: Option<String>,
}

// === impl Api ===

impl Api {
    pub(super) fn of(provider: &Provider, row: &Row, base: &Base) -> Self {
        match row.id.as_str() {
            "azure" => {
                let (root, query) = azure::api(provider, base);
                Self { root, query }
            }
            _ if row.root => Self { root: format!("{}/v1", base.path()), query: None },
            _ => Self { root: base.path().to_owned(), query: None },
        }
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// A path with its query, as it stands, on the vendor's host. `None` where there is no host, or the text is no path.
    pub fn on_host(&self, path_and_query: &str) -> Option<Uri> {
        self.url.elsewhere(path_and_query.parse::<PathAndQuery>().ok()?)
    }

    /// An operation below the root of the vendor's API: `tail` is what stands behind `/v1` in OpenAI's paths, and begins with a
    /// slash; empty for the root itself.
    pub fn under_api(&self, tail: &str, query: Option<&str>) -> Option<Uri> {
        let queries: Vec<&str> = self.api.query.as_deref().into_iter().chain(query).collect();
        let mark = if queries.is_empty() { "" } else { "?" };
        let path = format!("{}{tail}", self.api.root);
        let path = if path.is_empty() { "/" } else { &path };
        self.on_host(&format!("{path}{mark}{}", queries.join("&")))
    }

    /// Whether there is anything to prove who we are with, or the vendor wants nothing. Servers on private networks may.
    pub fn is_credentialed(&self) -> bool {
        self.has_credential
    }
}

/// See [`Endpoint::is_credentialed`].
pub(super) fn has_credential(provider: &Provider, row: &Row) -> bool {
    let wants_none = row.auth == Auth::None || provider.allow_private_networks;
    let is_signed = provider.aws.as_ref().is_some_and(|aws| aws.access_key_id.is_some());
    let is_tokened = provider.gcp.is_some();
    provider.api_key.is_some() || wants_none || is_signed || is_tokened
}
