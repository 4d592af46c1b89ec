//! An answer → the client's response: status, headers, body. Pure assembly; the pieces come from `attempt` and `relay`.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use gateway_dialects::dialect::{ClientDialect, ReplyContext, TapOptions};
use gateway_dialects::framing::array::StreamForm;
use gateway_dialects::task_events;
use gateway_engine::choice::Chosen;
use gateway_engine::limits::Rates;
use gateway_engine::resolve::Resolved;
use gateway_engine::snapshot::Target;
use gateway_ir::dialect::Dialect;
use gateway_ir::facts::Facts;
use gateway_ir::fold::Reply;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, TE, TRAILER};
use http::{HeaderMap, Response, StatusCode};

mod again;

pub(crate) use self::again::{Again, again};
use crate::attempt::{Answer, Answered, reply_context};
use crate::body::ReplyBody;
use crate::headers::Writer;
use crate::ingress;
use crate::pipeline::{Gateway, Head};
use crate::record::{Ending, Record};
use crate::relay::{Mode, Relay, Resume, Translation};
use crate::state::Config;
use crate::tail;

/// What the pipeline hands over.
pub(crate) struct Outcome {
    pub(crate) answered: Answered,
    pub(crate) asked: Asked,
    /// Who is asked for the rest, should it break off; `None`: nobody.
    pub(crate) sequel: Option<Arc<dyn Resume>>,
    /// The reply is kept for its client to ask for again.
    pub(crate) stored: bool,
    /// The response it goes on from.
    pub(crate) previous: Option<String>,
    /// The conversation that it becomes a part of.
    pub(crate) conversation: Option<String>,
}

/// What was asked and how it came to be served, whoever answers.
pub(crate) struct Asked {
    pub(crate) route: Option<Arc<str>>,
    pub(crate) model: String,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    /// Asked in the form before tools.
    pub(crate) functions: bool,
    /// The limits nearest to their ends, for `x-ratelimit-*`.
    pub(crate) rates: Option<Rates>,
    pub(crate) chosen: Chosen,
}

// === impl Asked ===

impl Asked {
    pub(crate) fn new(resolved: &Resolved, facts: Facts, stream: bool, rates: Option<Rates>, chosen: Chosen) -> Self {
        Self {
            route: resolved.route.clone(),
            model: facts.model,
            stream,
            include_usage: facts.include_usage,
            functions: facts.has_functions,
            rates,
            chosen,
        }
    }

    fn context(&self, head: &Head) -> ReplyContext {
        reply_context(&head.id, &self.model, self.include_usage, self.functions)
    }

    /// A response without a body, which tells what there is to tell whoever answers.
    fn begun(&self, head: &Head, config: &Config, (provider, model): (&str, &str)) -> Response<ReplyBody> {
        let mut response = Response::new(ReplyBody::empty());
        // All that is said of a reply in one family, or in both; growing would place each of them anew.
        let n_headers = if config.families().lunargate { 48 } else { 24 };
        *response.headers_mut() = HeaderMap::with_capacity(n_headers);
        let mut writer = Writer::new(response.headers_mut(), config.families());
        writer.request_id(&head.id);
        writer.target(provider, model);
        if let Some(route) = &self.route {
            writer.route(route);
        }
        writer.revision(config.snapshot.revision);
        if let Some(rates) = &self.rates {
            writer.rates(rates);
        }
        writer.chosen(&self.chosen);
        response
    }
}

/// The reply, and the record where nothing more is to be written down in it than what is known by now.
pub(crate) fn response(
    gateway: &Gateway,
    config: &Config,
    dialect: Dialect,
    head: &Head,
    outcome: Outcome,
    mut record: Record,
) -> (Response<ReplyBody>, Option<Record>) {
    let Outcome { answered, asked, sequel, stored, previous, conversation } = outcome;
    let Answered { answer, target, status, bounds, dropped, n_continued } = answered;
    let context = ReplyContext { stored, previous, conversation, ..asked.context(head) };
    let (inbound, stream) = (ingress::spoken(dialect), asked.stream);
    record.status(status);
    let mut response = asked.begun(head, config, (&target.provider.name, &target.model));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let mut writer = Writer::new(response.headers_mut(), config.families());
    writer.retries(record.n_attempts().saturating_sub(1));
    writer.dropped(&dropped);
    flag(&mut writer, &record, &target, &answer);
    if let Some(fill) = record.fill() {
        fill.dropped(&dropped);
        writer.cache(false);
    }
    let ending = gateway.halt(config, &record);
    let is_text = !matches!(answer, Answer::Made { .. });
    let whole = match answer {
        Answer::Passing { body, strip_usage } => {
            let mode = Mode::Pass(head.form.tap(inbound.stream_tap(TapOptions { strip_usage })));
            return (streamed(response, head, Relay::new(body, mode, bounds, ending, record)), None);
        }
        Answer::Translating { body, decoder } => {
            let mode = Mode::Translate(Box::new(Translation::new(
                decoder,
                head.form.encoder(inbound.stream_encoder(&context)),
            )));
            let relay = Relay::new(body, mode, bounds, ending, record);
            let relay = match sequel {
                Some(sequel) => relay.continued_by(sequel, n_continued),
                None => relay,
            };
            return (streamed(response, head, relay), None);
        }
        Answer::PassingWhole { head: first, body } => {
            let mode = Mode::Pass(Box::new(tail::Tail::of_conversation(inbound, first)));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            return (with_trailers(response, head, Relay::new(body, mode, bounds, ending, record)), None);
        }
        Answer::PassingMade { family, kind, head: first, body, n_read } => {
            record.reads(n_read);
            let is_stream = kind.as_ref().is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
            let mode = match is_stream {
                true => Mode::Pass(Box::new(task_events::Events::new(Some(family)))),
                false => Mode::Pass(Box::new(tail::Tail::of_task(family, first))),
            };
            if let Some(kind) = kind {
                response.headers_mut().insert(CONTENT_TYPE, kind);
            }
            // The events of a stream may count something else.
            if let Some(cost) = record.cost_of_request().filter(|_| !is_stream) {
                Writer::new(response.headers_mut(), config.families()).cost(cost);
            }
            return (with_trailers(response, head, Relay::new(body, mode, bounds, ending, record)), None);
        }
        Answer::Made { bytes, usage, n_read } => {
            record.reads(n_read);
            if let Some(usage) = usage {
                record.used(usage);
            }
            bytes
        }
        Answer::Whole { bytes, usage } => {
            if let Some(usage) = usage {
                record.used(usage);
            }
            bytes
        }
        Answer::Counted { bytes, is_exact } => {
            Writer::new(response.headers_mut(), config.families()).token_count(is_exact);
            bytes
        }
        Answer::Folded(reply) => {
            if let Some(usage) = reply.usage {
                record.used(usage);
            }
            folded(inbound, &reply, &context, stream.then_some(head.form))
        }
    };
    record.forwarded(whole.len(), if is_text { whole.len() as u64 } else { 0 });
    finished(response, config, whole, stream.then_some(head.form), record)
}

/// A reply that is all here: exact figures go into its headers.
fn finished(
    mut response: Response<ReplyBody>,
    config: &Config,
    bytes: Bytes,
    stream: Option<StreamForm>,
    mut record: Record,
) -> (Response<ReplyBody>, Option<Record>) {
    record.ended(Ending::Finished);
    let kind = stream.map_or("application/json", StreamForm::media_type);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    record.shows_as(response.headers());
    record.shows(&bytes);
    let mut writer = Writer::new(response.headers_mut(), config.families());
    figures(&mut writer, &record);
    if record.is_unpriced_flagged() && record.usage().is_some() && record.cost().is_none() {
        writer.unpriced();
    }
    *response.body_mut() = ReplyBody::whole(bytes);
    (response, Some(record))
}

/// Says before the reply what nobody can say behind it. Counting tokens costs nothing.
fn flag(writer: &mut Writer<'_>, record: &Record, target: &Target, answer: &Answer) {
    let is_counted = matches!(answer, Answer::Counted { .. });
    if record.is_unpriced_flagged() && target.price.is_none() && !is_counted {
        writer.unpriced();
    }
}

fn figures(writer: &mut Writer<'_>, record: &Record) {
    if let Some(usage) = record.usage() {
        writer.tokens(usage.prompt(), usage.output);
    }
    if let Some(cost) = record.cost() {
        writer.cost(cost);
    }
    let (total_us, overhead_us) = record.spent_us();
    writer.latency(total_us, overhead_us);
}

fn folded(
    inbound: &'static dyn ClientDialect,
    reply: &Reply,
    context: &ReplyContext,
    stream: Option<StreamForm>,
) -> Bytes {
    let Some(form) = stream else { return inbound.encode_reply(reply, context) };
    // The upstream answered whole where a stream was asked for: the client still gets its stream.
    let mut out = BytesMut::new();
    let mut encoder = form.encoder(inbound.stream_encoder(context));
    for event in gateway_ir::fold::unfold(reply) {
        encoder.push(&event, &mut out);
    }
    encoder.end(&mut out);
    out.freeze()
}

fn streamed(mut response: Response<ReplyBody>, head: &Head, relay: Relay) -> Response<ReplyBody> {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(head.form.media_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx and its like must not hold events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    with_trailers(response, head, relay)
}

/// Figures that are only known at the end go out as trailers, to clients that say they read them.
pub(crate) fn with_trailers(mut response: Response<ReplyBody>, head: &Head, mut relay: Relay) -> Response<ReplyBody> {
    relay.shows_as(response.headers());
    let wants = head.headers.get(TE).and_then(|te| te.to_str().ok()).is_some_and(|te| te.contains("trailers"));
    let relay = if wants {
        response.headers_mut().insert(TRAILER, HeaderValue::from_static(TRAILERS));
        relay.with_trailers(trailers)
    } else {
        relay
    };
    *response.body_mut() = ReplyBody::Stream(relay.boxed());
    response
}

const TRAILERS: &str = "x-gateway-cost-usd, x-gateway-llm-tokens-input, x-gateway-llm-tokens-output, \
    x-gateway-latency-ms, x-gateway-overhead-duration-ms, x-gateway-overhead-duration-us";

fn trailers(record: &Record) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let families = gateway_engine::snapshot::HeaderFamilies { gateway: true, lunargate: false };
    figures(&mut Writer::new(&mut headers, families), record);
    headers
}
