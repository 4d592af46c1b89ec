//! Health, readiness and metrics: everything on the data listener that is no request to a model.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use gateway_ir::dialect::Dialect;
use gateway_ir::failure::{Code, Failure};
use gateway_wire::v1::Class;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::body::ReplyBody;
use crate::ingress::{self, Operation};
use crate::meters::Meters;
use crate::pipeline::{Gateway, request_id};
use crate::state::Live;
use crate::warnings::Warnings;
use crate::{models, refusal};

/// What operators ask the node, whichever listener they ask it on.
pub(crate) struct Ops {
    live: Arc<Live>,
    meters: Arc<Meters>,
    warnings: Arc<Warnings>,
    started: Instant,
    draining: AtomicBool,
}

// === impl Ops ===

impl Ops {
    pub(crate) fn new(live: Arc<Live>, meters: Arc<Meters>, warnings: Arc<Warnings>) -> Self {
        Self { live, meters, warnings, started: Instant::now(), draining: AtomicBool::new(false) }
    }

    /// From now on `/ready` says 503, so that balancers go elsewhere.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Answers `GET` on an operator's path; `None` where the path is not one.
    pub(crate) fn get(&self, operation: &Operation) -> Option<Response<ReplyBody>> {
        match operation {
            Operation::Health => Some(json_response(StatusCode::OK, &self.health())),
            Operation::Ready => Some(self.ready()),
            Operation::Metrics => Some(self.metrics()),
            _ => None,
        }
    }

    /// Alive is alive: configuration and upstreams do not matter here.
    fn health(&self) -> Value {
        json!({
            "status": "healthy",
            "version": env!("CARGO_PKG_VERSION"),
            "uptime": self.started.elapsed().as_secs(),
            "revision": self.live.load().snapshot.revision,
        })
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

    fn metrics(&self) -> Response<ReplyBody> {
        self.meters.gauge("gateway_uptime_seconds").set(self.started.elapsed().as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a revision stays far below 2^52")]
        self.meters.gauge("gateway_config_revision").set(self.live.load().snapshot.revision as f64);
        self.meters.standing(&self.live.standing);
        let mut response = Response::new(ReplyBody::whole(self.meters.render()));
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

/// Every operation of the data listener but the conversations.
pub(crate) fn answer<B>(gateway: &Gateway, operation: Operation, request: &Request<B>) -> Response<ReplyBody> {
    if gateway.serves_ops
        && let Some(response) = gateway.ops.get(&operation)
    {
        return response;
    }
    match operation {
        Operation::Models(dialect) => models::list(gateway, dialect, request),
        Operation::Model(dialect, id) => models::one(gateway, dialect, &id, request),
        Operation::Options => options(&ingress::methods(request.uri().path())),
        _ => {
            let message = "this node serves health and metrics on a listener of their own (--ops-listen)";
            refused(gateway, &Failure::new(Code::UnknownPath, message))
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

fn refused(gateway: &Gateway, failure: &Failure) -> Response<ReplyBody> {
    refusal::response(failure, Dialect::OpenAiChat, &request_id(), gateway.live.load().families())
}

pub(crate) fn json_response(status: StatusCode, body: &Value) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
