//! What a receipt says of a request: hashes of what went in and out, counted while it passes.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

use super::Record;
use crate::receipts::{Receipt, Receipts, hash, hex};

/// Of a request for which a receipt will be written.
pub(super) struct Receipted {
    receipts: Arc<Receipts>,
    request: String,
    reply: Context,
}

// === impl Record ===

impl Record {
    /// A receipt will be written when it ends. Nothing where the node has no directory to keep receipts in.
    pub(crate) fn receipted(&mut self, body: &[u8]) {
        let Some(receipts) = self.sinks.receipts.clone() else { return };
        let (request, reply) = (hash(body), Context::new(&SHA256));
        self.receipted = Some(Box::new(Receipted { receipts, request, reply }));
    }

    /// So much of the reply goes to the client.
    pub(crate) fn shows(&mut self, out: &[u8]) {
        if let Some(fill) = &mut self.fill {
            fill.shows(out);
        }
        let has_left = self.has_left;
        if !has_left {
            self.keep_shown(out);
        }
        if let Some(receipted) = &mut self.receipted
            && !has_left
        {
            receipted.reply.update(out);
        }
    }

    /// When everything is known.
    pub(super) fn write_receipt(&mut self) {
        let Some(receipted) = self.receipted.take() else { return };
        let Receipted { receipts, request, reply } = *receipted;
        let usage = self.usage().unwrap_or_default();
        // Of a continued reply the log has the last part only.
        let cost = self.log.priced.then(|| self.log.cost_nano_usd.saturating_add(self.charged_beside));
        let baseline = self.baseline.whole();
        let receipt = Receipt {
            alias: self.log.model.clone(),
            api_key_id: self.log.key_id.clone(),
            baseline_nano_usd: baseline,
            completion_tokens: usage.output,
            cost_nano_usd: cost,
            ending: self.log.ending.clone(),
            id: self.log.id.clone(),
            org_id: self.log.organization.clone(),
            price: self.log.price.clone(),
            prompt_tokens: usage.prompt(),
            provider: self.log.provider.clone(),
            provider_model: self.log.upstream_model.clone(),
            req_hash: request,
            resp_hash: hex(reply.finish().as_ref()),
            saved_nano_usd: baseline.zip(cost).map(|(baseline, cost)| baseline.saturating_sub(cost)),
            status: self.log.status,
            total_tokens: usage.total(),
            ts_unix_ms: self.log.started_unix_ms,
            ..Receipt::default()
        };
        if let Err(error) = receipts.write(receipt) {
            tracing::error!(request = %self.log.id, "no receipt could be written: {error}");
            self.sinks.meters.receipt_lost();
        }
    }
}
