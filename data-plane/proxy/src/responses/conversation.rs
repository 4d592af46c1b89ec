//! Conversations: a list of items that requests go on from and add to. Kept where responses are, for as long, each tenant's its own.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use gateway_ir::failure::{Code, Failure};
use serde_json::{Map, Value, json};

use super::items;
use crate::clock;
use crate::conversations::{Entry, Kept, Key, MAX_TURN, Store, Turn};
use crate::pipeline::request_id;

/// As it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    key: Key,
    pub(super) object: Value,
    /// Each has an id and a type.
    pub(super) items: Vec<Map<String, Value>>,
}

/// Conversations that somebody is adding to. One at a time, as at OpenAI; each node minds its own.
#[derive(Default)]
pub(crate) struct Busy(Mutex<HashSet<Key>>);

/// The right to add to one. Dropped, it is another's.
pub(crate) struct Hold {
    busy: Arc<Busy>,
    key: Key,
}

/// A conversation that a response goes on from, and will be added to.
pub(crate) struct Talk {
    pub(super) conversation: Conversation,
    /// What the request says.
    pub(super) input: Bytes,
    pub(super) store: Arc<dyn Store>,
    pub(super) ttl_ms: i64,
    pub(super) _hold: Hold,
}

/// What stands behind its key.
const WHAT: &str = "conversation";

// === impl Conversation ===

impl Conversation {
    pub(super) fn new(owner: &Arc<str>, metadata: Value) -> Self {
        let id = format!("conv_{}", request_id().replace('-', ""));
        let object =
            json!({"id": id, "object": "conversation", "created_at": clock::unix_seconds(), "metadata": metadata});
        Self { key: Self::key(owner, &id), object, items: Vec::new() }
    }

    pub(super) fn key(owner: &Arc<str>, id: &str) -> Key {
        Key::new(owner, id).beside(WHAT)
    }

    /// `None` where this caller has none by this id.
    pub(super) async fn find(store: &dyn Store, key: &Key) -> Result<Option<Self>, Box<Failure>> {
        let entry = store.get(key, clock::unix_ms()).await?;
        let Some(Kept::Here(turn)) = entry.as_deref().map(|entry| &entry.kept) else { return Ok(None) };
        let object = serde_json::from_slice(&turn.response).unwrap_or_default();
        let items = serde_json::from_slice(&turn.input).unwrap_or_default();
        Ok(Some(Self { key: key.clone(), object, items }))
    }

    /// Its time begins anew.
    pub(super) fn put(&self, store: &dyn Store, ttl_ms: i64) -> Result<(), Box<Failure>> {
        let items = Value::from(self.items.iter().cloned().map(Value::Object).collect::<Vec<_>>());
        let turn = Turn { response: self.object.to_string().into(), input: items.to_string().into() };
        let entry = Entry { kept: Kept::Here(turn), until_ms: clock::unix_ms().saturating_add(ttl_ms) };
        if entry.len() > MAX_TURN {
            let message = "a conversation may be 4 MiB at most; delete items of it, or begin another";
            return Err(Box::new(Failure::new(Code::BodyTooLarge, message).at("items")));
        }
        store.put(self.key.clone(), entry);
        Ok(())
    }

    pub(super) async fn remove(&self, store: &dyn Store) {
        store.remove(&self.key).await;
    }

    /// Behind those that are there, each with an id; where they begin.
    pub(super) fn add(&mut self, array: &[u8]) -> usize {
        let (begin, added) = (self.items.len(), request_id().replace('-', ""));
        let items: Vec<Map<String, Value>> = serde_json::from_slice(array).unwrap_or_default();
        let named = items.into_iter().enumerate().map(|(index, item)| items::named(item, &added, index));
        self.items.extend(named.filter_map(|item| match item {
            Value::Object(item) => Some(item),
            _ => None,
        }));
        begin
    }

    /// Its items as a request's input. What its vendors have not named has no name there.
    pub(super) fn input(&self) -> Bytes {
        let said = self.items.iter().cloned().map(|mut item| {
            if item.get("type") == Some(&"message".into()) && item.get("role") != Some(&"assistant".into()) {
                item.shift_remove("id");
            }
            Value::Object(item)
        });
        Value::from(said.collect::<Vec<_>>()).to_string().into()
    }

    /// The items as an array.
    pub(super) fn listed(items: &[Map<String, Value>]) -> Vec<u8> {
        serde_json::to_vec(items).expect("JSON is JSON")
    }
}

/// In OpenAI's words, and why it may be so.
pub(super) fn not_found(id: &str, place: &str) -> Box<Failure> {
    let why = match place {
        "node" => ". Each gateway node keeps its own, as long as `responses.store_ttl` says",
        _ => "",
    };
    let message = format!("Conversation with id '{id}' not found{why}.");
    Box::new(Failure::new(Code::NotFound, message).at("conversation"))
}

// === impl Talk ===

impl Talk {
    /// The response is over: what was asked and what was answered are part of the conversation now.
    pub(super) fn answered(mut self, response: &Bytes) {
        self.conversation.add(&self.input);
        self.conversation.add(&items::output(response));
        if self.conversation.put(&*self.store, self.ttl_ms).is_err() {
            tracing::warn!("a conversation has grown too large to be kept: a response is not part of it");
        }
    }
}

// === impl Busy ===

impl Busy {
    fn keys(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hold(self: &Arc<Self>, key: Key) -> Result<Hold, Box<Failure>> {
        if self.keys().insert(key.clone()) {
            return Ok(Hold { busy: Arc::clone(self), key });
        }
        let message = "somebody else is adding to this conversation; try again when its response is over";
        let mut failure = Failure::invalid(message).at("conversation").with_status(409);
        failure.upstream_code = Some("conversation_locked".to_owned());
        Err(Box::new(failure))
    }
}

// === impl Hold ===

impl Drop for Hold {
    fn drop(&mut self) {
        self.busy.keys().remove(&self.key);
    }
}
