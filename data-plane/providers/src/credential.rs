//! How a provider wants to see our credential: one header per style of the catalogue.

use gateway_model::catalog::Auth;
use gateway_model::secret::Secret;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

/// The header that carries the credential, marked sensitive, so that neither `Debug` nor a compression table shows it. `None`
/// for providers that want none. A secret that no header can carry is an error.
pub(crate) fn header(auth: Auth, secret: &Secret) -> Option<Result<(HeaderName, HeaderValue), Unsendable>> {
    let (name, text) = match auth {
        Auth::Bearer => (AUTHORIZATION, format!("Bearer {}", secret.expose())),
        Auth::XApiKey => (HeaderName::from_static("x-api-key"), secret.expose().to_owned()),
        Auth::ApiKey => (HeaderName::from_static("api-key"), secret.expose().to_owned()),
        Auth::XGoogApiKey => (HeaderName::from_static("x-goog-api-key"), secret.expose().to_owned()),
        Auth::None => return None,
    };
    Some(HeaderValue::try_from(text).map_err(|_| Unsendable).map(|mut value| {
        value.set_sensitive(true);
        (name, value)
    }))
}

/// The secret holds a line break or another character that no header may have. It never says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsendable;
