//! What a batch at a provider cost, counted when the gateway first hears that it is over: from a client that asks for it, or for a
//! list, or because it looked. Nobody gets at a batch's answers without having been told so here.
//!
//! The record's id is made of the batch's, and the store takes a record once, so that several nodes, or one after a restart,
//! may hear of a batch as often as they like. What this node has settled it remembers for a while, only to write less.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant as Arrival;

use aws_lc_rs::digest::{SHA256, digest};
use gateway_dialects::registry;
use gateway_engine::identity::Caller;
use gateway_engine::limits::bill::Bill;
use gateway_engine::limits::{self, Asked, Limits, Owner, Scopes};
use gateway_engine::pass::Reach;
use gateway_engine::snapshot::{Provider, Target};
use gateway_ir::failure::Failure;
use gateway_ir::usage::{Tier, Usage};
use gateway_providers::endpoint::encoded;
use http::{Request, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::batch::{self, Finished};
use super::meter::{self, Kind};
use super::watch::{MAX_AGE_MS, Open, Watch};
use crate::account::Account;
use crate::body::Pieces;
use crate::pipeline::Gateway;
use crate::record::{Ending, Record};
use crate::state::Config;
use crate::warnings::Warnings;
use crate::{attempt, billing, clock, task};

/// Batches that are remembered as settled.
const MAX_SEEN: usize = 16 * 1024;
/// Files of answers that are read at once, and that wait to be.
const MAX_READING: usize = 2;
const MAX_WAITING: usize = 256;
/// A line of such a file is no longer, in bytes.
const MAX_LINE: usize = 32 * 1024 * 1024;
/// Models that one batch asks: of more the rest is counted with the last.
const MAX_MODELS: usize = 64;

/// What a node has settled.
pub(crate) struct Settled {
    seen: Mutex<Seen>,
    reading: Semaphore,
    waiting: Arc<Semaphore>,
    pub(super) watch: Watch,
}

#[derive(Default)]
struct Seen {
    known: HashSet<Arc<str>>,
    oldest: VecDeque<Arc<str>>,
}

/// A batch that is to be settled.
struct Owed {
    provider: Arc<Provider>,
    batch: Finished,
    /// The id of the key that made it.
    owner: String,
    revision: u64,
}

// === impl Settled ===

impl Settled {
    /// With what was not over when the node was here last, where it has a disk.
    pub(crate) fn open(data_dir: Option<&Path>, warnings: &Warnings) -> Self {
        let (reading, waiting) = (Semaphore::new(MAX_READING), Arc::new(Semaphore::new(MAX_WAITING)));
        Self { seen: Mutex::default(), reading, waiting, watch: Watch::below(data_dir, warnings) }
    }

    /// Whether it is the first to ask.
    fn claim(&self, name: &str) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.known.contains(name) {
            return false;
        }
        while seen.oldest.len() >= MAX_SEEN {
            if let Some(oldest) = seen.oldest.pop_front() {
                seen.known.remove(&oldest);
            }
        }
        let name: Arc<str> = name.into();
        seen.known.insert(Arc::clone(&name));
        seen.oldest.push_back(name);
        true
    }

    /// Nothing came of it: the next to ask may try again.
    fn disclaim(&self, name: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.known.remove(name);
        seen.oldest.retain(|known| &**known != name);
    }
}

/// Settles what is over of the batches that a provider tells of, to a caller that has this reach. Never waits: what must be read
/// first is read behind the reply.
pub(super) fn heard(
    gateway: &Arc<Gateway>,
    config: &Config,
    provider: &Arc<Provider>,
    (caller, reach): (&Caller, Reach),
    body: &[u8],
) {
    for batch in batch::finished(body, &config.peppers, &provider.name) {
        // Only the tenant that made it can ask for one by the id that it was given.
        let own = || (reach == Reach::Own).then(|| caller.id.as_ref().to_owned());
        let Some(owner) = batch.owner.clone().or_else(own) else { continue };
        if clock::unix_ms().saturating_sub(batch.ended_ms) > MAX_AGE_MS {
            continue;
        }
        let owed = Owed { provider: Arc::clone(provider), batch, owner, revision: config.snapshot.revision };
        if !gateway.settled.claim(&owed.name()) {
            continue;
        }
        match (&owed.batch.used, &owed.batch.output) {
            (Some((model, usage)), _) => {
                owed.settle(gateway, model, *usage);
                owed.is_settled(gateway);
            }
            (None, None) => owed.is_settled(gateway),
            (None, Some(_)) => match Arc::clone(&gateway.settled.waiting).try_acquire_owned() {
                Ok(waiting) => {
                    let gateway = Arc::clone(gateway);
                    drop(task::spawn_job(async move {
                        owed.settle_by_answers(&gateway).await;
                        drop(waiting);
                    }));
                }
                Err(_) => gateway.settled.disclaim(&owed.name()),
            },
        }
    }
}

/// Looks after a batch that was made through this node, until it is over.
pub(super) async fn made(gateway: &Gateway, config: &Config, provider: &Provider, caller: &Caller, body: &[u8]) {
    let first = config.snapshot.settings.passthrough.batch_look;
    let Some(id) = batch::open(body).filter(|_| !first.is_zero()) else { return };
    let (account, owner) = (provider.account.as_ref().to_owned(), caller.id.as_ref().to_owned());
    gateway.settled.watch.add(Open { account, id, owner, made_ms: clock::unix_ms() }, first).await;
}

/// Settles a batch that was looked at, if it is over.
pub(super) async fn looked(gateway: &Gateway, open: &Open, body: &[u8]) {
    let config = gateway.live.pin();
    let Some(provider) = config.snapshot.provider(&open.account) else { return };
    let mut finished = batch::finished(body, &config.peppers, &provider.name).into_iter();
    let Some(batch) = finished.find(|batch| batch.id == open.id) else { return };
    let owed =
        Owed { provider: Arc::clone(provider), batch, owner: open.owner.clone(), revision: config.snapshot.revision };
    if !gateway.settled.claim(&owed.name()) {
        return;
    }
    match (&owed.batch.used, &owed.batch.output) {
        (Some((model, usage)), _) => {
            owed.settle(gateway, model, *usage);
            owed.is_settled(gateway);
        }
        (None, None) => owed.is_settled(gateway),
        (None, Some(_)) => owed.settle_by_answers(gateway).await,
    }
}

// === impl Owed ===

impl Owed {
    fn name(&self) -> String {
        format!("{}/{}", self.provider.name, self.batch.id)
    }

    fn is_settled(&self, gateway: &Gateway) {
        gateway.settled.watch.over(&self.provider.account, &self.batch.id);
    }

    /// One record, on the day on which the batch was made.
    fn settle(&self, gateway: &Gateway, model: &str, usage: Usage) {
        let id = record_id(self.batch.created_ms, [&self.provider.name, &self.batch.id, model]);
        let path = format!("/v1/batches/{}", self.batch.id);
        let mut record = Record::begin(Arc::clone(&gateway.sinks), Arrival::now(), &id, "POST", &path);
        record.dialect("batch");
        record.since(self.batch.created_ms);
        let tenants = &gateway.live.load().snapshot.tenants;
        let caller = gateway.live.keys.by_id(&self.owner);
        // Whoever may not ask any more pays for what was asked before.
        let client =
            caller.map(|caller| Account::new(Arc::clone(&caller), tenants).unwrap_or_else(|_| Account::alone(caller)));
        let as_model = format!("proxy:{}", self.provider.name);
        let scopes = match client {
            Some(client) => {
                record.caller(&client);
                let snapshot = &gateway.live.load().snapshot;
                let purses = billing::purses_at(snapshot, &client, [&as_model, model], &self.provider);
                record.billed(Bill::owed(&purses, clock::unix_ms()), &gateway.leases);
                client.scopes()
            }
            None => {
                record.key(&self.owner);
                let owner = Owner::key(&self.owner.as_str().into());
                Scopes::of_key(Arc::new(Limits::new(owner, &gateway_model::limits::Limits::default())))
            }
        };
        record.asked(&as_model, false, self.revision, 0);
        record.served_by(Target::in_batches(&self.provider, model));
        let asked = gateway.shared(Asked::default());
        record.admitted(match gateway.live.load().snapshot.settings.limit_store {
            Some(_) => gateway.limit_store.owed(scopes, asked),
            None => limits::owed(scopes, asked, Arrival::now()),
        });
        record.used(Usage { tier: Tier::Batch, ..usage });
        record.status(StatusCode::OK.as_u16());
        record.ended(Ending::Finished);
    }

    async fn settle_by_answers(&self, gateway: &Gateway) {
        let Ok(_reading) = gateway.settled.reading.acquire().await else { return };
        match self.sums(gateway).await {
            Ok(sums) => {
                sums.iter().for_each(|(model, usage)| self.settle(gateway, model, *usage));
                self.is_settled(gateway);
            }
            Err(failure) => {
                let (batch, message) = (self.name(), &failure.message);
                tracing::warn!("what the batch `{batch}` used is not known yet, its answers cannot be read: {message}");
                gateway.settled.disclaim(&self.name());
            }
        }
    }

    /// What the answers say that was used, by model.
    async fn sums(&self, gateway: &Gateway) -> Result<BTreeMap<String, Usage>, Box<Failure>> {
        let kind = meter::asked(&self.batch.endpoint).map(|asked| asked.kind);
        let tail = format!("/files/{}/content", encoded(self.batch.output.as_deref().unwrap_or_default()));
        let Some(uri) = self.provider.endpoint.under_api(&tail, None) else {
            return Err(Box::new(Failure::invalid("the id of its file is none that a URL may hold")));
        };
        let mut request = Request::new(Pieces::default().into());
        *request.uri_mut() = uri;
        request.headers_mut().clone_from(self.provider.endpoint.headers());
        let policy = self.provider.passing_policy();
        let deadline = Instant::now() + policy.total;
        let target = Target::passing(&self.provider, "");
        let clients = (&gateway.client, &*gateway.tokens);
        let response = attempt::send(clients, &target, Box::new(request), &policy, deadline).await?;
        if !response.status().is_success() {
            let message = format!("the upstream answered with {}", response.status());
            return Err(Box::new(Failure::from_upstream_status(response.status().as_u16(), message)));
        }
        let (mut body, mut sums, mut line) = (response.into_body(), BTreeMap::new(), Vec::new());
        loop {
            let idle = policy.idle.min(deadline.saturating_duration_since(Instant::now()));
            let piece = match timeout(idle, body.data()).await {
                Ok(Some(Ok(piece))) => piece,
                Ok(None) => break,
                Ok(Some(Err(reason))) => return Err(Box::new(Failure::invalid(reason))),
                Err(_) => return Err(Box::new(Failure::invalid("the upstream sends nothing"))),
            };
            let mut rest = &piece[..];
            while let Some(end) = memchr::memchr(b'\n', rest) {
                line.extend_from_slice(&rest[..end]);
                count(&line, kind, &mut sums);
                line.clear();
                rest = &rest[end + 1..];
            }
            line.extend_from_slice(rest);
            if line.len() > MAX_LINE {
                return Err(Box::new(Failure::invalid("a line is longer than 32 MiB")));
            }
        }
        count(&line, kind, &mut sums);
        Ok(sums)
    }
}

/// A line of a file of answers.
#[derive(Deserialize)]
struct Answered<'a> {
    #[serde(borrow)]
    response: Option<Response<'a>>,
}

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Served {
    model: String,
}

/// Adds what one line says. What is no answer of a model has used nothing.
fn count(line: &[u8], kind: Option<Kind>, sums: &mut BTreeMap<String, Usage>) {
    let answered = serde_json::from_slice::<Answered<'_>>(line).ok();
    let Some(body) = answered.and_then(|answered| answered.response).and_then(|response| response.body) else {
        return;
    };
    let body = body.get().as_bytes();
    let usage = match kind {
        Some(Kind::Chat(dialect)) => registry::client_dialect(dialect).and_then(|dialect| dialect.usage_of_reply(body)),
        Some(Kind::Task(task)) => registry::family(task).usage_of_reply(body),
        Some(Kind::Unread) | None => None,
    };
    let (Some(usage), Ok(Served { model })) = (usage, serde_json::from_slice(body)) else { return };
    let model = match sums.last_key_value() {
        Some((last, _)) if sums.len() >= MAX_MODELS && !sums.contains_key(&model) => last.clone(),
        _ => model,
    };
    let sum = sums.entry(model).or_default();
    *sum = sum.plus(&usage);
}

/// The same for the same batch and model wherever it is made: a UUIDv7 of the batch's own time.
fn record_id(created_ms: i64, parts: [&str; 3]) -> String {
    let digest = digest(&SHA256, format!("batch\0{}", parts.join("\0")).as_bytes());
    let random = digest.as_ref()[..10].try_into().expect("SHA-256 has 32 bytes");
    let millis = u64::try_from(created_ms).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().hyphenated().to_string()
}

#[cfg(test)]
mod tests {
    use gateway_ir::dialect::Dialect;
    use gateway_ir::task::Task;

    use super::*;

    #[test]
    fn a_batch_has_one_record_wherever_it_is_settled() {
        let id = |parts| record_id(1_700_000_000_000, parts);
        assert_eq!(id(["up", "batch_1", "m"]), id(["up", "batch_1", "m"]));
        assert!(id(["up", "batch_1", "m"]).starts_with("018bcfe5-6800-7"), "{}", id(["up", "batch_1", "m"]));
        for other in [["up", "batch_1", "n"], ["up", "batch_2", "m"], ["down", "batch_1", "m"]] {
            assert_ne!(id(other), id(["up", "batch_1", "m"]));
        }
    }

    #[test]
    fn what_was_settled_is_forgotten_in_turn() {
        let settled = Settled::open(None, &Warnings::default());
        assert!(settled.claim("a") && !settled.claim("a"));
        settled.disclaim("a");
        assert!(settled.claim("a") && settled.claim("b"));
        for n in 0..MAX_SEEN - 1 {
            assert!(settled.claim(&n.to_string()));
        }
        assert!(!settled.claim("b") && settled.claim("a"));
    }

    #[test]
    fn answers_are_summed_by_model() {
        let chat = r#"{"custom_id":"1","response":{"status_code":200,"body":{"model":"m","usage":{"prompt_tokens":5,"completion_tokens":2}}}}"#;
        let vector =
            r#"{"response":{"body":{"object":"list","model":"e","usage":{"prompt_tokens":3,"total_tokens":3}}}}"#;
        let nothing = ["", "{", "[]", r#"{"response":null}"#, r#"{"response":{"body":{"error":{}}}}"#];
        let cases = [
            (Some(Kind::Chat(Dialect::OpenAiChat)), chat, Some(("m", 10, 4))),
            (Some(Kind::Task(Task::Embeddings)), vector, Some(("e", 6, 0))),
            (None, chat, None),
        ];
        for (kind, line, expected) in cases {
            let mut sums = BTreeMap::new();
            for line in nothing.into_iter().chain([line, line]) {
                count(line.as_bytes(), kind, &mut sums);
            }
            let found = sums.iter().next().map(|(model, usage)| (model.as_str(), usage.input, usage.output));
            assert_eq!(found, expected, "{line}");
        }
        let mut sums = BTreeMap::new();
        for n in 0..MAX_MODELS + 3 {
            let line = chat.replace("\"m\"", &format!("\"{n:03}\""));
            count(line.as_bytes(), Some(Kind::Chat(Dialect::OpenAiChat)), &mut sums);
        }
        assert_eq!(sums.len(), MAX_MODELS);
        assert_eq!(sums.values().map(|usage| usage.input).sum::<u64>(), 5 * (MAX_MODELS as u64 + 3));
    }
}
