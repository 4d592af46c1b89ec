//! Health, readiness, metrics, statistics and profiles: everything on the data listener that is no request to a model.

mod circuits;
mod limits;
mod probes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use gateway_engine::identity;
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::{Code, Failure};
use gateway_model::secret::Secret;
use gateway_wire::v1::Class;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::body::ReplyBody;
use crate::cache::Cache;
use crate::config::Admin;
use crate::ingress::{self, Operation};
use crate::meters::{Meters, compat, openmetrics, process};
use crate::pipeline::{Gateway, request_id};
use crate::pprof::Profiler;
use crate::state::Live;
use crate::warnings::Warnings;
use crate::{clock, models, refusal};

/// What operators ask the node, whichever listener they ask it on.
pub(crate) struct Ops {
    live: Arc<Live>,
    meters: Arc<Meters>,
    cache: Arc<Cache>,
    warnings: Arc<Warnings>,
    started: Instant,
    started_unix_ms: i64,
    draining: AtomicBool,
    doors: Doors,
    pub(crate) profiler: Profiler,
}

/// What is not for everybody who reaches the listener.
#[derive(Default)]
pub(crate) struct Doors {
    /// Without it, whoever asks is told the statistics, and nobody gets a profile.
    pub(crate) key: Option<Secret>,
    /// Off, there are no profiles at all.
    pub(crate) pprof: bool,
    /// A control plane in this process.
    pub(crate) admin: Option<Admin>,
}

// === impl Ops ===

impl Ops {
    pub(crate) fn new(
        (live, meters, cache, warnings): (&Arc<Live>, &Arc<Meters>, &Arc<Cache>, &Arc<Warnings>),
        doors: Doors,
    ) -> Self {
        Self {
            live: Arc::clone(live),
            meters: Arc::clone(meters),
            cache: Arc::clone(cache),
            warnings: Arc::clone(warnings),
            started: Instant::now(),
            started_unix_ms: clock::unix_ms(),
            draining: AtomicBool::new(false),
            doors,
            profiler: Profiler::default(),
        }
    }

    /// From now on `/ready` says 503, so that balancers go elsewhere.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Answers `GET` on an operator's path; `None` where the path is not one, or is switched off. Only a profile of the processor
    /// takes time, as much as was asked for.
    pub(crate) async fn get<B>(&self, operation: &Operation, request: &Request<B>) -> Option<Response<ReplyBody>> {
        match operation {
            Operation::Health => Some(json_response(StatusCode::OK, &self.health())),
            Operation::Ready => Some(self.ready()),
            Operation::Metrics => Some(self.metrics(request.headers(), request.uri().query())),
            Operation::Statistics => Some(match &self.doors.key {
                Some(key) if !presents(request.headers(), key) => locked(),
                _ => json_response(StatusCode::OK, &self.statistics()),
            }),
            Operation::Pprof(kind) if self.doors.pprof => Some(match &self.doors.key {
                Some(key) if presents(request.headers(), key) => {
                    self.profiler.answer(*kind, request.uri().query()).await
                }
                _ => locked(),
            }),
            _ => None,
        }
    }

    /// Who answers an admin path; nobody where no control plane is in this process, or it is none of those paths.
    pub(crate) fn admin(&self, path: &str) -> Option<&Admin> {
        self.doors.admin.as_ref().filter(|admin| admin.takes(path))
    }

    /// Alive is alive: configuration and upstreams do not matter here.
    fn health(&self) -> Value {
        json!({
            "status": "healthy",
            "message": "OK",
            "version": env!("CARGO_PKG_VERSION"),
            "uptime": self.started.elapsed().as_secs(),
            "revision": self.live.load().snapshot.revision,
        })
    }

    fn statistics(&self) -> Value {
        let mut told = self.meters.statistics();
        told["response_cache"] = self.cache.statistics();
        told["uptime_seconds"] = json!(self.started.elapsed().as_secs());
        told["circuit_breakers"] =
            json!({"circuits": circuits::statistics(&self.live.load().snapshot, Instant::now())});
        told["probes"] = probes::statistics(&self.live.load().snapshot).into();
        told["limits_shared_by"] = json!(self.live.standing.n_nodes().max(1));
        told["limits_apart"] = limits::apart(&self.live.load().snapshot).into();
        told["budgets"] = limits::budgets(&self.live.load().snapshot);
        told["upstream_limits"] = limits::statistics(&self.live.load().snapshot, Instant::now()).into();
        told
    }

    fn ready(&self) -> Response<ReplyBody> {
        let reason = if self.draining.load(Ordering::Relaxed) {
            Some("draining")
        } else if !self.live.load().ready {
            Some("no_config")
        } else {
            None
        };
        let (status, mut body) = match reason {
            None => (StatusCode::OK, json!({"status": "ready"})),
            Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, json!({"status": "not ready", "reason": reason})),
        };
        if let Some(config) = self.config() {
            body["config"] = config;
        }
        let warnings = self.warnings.list();
        if !warnings.is_empty() {
            body["warnings"] = json!(warnings);
        }
        json_response(status, &body)
    }

    /// What serves, how current it is and how safe; `None` while nothing serves, and beside a file.
    fn config(&self) -> Option<Value> {
        let standing = &self.live.standing;
        let stale = standing.stale()?;
        let mut config = json!({"stale_seconds": stale.as_secs()});
        for class in [Class::Topology, Class::Identity] {
            if let Some(line) = standing.line(class) {
                config[class.word()] = json!({"epoch": line.epoch, "revision": line.revision});
                config["persisted"][class.word()] = json!(line.persisted);
            }
        }
        Some(config)
    }

    /// All numbers as of now, in the text format of Prometheus.
    pub(crate) fn exposition(&self) -> String {
        self.meters.gauge("gateway_uptime_seconds").set(self.started.elapsed().as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a revision stays far below 2^52")]
        self.meters.gauge("gateway_config_revision").set(self.live.load().snapshot.revision as f64);
        self.meters.standing(&self.live.standing);
        self.meters.cache(self.cache.totals(), self.cache.size());
        self.meters
            .gauge("gateway_warnings")
            .set(f64::from(u32::try_from(self.warnings.list().len()).unwrap_or(u32::MAX)));
        let (snapshot, now) = (Arc::clone(&self.live.load().snapshot), Instant::now());
        self.meters.budgets(&snapshot.purses.totals());
        let upstreams =
            circuits::metrics(&snapshot, now) + &limits::metrics(&snapshot, now) + &probes::metrics(&snapshot);
        let process = process::metrics(&self.profiler.runtimes(), self.started_unix_ms);
        self.meters.render() + &upstreams + &process
    }

    /// With the names of other gateways beside, where the query asks for them.
    fn metrics(&self, headers: &HeaderMap, query: Option<&str>) -> Response<ReplyBody> {
        let dialects = match compat::asked(query) {
            Ok(dialects) => dialects,
            Err(word) => {
                let message = format!("`compat` knows `lunargate`, `nenya` and `gateway-llm`, not `{word}`");
                return json_response(StatusCode::BAD_REQUEST, &json!({"error": {"message": message}}));
            }
        };
        let mut text = self.exposition();
        text += &compat::of(&text, &dialects);
        let (text, kind) = match openmetrics::is_wanted(headers) {
            true => (self.meters.open(&text), openmetrics::CONTENT_TYPE),
            false => (text, "text/plain; version=0.0.4; charset=utf-8"),
        };
        let mut response = Response::new(ReplyBody::whole(text));
        let kind = HeaderValue::from_static(kind);
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

/// Every operation of the data listener but the conversations.
pub(crate) async fn answer<B>(gateway: &Gateway, operation: Operation, request: &Request<B>) -> Response<ReplyBody> {
    if gateway.serves_ops
        && let Some(response) = gateway.ops.get(&operation, request).await
    {
        return response;
    }
    match operation {
        Operation::Models(dialect) => models::list(gateway, dialect, request),
        Operation::Model(dialect, id) => models::one(gateway, dialect, &id, request),
        Operation::Options => options(&ingress::methods(request.uri().path())),
        Operation::Page(page) => page.response(),
        Operation::ReceiptKey => receipt_key(gateway),
        Operation::Pprof(_) => {
            let message = "profiles are switched off; the flag --pprof switches them on";
            refused(gateway, &Failure::new(Code::UnknownPath, message))
        }
        _ => {
            let message = "this node serves health and metrics on a listener of their own (--ops-listen)";
            refused(gateway, &Failure::new(Code::UnknownPath, message))
        }
    }
}

/// The key that receipts of this node are signed by. Public, and the same for as long as its data directory is.
fn receipt_key(gateway: &Gateway) -> Response<ReplyBody> {
    let receipts = gateway.sinks.receipts.as_ref().filter(|_| gateway.live.load().snapshot.settings.receipts);
    let Some(receipts) = receipts else {
        let message = "this node writes no receipts; `settings.receipts` and a data directory are what they need";
        return refused(gateway, &Failure::new(Code::UnknownPath, message));
    };
    match receipts.published() {
        Ok(published) => json_response(StatusCode::OK, &published),
        Err(error) => {
            tracing::error!("the key of receipts cannot be used: {error}");
            refused(
                gateway,
                &Failure::new(Code::Internal, "the key of this node's receipts cannot be used; its log says why"),
            )
        }
    }
}

/// The answer to `OPTIONS`: what a path takes.
pub(crate) fn options(methods: &str) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, ingress::allow(methods));
    response
}

/// Whether the bearer of the request is this key; takes as long whatever was sent.
fn presents(headers: &HeaderMap, key: &Secret) -> bool {
    let sent = identity::credential(headers).ok().flatten().unwrap_or_default();
    let digest = |text: &str| aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest(sent).as_ref() == digest(key.expose()).as_ref()
}

fn locked() -> Response<ReplyBody> {
    let message = "this takes the operators' key (--ops-key-file) as `Authorization: Bearer …`";
    let error = json!({"message": message, "type": "authentication_error", "code": "invalid_api_key"});
    let mut response = json_response(StatusCode::UNAUTHORIZED, &json!({"error": error}));
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"operators\""));
    response
}

fn refused(gateway: &Gateway, failure: &Failure) -> Response<ReplyBody> {
    refusal::response(failure, Dialect::OpenAiChat, &request_id(), gateway.live.load().families())
}

pub(crate) fn json_response(status: StatusCode, body: &Value) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
