//! Shadow traffic: a part of a model's conversations is given to a challenger too, behind the request. Nobody gets its answer and
//! nobody is charged for it; what it cost, how long it took and whether it failed is in a record of its own.
//!
//! It begins when the client's reply has, and is left out rather than waited for: where its model's shadows are all taken,
//! where the node is busy or draining, where the body is large.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use gateway_engine::choice::Chosen;
use gateway_engine::identity::Caller;
use gateway_engine::resolve::{Ask, Resolved, resolve};
use gateway_engine::retry::Budget;
use gateway_engine::snapshot::ShadowSeat;
use gateway_ir::dialect::Dialect;
use gateway_ir::facts::Facts;
use gateway_ir::failure::Failure;
use http::HeaderMap;
use http_body_util::BodyExt as _;

use crate::attempt::{Outbound, Terms};
use crate::ingress::{self, Errand};
use crate::pipeline::{Gateway, Head, request_id};
use crate::record::{Ending, Record};
use crate::reply;
use crate::spans::Span;
use crate::state::Config;
use crate::task;

/// Requests that a node serves at once without being busy.
const BUSY: u64 = 256;
/// Larger bodies have no shadow: to write them for another provider takes time that belongs to other requests.
const MAX_BODY: usize = 1024 * 1024;

/// A request that is to be asked once more, with its place.
pub(crate) struct Shadow {
    seat: ShadowSeat,
    model: Arc<str>,
    body: Bytes,
    facts: Facts,
    stream: bool,
    /// Of the request that it is a shadow of.
    span: Option<Span>,
}

/// The shadow of a conversation that has been answered, if it is to have one. Costs a branch where its model has none.
pub(crate) fn of(
    gateway: &Gateway,
    resolved: &Resolved,
    errand: Errand,
    (body, facts): (&Bytes, &Facts),
    stream: bool,
    record: &Record,
) -> Option<Box<Shadow>> {
    let shadow = resolved.shadow.as_ref().filter(|_| errand == Errand::Chat)?;
    let is_busy = gateway.sinks.meters.n_in_flight() > BUSY || gateway.draining.is_cancelled();
    if is_busy || body.len() > MAX_BODY {
        return None;
    }
    let seat = shadow.take()?;
    let (model, body, facts) = (Arc::clone(&shadow.model), body.clone(), facts.clone());
    Some(Box::new(Shadow { seat, model, body, facts, stream, span: record.span() }))
}

/// Asks the challenger, behind the request of this head; over when it has answered or the node drains.
pub(crate) fn cast(gateway: &Arc<Gateway>, config: &Arc<Config>, dialect: Dialect, head: &Head, shadow: Box<Shadow>) {
    let id = request_id();
    let mut record = Record::begin(Arc::clone(&gateway.sinks), Instant::now(), &id, "POST", &head.path);
    record.dialect(Errand::Chat.language(dialect));
    record.shadows(&head.id);
    record.traced_behind(shadow.span);
    // Until it has ended otherwise, what ends it is the drain.
    record.ended(Ending::Shutdown);
    let head = Head {
        path: head.path.clone(),
        headers: HeaderMap::new(),
        from: head.from,
        id,
        form: head.form,
        connection: None,
        run: None,
    };
    let (gateway, config) = (Arc::clone(gateway), Arc::clone(config));
    task::spawn_job(async move {
        let asked = Box::pin(ask(&gateway, &config, dialect, &head, *shadow, record));
        tokio::select! {
            () = asked => {}
            () = gateway.draining.cancelled() => {}
        }
    });
}

async fn ask(
    gateway: &Arc<Gateway>,
    config: &Config,
    dialect: Dialect,
    head: &Head,
    shadow: Shadow,
    mut record: Record,
) {
    let Shadow { seat, model, body, facts, stream, .. } = shadow;
    record.asked(&model, stream, config.snapshot.revision, body.len());
    match answered(gateway, config, dialect, &model, (&body, &facts), stream, &mut record).await {
        Ok(outcome) => {
            let (response, record) = reply::response(gateway, config, dialect, head, outcome, record);
            let mut body = response.into_body();
            while let Some(Ok(_)) = body.frame().await {}
            drop(record);
        }
        Err(failure) => {
            record.failed(&failure);
            record.status(failure.status);
        }
    }
    drop(seat);
}

async fn answered(
    gateway: &Gateway,
    config: &Config,
    dialect: Dialect,
    model: &str,
    (body, facts): (&Bytes, &Facts),
    stream: bool,
    record: &mut Record,
) -> Result<reply::Outcome, Box<Failure>> {
    let headers = HeaderMap::new();
    // By its own name, whatever routes say of it, and whoever asks: the operator does.
    let resolved = resolve(&config.snapshot, &Ask::new("", &headers, model), &Caller::anonymous())?;
    record.charged_to_nobody();
    let terms = Terms { once_each: true, strict: false, may_hedge: false, may_continue: false, total: None };
    // Its second attempts are not taken from those of requests that somebody waits for.
    let retries = Budget::new(Instant::now());
    let clients = (&gateway.client, &*gateway.tokens, &retries);
    let inbound = ingress::spoken(dialect);
    let mut forwarded = HeaderMap::new();
    record.hands_on(&mut forwarded);
    let mut outbound = Outbound::new(clients, (Errand::Chat, inbound), body, facts, stream, forwarded, terms);
    let answered = outbound.run(&resolved, record).await?;
    let asked = reply::Asked {
        route: None,
        model: model.to_owned(),
        stream,
        include_usage: facts.include_usage,
        functions: facts.has_functions,
        rates: None,
        chosen: Chosen::default(),
    };
    Ok(reply::Outcome { answered, asked, stored: false, previous: None, conversation: None, sequel: None })
}
