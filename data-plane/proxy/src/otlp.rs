//! Traces and metrics for a collector: OTLP over HTTP with protobuf, beside the requests. What the collector does not take is tried
//! again for a while, then counted as dropped; nothing waits for it but a stop, for two seconds.
//!
//! Sources: the OTLP specification 1.x (`/v1/traces`, `/v1/metrics`, which answers may be tried again), the semantic conventions for
//! generative AI and for HTTP.

mod message;
mod span;
mod numbers;
mod collector;

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;

use self::collector::Collector;
use self::message::{KeyValue, Resource};
use crate::config::Otlp;
use crate::meters::Meters;
use crate::ops::Ops;
use crate::spans::{Ended, Tracer};
use crate::task;
use crate::telemetry::identity::Identity;

/// Spans that are sent together, and how long the first of them waits for others.
const MAX_BATCH: usize = 512;
const LINGER: Duration = Duration::from_millis(500);
/// For what is left when the node stops.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The task that sends.
pub(crate) struct Sending {
    job: JoinHandle<()>,
    over: CancellationToken,
}

/// Whom workers give their spans to, and the task that sends them; neither where nobody collects.
pub(crate) fn start(
    options: Option<&Otlp>,
    identity: &Identity,
    sources: (&Arc<Meters>, &Arc<Ops>),
    tls: &Arc<rustls::ClientConfig>,
) -> anyhow::Result<(Option<Arc<Tracer>>, Option<Sending>)> {
    let Some(options) = options else { return Ok((None, None)) };
    let (tracer, spans) = Tracer::new(options.sample_ratio, options.slow, Arc::clone(sources.0));
    let sender = Sender::new(options, &identity.node_id(), sources, tls, spans)?;
    let over = CancellationToken::new();
    let job = task::spawn_job(sender.run(over.clone()));
    Ok((Some(Arc::new(tracer)), Some(Sending { job, over })))
}

/// Sends until `over`, and what is there then.
struct Sender {
    collector: Collector,
    resource: Resource,
    spans: mpsc::Receiver<Ended>,
    /// Those that wait to be sent together.
    waiting: Vec<Ended>,
    meters: Arc<Meters>,
    ops: Arc<Ops>,
    metrics_every: Duration,
    started_unix_nanos: u64,
}

// === impl Sending ===

impl Sending {
    /// Sends what is left; takes some seconds at most.
    pub(crate) async fn shutdown(self) {
        self.over.cancel();
        // A panic in it was reported by it.
        let _ = timeout(4 * LAST_WORDS, self.job).await;
    }
}

// === impl Sender ===

impl Sender {
    fn new(
        options: &Otlp,
        node_id: &str,
        (meters, ops): (&Arc<Meters>, &Arc<Ops>),
        tls: &Arc<rustls::ClientConfig>,
        spans: mpsc::Receiver<Ended>,
    ) -> anyhow::Result<Self> {
        let resource = vec![
            KeyValue::text("service.name", &options.service_name),
            KeyValue::text("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::text("service.instance.id", node_id),
        ];
        Ok(Self {
            collector: Collector::new(options, tls)?,
            resource: Resource { attributes: resource },
            spans,
            waiting: Vec::new(),
            meters: Arc::clone(meters),
            ops: Arc::clone(ops),
            metrics_every: options.metrics_every,
            started_unix_nanos: unix_nanos(),
        })
    }

    async fn run(mut self, over: CancellationToken) {
        let mut ticks = tokio::time::interval_at(Instant::now() + self.metrics_every, self.metrics_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut since = Instant::now();
        loop {
            let has_some = !self.waiting.is_empty();
            tokio::select! {
                Some(ended) = self.spans.recv() => {
                    if !has_some {
                        since = Instant::now();
                    }
                    self.waiting.push(ended);
                    if self.waiting.len() < MAX_BATCH {
                        continue;
                    }
                }
                () = tokio::time::sleep_until(since + LINGER), if has_some => {}
                _ = ticks.tick() => {
                    tokio::select! {
                        () = self.send_metrics() => continue,
                        () = over.cancelled() => break,
                    }
                }
                () = over.cancelled() => break,
            }
            let body = self.traces(&self.waiting);
            let sent = tokio::select! {
                sent = self.collector.send("traces", body) => sent,
                // What was on its way is sent once more, for nobody knows whether it came.
                () = over.cancelled() => break,
            };
            let n_spans = std::mem::take(&mut self.waiting).len() as u64;
            self.count(n_spans, sent.is_ok());
        }
        self.last_words().await;
    }

    /// What is waiting, and the numbers as they are now.
    async fn last_words(&mut self) {
        self.spans.close();
        let mut rest = std::mem::take(&mut self.waiting);
        while let Ok(ended) = self.spans.try_recv() {
            rest.push(ended);
        }
        for batch in rest.chunks(MAX_BATCH) {
            let sent = timeout(LAST_WORDS, self.collector.send("traces", self.traces(batch))).await;
            self.count(batch.len() as u64, matches!(sent, Ok(Ok(()))));
        }
        let _ = timeout(LAST_WORDS, self.send_metrics()).await;
    }

    fn count(&self, n_spans: u64, is_taken: bool) {
        self.meters.spans(if is_taken { "exported" } else { "dropped" }, n_spans);
    }

    fn traces(&self, batch: &[Ended]) -> Vec<u8> {
        let spans = batch.iter().flat_map(|Ended { span, log }| span::of(*span, log)).collect();
        message::TraceRequest::of(self.resource.clone(), spans).encode_to_vec()
    }

    async fn send_metrics(&self) {
        let metrics = numbers::of(&self.ops.exposition(), self.started_unix_nanos, unix_nanos());
        let body = message::MetricsRequest::of(self.resource.clone(), metrics).encode_to_vec();
        // The next ones say it all again, so that nothing is lost by these.
        let _ = self.collector.send("metrics", body).await;
    }
}

fn unix_nanos() -> u64 {
    u64::try_from(crate::clock::unix_ms()).unwrap_or_default() * 1_000_000
}
