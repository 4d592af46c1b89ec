//! What handlers take out of a request: query, body, page. Whatever is wrong with it is a 400 that says what.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{self, FromRequest, FromRequestParts, Query, Request};
use gateway_model::kind::Kind;
use gateway_store::usage::Cursor;
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::ApiError;

/// Largest accepted body.
const MAX_BODY: usize = 16 << 20;
/// A body that takes longer is not coming.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest one of a stranger.
const MAX_STRANGERS_BODY: usize = 16 << 10;
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 500;

/// The query. Types name all parameters they know, so that a misspelt one is refused instead of ignored.
pub(crate) struct Params<T>(pub(crate) T);

/// What stands in the path where the route has a name for it.
pub(crate) struct Path<T>(pub(crate) T);

/// A JSON body.
pub(crate) struct Payload(pub(crate) Value);

/// The kind that a path names by its plural. Settings are not a collection.
pub(crate) struct Collection(pub(crate) Kind);

/// A kind and the name of one of its items.
pub(crate) struct Member(pub(crate) Kind, pub(crate) String);

/// A body of this type; what it may hold is in the message.
pub(crate) fn typed<T: DeserializeOwned>(body: Value) -> Result<T, ApiError> {
    serde_json::from_value(body).map_err(|error| ApiError::malformed(format!("the body is not understood: {error}")))
}

// === impl Params ===

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        let query = query.map_err(|rejection| {
            ApiError::malformed(format!("the query is not understood: {}", root_cause(&rejection)))
        })?;
        Ok(Self(query.0))
    }
}

// === impl Path ===

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = extract::Path::<T>::from_request_parts(parts, state).await;
        let path = path.map_err(|_| ApiError::malformed("the path is not UTF-8; percent-encode it"))?;
        Ok(Self(path.0))
    }
}

// === impl Payload ===

impl<S: Sync> FromRequest<S> for Payload {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let read = axum::body::to_bytes(request.into_body(), MAX_BODY);
        let read = tokio::time::timeout(BODY_TIMEOUT, read).await;
        let read = read.map_err(|_| ApiError::malformed("the body did not arrive in time; send it again"))?;
        let bytes = read.map_err(|error| match is_length_limit(&error) {
            true => ApiError::too_large(MAX_BODY),
            false => ApiError::malformed("the body broke off; send it again"),
        })?;
        let value = serde_json::from_slice(&bytes)
            .map_err(|error| ApiError::malformed(format!("the body is not JSON: {error}")))?;
        Ok(Self(value))
    }
}

// === impl Collection ===

impl<S: Send + Sync> FromRequestParts<S> for Collection {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(plural) = Path::<String>::from_request_parts(parts, state).await?;
        collection(&plural).map(Self)
    }
}

// === impl Member ===

impl<S: Send + Sync> FromRequestParts<S> for Member {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path((plural, name)) = Path::<(String, String)>::from_request_parts(parts, state).await?;
        Ok(Self(collection(&plural)?, name))
    }
}

/// A body that somebody sends before it is known who they are.
pub(crate) async fn small(body: Body) -> Result<Bytes, ApiError> {
    let read = tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, MAX_STRANGERS_BODY)).await;
    let read = read.map_err(|_| ApiError::malformed("the body did not arrive in time; send it again"))?;
    read.map_err(|_| ApiError::malformed("the body is too large, or broke off"))
}

/// A page's size as it was asked for.
pub(crate) fn limit(asked: Option<usize>) -> Result<usize, ApiError> {
    match asked {
        None => Ok(DEFAULT_LIMIT),
        Some(limit @ 1..=MAX_LIMIT) => Ok(limit),
        Some(_) => Err(ApiError::malformed(format!("`limit` must be from 1 to {MAX_LIMIT}"))),
    }
}

/// One more than the page tells whether there are more; what follows the page is `next`'s to name.
pub(crate) fn page<T>(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(cursor);
    (items, next)
}

/// `1800000000000_01JD…`
pub(crate) fn time_cursor(started_ms: i64, id: &str) -> String {
    format!("{started_ms}_{id}")
}

pub(crate) fn parse_time_cursor(text: Option<&str>) -> Result<Option<Cursor>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let parsed =
        text.split_once('_').and_then(|(ms, id)| Some(Cursor { started_ms: ms.parse().ok()?, id: id.to_owned() }));
    parsed.map(Some).ok_or_else(bad_cursor)
}

pub(crate) fn parse_number_cursor(text: Option<&str>) -> Result<Option<u64>, ApiError> {
    text.map(|text| text.parse().map_err(|_| bad_cursor())).transpose()
}

fn bad_cursor() -> ApiError {
    ApiError::malformed("`after` is not a cursor of this list; use what `next` of the page before says")
}

/// The kind that this is the plural of; settings are not a collection.
pub(crate) fn collection(plural: &str) -> Result<Kind, ApiError> {
    let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == plural && *kind != Kind::Setting);
    kind.ok_or_else(|| ApiError::not_found("there is nothing at this path"))
}

/// The library wraps what is wrong in words about itself.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn is_length_limit(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back() {
        let cursor = Cursor { started_ms: 5, id: "a_b".to_owned() };
        assert_eq!(parse_time_cursor(Some(&time_cursor(5, "a_b"))).expect("ours"), Some(cursor));
        assert!(parse_time_cursor(Some("nonsense")).is_err());
        assert!(parse_number_cursor(Some("-1")).is_err());
    }

    #[test]
    fn a_page_names_the_next_only_if_there_is_one() {
        let name = |number: &i32| number.to_string();
        assert_eq!(page(vec![1, 2, 3], 2, name), (vec![1, 2], Some("2".to_owned())));
        assert_eq!(page(vec![1, 2], 2, name), (vec![1, 2], None));
    }
}
