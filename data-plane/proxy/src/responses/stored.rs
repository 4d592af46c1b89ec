//! `GET` and `DELETE /v1/responses/{id}`, its input items, and `cancel`: of the caller's own responses. What a provider keeps, it
//! is asked for.

use std::sync::Arc;
use std::time::Instant;

use gateway_ir::dialect::Dialect;
use gateway_ir::failure::{Code, Failure};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::background::fleet;
use super::items::{self, Page};
use crate::body::ReplyBody;
use crate::clock;
use crate::conversations::{Entry, Kept, Key, Turn};
use crate::ingress::pass::Way;
use crate::ingress::percent_decoded;
use crate::ingress::stored::{Act, Stored};
use crate::ops::json_response;
use crate::own::Own;
use crate::pass;
use crate::pipeline::{Gateway, Said};
use crate::presented::Presented;

/// Answers what is asked about a response.
pub(crate) async fn answer(
    gateway: &Arc<Gateway>,
    stored: Stored,
    request: Request<Incoming>,
    arrived: Instant,
) -> Response<ReplyBody> {
    let config = gateway.live.pin();
    let account = gateway.identified(&config, Presented::of(&request));
    let found = match &account {
        Ok(account) => find(gateway, Key::new(&account.id, &stored.id), &stored.id).await,
        Err(failure) => Err(failure.clone()),
    };
    if let Ok((key, entry)) = &found
        && let Kept::At { provider } = &entry.kept
    {
        let way = Way::Held { provider: Arc::clone(provider), tail: stored.tail() };
        let response = pass::answer(gateway, way, request.map(Said::Coming), arrived).await;
        if stored.act == Act::Delete && response.status().is_success() {
            gateway.conversations.remove(key).await;
        }
        return response;
    }
    let mut own = Own::begin(gateway, &config, Presented::of(&request), arrived, "responses");
    let told = async {
        own.admit(account).await?;
        let (key, entry) = found?;
        let query = request.uri().query();
        match &entry.kept {
            Kept::Here(turn) => told(gateway, &stored, &key, turn, query).await,
            Kept::Running(turn) => running(gateway, &stored, &key, turn, query).await,
            Kept::At { .. } => Err(not_found(gateway, &stored.id)),
        }
    };
    let told = told.await;
    own.over(told, Dialect::OpenAiResponses)
}

async fn find(gateway: &Gateway, key: Key, id: &str) -> Result<(Key, Arc<Entry>), Box<Failure>> {
    let entry = gateway.conversations.get(&key, clock::unix_ms()).await?;
    entry.map(|entry| (key, entry)).ok_or_else(|| not_found(gateway, id))
}

/// In OpenAI's words, and why it may be so.
fn not_found(gateway: &Gateway, id: &str) -> Box<Failure> {
    let message = match gateway.conversations.place() {
        "node" => format!(
            "Response with id '{id}' not found. `store` is local to the gateway node that answered, and another node, or the same \
             after `responses.store_ttl`, does not know it"
        ),
        _ => format!("Response with id '{id}' not found."),
    };
    Box::new(Failure::new(Code::NotFound, message).at("id"))
}

/// Of a response that was being made when it was last written down.
async fn running(
    gateway: &Gateway,
    stored: &Stored,
    key: &Key,
    turn: &Turn,
    query: Option<&str>,
) -> Result<Response<ReplyBody>, Box<Failure>> {
    let Some(run) = gateway.runs.find(key) else {
        let store = &*gateway.conversations;
        if matches!(stored.act, Act::Cancel | Act::Delete) {
            fleet::cancel(store, key).await?;
        }
        let turn = fleet::latest(store, key, turn).await?;
        return told(gateway, stored, key, &turn, query).await;
    };
    match stored.act {
        Act::Get => match n_told(query)? {
            Some(n_told) if run.has_events() => Ok(run.events(n_told)),
            Some(_) => Err(no_events()),
            None => Ok(run.standing()),
        },
        Act::Cancel => {
            run.cancel();
            run.over().await;
            Ok(run.standing())
        }
        Act::Delete => {
            run.cancel();
            run.over().await;
            told(gateway, stored, key, turn, query).await
        }
        Act::InputItems => told(gateway, stored, key, turn, query).await,
    }
}

/// How many events the client has seen; `None` where it asks for none.
fn n_told(query: Option<&str>) -> Result<Option<usize>, Box<Failure>> {
    let (mut stream, mut after) = (false, None);
    for (name, value) in parameters(query) {
        match name.as_str() {
            "stream" => stream = value == "true",
            "starting_after" => after = Some(value),
            _ => {}
        }
    }
    let after = after.map(|after| after.parse::<usize>().ok().and_then(|after| after.checked_add(1)));
    match after {
        Some(None) => {
            let message = "`starting_after` must be the `sequence_number` of an event";
            Err(Box::new(Failure::invalid(message).at("starting_after")))
        }
        after => Ok(stream.then_some(after.flatten().unwrap_or(0))),
    }
}

fn no_events() -> Box<Failure> {
    let message = "only what is made in the background is streamed again, by the node that makes it and while it keeps the events; \
        ask for the response without `stream`";
    Box::new(Failure::invalid(message).at("stream"))
}

fn is_background(turn: &Turn) -> bool {
    let response: Value = serde_json::from_slice(&turn.response).unwrap_or_default();
    response["background"] == true
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
            if let Some(n_told) = n_told(query)? {
                let run = gateway.runs.find(key).filter(|run| run.has_events());
                return run.map(|run| run.events(n_told)).ok_or_else(no_events);
            }
            let mut response = json_response(StatusCode::OK, &json!({}));
            *response.body_mut() = ReplyBody::whole(turn.response.clone());
            Ok(response)
        }
        Act::Delete => {
            gateway.runs.forget(key);
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
        // Once is as good as twice.
        Act::Cancel if is_background(turn) => {
            let mut response = json_response(StatusCode::OK, &json!({}));
            *response.body_mut() = ReplyBody::whole(turn.response.clone());
            Ok(response)
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

pub(super) fn page(query: Option<&str>) -> Result<Page, Box<Failure>> {
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
