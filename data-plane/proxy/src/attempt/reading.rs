//! Reading what an upstream answers, whole and under its bounds, before anything of it is believed.

use std::time::Duration;

use bytes::Bytes;
use gateway_dialects::dialect::{Dialect, StreamDecoder};
use gateway_dialects::fitting::answer_tool::{Unwrapping, UnwrappingDecoder};
use gateway_engine::snapshot::Target;
use gateway_ir::dialect;
use gateway_ir::event::Event;
use gateway_ir::failure::{Code, Failure, Retry};
use gateway_ir::fold::{Fold, Reply};
use gateway_ir::legal::{Legality, Verdict};
use gateway_ir::usage::Tier;
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, Response};
use tokio::time::{Instant, timeout, timeout_at};

use super::MAX_TRANSLATED_REPLY;
use crate::clock;
use crate::relay::{cut, senseless};
use crate::upstream::UpstreamBody;

/// An error answer is read up to here; the rest says nothing more.
pub(super) const MAX_ERROR_BODY: usize = 64 * 1024;

/// Reading one reply under its bounds.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) target: &'a Target,
    pub(crate) dialect: &'static dyn Dialect,
    /// The answer comes as a tool's call.
    pub(crate) by_tool: bool,
    pub(crate) idle: Duration,
    pub(crate) deadline: Instant,
}

// === impl Reading ===

impl Reading<'_> {
    pub(super) fn decoder(&self) -> Box<dyn StreamDecoder> {
        let decoder = self.dialect.stream_decoder();
        if self.by_tool { Box::new(UnwrappingDecoder::new(decoder)) } else { decoder }
    }

    /// Those of a whole reply.
    pub(super) fn events(&self, body: &[u8]) -> Result<Vec<Event>, Box<Failure>> {
        let events = self.dialect.decode_reply(body)?;
        Ok(if self.by_tool { Unwrapping::all(events) } else { events })
    }

    pub(super) async fn next(&self, body: &mut UpstreamBody) -> Result<Option<Bytes>, Box<Failure>> {
        let bound = self.deadline.min(Instant::now() + self.idle);
        match timeout_at(bound, body.data()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(bytes))) => Ok(Some(bytes)),
            Ok(Some(Err(reason))) => {
                let message = format!("`{}` cut its reply: {reason}", self.target.provider.name);
                Err(Box::new(Failure::new(Code::UpstreamCut, message)))
            }
            Err(_) if bound == self.deadline => Err(total_timeout(&self.target.provider.name)),
            Err(_) => {
                let message = format!("`{}` sent nothing for {:?}", self.target.provider.name, self.idle);
                Err(Box::new(Failure::new(Code::IdleTimeout, message)))
            }
        }
    }

    /// Everything up to `limit`, and whether that was everything. One chunk, the common case, is not copied.
    pub(crate) async fn collect(&self, body: &mut UpstreamBody, limit: usize) -> Result<(Bytes, bool), Box<Failure>> {
        let Some(first) = self.next(body).await? else { return Ok((Bytes::new(), true)) };
        let Some(second) = self.next(body).await? else { return Ok((first, true)) };
        let mut all = Vec::with_capacity(2 * (first.len() + second.len()));
        all.extend_from_slice(&first);
        all.extend_from_slice(&second);
        while all.len() <= limit {
            match self.next(body).await? {
                Some(bytes) => all.extend_from_slice(&bytes),
                None => return Ok((all.into(), true)),
            }
        }
        Ok((all.into(), false))
    }

    /// A stream as one reply; waits `idle_reasoning` for what comes next while the model is reasoning.
    pub(super) async fn fold_stream(
        &self,
        mut body: UpstreamBody,
        idle_reasoning: Duration,
    ) -> Result<Reply, Box<Failure>> {
        let mut decoder = self.decoder();
        let (mut events, mut legality, mut fold) = (Vec::new(), Legality::default(), Fold::default());
        let mut patient = Self { idle: self.idle, ..*self };
        let mut keep = |events: &mut Vec<Event>, idle: &mut Duration| {
            for event in events.drain(..) {
                if let Some(is_reasoning) = event.is_reasoning() {
                    *idle = if is_reasoning { idle_reasoning } else { self.idle };
                }
                match legality.judge(&event) {
                    Verdict::Legal | Verdict::Open => fold.push(event),
                    Verdict::Drop(_) => {}
                    Verdict::Refuse(breach) => return Err(senseless(breach)),
                }
            }
            Ok(())
        };
        let mut n_bytes = 0;
        while let Some(bytes) = patient.next(&mut body).await? {
            n_bytes += bytes.len();
            if n_bytes > MAX_TRANSLATED_REPLY {
                return Err(self.garbage("is larger than 32 MiB"));
            }
            decoder.push(&bytes, &mut events)?;
            keep(&mut events, &mut patient.idle)?;
        }
        decoder.finish(&mut events)?;
        keep(&mut events, &mut patient.idle)?;
        self.complete(fold.finish())
    }

    /// A reply that holds an error, or stopped without saying why, is none.
    pub(super) fn complete(&self, reply: Reply) -> Result<Reply, Box<Failure>> {
        if let Some(failure) = reply.error {
            return Err(failure);
        }
        let finished = reply.choices.iter().any(|choice| choice.finish.is_some());
        if reply.ended || finished { Ok(reply) } else { Err(cut()) }
    }

    pub(crate) fn garbage(&self, what: &str) -> Box<Failure> {
        let message = format!("the reply of `{}` {what}", self.target.provider.name);
        Box::new(Failure::new(Code::UpstreamGarbage, message))
    }
}

/// What a provider lacks, another one may have.
pub(super) fn no_such_operation(operation: &str, target: &Target) -> Box<Failure> {
    let message = format!("`{}` has no {operation}; ask for a model of a provider that has them", target.provider.name);
    let failure = Failure::new(Code::UnsupportedParameter, message).at("model");
    Box::new(Failure { retry: Retry::OnlyElsewhere, ..failure })
}

pub(super) fn total_timeout(provider: &str) -> Box<Failure> {
    Box::new(Failure::new(Code::TotalTimeout, format!("`{provider}` took longer than the total time allowed")))
}

pub(super) fn first_byte_timeout(provider: &str, bound: Duration) -> Box<Failure> {
    Box::new(Failure::new(Code::FirstByteTimeout, format!("`{provider}` did not begin to answer within {bound:?}")))
}

pub(super) fn is_json(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|kind| kind.starts_with("application/json"))
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()
}

/// The service tier that the Gemini API tells in the head, by the words `standard`, `flex` and `priority`.
pub(super) fn tier(dialect: dialect::Dialect, headers: &HeaderMap) -> Tier {
    let told = || headers.get("x-gemini-service-tier")?.to_str().ok().map(Tier::parse);
    if dialect == dialect::Dialect::GeminiGenerate { told().unwrap_or_default() } else { Tier::default() }
}

/// An HTML page with status 200 (a login, a proxy's error) is no answer. A missing type is taken for a stream.
pub(super) fn must_be_stream(headers: &HeaderMap, expected: &str, target: &Target) -> Result<(), Box<Failure>> {
    let acceptable = content_type(headers).is_none_or(|kind| {
        let kind = kind.to_ascii_lowercase();
        kind.starts_with(expected) || kind.starts_with("text/plain") || kind.starts_with("application/octet")
    });
    if acceptable {
        return Ok(());
    }
    let kind = content_type(headers).unwrap_or_default();
    let message = format!("`{}` answered with `{kind}` where an event stream was asked for", target.provider.name);
    Err(Box::new(Failure::new(Code::UpstreamGarbage, message)))
}

/// Reads an error answer as far as it is worth and classifies it in the upstream's dialect.
pub(super) async fn refusal(
    dialect: &'static dyn Dialect,
    response: Response<UpstreamBody>,
    target: &Target,
    patience: Duration,
) -> Box<Failure> {
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers());
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    let read = async {
        while let Some(Ok(piece)) = body.data().await {
            bytes.extend_from_slice(&piece);
            if bytes.len() >= MAX_ERROR_BODY {
                break;
            }
        }
    };
    // What was read until the patience ended is used.
    let _ = timeout(patience, read).await;
    bytes.truncate(MAX_ERROR_BODY);
    let mut failure = dialect.decode_error(status, &bytes);
    if failure.message.is_empty() {
        failure.message = format!("`{}` answered with status {status}", target.provider.name).into();
    }
    if let Some(message) = without_credentials(&failure.message, target.provider.endpoint.headers()) {
        failure.message = message.into();
    }
    let retry_after = retry_after.or(failure.retry_after);
    Box::new(failure.with_retry_after(retry_after))
}

/// Some upstreams repeat the credential that they refuse; callers are not to see it. `None` where the message is as it was.
fn without_credentials(message: &str, headers: &HeaderMap) -> Option<String> {
    let sensitive = headers.values().filter(|value| value.is_sensitive()).filter_map(|value| value.to_str().ok());
    let credentials = sensitive.map(|value| value.strip_prefix("Bearer ").unwrap_or(value));
    let told = credentials.filter(|credential| credential.len() >= 8 && message.contains(credential));
    told.fold(None, |clean: Option<String>, told| Some(clean.as_deref().unwrap_or(message).replace(told, "[redacted]")))
}

/// `retry-after-ms` or `retry-after` in seconds or as an HTTP date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim).map(str::to_owned);
    if let Some(millis) = text(HeaderName::from_static("retry-after-ms")).and_then(|text| text.parse().ok()) {
        return Some(Duration::from_millis(millis));
    }
    let value = text(RETRY_AFTER)?;
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = jiff::fmt::rfc2822::parse(&value).ok()?;
    let millis = date.timestamp().as_millisecond() - clock::unix_ms();
    u64::try_from(millis).ok().map(Duration::from_millis)
}
