//! Which headers pass, in both directions: those listed here and no others, so that neither a client's credential nor an
//! upstream's cookie ever does.

use gateway_providers::endpoint::Endpoint;
use http::header::{
    ACCEPT, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, LINK, LOCATION, RANGE,
    RETRY_AFTER,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::receive;

/// What a client says of its request, beside the body.
static REQUEST: [HeaderName; 20] = [
    CONTENT_TYPE,
    ACCEPT,
    RANGE,
    IF_RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    CONTENT_LANGUAGE,
    CONTENT_ENCODING,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-correlation-id"),
    HeaderName::from_static("x-trace-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static("anthropic-beta"),
    HeaderName::from_static("openai-beta"),
    HeaderName::from_static("a2a-version"),
    HeaderName::from_static("a2a-extensions"),
    HeaderName::from_static("x-a2a-extensions"),
];

/// What an upstream says of its reply. Its own request id is not among them: clients know a request by ours.
static REPLY: [HeaderName; 17] = [
    CONTENT_TYPE,
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    ACCEPT_RANGES,
    CACHE_CONTROL,
    ETAG,
    LAST_MODIFIED,
    LINK,
    LOCATION,
    RETRY_AFTER,
    HeaderName::from_static("retry-after-ms"),
    HeaderName::from_static("openai-processing-ms"),
    HeaderName::from_static("openai-version"),
    HeaderName::from_static("x-should-retry"),
];

/// How much of the account's limits is left, as the vendors tell it.
const RATES: [&str; 2] = ["x-ratelimit-", "anthropic-ratelimit-"];

/// The endpoint's own, the credential among them, and what the client says of its request. Nothing is said of a body's type
/// where the client does not.
pub(super) fn of_request(endpoint: &Endpoint, client: &HeaderMap, request_id: &str) -> HeaderMap {
    let mut headers = endpoint.headers().clone();
    headers.remove(CONTENT_TYPE);
    for name in &REQUEST {
        if let Some(value) = client.get(name)
            && !headers.contains_key(name)
        {
            headers.insert(name, value.clone());
        }
    }
    if receive::is_read(client) {
        // However it came, it goes on plain.
        headers.remove(CONTENT_ENCODING);
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.entry("x-request-id").or_insert(id);
    }
    headers
}

/// What of an upstream's headers the client sees.
pub(super) fn of_reply(upstream: &HeaderMap, client: &mut HeaderMap) {
    for (name, value) in upstream {
        if REPLY.contains(name) || RATES.iter().any(|prefix| name.as_str().starts_with(prefix)) {
            client.append(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_and_strangers_stay() {
        let upstream: HeaderMap = [
            ("content-type", "a/b"),
            ("set-cookie", "session=1"),
            ("x-ratelimit-remaining-tokens", "5"),
            ("server", "vendor"),
            ("transfer-encoding", "chunked"),
            ("connection", "close"),
            ("x-request-id", "theirs"),
            ("www-authenticate", "Bearer"),
        ]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
        let mut client = HeaderMap::new();
        of_reply(&upstream, &mut client);
        let mut names: Vec<&str> = client.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "x-ratelimit-remaining-tokens"]);
    }
}
