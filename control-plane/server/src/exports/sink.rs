//! What a destination is to those who send: how a batch becomes a call, and what its answer means.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use gateway_model::kind::exporter::Exporter;
use gateway_model::secret::Secret;
use http::Method;

use super::event::Event;
use crate::outbound::Answer;

/// Records that go together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch<'a> {
    /// The same whenever it is sent again.
    pub(super) id: &'a str,
    pub(super) events: &'a [Event],
    /// When the first of them was stored.
    pub(super) stored_ms: i64,
    pub(super) now_ms: i64,
}

/// What is sent.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Secret,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All of it, but for so many, and why those were not.
    Taken { n_failed: usize, why: String },
    /// It would be refused however often it came.
    Refused(String),
    /// It may be taken later, after so long at the soonest.
    Again { why: String, after: Option<Duration> },
}

/// One kind of destination: one file each, and a row of the table.
pub(super) trait Sink: Sync {
    /// Records in one batch.
    fn most(&self) -> usize {
        500
    }

    fn call(&self, exporter: &Exporter, batch: &Batch<'_>) -> Result<Call, String>;

    fn judge(&self, answer: &Answer, _batch: &Batch<'_>) -> Verdict {
        by_status(answer)
    }
}

/// What is about the records is final. What is about the address, the key or the moment is not: somebody may mend it.
pub(super) fn by_status(answer: &Answer) -> Verdict {
    match answer.status {
        200..=299 => Verdict::Taken { n_failed: 0, why: String::new() },
        300..=399 | 401..=405 | 407 | 408 | 410 | 421 | 425 | 429 | 500.. => {
            Verdict::Again { why: answer.told(), after: answer.retry_after }
        }
        _ => Verdict::Refused(answer.told()),
    }
}

/// The exporter's own address, else the one that everybody has, without a slash at its end.
pub(super) fn root(exporter: &Exporter, default: &str) -> String {
    let url = exporter.url.as_ref().map_or(default, Secret::expose);
    url.trim_end_matches('/').to_owned()
}

pub(super) fn key(exporter: &Exporter) -> &str {
    exporter.api_key.as_ref().map_or("", Secret::expose)
}

pub(super) fn gzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.map_err(|error| format!("it cannot be compressed: {error}"))
}

/// One JSON text a line.
pub(super) fn lines(events: &[Event]) -> String {
    events.iter().fold(String::new(), |text, event| text + &event.told().to_string() + "\n")
}
