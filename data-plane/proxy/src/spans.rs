//! Which requests leave a span, decided twice: as they arrive, for whoever is asked behind us must be told, and as they end, so that
//! what went wrong or took long is there whatever the ratio says. Nothing here waits; what finds no place is counted and gone.

use std::sync::Arc;
use std::time::Duration;

use gateway_wire::v1::LogRecord;
use http::{HeaderMap, HeaderValue};
use tokio::sync::mpsc;

use crate::meters::Meters;
use crate::trace_context::{Parent, TRACEPARENT};

/// Spans that wait to be sent. A record takes about a kilobyte.
const MAX_WAITING: usize = 8192;

/// Takes the spans of all workers.
pub(crate) struct Tracer {
    queue: mpsc::Sender<Ended>,
    meters: Arc<Meters>,
    /// A trace that begins here is recorded where the number in its id is below this.
    below: u64,
    slow: Duration,
}

/// Of a request that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    /// The caller's.
    pub(crate) parent: Option<u64>,
    /// Decided as it arrived; otherwise its ending decides.
    pub(crate) is_sampled: bool,
    /// Nobody's call: what the gateway does behind its clients.
    pub(crate) is_internal: bool,
}

/// A request that is to be told of.
pub(crate) struct Ended {
    pub(crate) span: Span,
    pub(crate) log: LogRecord,
}

/// How requests end that went wrong, whatever their status.
const BAD_ENDINGS: [&str; 3] = ["upstream_cut", "failed", "timeout"];

// === impl Tracer ===

impl Tracer {
    /// With what is to be sent. `ratio` is from 0 to 1.
    pub(crate) fn new(ratio: f64, slow: Duration, meters: Arc<Meters>) -> (Self, mpsc::Receiver<Ended>) {
        let (queue, ended) = mpsc::channel(MAX_WAITING);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 2^63, and saturating")]
        let below = (ratio.clamp(0.0, 1.0) * 2_f64.powi(63)) as u64;
        (Self { queue, meters, below, slow }, ended)
    }

    /// `None` where the caller has decided that its trace is not recorded.
    pub(crate) fn begin(&self, parent: Option<Parent>) -> Option<Span> {
        let span_id = rand::random::<u64>().max(1);
        match parent {
            Some(Parent { is_sampled: false, .. }) => None,
            Some(Parent { trace_id, span_id: parent, .. }) => {
                Some(Span { trace_id, span_id, parent: Some(parent), is_sampled: true, is_internal: false })
            }
            None => {
                let trace_id = rand::random::<u128>().max(1);
                // Of the random part that later versions of the header keep.
                let drawn = (trace_id as u64) >> 1;
                Some(Span { trace_id, span_id, parent: None, is_sampled: drawn < self.below, is_internal: false })
            }
        }
    }

    pub(crate) fn ended(&self, span: Span, log: &LogRecord) {
        let has_failed = log.status >= 500 || BAD_ENDINGS.contains(&log.ending.as_str());
        let is_slow = u128::from(log.total_us) >= self.slow.as_micros();
        if !span.is_sampled && !has_failed && !is_slow {
            return;
        }
        if self.queue.try_send(Ended { span, log: log.clone() }).is_err() {
            self.meters.spans("dropped", 1);
        }
    }
}

// === impl Span ===

impl Span {
    /// What is done behind this one: in its trace, below it, and sampled as it is.
    pub(crate) fn behind(self) -> Self {
        let span_id = rand::random::<u64>().max(1);
        Self { span_id, parent: Some(self.span_id), is_internal: true, ..self }
    }

    /// What goes to whoever is asked behind us: the same trace, and this request as the parent.
    pub(crate) fn hand_on(&self, headers: &mut HeaderMap) {
        let Self { trace_id, span_id, is_sampled, .. } = self;
        let text = format!("00-{trace_id:032x}-{span_id:016x}-0{}", u8::from(*is_sampled));
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(TRACEPARENT, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent(is_sampled: bool) -> Option<Parent> {
        Some(Parent { trace_id: 7, span_id: 9, is_sampled })
    }

    fn log(status: u32, ending: &str, total_us: u64) -> LogRecord {
        LogRecord { status, ending: ending.to_owned(), total_us, ..LogRecord::default() }
    }

    #[test]
    fn who_is_told_of() {
        let (well, ill, cut, slow) = (
            log(200, "finished", 10),
            log(502, "failed", 10),
            log(200, "upstream_cut", 10),
            log(200, "finished", 2_000_000),
        );
        for (ratio, of, expected) in [
            (0.0, None, [false, true, true, true]),
            (1.0, None, [true; 4]),
            // The caller's decision stands, both ways.
            (0.0, parent(true), [true; 4]),
            (1.0, parent(false), [false; 4]),
        ] {
            let (tracer, mut told) = Tracer::new(ratio, Duration::from_secs(2), Arc::new(Meters::new()));
            let found = [&well, &ill, &cut, &slow].map(|log| {
                if let Some(span) = tracer.begin(of) {
                    tracer.ended(span, log);
                }
                told.try_recv().is_ok()
            });
            assert_eq!(found, expected, "{ratio} {of:?}");
        }
    }

    #[test]
    fn a_ratio_is_a_ratio() {
        let (tracer, _told) = Tracer::new(0.25, Duration::MAX, Arc::new(Meters::new()));
        let n_sampled = (0..20_000).filter(|_| tracer.begin(None).is_some_and(|span| span.is_sampled)).count();
        assert!((4_500..5_500).contains(&n_sampled), "{n_sampled} of 20,000");
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let meters = Arc::new(Meters::new());
        let (tracer, _told) = Tracer::new(1.0, Duration::MAX, Arc::clone(&meters));
        for _ in 0..MAX_WAITING + 3 {
            tracer.ended(tracer.begin(None).expect("a span"), &log(200, "finished", 1));
        }
        assert!(meters.render().contains("gateway_spans_total{outcome=\"dropped\"} 3\n"), "{}", meters.render());
    }

    #[test]
    fn what_is_done_behind_a_request_is_below_it() {
        let (tracer, _told) = Tracer::new(0.0, Duration::MAX, Arc::new(Meters::new()));
        let span = tracer.begin(parent(true)).expect("a span");
        let behind = span.behind();
        assert_eq!((behind.trace_id, behind.parent, behind.is_sampled), (span.trace_id, Some(span.span_id), true));
        assert!(behind.is_internal && !span.is_internal && behind.span_id != span.span_id);
    }

    #[test]
    fn the_context_goes_on() {
        let (tracer, _told) = Tracer::new(0.0, Duration::MAX, Arc::new(Meters::new()));
        let span = tracer.begin(parent(true)).expect("a span");
        let mut headers = HeaderMap::new();
        span.hand_on(&mut headers);
        let read = Parent::read(&headers).expect("it is valid");
        assert_eq!(read, Parent { trace_id: 7, span_id: span.span_id, is_sampled: true });
        assert_eq!(span.parent, Some(9));
    }
}
