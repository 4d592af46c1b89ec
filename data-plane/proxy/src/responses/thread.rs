//! One request's thread through a conversation: found before it is sent, spun on when it has been answered.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use gateway_dialects::framing::sse;
use gateway_engine::identity::Caller;
use gateway_engine::resolve::Resolved;
use gateway_engine::snapshot::Service;
use gateway_ir::dialect::Dialect;
use gateway_ir::facts::Facts;
use gateway_ir::failure::{Code, Failure};
use gateway_ir::json;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};

use super::conversation::{self, Busy, Conversation, Talk};
use super::items;
use super::part::Part;
use super::request::Asked;
use crate::attempt::{Answer, Answered, Lane};
use crate::body::{Aborted, Chunk, ReplyBody, ReplyStream};
use crate::conversations::{Entry, Kept, Key, MAX_TURN, Memory, Store, Turn};
use crate::state::Config;
use crate::{clock, ingress};

/// What a request of the Responses API says about memory, and what was found there.
pub(crate) struct Thread {
    owner: Arc<str>,
    /// To be kept for later requests.
    pub(crate) stored: bool,
    pub(crate) previous: Option<String>,
    /// The conversation that it is a part of, where that is one of ours.
    pub(crate) conversation: Option<String>,
    /// Who keeps the previous response, if it is not in the body by now.
    provider: Option<Arc<str>>,
    /// Nothing is known of the previous response.
    is_unknown: bool,
    /// Every input item; `None` where nobody will want them.
    input: Option<Bytes>,
    /// What it is part of, and will be added to.
    talk: Option<Talk>,
    /// A conversation that this node does not know.
    elsewhere: Option<String>,
    /// The request as it came, without `background`, where that is asked for.
    behind: Option<Bytes>,
    /// What the client's connection keeps for itself, if it is a socket.
    connection: Option<Arc<Memory>>,
}

/// Which store a reply says it is in: of this node, or of the vendor.
pub(super) const STORE: HeaderName = HeaderName::from_static("x-gateway-store");

// === impl Thread ===

impl Thread {
    /// Reads what `body` says, and finds what it goes on from: with it comes a body that says it all itself, unless its provider
    /// keeps that.
    pub(crate) async fn find(
        (store, busy): (&Arc<dyn Store>, &Arc<Busy>),
        connection: Option<&Arc<Memory>>,
        config: &Config,
        caller: &Caller,
        body: &Bytes,
    ) -> Result<(Option<Bytes>, Self), Box<Failure>> {
        let asked = Asked::read(body)?;
        let mut thread = Self {
            owner: Arc::clone(&caller.id),
            stored: asked.stored && !config.snapshot.settings.store_ttl.is_zero(),
            previous: asked.previous.clone(),
            conversation: None,
            provider: None,
            is_unknown: false,
            input: None,
            talk: None,
            elsewhere: None,
            behind: asked.background.then(|| asked.in_foreground(body)),
            connection: connection.cloned(),
        };
        if asked.background && connection.is_some() {
            let message =
                "what is asked for over a WebSocket is answered there: `background` is for `POST /v1/responses`";
            return Err(Box::new(Failure::invalid(message).at("background")));
        }
        if asked.background && !thread.stored {
            let message = "`background` needs the store of responses, which `responses.store_ttl` turns off here";
            return Err(Box::new(Failure::invalid(message).at("background")));
        }
        if let Some(id) = &asked.conversation {
            return thread.in_conversation((store, busy), config, id, &asked, body).await;
        }
        let earlier = match &asked.previous {
            None => None,
            Some(id) => {
                let (key, now_ms) = (Key::new(&caller.id, id), clock::unix_ms());
                let found = match connection {
                    Some(connection) => connection.get(&key, now_ms).await?,
                    None => store.get(&key, now_ms).await?,
                };
                match found.as_deref().map(|entry| &entry.kept) {
                    Some(Kept::Here(turn)) => Some(turn.clone()),
                    Some(Kept::Running(_)) => {
                        let message = format!("the response '{id}' is still being made; go on from it when it is over");
                        return Err(Box::new(Failure::invalid(message).at("previous_response_id")));
                    }
                    Some(Kept::At { provider }) => {
                        thread.provider = Some(Arc::clone(provider));
                        None
                    }
                    None if connection.is_some() => return Err(not_found(id)),
                    None => {
                        thread.is_unknown = true;
                        None
                    }
                }
            }
        };
        let is_kept = thread.stored || connection.is_some();
        let Some(turn) = earlier else {
            thread.input = is_kept.then(|| asked.input(body));
            return Ok((None, thread));
        };
        let all = items::joined(&[&turn.input, &items::output(&turn.response), &asked.input(body)]);
        let whole = asked.with_items(body, &all);
        thread.input = is_kept.then_some(all);
        Ok((Some(whole), thread))
    }

    /// The same where the request is part of a conversation.
    async fn in_conversation(
        mut self,
        (store, busy): (&Arc<dyn Store>, &Arc<Busy>),
        config: &Config,
        id: &str,
        asked: &Asked,
        body: &Bytes,
    ) -> Result<(Option<Bytes>, Self), Box<Failure>> {
        let key = Conversation::key(&self.owner, id);
        let hold = busy.hold(key.clone())?;
        let Some(conversation) = Conversation::find(&**store, &key).await? else {
            self.elsewhere = Some(id.to_owned());
            return Ok((None, self));
        };
        self.conversation = Some(id.to_owned());
        let input = asked.input(body);
        let all = items::joined(&[&conversation.input(), &input]);
        let whole = asked.with_items(body, &all);
        self.input = (self.stored || self.connection.is_some()).then_some(all);
        let ttl_ms = i64::try_from(config.snapshot.settings.store_ttl.as_millis()).unwrap_or(i64::MAX);
        self.talk = Some(Talk { conversation, input, store: Arc::clone(store), ttl_ms, _hold: hold });
        Ok((Some(whole), self))
    }

    /// What the response will be a part of, for whoever sees it end.
    pub(super) fn talk(&mut self) -> Option<Talk> {
        self.talk.take()
    }

    /// The provider that must serve, because it keeps what the request goes on from.
    pub(crate) fn provider(&self) -> Option<Arc<str>> {
        self.provider.clone()
    }

    /// What this node knows nothing of may still be in a vendor's account, for whoever may use that account as it is.
    /// `place` is the store's.
    pub(crate) fn check(&self, caller: &Caller, resolved: &Resolved, place: &str) -> Result<(), Box<Failure>> {
        let unknown = self.previous.as_deref().filter(|_| self.is_unknown);
        if unknown.is_none() && self.elsewhere.is_none() {
            return Ok(());
        }
        let own = Dialect::OpenAiResponses;
        let may_know = resolved
            .targets()
            .all(|target| target.provider.dialect_for(own) == own && caller.may_pass(&target.provider.name));
        match (unknown, &self.elsewhere) {
            _ if may_know => Ok(()),
            (Some(id), _) => Err(not_found(id)),
            (None, id) => Err(conversation::not_found(id.as_deref().unwrap_or_default(), place)),
        }
    }

    /// Nobody keeps anything of it: it goes on from nothing, and nothing will go on from it.
    pub(crate) fn is_free(&self) -> bool {
        let is_kept = self.stored || self.connection.is_some() || self.talk.is_some() || self.elsewhere.is_some();
        !is_kept && self.previous.is_none() && self.behind.is_none()
    }

    /// No vendor keeps what it goes on from, so that any may go on with it.
    pub(crate) fn is_here(&self) -> bool {
        self.provider.is_none() && !self.is_unknown && self.elsewhere.is_none()
    }

    /// The client need not stay.
    pub(crate) fn is_background(&self) -> bool {
        self.behind.is_some()
    }

    /// What to send in place of `body` where the response is to be made behind its request, and by the gateway.
    pub(crate) fn background(
        &self,
        resolved: &Resolved,
        facts: &Facts,
        body: &Bytes,
    ) -> Result<Option<Bytes>, Box<Failure>> {
        let Some(behind) = self.behind.as_ref().filter(|_| self.talk.is_some() || !is_vendors(resolved, facts, body))
        else {
            return Ok(None);
        };
        if self.input().len() > MAX_TURN {
            let message = "what a response in the background answers is kept beside it, and may be 4 MiB at most";
            return Err(Box::new(Failure::new(Code::BodyTooLarge, message).at("input")));
        }
        Ok(Some(behind.clone()))
    }

    /// Every input item, as far as it is kept.
    pub(super) fn input(&self) -> Bytes {
        self.input.clone().unwrap_or_else(|| Bytes::from_static(b"[]"))
    }

    /// Keeps a response that nobody made for the connection.
    pub(crate) fn remember(self, response: &serde_json::Value) {
        let id = response["id"].as_str().unwrap_or_default();
        if let (Some(connection), Some(input)) = (&self.connection, self.input) {
            let turn = Turn { response: response.to_string().into(), input };
            connection.put(Key::new(&self.owner, id), Entry { kept: Kept::Here(turn), until_ms: i64::MAX });
        }
    }

    /// What will be kept of the answer; `None` where nothing is.
    pub(crate) fn keeper(self, answered: &Answered, store: &Arc<dyn Store>, config: &Config) -> Option<Keeper> {
        let ttl_ms = i64::try_from(config.snapshot.settings.store_ttl.as_millis()).unwrap_or(i64::MAX);
        let until_ms = clock::unix_ms().saturating_add(ttl_ms);
        let is_vendors =
            matches!(answered.answer, Answer::Whole { .. } | Answer::Passing { .. } | Answer::PassingWhole { .. });
        let mut whole: Vec<(Arc<dyn Store>, i64)> = Vec::new();
        let mut at = None;
        match (self.stored, is_vendors) {
            (true, true) => at = Some((Arc::clone(store), Arc::clone(&answered.target.provider.account), until_ms)),
            (true, false) => whole.push((Arc::clone(store), until_ms)),
            (false, _) => {}
        }
        if let Some(connection) = self.connection {
            whole.push((connection, i64::MAX));
        }
        let input = self.input.filter(|input| input.len() <= MAX_TURN).unwrap_or_default();
        if input.is_empty() {
            whole.clear();
        }
        let is_needed = at.is_some() || !whole.is_empty() || self.talk.is_some();
        let part = self.conversation.filter(|_| is_vendors).map(Part::of);
        is_needed.then(|| Keeper {
            owner: self.owner,
            input,
            whole,
            at,
            talk: self.talk,
            part,
            events: sse::Parser::default(),
        })
    }
}

/// Whether everybody who may serve the request makes it in the background by itself, out of the client's own bytes.
fn is_vendors(resolved: &Resolved, facts: &Facts, body: &[u8]) -> bool {
    let (inbound, stream) = (ingress::spoken(Dialect::OpenAiResponses), facts.stream.unwrap_or(false));
    resolved.targets().all(|target| {
        target.provider.has(Service::Background) && Lane::choose(inbound, target, stream, facts, body) == Lane::Pass
    })
}

/// In OpenAI's words, and why it may be so.
fn not_found(id: &str) -> Box<Failure> {
    let message = format!(
        "Previous response with id '{id}' not found. Each gateway node keeps the responses that it translated for itself; a \
         WebSocket knows those of its own connection only. Send the whole conversation in `input`, or the chain to one node"
    );
    let mut failure = Failure::invalid(message).at("previous_response_id");
    failure.upstream_code = Some("previous_response_not_found".to_owned());
    Box::new(failure)
}

/// Watches one reply on its way to the client, and puts it where it is to be kept before the client has read its end.
pub(crate) struct Keeper {
    owner: Arc<str>,
    input: Bytes,
    /// Who takes all of it, and until when.
    whole: Vec<(Arc<dyn Store>, i64)>,
    /// Who takes down which provider keeps it.
    at: Option<(Arc<dyn Store>, Arc<str>, i64)>,
    talk: Option<Talk>,
    /// What the vendor does not know of its own words.
    part: Option<Part>,
    events: sse::Parser,
}

struct Watched {
    reply: Pin<Box<dyn ReplyStream>>,
    /// Until it has seen all that it needs.
    keeper: Option<Keeper>,
    part: Option<Part>,
}

// === impl Keeper ===

impl Keeper {
    /// The reply, which says where it is kept.
    pub(crate) fn over(mut self, mut response: Response<ReplyBody>, config: &Config) -> Response<ReplyBody> {
        if !response.status().is_success() {
            return response;
        }
        if config.families().gateway {
            let place = match (&self.at, self.whole.first()) {
                (Some(_), _) => "provider",
                (None, Some((store, _))) => store.place(),
                (None, None) => "node",
            };
            response.headers_mut().insert(STORE, HeaderValue::from_static(place));
        }
        let kind = response.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let is_stream = kind.starts_with(b"text/event-stream");
        let body = std::mem::replace(response.body_mut(), ReplyBody::empty());
        *response.body_mut() = match body {
            ReplyBody::Whole(pieces) => {
                let all = Bytes::from(pieces.as_slices().collect::<Vec<_>>().concat());
                match is_stream {
                    true => drop(self.saw(&all)),
                    false => self.keep(&all),
                }
                match self.part.take() {
                    Some(mut part) => ReplyBody::whole(if is_stream { part.events(&all) } else { part.response(&all) }),
                    None => ReplyBody::Whole(pieces),
                }
            }
            ReplyBody::Stream(reply) if is_stream => {
                let part = self.part.take();
                ReplyBody::Stream(Box::pin(Watched { reply, keeper: Some(self), part }))
            }
            // Too large to be held, and so to be kept.
            other => other,
        };
        response
    }

    /// Looks at the next bytes of a stream; whether there is more to look for.
    fn saw(&mut self, chunk: &[u8]) -> bool {
        let mut events = std::mem::take(&mut self.events);
        let parsed = events.push(chunk, |event| {
            self.heard(&event.data);
            Ok(())
        });
        self.events = events;
        parsed.is_ok() && (self.at.is_some() || !self.whole.is_empty() || self.talk.is_some())
    }

    fn heard(&mut self, data: &[u8]) {
        let is_end = || {
            let ends = [&b"\"response.completed\""[..], b"\"response.incomplete\""];
            ends.iter().any(|end| memchr::memmem::find(data, end).is_some())
        };
        if self.at.is_none() && !is_end() {
            return;
        }
        let (mut kind, mut response) = (None, None);
        let scanned = json::scan_object(data, |member| {
            if member.is("type") {
                kind = Some(member.value);
            } else if member.is("response") {
                response = Some(member.value);
            }
        });
        let (Ok(()), Some(kind), Some(response)) = (scanned, kind, response) else { return };
        let response = &data[response];
        self.note(response);
        if matches!(&data[kind], b"\"response.completed\"" | b"\"response.incomplete\"") {
            self.keep(response);
        }
    }

    /// Whose it is, as soon as it has a name.
    fn note(&mut self, response: &[u8]) {
        if let (Some(id), Some((store, provider, until_ms))) = (id(response), self.at.take()) {
            store.put(Key::new(&self.owner, &id), Entry { kept: Kept::At { provider }, until_ms });
        }
    }

    fn keep(&mut self, response: &[u8]) {
        self.note(response);
        if let Some(talk) = self.talk.take() {
            talk.answered(&Bytes::copy_from_slice(response));
        }
        let Some(id) = id(response).filter(|_| !self.whole.is_empty()) else { return };
        let turn = Turn { response: Bytes::copy_from_slice(response), input: self.input.clone() };
        for (store, until_ms) in self.whole.drain(..) {
            store.put(Key::new(&self.owner, &id), Entry { kept: Kept::Here(turn.clone()), until_ms });
        }
    }
}

fn id(response: &[u8]) -> Option<String> {
    let mut at = None;
    let scanned = json::scan_object(response, |member| {
        if member.is("id") {
            at = Some(member.value);
        }
    });
    scanned.ok().and_then(|()| json::string(&response[at?]).map(std::borrow::Cow::into_owned))
}

// === impl Watched ===

impl ReplyStream for Watched {
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Chunk, Aborted>>> {
        loop {
            let next = ready!(self.reply.as_mut().poll_next(context));
            let Some(Ok(Chunk::Data(bytes))) = &next else { return Poll::Ready(next) };
            if let Some(keeper) = &mut self.keeper
                && !keeper.saw(bytes)
            {
                self.keeper = None;
            }
            let Some(part) = &mut self.part else { return Poll::Ready(next) };
            let events = part.events(bytes);
            // No event may be whole yet.
            if !events.is_empty() {
                return Poll::Ready(Some(Ok(Chunk::Data(events))));
            }
        }
    }
}
