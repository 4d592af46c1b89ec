//! One response that is made behind its request: how it stands, what it has said so far, who waits for it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::events::{self, Heard};
use super::place::Place;
use crate::conversations::{Entry, Kept, Key, MAX_TURN, Store, Turn};
use crate::responses::conversation::Talk;
use crate::{body::ReplyBody, clock};

/// Bytes that a follower is told at once, unless one event is more.
const MAX_TOLD: usize = 64 * 1024;

/// What is done about a response once its request has been admitted. Shared by whoever makes it and whoever asks for it.
pub(crate) struct Run {
    pub(crate) key: Key,
    /// The client wants its events, now.
    pub(super) stream: bool,
    store: Arc<dyn Store>,
    cancelled: CancellationToken,
    /// Told of every change of the state.
    changed: watch::Sender<()>,
    state: Mutex<State>,
}

struct State {
    /// Where the request's own answer goes, until it has.
    answer: Option<oneshot::Sender<http::Response<ReplyBody>>>,
    /// Given back when the response is over.
    place: Option<Place>,
    /// As it stands; `null` until it has been admitted.
    response: Value,
    /// What it answers.
    input: Bytes,
    ttl_ms: i64,
    /// What it becomes a part of.
    talk: Option<Talk>,
    log: Log,
    has_begun: bool,
    is_over: bool,
}

/// The events so far: each at the index that is its number. `None` where they were too many.
struct Log {
    events: Option<Vec<Bytes>>,
    n_bytes: usize,
    /// Those of all logs.
    n_bytes_of_all: Arc<AtomicUsize>,
}

/// What a follower is told next.
pub(super) enum Next {
    Events(Bytes),
    /// Nothing yet.
    Wait,
    End,
    /// The events are not kept.
    Gone,
}

// === impl Run ===

impl Run {
    pub(super) fn new(
        key: Key,
        stream: bool,
        place: Place,
        answer: oneshot::Sender<http::Response<ReplyBody>>,
        store: Arc<dyn Store>,
        n_bytes_of_all: Arc<AtomicUsize>,
    ) -> Self {
        let state = State {
            answer: Some(answer),
            place: Some(place),
            response: Value::Null,
            input: Bytes::new(),
            ttl_ms: 0,
            talk: None,
            log: Log { events: Some(Vec::new()), n_bytes: 0, n_bytes_of_all },
            has_begun: false,
            is_over: false,
        };
        let (changed, _) = watch::channel(());
        Self { key, stream, store, cancelled: CancellationToken::new(), changed, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.send_replace(());
    }

    /// From here on it is a response, and somebody may ask for it. `response` is what it will be made of.
    pub(super) fn admitted(&self, mut response: Value, input: Bytes, ttl_ms: i64, talk: Option<Talk>) {
        response["id"] = (*self.key.id).into();
        response["background"] = true.into();
        response["status"] = "queued".into();
        self.change(|state| {
            state.response = response;
            state.input = input;
            state.ttl_ms = ttl_ms;
            state.talk = talk;
            state.log.response("response.created", &state.response);
            state.log.response("response.queued", &state.response);
            self.store.put(self.key.clone(), state.entry());
        });
    }

    pub(super) fn is_admitted(&self) -> bool {
        !self.state().response.is_null()
    }

    /// Answers the request itself; the first answer counts.
    pub(super) fn answer(&self, response: http::Response<ReplyBody>) {
        if let Some(answer) = self.state().answer.take() {
            // A client that has left is not waited for.
            let _ = answer.send(response);
        }
    }

    /// Takes the data of one event of the reply; whether it was the last that counts.
    pub(super) fn heard(&self, data: &[u8]) -> bool {
        match events::heard(data) {
            None => false,
            Some(Heard::Broken(error)) => {
                self.failed(error);
                true
            }
            Some(Heard::Ended(name, response)) => {
                self.ended(name, |kept| *kept = self.own(response));
                true
            }
            Some(Heard::Standing(response)) => {
                self.begun(Some(response));
                false
            }
            Some(Heard::Piece(name)) => {
                self.begun(None);
                self.change(|state| state.log.push(|number| events::piece(&name, data, number)));
                false
            }
        }
    }

    /// Somebody answers it. Told once, with what the first event says.
    fn begun(&self, standing: Option<Value>) {
        if self.state().has_begun {
            return;
        }
        self.change(|state| {
            state.has_begun = true;
            if let Some(standing) = standing {
                state.response = self.own(standing);
            }
            state.response["status"] = "in_progress".into();
            state.log.response("response.in_progress", &state.response);
            self.store.put(self.key.clone(), state.entry());
        });
    }

    /// What an upstream calls the response is its own affair.
    fn own(&self, mut response: Value) -> Value {
        response["id"] = (*self.key.id).into();
        response["background"] = true.into();
        response["store"] = true.into();
        response
    }

    /// `error` is `response.error`.
    pub(super) fn failed(&self, error: Value) {
        self.ended("response.failed", |response| fail(response, error));
    }

    pub(super) fn was_cancelled(&self) {
        self.ended("response.cancelled", |response| response["status"] = "cancelled".into());
    }

    /// The first end counts. What it has become is kept before anybody is told.
    fn ended(&self, name: &str, become_so: impl FnOnce(&mut Value)) {
        let place = {
            let mut state = self.state();
            // What has not been admitted is no response: its request is told.
            if state.is_over || state.response.is_null() {
                return;
            }
            let mut name = name;
            state.is_over = true;
            become_so(&mut state.response);
            let mut entry = state.entry();
            if entry.len() > MAX_TURN {
                name = "response.failed";
                let message = "the response and what it answers are larger than 4 MiB, which is more than is kept";
                state.response["output"] = json!([]);
                fail(&mut state.response, json!({"code": "response_too_large", "message": message}));
                entry = state.entry();
            }
            let State { log, response, .. } = &mut *state;
            log.response(name, response);
            // The response stays as long as its events do.
            log.count(entry.len());
            state.input = Bytes::new();
            self.store.put(self.key.clone(), entry);
            if let Some(talk) = state.talk.take()
                && matches!(name, "response.completed" | "response.incomplete")
            {
                talk.answered(&state.response.to_string().into());
            }
            state.place.take()
        };
        drop(place);
        self.changed.send_replace(());
    }

    /// The response as it stands.
    pub(crate) fn response(&self) -> Bytes {
        self.state().response.to_string().into()
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.cancel();
    }

    pub(super) async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }

    /// Returns when it has come to an end, whichever.
    pub(crate) async fn over(&self) {
        let mut changes = self.changed.subscribe();
        while !self.state().is_over {
            // The sender is here as long as the response is.
            let _ = changes.changed().await;
        }
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What follows the first `n_told` events.
    pub(super) fn after(&self, n_told: &mut usize) -> Next {
        let state = self.state();
        let Some(events) = &state.log.events else { return Next::Gone };
        match events.get(*n_told..) {
            Some(next) if !next.is_empty() => {
                let mut n_bytes = 0;
                let fits = |event: &&Bytes| {
                    let is_first = n_bytes == 0;
                    n_bytes += event.len();
                    is_first || n_bytes <= MAX_TOLD
                };
                let n_events = next.iter().take_while(fits).count();
                *n_told += n_events;
                Next::Events(next[..n_events].concat().into())
            }
            _ if state.is_over => Next::End,
            _ => Next::Wait,
        }
    }

    pub(crate) fn has_events(&self) -> bool {
        self.state().log.events.is_some()
    }

    /// Its events are not kept any longer; the response is.
    pub(super) fn forget_events(&self) {
        self.change(|state| state.log.forget());
    }
}

fn fail(response: &mut Value, error: Value) {
    response["status"] = "failed".into();
    response["error"] = error;
}

/// A response that was being made when whoever made it came to an end.
pub(super) fn abandoned(turn: &Turn) -> Turn {
    let mut response: Value = serde_json::from_slice(&turn.response).unwrap_or_default();
    let message = "the gateway node that made this response ended before it had finished; send the request again";
    fail(&mut response, json!({"code": "node_ended", "message": message}));
    Turn { response: response.to_string().into(), input: turn.input.clone() }
}

// === impl State ===

impl State {
    /// As it is kept now.
    fn entry(&self) -> Entry {
        let turn = Turn { response: self.response.to_string().into(), input: self.input.clone() };
        let kept = if self.is_over { Kept::Here(turn) } else { Kept::Running(turn) };
        Entry { kept, until_ms: clock::unix_ms().saturating_add(self.ttl_ms) }
    }
}

// === impl Log ===

impl Log {
    fn push(&mut self, event: impl FnOnce(usize) -> Bytes) {
        if let Some(events) = &mut self.events {
            let event = event(events.len());
            let n_bytes = event.len();
            events.push(event);
            self.count(n_bytes);
        }
    }

    fn count(&mut self, n_bytes: usize) {
        self.n_bytes += n_bytes;
        self.n_bytes_of_all.fetch_add(n_bytes, Ordering::Relaxed);
    }

    fn forget(&mut self) {
        self.events = None;
        self.n_bytes_of_all.fetch_sub(std::mem::take(&mut self.n_bytes), Ordering::Relaxed);
    }

    fn response(&mut self, name: &str, response: &Value) {
        self.push(|number| events::whole(name, response, number));
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.forget();
    }
}
