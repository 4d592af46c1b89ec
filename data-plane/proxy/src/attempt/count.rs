//! How many tokens a request is: asked of the target's vendor where it says so, estimated where it does not.

use std::sync::Arc;
use std::time::Duration;

use gateway_dialects::dialect::{Counter, Upstream};
use gateway_dialects::{registry, signed_id};
use gateway_engine::count;
use gateway_engine::snapshot::{Policy, Target};
use gateway_ir::chat::ChatRequest;
use gateway_ir::dialect::Dialect;
use gateway_ir::facts::Rewrite;
use gateway_ir::failure::Failure;
use tokio::time::Instant;

use super::reading::{MAX_ERROR_BODY, Reading, refusal};
use super::told::Told;
use super::{Answer, Outbound, Sent};
use crate::body::Pieces;
use crate::ingress;

// === impl Outbound ===

impl Outbound<'_> {
    /// One target's number. An estimate costs no call; it is as good from one target as from another.
    pub(super) async fn count(&mut self, target: &Arc<Target>, policy: &Policy, deadline: Instant) -> Told {
        let client = ingress::counted(self.inbound.id());
        let Some((dialect, uri)) = target.provider.endpoint.count_uri(&target.model) else {
            let bytes = client.encode_counted(count::prompt(self.counted()?, target.tokenizer, rand::random()));
            return Ok((Answer::Counted { bytes, is_exact: false }, 200.into(), Vec::new()));
        };
        let counter = registry::counter(dialect).expect("endpoints name only dialects whose upstreams count");
        let passes = self.count_passes(dialect, target);
        let Sent { body, headers, dropped, .. } = self.encode_count(counter, target, passes)?;
        let response = self.send(target, self.request(target, uri, body, headers), policy, deadline).await?;
        let status = response.status().as_u16();
        let dialect = registry::dialect(dialect);
        if !response.status().is_success() {
            let failure = refusal(dialect, response, target, policy.idle.min(Duration::from_secs(10))).await;
            return Err(Box::new(failure.said_with(status)));
        }
        let reading = Reading { target, dialect, by_tool: false, idle: policy.idle, deadline };
        // A number is no longer than an error.
        let read = reading.collect(&mut response.into_body(), MAX_ERROR_BODY).await;
        let counted = read.and_then(|(bytes, whole)| match whole {
            true => counter.decode_counted(&bytes).map(|n_tokens| (bytes, n_tokens)),
            false => Err(reading.garbage("to the question for a number of tokens is larger than 64 KiB")),
        });
        let (bytes, n_tokens) = counted.map_err(|failure| Box::new(failure.said_with(status)))?;
        let bytes = if passes { bytes } else { client.encode_counted(n_tokens) };
        Ok((Answer::Counted { bytes, is_exact: true }, status.into(), dropped))
    }

    /// Bytes pass on the same terms as in [`super::Lane::choose`].
    fn count_passes(&self, dialect: Dialect, target: &Target) -> bool {
        let must_read = || target.quirks.needs_content(dialect, self.facts.says, self.body);
        let is_foreign = || signed_id::is_in(self.body) || !ingress::counted(self.inbound.id()).may_pass(self.body);
        self.inbound.id() == dialect && !must_read() && !is_foreign()
    }

    fn encode_count(
        &mut self,
        counter: &'static dyn Counter,
        target: &Target,
        passes: bool,
    ) -> Result<Sent, Box<Failure>> {
        if passes {
            let rewrite = Rewrite { model: &target.model, ..Rewrite::default() };
            let pieces = self.facts.rewrite(self.body, &rewrite);
            return Ok(Sent {
                body: Pieces::joined_if_small(pieces).into(),
                headers: Vec::new(),
                dropped: Vec::new(),
                by_tool: false,
            });
        }
        let upstream = Upstream { model: &target.model, stream: false, quirks: &target.quirks };
        let request = self.counted()?;
        Ok(Sent::translated(counter.encode_count(request, &upstream)?, request))
    }

    fn counted(&self) -> Result<&ChatRequest, Box<Failure>> {
        match self.decoded.get() {
            Some(request) => Ok(request),
            None => {
                let request = ingress::counted(self.inbound.id()).decode_count(self.facts.document.raw())?;
                Ok(self.decoded.get_or_init(|| Box::new(request)))
            }
        }
    }
}
