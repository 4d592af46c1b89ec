//! Batches that the gateway runs itself, for models whose providers have none: it keeps the file, asks for its lines one by one
//! and keeps the answers, in the form of OpenAI's API. What is kept is this node's alone; ids say that they are the gateway's.

mod object;
mod line;
mod progress;
mod store;
mod upload;
mod content;
mod run;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use gateway_engine::identity::Caller;
use gateway_engine::issuers::is_foreign;
use gateway_engine::pass as account;
use gateway_engine::snapshot::Service;
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::{Code, Failure};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::object::{Batch, Counts, Status};
use self::store::{KEPT, is_ours, new_batch_id};
use crate::body::ReplyBody;
use crate::headers::Hints;
use crate::ingress::pass::Way;
use crate::ingress::percent_decoded;
use crate::ops::json_response;
use crate::own::{ITSELF, Own};
use crate::pipeline::{Gateway, Said};
use crate::presented::Presented;
use crate::state::Config;
use crate::{clock, pass, receive};

pub(crate) use self::run::resume;
pub(crate) use self::store::Batches;

/// Batches of a node that are not over.
const MAX_OPEN: usize = 256;
/// What metadata may be, <https://platform.openai.com/docs/api-reference/batch/create>.
const MAX_PAIRS: usize = 16;
const MAX_METADATA: usize = 16 * 1024;

/// What asks for a batch.
#[derive(Deserialize)]
struct Asked {
    input_file_id: String,
    endpoint: String,
    completion_window: String,
    metadata: Option<Map<String, Value>>,
}

/// Which part of a list is wanted.
struct Page {
    limit: usize,
    after: Option<String>,
    oldest_first: bool,
    purpose: Option<String>,
}

/// Answers what is asked of files and batches that are the gateway's own; anything else passes.
pub(crate) async fn or_pass(
    gateway: &Arc<Gateway>,
    way: Way,
    request: Request<Incoming>,
    arrived: Instant,
) -> Response<ReplyBody> {
    let config = gateway.live.pin();
    let (parts, body) = request.into_parts();
    let caller = match &way {
        Way::Kept { .. } => gateway.identified(&config, Presented::of_parts(&parts)).ok(),
        _ => None,
    };
    // Who is nobody is told so where everything passes.
    let (Way::Kept { service, id, tail }, Some(caller)) = (&way, caller) else {
        return pass::answer(gateway, way, Request::from_parts(parts, Said::Coming(body)), arrived).await;
    };
    let read = match whose(&config, &caller, (*service, id.as_deref()), &parts, body).await {
        Ok((false, body)) => return pass::answer(gateway, way, Request::from_parts(parts, body), arrived).await,
        Ok((true, body)) => Ok(body),
        Err(failure) => Err(failure),
    };
    let mut own = Own::begin(gateway, &config, Presented::of_parts(&parts), arrived, "batches");
    let told = async {
        let caller = own.admit(Ok(caller)).await?;
        let asking = Asking { gateway, caller: &caller, parts: &parts };
        asking.answer(*service, id.as_deref(), tail, read?).await
    };
    let told = told.await;
    own.over(told, Dialect::OpenAiChat)
}

/// Whether it is the gateway's own that is asked for, and the body, read where that takes it.
async fn whose(
    config: &Config,
    caller: &Caller,
    (service, id): (Service, Option<&str>),
    parts: &Parts,
    body: Incoming,
) -> Result<(bool, Said), Box<Failure>> {
    if let Some(id) = id {
        return Ok((is_ours(id), Said::Coming(body)));
    }
    let is_here = is_kept_here(config, caller, service, &parts.headers)?;
    if service != Service::Batches || parts.method != Method::POST || !receive::is_read(&parts.headers) {
        return Ok((is_here, Said::Coming(body)));
    }
    let body = receive::body(&parts.headers, body, receive::Bounds::of(&config.snapshot.settings)).await?;
    let asked = serde_json::from_slice::<Value>(&body).unwrap_or_default();
    // The file says who runs the batch, where there is one.
    let is_here =
        asked["input_file_id"].as_str().map_or(is_here, |file| is_ours(file) || is_here && !file.contains('~'));
    Ok((is_here, Said::Here(body)))
}

/// The gateway keeps what is given to itself by name, or to a provider that has no such service, or what no provider of the
/// caller's keeps.
fn is_kept_here(config: &Config, caller: &Caller, service: Service, headers: &HeaderMap) -> Result<bool, Box<Failure>> {
    Ok(match Hints::read(headers)?.provider {
        Some(name) => match config.snapshot.provider(name) {
            Some(provider) => !provider.has(service),
            None => name == ITSELF,
        },
        None => account::keeper(&config.snapshot, caller, service, None).is_err(),
    })
}

/// A client's request, apart from its body.
struct Asking<'a> {
    gateway: &'a Arc<Gateway>,
    caller: &'a Caller,
    parts: &'a Parts,
}

// === impl Asking ===

impl Asking<'_> {
    async fn answer(
        &self,
        service: Service,
        id: Option<&str>,
        tail: &str,
        body: Said,
    ) -> Result<Response<ReplyBody>, Box<Failure>> {
        let Some(batches) = &self.gateway.batches else {
            let message = "this node runs no batches: it has no data directory (--data-dir) to keep their files in";
            return Err(Box::new(Failure::new(Code::UnknownPath, message)));
        };
        let is_post = self.parts.method == Method::POST;
        let told = match (service, id, body) {
            (Service::Files, None, Said::Coming(body)) if is_post => {
                upload::take(batches, &self.caller.id, &self.parts.headers, body).await?.told()
            }
            (Service::Files, None, _) => {
                let page = self.page(10_000)?;
                let files = batches.files(&self.caller.id).into_iter();
                let wanted = files.filter(|file| page.purpose.as_ref().is_none_or(|purpose| *purpose == file.purpose));
                page.of(wanted.map(|file| (file.id.clone(), file.told())).collect())
            }
            (Service::Files, Some(id), _) => {
                let file = batches.file(&self.caller.id, id).ok_or_else(|| not_there("file", id))?;
                if tail.ends_with("/content") {
                    return content::reply(&batches.content(&file.id), file.bytes).await;
                }
                if self.parts.method == Method::DELETE {
                    batches.remove_file(&file.id);
                    json!({"id": file.id, "object": "file", "deleted": true})
                } else {
                    file.told()
                }
            }
            (_, None, Said::Here(body)) if is_post => self.create(batches, &body).await?.told(),
            (_, None, _) if is_post => {
                let message = "what asks for a batch must be application/json";
                return Err(Box::new(Failure::new(Code::UnsupportedMediaType, message)));
            }
            (_, None, _) => {
                let list = batches.batches(&self.caller.id).into_iter();
                self.page(100)?.of(list.map(|batch| (batch.id.clone(), batch.told())).collect())
            }
            (_, Some(id), _) => {
                let batch = batches.batch(&self.caller.id, id).ok_or_else(|| not_there("batch", id))?;
                if is_post { self.cancel(batches, &batch).await?.told() } else { batch.told() }
            }
        };
        Ok(json_response(StatusCode::OK, &told))
    }

    async fn create(&self, batches: &Arc<Batches>, body: &Bytes) -> Result<Batch, Box<Failure>> {
        let asked: Asked = serde_json::from_slice(body)
            .map_err(|error| Box::new(Failure::invalid(format!("this asks for no batch: {error}"))))?;
        let file = batches
            .file(&self.caller.id, &asked.input_file_id)
            .ok_or_else(|| Failure::clone(&not_there("file", &asked.input_file_id)).at("input_file_id"))
            .map_err(Box::new)?;
        if file.purpose != "batch" {
            let message = format!("`{}` is no file of requests: its purpose is `{}`", file.id, file.purpose);
            return Err(Box::new(Failure::invalid(message).at("input_file_id")));
        }
        if line::operation(&asked.endpoint).is_none() {
            let message = format!("`endpoint` must be one of {}, not `{}`", line::endpoints(), asked.endpoint);
            return Err(Box::new(Failure::invalid(message).at("endpoint")));
        }
        let Some(window) = object::window(&asked.completion_window) else {
            let message = "`completion_window` must be `24h`, or another time up to `7d`";
            return Err(Box::new(Failure::invalid(message).at("completion_window")));
        };
        let is_large = |pairs: &Map<String, Value>| {
            pairs.len() > MAX_PAIRS || serde_json::to_string(pairs).is_ok_and(|text| text.len() > MAX_METADATA)
        };
        if asked.metadata.as_ref().is_some_and(is_large) {
            return Err(Box::new(Failure::invalid("`metadata` may have 16 pairs, and 16 KiB in all").at("metadata")));
        }
        if batches.open_batches().len() >= MAX_OPEN {
            let message = format!("this node works on {MAX_OPEN} batches already; ask again when one is over");
            return Err(Box::new(Failure::new(Code::RateLimited, message)));
        }
        let now = clock::unix_seconds();
        let batch = Batch {
            id: new_batch_id(),
            owner: self.caller.id.as_ref().to_owned(),
            models: if is_foreign(&self.caller.id) { self.caller.models() } else { Vec::new() },
            endpoint: asked.endpoint,
            input_file_id: file.id,
            completion_window: asked.completion_window,
            metadata: asked.metadata,
            provider: Hints::read(&self.parts.headers)?.provider.filter(|name| *name != ITSELF).map(str::to_owned),
            status: Status::Validating,
            created_at: now,
            expires_at: now + window,
            in_progress_at: None,
            finalizing_at: None,
            completed_at: None,
            failed_at: None,
            expired_at: None,
            cancelling_at: None,
            cancelled_at: None,
            output_file_id: None,
            error_file_id: None,
            errors: Vec::new(),
            counts: Counts::default(),
        };
        batches.add_batch(batch.clone()).await?;
        run::start(self.gateway, batches, batch.id.clone());
        Ok(batch)
    }

    async fn cancel(&self, batches: &Batches, batch: &Batch) -> Result<Batch, Box<Failure>> {
        let now = clock::unix_seconds();
        let changed = batches.change(&batch.id, |batch| {
            if matches!(batch.status, Status::Validating | Status::InProgress) {
                batch.enter(Status::Cancelling, now);
            }
        });
        let changed =
            changed.await.map_err(|error| store::lost(&error))?.ok_or_else(|| not_there("batch", &batch.id))?;
        match changed.status {
            Status::Cancelling | Status::Cancelled => Ok(changed),
            _ => {
                let status = changed.told()["status"].clone();
                let message = format!("a batch that is {status} cannot be cancelled");
                Err(Box::new(Failure::invalid(message).with_status(409)))
            }
        }
    }

    fn page(&self, most: usize) -> Result<Page, Box<Failure>> {
        let usual = if most == 100 { 20 } else { most };
        let mut page = Page { limit: usual, after: None, oldest_first: false, purpose: None };
        let query = self.parts.uri.query().unwrap_or_default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decoded(value);
            match name {
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=most).contains(limit));
                    let message = || Failure::invalid(format!("`limit` must be a number from 1 to {most}")).at("limit");
                    page.limit = limit.ok_or_else(|| Box::new(message()))?;
                }
                "after" => page.after = Some(value),
                "order" if matches!(value.as_str(), "asc" | "desc") => page.oldest_first = value == "asc",
                "order" => return Err(Box::new(Failure::invalid("`order` must be asc or desc").at("order"))),
                "purpose" => page.purpose = Some(value),
                _ => {}
            }
        }
        Ok(page)
    }
}

// === impl Page ===

impl Page {
    /// Of what is there by id, newest first. An id that is gone ends nothing: the list begins anew.
    fn of(&self, mut all: Vec<(String, Value)>) -> Value {
        if self.oldest_first {
            all.reverse();
        }
        let after = self.after.as_ref().and_then(|after| all.iter().position(|(id, _)| id == after));
        let from = after.map_or(0, |at| at + 1);
        let has_more = all.len() > from + self.limit;
        let (ids, data): (Vec<String>, Vec<Value>) = all.into_iter().skip(from).take(self.limit).unzip();
        json!({"object": "list", "data": data, "first_id": ids.first(), "last_id": ids.last(), "has_more": has_more})
    }
}

/// Whether it is another's, gone, or on another node is not told: it is not known here.
fn not_there(what: &str, id: &str) -> Box<Failure> {
    let days = KEPT / (24 * 60 * 60);
    let message = format!(
        "there is no {what} `{id}` for this API key. Batches that the gateway runs are local to the node that took the file, and \
         another node, or the same after {days} days, does not know them"
    );
    Box::new(Failure::new(Code::NotFound, message).at("id"))
}
