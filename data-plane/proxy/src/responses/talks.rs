//! `/v1/conversations`: made, told, changed and forgotten, and their items, <https://platform.openai.com/docs/api-reference/conversations>.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::{Code, Failure};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use super::conversation::{Conversation, Hold, not_found};
use super::items;
use super::stored::page;
use crate::body::ReplyBody;
use crate::conversations::Key;
use crate::ingress::conversations::Wanted;
use crate::ops::json_response;
use crate::own::Own;
use crate::pipeline::Gateway;
use crate::presented::Presented;
use crate::receive;

/// Items of one request.
const MAX_ITEMS: usize = 20;

/// Answers what is asked about conversations.
pub(crate) async fn converse(
    gateway: &Gateway,
    wanted: Wanted,
    request: Request<Incoming>,
    arrived: Instant,
) -> Response<ReplyBody> {
    let config = gateway.live.pin();
    let (head, body) = request.into_parts();
    let presented = Presented::of_parts(&head);
    let mut own = Own::begin(gateway, &config, presented, arrived, "conversations");
    let told = async {
        let caller = own.admit(gateway.identified(&config, presented)).await?;
        let bounds = receive::Bounds::of(&config.snapshot.settings);
        let body = match wanted {
            Wanted::Create | Wanted::Update { .. } | Wanted::AddItems { .. } => {
                receive::body(&head.headers, body, bounds).await?
            }
            _ => Bytes::new(),
        };
        let ttl = config.snapshot.settings.store_ttl;
        if ttl.is_zero() {
            let message =
                "conversations are kept in the store of responses, which `responses.store_ttl` turns off here";
            return Err(Box::new(Failure::new(Code::NotFound, message)));
        }
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let asking = Asking { gateway, owner: &caller.id, ttl_ms, query: head.uri.query() };
        Ok(json_response(StatusCode::OK, &asking.answer(&wanted, &body).await?))
    };
    let told = told.await;
    own.over(told, Dialect::OpenAiChat)
}

struct Asking<'a> {
    gateway: &'a Gateway,
    owner: &'a Arc<str>,
    ttl_ms: i64,
    query: Option<&'a str>,
}

// === impl Asking ===

impl Asking<'_> {
    async fn answer(&self, wanted: &Wanted, body: &Bytes) -> Result<Value, Box<Failure>> {
        match wanted {
            Wanted::Create => self.create(&members(body)?),
            Wanted::Get { id } => Ok(self.find(id).await?.object),
            Wanted::Update { id } => {
                let (_hold, mut conversation) = self.held(id).await?;
                conversation.object["metadata"] = metadata(&members(body)?)?;
                self.put(&conversation)?;
                Ok(conversation.object)
            }
            Wanted::Delete { id } => {
                let (_hold, conversation) = self.held(id).await?;
                conversation.remove(&*self.gateway.conversations).await;
                Ok(json!({"id": id, "object": "conversation.deleted", "deleted": true}))
            }
            Wanted::Items { id } => self.list(id, &self.find(id).await?.items),
            Wanted::AddItems { id } => {
                let added = given(&members(body)?)?;
                let (_hold, mut conversation) = self.held(id).await?;
                let begin = conversation.add(&added);
                self.put(&conversation)?;
                let data = &conversation.items[begin..];
                let end = |item: Option<&Map<String, Value>>| item.map_or(Value::Null, |item| item["id"].clone());
                Ok(json!({"object": "list", "first_id": end(data.first()), "last_id": end(data.last()),
                    "has_more": false, "data": data}))
            }
            Wanted::Item { id, item } => {
                let conversation = self.find(id).await?;
                let found = conversation.items.into_iter().find(|one| one["id"] == **item);
                found.map(Value::Object).ok_or_else(|| no_item(id, item))
            }
            Wanted::DeleteItem { id, item } => {
                let (_hold, mut conversation) = self.held(id).await?;
                let n_before = conversation.items.len();
                conversation.items.retain(|one| one["id"] != **item);
                if conversation.items.len() == n_before {
                    return Err(no_item(id, item));
                }
                self.put(&conversation)?;
                Ok(conversation.object)
            }
        }
    }

    fn create(&self, body: &Map<String, Value>) -> Result<Value, Box<Failure>> {
        let mut conversation = Conversation::new(self.owner, metadata(body)?);
        if body.get("items").is_some_and(|items| !items.is_null()) {
            conversation.add(&given(body)?);
        }
        self.put(&conversation)?;
        Ok(conversation.object)
    }

    fn list(&self, id: &str, items: &[Map<String, Value>]) -> Result<Value, Box<Failure>> {
        let page = page(self.query)?;
        items::page(&Conversation::listed(items), id, &page).ok_or_else(|| {
            let message = format!("`after` names no item of '{id}'");
            Box::new(Failure::invalid(message).at("after"))
        })
    }

    fn key(&self, id: &str) -> Key {
        Conversation::key(self.owner, id)
    }

    async fn find(&self, id: &str) -> Result<Conversation, Box<Failure>> {
        let store = &*self.gateway.conversations;
        Conversation::find(store, &self.key(id)).await?.ok_or_else(|| not_found(id, store.place()))
    }

    /// To be changed, by nobody else meanwhile.
    async fn held(&self, id: &str) -> Result<(Hold, Conversation), Box<Failure>> {
        let hold = self.gateway.busy.hold(self.key(id))?;
        Ok((hold, self.find(id).await?))
    }

    fn put(&self, conversation: &Conversation) -> Result<(), Box<Failure>> {
        conversation.put(&*self.gateway.conversations, self.ttl_ms)
    }
}

/// No body at all is an empty one.
fn members(body: &Bytes) -> Result<Map<String, Value>, Box<Failure>> {
    if body.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(Box::new(Failure::invalid("the request body must be a JSON object"))),
    }
}

/// Texts by name, 16 at most, as OpenAI has it.
fn metadata(body: &Map<String, Value>) -> Result<Value, Box<Failure>> {
    let wrong = || Box::new(Failure::invalid("`metadata` must be an object of up to 16 texts").at("metadata"));
    match body.get("metadata") {
        None | Some(Value::Null) => Ok(json!({})),
        Some(Value::Object(metadata)) if metadata.len() <= 16 && metadata.values().all(Value::is_string) => {
            Ok(Value::Object(metadata.clone()))
        }
        Some(_) => Err(wrong()),
    }
}

/// The items of a request, as an array.
fn given(body: &Map<String, Value>) -> Result<Vec<u8>, Box<Failure>> {
    let wrong = |message: String, at: String| Box::new(Failure::invalid(message).at(at));
    let Some(Value::Array(items)) = body.get("items").filter(|items| items.as_array().is_some_and(|it| !it.is_empty()))
    else {
        return Err(wrong("`items` must be a list of items".to_owned(), "items".to_owned()));
    };
    if items.len() > MAX_ITEMS {
        return Err(wrong(
            format!("`items` may hold {MAX_ITEMS} items at most; send the others next"),
            "items".to_owned(),
        ));
    }
    for (index, item) in items.iter().enumerate() {
        let at = format!("items[{index}]");
        let kind = item.get("type").map_or(Some("message"), Value::as_str);
        match (item.as_object(), kind) {
            (Some(item), Some("message")) if !item.get("role").is_some_and(Value::is_string) => {
                return Err(wrong(format!("`{at}.role` must be there: a message is somebody's"), format!("{at}.role")));
            }
            (Some(item), Some("message")) if !item.contains_key("content") => {
                return Err(wrong(format!("`{at}.content` must be there"), format!("{at}.content")));
            }
            (Some(_), Some(_)) => {}
            _ => return Err(wrong(format!("`{at}` must be an item, with a `type`"), at)),
        }
    }
    Ok(Value::from(items.clone()).to_string().into_bytes())
}

fn no_item(id: &str, item: &str) -> Box<Failure> {
    Box::new(Failure::new(Code::NotFound, format!("Item with id '{item}' not found in '{id}'.")).at("item_id"))
}
