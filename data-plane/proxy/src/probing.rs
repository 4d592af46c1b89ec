//! Asking providers whether they are well, where the configuration wants that: one task for each, which ends with its probe. Few are
//! asked at the same time, whatever is configured; where nothing is, there is no task and no timer.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use gateway_dialects::dialect::Upstream;
use gateway_dialects::registry;
use gateway_engine::health::{Probe, Question};
use gateway_engine::snapshot::{Policy, Provider, Snapshot, Target};
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::{Code, Failure};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request};
use serde_json::json;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::body::{Pieces, RequestBody};
use crate::state::Live;
use crate::tokens::Tokens;
use crate::upstream::Client;
use crate::{attempt, clock, ingress, task};

/// Providers that are asked at the same time.
const AT_ONCE: usize = 16;

/// Keeps a task for each provider that is to be asked.
pub(crate) struct Probing {
    asker: Arc<Asker>,
    /// By provider.
    running: HashMap<Arc<str>, Running>,
}

/// Ends with this.
struct Running {
    probe: Probe,
    task: JoinHandle<()>,
}

struct Asker {
    live: Arc<Live>,
    tls: Arc<rustls::ClientConfig>,
    tokens: Arc<Tokens>,
    places: Semaphore,
}

// === impl Probing ===

impl Probing {
    /// `changes` says when there is another configuration. Ends when its sender is gone, or with the handle.
    pub(crate) fn start<T: Send + Sync + 'static>(
        live: Arc<Live>,
        tls: Arc<rustls::ClientConfig>,
        tokens: Arc<Tokens>,
        changes: watch::Receiver<T>,
    ) -> JoinHandle<()> {
        let asker = Arc::new(Asker { live, tls, tokens, places: Semaphore::new(AT_ONCE) });
        task::spawn_job(Self { asker, running: HashMap::new() }.run(changes))
    }

    async fn run<T>(mut self, mut changes: watch::Receiver<T>) {
        loop {
            changes.mark_unchanged();
            let snapshot = Arc::clone(&self.asker.live.load().snapshot);
            self.follow(&snapshot);
            drop(snapshot);
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Who is asked otherwise than before is asked anew; who is asked as before goes on.
    fn follow(&mut self, snapshot: &Snapshot) {
        let wanted = |name: &str| snapshot.provider(name).and_then(|provider| provider.probe.as_ref());
        self.running.retain(|name, running| wanted(name) == Some(&running.probe));
        for provider in &snapshot.providers {
            let Some(probe) = &provider.probe else { continue };
            let asker = Arc::clone(&self.asker);
            let begin = || Running {
                probe: probe.clone(),
                task: task::spawn_job(asker.watch(Arc::clone(&provider.name), probe.clone())),
            };
            self.running.entry(Arc::clone(&provider.name)).or_insert_with(begin);
        }
    }
}

// === impl Running ===

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Asker ===

impl Asker {
    async fn watch(self: Arc<Self>, name: Arc<str>, probe: Probe) {
        // Not all at the start.
        sleep(probe.interval.mul_f64(rand::random())).await;
        loop {
            let snapshot = Arc::clone(&self.live.load().snapshot);
            let Some(provider) = snapshot.provider(&name).cloned() else { return };
            drop(snapshot);
            let outcome = {
                let Ok(_place) = self.places.acquire().await else { return };
                self.ask(&provider, &probe).await
            };
            if let Err(failure) = &outcome {
                tracing::debug!(provider = %name, "a probe failed: {failure}");
            }
            provider.probed(&probe.question, outcome.as_ref().err().map(AsRef::as_ref), std::time::Instant::now());
            sleep(probe.pause(rand::random())).await;
        }
    }

    async fn ask(&self, provider: &Arc<Provider>, probe: &Probe) -> Result<(), Box<Failure>> {
        let (target, request) = match &probe.question {
            Question::Path(path) => (Target::passing(provider, ""), at_path(provider, path)?),
            Question::Model(model) => {
                let target = Target::passing(provider, model);
                let request = of_model(&target)?;
                (target, request)
            }
        };
        let policy = Policy { connect: probe.timeout, first_byte: probe.timeout, ..provider.passing_policy() };
        let client = Client::new(Arc::clone(&self.tls));
        let deadline = Instant::now() + probe.timeout;
        let response =
            attempt::send((&client, &self.tokens), &target, Box::new(signed(provider, request)), &policy, deadline);
        let status = response.await?.status().as_u16();
        // Of a path it is enough that somebody answers: it may want to be asked otherwise.
        let is_well = match &probe.question {
            Question::Path(_) => status < 500,
            Question::Model(_) => status < 400,
        };
        let failure = || Failure::from_upstream_status(status, format!("a probe was answered with status {status}"));
        if is_well { Ok(()) } else { Err(Box::new(failure())) }
    }
}

fn at_path(provider: &Provider, path: &str) -> Result<Request<RequestBody>, Box<Failure>> {
    let uri = provider
        .endpoint
        .on_host(path)
        .ok_or_else(|| Box::new(Failure::new(Code::UpstreamGarbage, "the probe's path fits no URL")))?;
    let mut request = Request::new(RequestBody::from(Pieces::default()));
    *request.uri_mut() = uri;
    request.headers_mut().clone_from(provider.endpoint.headers());
    request.headers_mut().remove(CONTENT_TYPE);
    Ok(request)
}

/// The smallest conversation there is, in the provider's own words.
fn of_model(target: &Target) -> Result<Request<RequestBody>, Box<Failure>> {
    let question = json!({"model": &*target.model, "max_tokens": 1, "messages": [{"role": "user", "content": "ping"}]});
    let request = ingress::spoken(Dialect::OpenAiChat).decode_request(&Bytes::from(question.to_string()))?;
    let (dialect, stream) = (registry::dialect(target.provider.dialect), target.quirks.stream_only);
    let upstream = Upstream { model: &target.model, stream, quirks: &target.quirks };
    let encoded = dialect.encode_request(&request, &upstream)?;
    let mut request = Request::new(RequestBody::from(Pieces::from(encoded.body)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.provider.endpoint.uri(dialect.id(), &target.model, stream);
    request.headers_mut().clone_from(target.provider.endpoint.headers());
    for (name, value) in encoded.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            request.headers_mut().insert(name, value);
        }
    }
    Ok(request)
}

fn signed(provider: &Provider, mut request: Request<RequestBody>) -> Request<RequestBody> {
    let signature = provider
        .endpoint
        .signer()
        .map(|signer| signer.sign(request.method(), request.uri(), request.body().as_slices(), clock::unix_seconds()));
    request.headers_mut().extend(signature.unwrap_or_default());
    request
}
