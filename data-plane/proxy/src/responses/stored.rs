//! `GET` and `DELETE /v1/responses/{id}`, its input items, and `cancel`: of the caller's own responses. What a provider keeps, it
//! is asked for.

use std::sync::Arc;
use std::time::Instant;

use gateway_engine::identity::Caller;
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::{Code, Failure};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use super::items::{self, Page};
use crate::body::ReplyBody;
use crate::clock;
use crate::conversations::{Entry, Kept, Key, Turn};
use crate::headers::Writer;
use crate::ingress::pass::Way;
use crate::ingress::percent_decoded;
use crate::ingress::stored::{Act, Stored};
use crate::ops::json_response;
use crate::pipeline::{Gateway, request_id};
use crate::state::Config;
use crate::{pass, refusal};

/// Answers what is asked about a response.
pub(crate) async fn answer(
    gateway: &Gateway,
    stored: Stored,
    request: Request<Incoming>,
    arrived: Instant,
) -> Response<ReplyBody> {
    let config = gateway.live.pin();
    let found = find(gateway, &config, &stored, &request).await;
    let (key, entry) = match found {
        Ok(found) => found,
        Err(failure) => return refused(&config, &failure),
    };
    let told = match &entry.kept {
        Kept::At { provider } => {
            let way = Way::Held { provider: Arc::clone(provider), tail: stored.tail() };
            let response = pass::answer(gateway, way, request, arrived).await;
            if stored.act == Act::Delete && response.status().is_success() {
                gateway.conversations.remove(&key).await;
            }
            return response;
        }
        Kept::Here(turn) => told(gateway, &stored, &key, turn, request.uri().query()).await,
    };
    match told {
        Ok(mut response) => {
            Writer::new(response.headers_mut(), config.families()).request_id(&request_id());
            response
        }
        Err(failure) => refused(&config, &failure),
    }
}

async fn find(
    gateway: &Gateway,
    config: &Config,
    stored: &Stored,
    request: &Request<Incoming>,
) -> Result<(Key, Arc<Entry>), Box<Failure>> {
    let caller: Arc<Caller> = gateway.identified(config, request.headers())?;
    let key = Key::new(&caller.id, &stored.id);
    match gateway.conversations.get(&key, clock::unix_ms()).await {
        Some(entry) => Ok((key, entry)),
        None => {
            // In OpenAI's words, and why it may be so.
            let message = match gateway.conversations.place() {
                "node" => format!(
                    "Response with id '{}' not found. `store` is local to the gateway node that answered, and another node, or the \
                     same after `responses.store_ttl`, does not know it",
                    stored.id
                ),
                _ => format!("Response with id '{}' not found.", stored.id),
            };
            Err(Box::new(Failure::new(Code::NotFound, message).at("id")))
        }
    }
}

async fn told(
    gateway: &Gateway,
    stored: &Stored,
    key: &Key,
    turn: &Turn,
    query: Option<&str>,
) -> Result<Response<ReplyBody>, Box<Failure>> {
    match stored.act {
        Act::Get => {
            if parameters(query).any(|(name, value)| name == "stream" && value == "true") {
                let message = "a response that is over is not streamed again; ask for it without `stream`";
                return Err(Box::new(Failure::invalid(message).at("stream")));
            }
            let mut response = json_response(StatusCode::OK, &json!({}));
            *response.body_mut() = ReplyBody::whole(turn.response.clone());
            Ok(response)
        }
        Act::Delete => {
            gateway.conversations.remove(key).await;
            Ok(json_response(StatusCode::OK, &json!({"id": stored.id, "object": "response.deleted", "deleted": true})))
        }
        Act::InputItems => {
            let page = page(query)?;
            let list = items::page(&turn.input, &stored.id, &page).ok_or_else(|| {
                let message = format!("`after` names no input item of '{}'", stored.id);
                Box::new(Failure::invalid(message).at("after"))
            })?;
            Ok(json_response(StatusCode::OK, &list))
        }
        Act::Cancel => {
            let message = "Cannot cancel a synchronous response: only those with `background` can be cancelled.";
            Err(Box::new(Failure::invalid(message)))
        }
    }
}

fn parameters(query: Option<&str>) -> impl Iterator<Item = (String, String)> + '_ {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent_decoded(name), percent_decoded(value))
    })
}

fn page(query: Option<&str>) -> Result<Page, Box<Failure>> {
    let mut page = Page { limit: 20, oldest_first: false, after: None };
    for (name, value) in parameters(query) {
        match name.as_str() {
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=100).contains(limit));
                page.limit = limit
                    .ok_or_else(|| Box::new(Failure::invalid("`limit` must be a number from 1 to 100").at("limit")))?;
            }
            "order" => match value.as_str() {
                "asc" => page.oldest_first = true,
                "desc" => page.oldest_first = false,
                _ => return Err(Box::new(Failure::invalid("`order` must be asc or desc").at("order"))),
            },
            "after" => page.after = Some(value),
            _ => {}
        }
    }
    Ok(page)
}

fn refused(config: &Config, failure: &Failure) -> Response<ReplyBody> {
    refusal::response(failure, Dialect::OpenAiResponses, &request_id(), config.families())
}
