//! `GET /v1/models` and `GET /v1/models/{model}`, and the same in Anthropic's and in Google's words. What there is to tell is written
//! already; here it is picked by what the caller may use, and paged where the client's API pages.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use gateway_engine::identity::Caller;
use gateway_engine::listing::addressed;
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::{Code, Failure};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use serde_json::json;

use crate::account::Account;
use crate::body::{Pieces, ReplyBody};
use crate::headers::Writer;
use crate::ingress::gemini::{X_GOOG_API_KEY, key_to_header, parameter};
use crate::pipeline::{Gateway, request_id};
use crate::presented::Presented;
use crate::record::{Ending, Record};
use crate::refusal;
use crate::state::{Config, Page, Shape, Wanted};

/// Whoever sends this expects Anthropic's words, also where OpenAI has the same path; and so do senders of Google's header for keys.
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// As many as Anthropic gives where nobody says, and at most.
const ANTHROPIC_PAGE: (usize, usize) = (20, 1000);
/// The same of Google.
const GEMINI_PAGE: (usize, usize) = (50, 1000);

/// The models that the caller may use. `dialect` is that of the path.
pub(crate) fn list<B>(gateway: &Gateway, dialect: Dialect, request: &Request<B>) -> Response<ReplyBody> {
    answered(gateway, dialect, request, "", |config, caller, dialect| {
        let query = request.uri().query();
        let listing = &config.listing;
        match dialect {
            Dialect::AnthropicMessages => {
                let (after, before) = (parameter(query, "after_id"), parameter(query, "before_id"));
                let limit = Some(limit(query, "limit", ANTHROPIC_PAGE)?);
                let wanted = Wanted { after: after.as_deref(), before: before.as_deref(), limit };
                Ok(anthropic(listing.page(Shape::Anthropic, caller, wanted)))
            }
            Dialect::GeminiGenerate => {
                let after = parameter(query, "pageToken");
                let limit = Some(limit(query, "pageSize", GEMINI_PAGE)?);
                let wanted = Wanted { after: after.as_deref().filter(|token| !token.is_empty()), before: None, limit };
                Ok(gemini(listing.page(Shape::Gemini, caller, wanted)))
            }
            _ => {
                let page = listing.page(Shape::OpenAi, caller, Wanted::default());
                Ok(page.within(r#"{"object":"list","data":["#, "]}"))
            }
        }
    })
}

/// One model that the caller may use: a listed one, or an address whose model the catalogue knows.
pub(crate) fn one<B>(gateway: &Gateway, dialect: Dialect, id: &str, request: &Request<B>) -> Response<ReplyBody> {
    answered(gateway, dialect, request, id, |config, caller, dialect| {
        let shape = match dialect {
            Dialect::AnthropicMessages => Shape::Anthropic,
            Dialect::GeminiGenerate => Shape::Gemini,
            _ => Shape::OpenAi,
        };
        let known = || {
            let text = config.listing.one(shape, id);
            text.or_else(|| Some(Bytes::from(shape.model(&addressed(&config.snapshot, id)?).to_string())))
        };
        // A model that the caller may not use is, for it, not there.
        let text = caller.may_use(id).then(known).flatten();
        text.map(Pieces::from).ok_or_else(|| {
            let message = format!("no model is named `{id}`; GET /v1/models lists what this key may use");
            Box::new(Failure::new(Code::ModelNotFound, message))
        })
    })
}

/// Leaves a record as everything does that a key is asked for; there is nothing to admit or to charge.
fn answered<B>(
    gateway: &Gateway,
    dialect: Dialect,
    request: &Request<B>,
    model: &str,
    body: impl FnOnce(&Config, &Caller, Dialect) -> Result<Pieces, Box<Failure>>,
) -> Response<ReplyBody> {
    let (id, method) = (request_id(), request.method().as_str());
    let mut record = Record::begin(Arc::clone(&gateway.sinks), Instant::now(), &id, method, request.uri().path());
    record.dialect("models");
    record.traced(request.headers());
    let config = gateway.live.pin();
    record.asked(model, false, config.snapshot.revision, 0);
    let sends = |name: &HeaderName| request.headers().contains_key(name);
    let dialect = match dialect {
        Dialect::OpenAiChat if sends(&ANTHROPIC_VERSION) => Dialect::AnthropicMessages,
        Dialect::OpenAiChat if sends(&X_GOOG_API_KEY) => Dialect::GeminiGenerate,
        other => other,
    };
    let body = identified(gateway, &config, dialect, request).and_then(|caller| {
        record.caller(&caller);
        body(&config, &caller, dialect)
    });
    match body {
        Ok(body) => {
            record.status(StatusCode::OK.as_u16());
            record.forwarded(usize::try_from(body.len()).unwrap_or(usize::MAX), 0);
            record.ended(Ending::Finished);
            let mut response = Response::new(ReplyBody::Whole(body));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Writer::new(response.headers_mut(), config.families()).request_id(&id);
            response
        }
        Err(failure) => {
            record.failed(&failure);
            record.status(failure.status);
            refusal::response(&failure, dialect, &id, config.families())
        }
    }
}

/// Google's clients may say their key in the query.
fn identified<B>(
    gateway: &Gateway,
    config: &Config,
    dialect: Dialect,
    request: &Request<B>,
) -> Result<Account, Box<Failure>> {
    let presented = Presented::of(request);
    if dialect != Dialect::GeminiGenerate {
        return gateway.identify(config, presented);
    }
    let mut headers: HeaderMap = request.headers().clone();
    key_to_header(request.uri().query(), &mut headers);
    gateway.identify(config, Presented { headers: &headers, ..presented })
}

fn limit(query: Option<&str>, name: &str, (usual, most): (usize, usize)) -> Result<usize, Box<Failure>> {
    match parameter(query, name) {
        None => Ok(usual),
        Some(text) => match text.parse::<usize>() {
            Ok(0) if name == "pageSize" => Ok(usual),
            Ok(limit) if limit > 0 => Ok(limit.min(most)),
            _ => {
                let message = format!("`{name}` must be a number from 1 to {most}");
                Err(Box::new(Failure::invalid(message).at(name)))
            }
        },
    }
}

fn anthropic(page: Page) -> Pieces {
    let end = json!({"has_more": page.more, "first_id": page.first.as_deref(), "last_id": page.last.as_deref()});
    page.within(r#"{"data":["#, format!("],{}", &end.to_string()[1..]))
}

/// The token of the next page is the last name of this one.
fn gemini(page: Page) -> Pieces {
    let next = page.last.as_deref().filter(|_| page.more);
    let end = next.map_or("]}".to_owned(), |next| format!("],\"nextPageToken\":{}}}", json!(next)));
    page.within(r#"{"models":["#, end)
}
