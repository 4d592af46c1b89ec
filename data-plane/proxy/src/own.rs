//! What the gateway answers out of what it keeps, asking nobody: identified, admitted and logged as everything else is, and free.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use gateway_engine::limits::{self, Asked};
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::Failure;
use http::Response;
use http::header::CONTENT_LENGTH;

use crate::account::Account;
use crate::body::{Aborted, Chunk, ReplyBody, ReplyStream};
use crate::headers::Writer;
use crate::pipeline::{Gateway, request_id};
use crate::presented::Presented;
use crate::record::{Ending, Record};
use crate::refusal;
use crate::state::Config;

/// The model that its records name, and the name under which a client asks the gateway itself for what providers have, too.
pub(crate) const ITSELF: &str = "gateway";

/// What the gateway does itself uses no tokens.
const FREE: Asked = Asked { n_input: 0, max_output: Some(0), n_nodes: 1, yields: false, away: None };

/// One request. Dropped before it is over, its client has left.
pub(crate) struct Own<'a> {
    gateway: &'a Gateway,
    config: &'a Config,
    record: Record,
}

/// A reply that comes bit by bit, and what is written down at its end.
struct Told {
    reply: Pin<Box<dyn ReplyStream>>,
    /// Bytes that were announced and have not come. Behind the last of them nobody asks for more.
    n_left: Option<u64>,
    record: Record,
}

// === impl Own ===

impl<'a> Own<'a> {
    /// `what` is its dialect in logs and metrics.
    pub(crate) fn begin(
        gateway: &'a Gateway,
        config: &'a Config,
        presented: Presented<'_>,
        arrived: Instant,
        what: &'static str,
    ) -> Self {
        let (sinks, call) = (Arc::clone(&gateway.sinks), presented.call);
        let mut record = Record::begin(sinks, arrived, &request_id(), call.method, call.path);
        record.dialect(what);
        record.traced(presented.headers);
        record.asked(ITSELF, false, config.snapshot.revision, 0);
        record.costs_nothing();
        Self { gateway, config, record }
    }

    /// Whoever asks, where somebody does, and within all limits.
    pub(crate) async fn admit(&mut self, account: Result<Account, Box<Failure>>) -> Result<Account, Box<Failure>> {
        let account = account?;
        self.record.caller(&account);
        let asked = self.gateway.shared(FREE);
        let permit = match self.config.snapshot.settings.limit_store {
            Some(terms) => self.gateway.limit_store.admit(account.scopes(), asked, terms).await?,
            None => limits::admit(account.scopes(), asked, Instant::now()).map_err(|refused| refused.failure)?,
        };
        self.record.admitted(permit);
        Ok(account)
    }

    /// The reply, or the refusal in this dialect's words.
    pub(crate) fn over(self, told: Result<Response<ReplyBody>, Box<Failure>>, dialect: Dialect) -> Response<ReplyBody> {
        let Self { config, mut record, .. } = self;
        let id = record.id().to_owned();
        let mut response = match told {
            Ok(response) => response,
            Err(failure) => {
                record.failed(&failure);
                record.status(failure.status);
                return refusal::response(&failure, dialect, &id, config.families());
            }
        };
        record.status(response.status().as_u16());
        Writer::new(response.headers_mut(), config.families()).request_id(&id);
        let announced = response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        response.map(|body| match body {
            ReplyBody::Whole(pieces) => {
                record.forwarded(usize::try_from(pieces.len()).unwrap_or(usize::MAX), 0);
                record.ended(Ending::Finished);
                ReplyBody::Whole(pieces)
            }
            ReplyBody::Stream(reply) => ReplyBody::Stream(Box::pin(Told { reply, n_left: announced, record })),
        })
    }
}

// === impl Told ===

impl ReplyStream for Told {
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Chunk, Aborted>>> {
        let next = ready!(self.reply.as_mut().poll_next(context));
        match &next {
            Some(Ok(Chunk::Data(bytes))) => {
                self.record.forwarded(bytes.len(), 0);
                self.n_left = self.n_left.map(|n_left| n_left.saturating_sub(bytes.len() as u64));
                if self.n_left == Some(0) {
                    self.record.ended(Ending::Finished);
                }
            }
            Some(Ok(_)) => {}
            Some(Err(_)) => self.record.ended(Ending::UpstreamCut),
            None => self.record.ended(Ending::Finished),
        }
        Poll::Ready(next)
    }
}
