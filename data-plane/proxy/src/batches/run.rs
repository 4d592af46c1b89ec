//! Working through a batch: each line is a request of the key that made it, and goes the way of any request: admitted, routed,
//! retried, recorded and settled. Lines give way to clients: beyond one at a time they start only while the node is quiet.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use gateway_dialects::framing::array::StreamForm;
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::Failure;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::SemaphorePermit;

use super::line::{self, Judge, Lines, MAX_LINES, Read, Wanted};
use super::object::{Batch, Counts, Fault, File, Status};
use super::progress::{Progress, Sort};
use super::store::{Batches, KEPT, MAX_REQUESTS, new_file_id};
use crate::headers::LIMIT_KIND;
use crate::ingress::Errand;
use crate::pipeline::{Gateway, Head, Said, request_id};
use crate::record::Record;
use crate::{clock, task};

/// An answer is kept up to here, in bytes.
const MAX_ANSWER: usize = 32 * 1024 * 1024;
/// How often one looks whether the node is quiet, or whether to go on at all.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The same while one waits for a limit of the key's.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Works through what an earlier process of this node left open, once there is a configuration.
pub(crate) async fn resume(gateway: Arc<Gateway>) {
    let Some(batches) = gateway.batches.clone() else { return };
    for id in batches.open_batches() {
        start(&gateway, &batches, id);
    }
}

/// Works through a batch behind the request that asked for it.
pub(super) fn start(gateway: &Arc<Gateway>, batches: &Arc<Batches>, id: String) {
    let work = Work { gateway: Arc::clone(gateway), batches: Arc::clone(batches), id };
    drop(task::spawn_job(async move {
        if let Err(error) = work.run().await {
            work.broke(&error).await;
        }
    }));
}

struct Work {
    gateway: Arc<Gateway>,
    batches: Arc<Batches>,
    id: String,
}

/// Why no more lines are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The node goes; the next process goes on.
    Draining,
    Expired,
    Cancelled,
}

/// What became of one line.
struct Done {
    number: usize,
    sort: Sort,
    text: String,
}

// === impl Work ===

impl Work {
    async fn run(&self) -> io::Result<()> {
        let Ok(_turn) = self.batches.running.acquire().await else { return Ok(()) };
        while !self.gateway.live.load().ready {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let Some(mut batch) = self.batches.any_batch(&self.id) else { return Ok(()) };
        if batch.status == Status::Validating {
            let checked = self.validate(&batch).await?;
            let now = clock::unix_seconds();
            let changed = self.batches.change(&self.id, |batch| match checked {
                // Cancelled before it had begun: there is nothing to do, but to say so.
                _ if batch.status == Status::Cancelling => {}
                Ok(n_lines) => {
                    batch.counts.total = n_lines;
                    batch.enter(Status::InProgress, now);
                }
                Err(faults) => batch.fail(faults, now),
            });
            let Some(changed) = changed.await? else { return Ok(()) };
            batch = changed;
        }
        if batch.status.is_over() {
            return Ok(());
        }
        let [notes, answers, errors] = self.batches.parts(&self.id);
        let mut progress = Progress::open(&notes, &answers, &errors).await?;
        let (completed, failed) = progress.counts();
        self.batches.count(&self.id, completed, failed);
        let stop = match batch.status {
            // Finalizing: all was asked for, by an earlier process.
            Status::Finalizing => self.stop(),
            _ => self.lines(&batch, &mut progress).await?,
        };
        match stop {
            Some(Stop::Draining) => Ok(()),
            stop => self.finish(progress, stop).await,
        }
    }

    /// How many lines there are, or what is wrong with them.
    async fn validate(&self, batch: &Batch) -> io::Result<Result<usize, Vec<Fault>>> {
        let config = self.gateway.live.pin();
        let snapshot = &config.snapshot;
        let whole = |code: &str, message: String| Fault { code: code.to_owned(), line: None, message, param: None };
        let caller = match self.gateway.still(&config, &batch.owner()) {
            Ok(caller) => caller,
            Err(failure) => return Ok(Err(vec![whole(failure.code.name(), failure.message.to_string())])),
        };
        let mut lines = self.input(batch).await?;
        let mut judge = Judge {
            snapshot,
            caller: &caller,
            endpoint: &batch.endpoint,
            provider: batch.provider.as_deref(),
            known: std::collections::HashSet::new(),
            faults: Vec::new(),
        };
        let mut n_lines = 0;
        loop {
            match lines.next().await {
                Ok(Some(line)) => {
                    n_lines += 1;
                    if n_lines > MAX_LINES || !judge.look(&line) {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    judge.faults.push(whole("line_too_long", error.to_string()));
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        judge.count(n_lines);
        Ok(if judge.faults.is_empty() { Ok(n_lines) } else { Err(judge.faults) })
    }

    async fn input(&self, batch: &Batch) -> io::Result<Lines> {
        let file = tokio::fs::File::open(self.batches.content(&batch.input_file_id)).await?;
        let max_body = self.gateway.live.load().snapshot.settings.max_body;
        // A request's body with what stands around it.
        Ok(Lines::new(file, usize::try_from(max_body).unwrap_or(usize::MAX / 2).saturating_add(4096)))
    }

    /// Whether to ask for no more, and why.
    fn stop(&self) -> Option<Stop> {
        if self.gateway.draining.is_cancelled() {
            return Some(Stop::Draining);
        }
        let Some(batch) = self.batches.any_batch(&self.id) else { return Some(Stop::Cancelled) };
        if batch.status == Status::Cancelling || batch.cancelling_at.is_some() {
            return Some(Stop::Cancelled);
        }
        (batch.expires_at <= clock::unix_seconds()).then_some(Stop::Expired)
    }

    /// Asks for every line that has not been answered; what is not asked for in the end is noted with the reason.
    async fn lines(&self, batch: &Batch, progress: &mut Progress) -> io::Result<Option<Stop>> {
        let mut lines = self.input(batch).await?;
        let (mut running, mut stop, mut is_read) = (FuturesUnordered::new(), None, false);
        loop {
            while running.len() < MAX_REQUESTS && stop.is_none() && !is_read {
                stop = self.stop();
                match lines.next().await? {
                    Some(line) if progress.is_done(line.number) => {}
                    Some(line) if stop.is_none() => running.push(self.line(batch, line)),
                    Some(line) => self.unasked(stop, progress, &line).await?,
                    None => is_read = true,
                }
            }
            let Some(done) = running.next().await else { break };
            match done {
                Ok(done) => self.put(progress, &done).await?,
                Err((line, why)) => {
                    stop = Some(why);
                    self.unasked(stop, progress, &line).await?;
                }
            }
        }
        if stop == Some(Stop::Draining) {
            return Ok(stop);
        }
        while let Some(line) = lines.next().await? {
            if !progress.is_done(line.number) {
                self.unasked(stop, progress, &line).await?;
            }
        }
        Ok(stop)
    }

    async fn put(&self, progress: &mut Progress, done: &Done) -> io::Result<()> {
        let n_bytes = done.text.len() as u64;
        self.batches.take(n_bytes).map_err(|failure| io::Error::other(failure.message.into_owned()))?;
        progress.put(done.number, done.sort, &done.text).await?;
        let (completed, failed) = progress.counts();
        self.batches.count(&self.id, completed, failed);
        Ok(())
    }

    async fn unasked(&self, stop: Option<Stop>, progress: &mut Progress, line: &Read) -> io::Result<()> {
        let (code, message) = match stop {
            Some(Stop::Expired) => ("batch_expired", "this request was not made before the batch expired"),
            Some(Stop::Cancelled) => ("batch_cancelled", "this request was not made before the batch was cancelled"),
            Some(Stop::Draining) | None => return Ok(()),
        };
        let id = Wanted::read(&line.text).map(|wanted| wanted.custom_id).unwrap_or_default();
        let text = line::unanswered(&id, &request_id(), code, message);
        self.put(progress, &Done { number: line.number, sort: Sort::Error, text }).await
    }

    /// One line's answer, or the line again where the batch ends before it could be asked for.
    async fn line(&self, batch: &Batch, read: Read) -> Result<Done, (Read, Stop)> {
        let Some(wanted) = Wanted::read(&read.text) else {
            let text =
                line::unanswered("", &request_id(), "invalid_json_line", "the line was changed since it was read");
            return Ok(Done { number: read.number, sort: Sort::Error, text });
        };
        loop {
            if let Some(stop) = self.stop() {
                return Err((read, stop));
            }
            let Some(place) = self.place() else {
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            };
            let asked = self.ask(batch, &wanted).await;
            drop(place);
            match asked {
                Ok((sort, text)) => return Ok(Done { number: read.number, sort, text }),
                // A limit of the key's, not an upstream's: the batch has time.
                Err(after) => self.rest(after).await,
            }
        }
    }

    /// Waits, but no longer than there is something to wait for.
    async fn rest(&self, after: Duration) {
        let until = Instant::now() + after;
        while self.stop().is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(MAX_WAIT)).await;
        }
    }

    /// Leave to start another line beside what is asked of the node: one always may.
    fn place(&self) -> Option<SemaphorePermit<'_>> {
        let place = self.batches.requests.try_acquire().ok()?;
        let n_lines = MAX_REQUESTS - self.batches.requests.available_permits();
        let is_quiet = n_lines <= 1 || self.gateway.sinks.meters.n_in_flight() < MAX_REQUESTS as u64;
        is_quiet.then_some(place)
    }

    /// Sends one request the way of all. An error is how long the key has to wait.
    async fn ask(&self, batch: &Batch, wanted: &Wanted) -> Result<(Sort, String), Duration> {
        let id = request_id();
        let Some((errand, dialect)) = line::operation(&batch.endpoint) else {
            let text =
                line::unanswered(&wanted.custom_id, &id, "invalid_url", "there are no batches for this endpoint");
            return Ok((Sort::Error, text));
        };
        let mut headers = HeaderMap::new();
        if let Some(provider) = batch.provider.as_deref().and_then(|name| HeaderValue::from_str(name).ok()) {
            headers.insert("x-gateway-provider", provider);
        }
        let path = batch.endpoint.clone();
        let sinks = Arc::clone(&self.gateway.sinks);
        let mut record = Record::begin(sinks, Instant::now(), &id, "POST", &path);
        record.dialect(errand.language(dialect));
        record.traced_alone();
        let (form, here) = (StreamForm::Events, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let head = Head { path, headers, from: here.ip(), id: id.clone(), form, connection: None, run: None };
        // What says nothing of streams may mean one; nothing but a conversation can be told that none is wanted.
        let may_stream = dialect == Dialect::OpenAiChat && errand == Errand::Chat;
        let body = if may_stream { wanted.unstreamed() } else { wanted.body.clone() };
        let body = Said::For(batch.owner(), body);
        let answering = self.gateway.converse((errand, dialect), &head, body, record);
        let response = self.gateway.guarded(dialect, here, Box::pin(answering)).await;
        let (status, headers) = (response.status(), response.headers().clone());
        if status == StatusCode::TOO_MANY_REQUESTS && headers.contains_key(&LIMIT_KIND) {
            let after = headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
            return Err(Duration::from_secs(after.unwrap_or(1)));
        }
        let custom_id = &wanted.custom_id;
        match Limited::new(response.into_body(), MAX_ANSWER).collect().await {
            Ok(body) => {
                let text = line::answered(custom_id, status.as_u16(), &id, &body.to_bytes());
                Ok((if status.is_success() { Sort::Answer } else { Sort::Error }, text))
            }
            Err(_) => {
                let message = "the answer was cut, or is larger than 32 MiB";
                Ok((Sort::Error, line::unanswered(custom_id, &id, "upstream_cut", message)))
            }
        }
    }

    /// Makes files of what was written, and says how the batch ended. May be begun again at any point.
    async fn finish(&self, mut progress: Progress, stop: Option<Stop>) -> io::Result<()> {
        let now = clock::unix_seconds();
        let changed = self.batches.change(&self.id, |batch| {
            // The ids are known before the files are in place, so that there are never two of a kind.
            batch.output_file_id.get_or_insert_with(new_file_id);
            batch.error_file_id.get_or_insert_with(new_file_id);
            batch.enter(Status::Finalizing, now);
        });
        let Some(batch) = changed.await? else { return Ok(()) };
        progress.sync().await?;
        let (completed, failed) = progress.counts();
        let [notes, answers, errors] = self.batches.parts(&self.id);
        let output = self.keep(&batch, (&answers, &progress, Sort::Answer), batch.output_file_id.as_deref()).await?;
        let error = self.keep(&batch, (&errors, &progress, Sort::Error), batch.error_file_id.as_deref()).await?;
        let now = clock::unix_seconds();
        let ended = match stop {
            Some(Stop::Expired) => Status::Expired,
            Some(Stop::Cancelled) => Status::Cancelled,
            Some(Stop::Draining) | None => Status::Completed,
        };
        let changed = self.batches.change(&self.id, |batch| {
            (batch.output_file_id, batch.error_file_id) = (output, error);
            // Cancelled before they were counted, there are as many as are noted.
            let total = batch.counts.total.max(completed + failed);
            batch.counts = Counts { total, completed, failed };
            batch.enter(ended, now);
        });
        changed.await?;
        for part in [notes, answers, errors] {
            let _ = tokio::fs::remove_file(part).await;
        }
        Ok(())
    }

    /// One file of what was written, if anything was.
    async fn keep(
        &self,
        batch: &Batch,
        (part, progress, sort): (&std::path::Path, &Progress, Sort),
        id: Option<&str>,
    ) -> io::Result<Option<String>> {
        let (Some(id), bytes) = (id, progress.len(sort)) else { return Ok(None) };
        if bytes == 0 {
            return Ok(None);
        }
        // Linked, not moved: until the batch is over, its parts are what a new start reads.
        match tokio::fs::hard_link(part, self.batches.content(id)).await {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let now = clock::unix_seconds();
        let name = if sort == Sort::Answer { "output" } else { "error" };
        let file = File {
            id: id.to_owned(),
            owner: batch.owner.clone(),
            filename: format!("{}_{name}.jsonl", batch.id),
            purpose: "batch_output".to_owned(),
            bytes,
            created_at: now,
            expires_at: now + KEPT,
        };
        let added = self.batches.add_file(file).await;
        added
            .map(|()| Some(id.to_owned()))
            .map_err(|failure: Box<Failure>| io::Error::other(failure.message.into_owned()))
    }

    /// The disk gives up: so does the batch, and says so.
    async fn broke(&self, error: &io::Error) {
        tracing::warn!(batch = self.id, %error, "a batch cannot be worked through");
        let fault = Fault {
            code: "internal_error".to_owned(),
            line: None,
            message: format!("the node's disk does not take or give what belongs to this batch: {error}"),
            param: None,
        };
        let now = clock::unix_seconds();
        if let Err(error) = self.batches.change(&self.id, |batch| batch.fail(vec![fault], now)).await {
            tracing::warn!(batch = self.id, %error, "how a batch ended cannot be written down; it is tried again at the next start");
        }
    }
}
