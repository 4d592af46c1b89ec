//! A request as spans: one of the server, or within the gateway where nobody waits for it, and below it one of the client for each
//! attempt, with what the semantic conventions for generative AI want to know. Texts of prompts and replies are not among it, nor are
//! keys.

use gateway_wire::v1::{Attempt, LogRecord, TokenUsage};

use super::message::{ERROR, KeyValue, Span as Message, SpanKind, Status};
use crate::meters::operations::{answering, end_of, operation};
use crate::spans::Span;

/// Odd, so that every attempt of a request has an id of its own.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

pub(super) fn of(span: Span, log: &LogRecord) -> Vec<Message> {
    let answered = answering(log);
    let mut spans = vec![whole(span, log)];
    spans.extend(log.attempts.iter().enumerate().map(|(number, attempt)| {
        let is_answer = Some(number) == answered;
        client(span, log, (number, attempt), is_answer)
    }));
    spans
}

fn whole(span: Span, log: &LogRecord) -> Message {
    let mut attributes = vec![
        KeyValue::text("http.request.method", &log.method),
        KeyValue::text("url.path", &log.path),
        KeyValue::int("http.response.status_code", log.status.into()),
        KeyValue::text("gateway.request.id", &log.id),
        KeyValue::text("gateway.ending", &log.ending),
        KeyValue::int("gateway.config.revision", log.topology_revision),
        KeyValue::int("gateway.attempts", log.attempts.len() as u64),
        KeyValue::double("gateway.overhead", log.overhead_us as f64 / 1e6),
    ];
    for (key, value) in [
        ("gen_ai.request.model", &log.model),
        ("gen_ai.conversation.id", &log.session_id),
        ("gateway.dialect", &log.dialect),
        ("gateway.route", &log.route),
        ("gateway.key.id", &log.key_id),
        ("gateway.team", &log.team),
        ("gateway.organization", &log.organization),
        ("gateway.shadow_of", &log.shadow_of),
        ("error.type", &log.error_code),
    ] {
        if !value.is_empty() {
            attributes.push(KeyValue::text(key, value));
        }
    }
    if let Some(cache) = &log.cache {
        attributes.push(KeyValue::text("gateway.cache", &cache.verdict));
    }
    if log.priced {
        attributes.push(KeyValue::double("gateway.cost.usd", log.cost_nano_usd as f64 / 1e9));
    }
    let has_failed = log.status >= 500 || (!log.error_code.is_empty() && log.status < 400);
    Message {
        trace_id: span.trace_id.to_be_bytes().to_vec(),
        span_id: span.span_id.to_be_bytes().to_vec(),
        parent_span_id: span.parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
        name: match span.is_internal {
            true if !log.shadow_of.is_empty() => format!("shadow {}", log.model),
            true => format!("batch line {}", place(log)),
            false => format!("{} {}", log.method, place(log)),
        },
        kind: if span.is_internal { SpanKind::Internal } else { SpanKind::Server }.into(),
        start_unix_nanos: at(log, 0),
        end_unix_nanos: at(log, log.total_us),
        attributes,
        status: has_failed.then(|| Status { message: log.error_code.clone(), code: ERROR }),
    }
}

fn client(span: Span, log: &LogRecord, (number, attempt): (usize, &Attempt), is_answer: bool) -> Message {
    let operation = operation(log);
    let mut attributes = vec![
        KeyValue::text("gen_ai.operation.name", operation),
        KeyValue::text("gen_ai.provider.name", &attempt.provider),
        KeyValue::bool("gen_ai.request.stream", log.stream),
    ];
    // What passes need not name a model.
    if !attempt.model.is_empty() {
        attributes.push(KeyValue::text("gen_ai.request.model", &attempt.model));
    }
    if attempt.status > 0 {
        attributes.push(KeyValue::int("http.response.status_code", attempt.status.into()));
    }
    if !attempt.error_code.is_empty() {
        attributes.push(KeyValue::text("error.type", &attempt.error_code));
    }
    if attempt.queued_us > 0 {
        attributes.push(KeyValue::double("gateway.queue", attempt.queued_us as f64 / 1e6));
    }
    let tokens = if is_answer { log.tokens.as_ref() } else { attempt.tokens.as_ref() };
    if let Some(tokens) = tokens {
        attributes.extend(usage(tokens));
    }
    if is_answer && log.first_token_us > attempt.started_us {
        let first = (log.first_token_us - attempt.started_us) as f64 / 1e6;
        attributes.push(KeyValue::double("gen_ai.response.time_to_first_chunk", first));
    }
    let ended_us = end_of(log, attempt, is_answer);
    let span_id = span.span_id.wrapping_add(STEP.wrapping_mul(number as u64 + 1)).max(1);
    Message {
        trace_id: span.trace_id.to_be_bytes().to_vec(),
        span_id: span_id.to_be_bytes().to_vec(),
        parent_span_id: span.span_id.to_be_bytes().to_vec(),
        name: format!("{operation} {}", attempt.model).trim_end().to_owned(),
        kind: SpanKind::Client.into(),
        start_unix_nanos: at(log, attempt.started_us),
        end_unix_nanos: at(log, ended_us),
        attributes,
        status: (!attempt.error_code.is_empty()).then(|| Status { message: attempt.error_code.clone(), code: ERROR }),
    }
}

/// The conventions count what caches had among what was read.
fn usage(tokens: &TokenUsage) -> Vec<KeyValue> {
    let written = tokens.cache_write + tokens.cache_write_1h;
    let mut usage = vec![
        KeyValue::int("gen_ai.usage.input_tokens", tokens.input + tokens.cache_read + written),
        KeyValue::int("gen_ai.usage.output_tokens", tokens.output),
    ];
    for (key, n) in [
        ("gen_ai.usage.cache_read.input_tokens", tokens.cache_read),
        ("gen_ai.usage.cache_creation.input_tokens", written),
        ("gen_ai.usage.reasoning.output_tokens", tokens.reasoning),
    ] {
        if n > 0 {
            usage.push(KeyValue::int(key, n));
        }
    }
    usage
}

/// The path where it holds no name, else what is spoken there: a span's name has few values.
fn place(log: &LogRecord) -> &str {
    // What is asked of models has a dialect of two words, and a path of two steps at most; other paths name things at the second.
    let n_steps = if log.dialect.contains('-') { 2 } else { 1 };
    let rest = log.path.strip_prefix("/v1/").filter(|rest| rest.split('/').count() <= n_steps && !rest.contains(':'));
    if rest.is_some() && log.dialect != "pass" { &log.path } else { &log.dialect }
}

fn at(log: &LogRecord, micros: u64) -> u64 {
    u64::try_from(log.started_unix_ms).unwrap_or_default() * 1_000_000 + micros * 1000
}
