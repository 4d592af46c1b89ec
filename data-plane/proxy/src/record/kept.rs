//! What was asked and answered, where somebody wants to read it with the log record. What is to be hidden is hidden here, before it is queued
//! anywhere.

use std::sync::Arc;

use bytes::Bytes;
use gateway_engine::bodies::{Keeping, Media};
use gateway_engine::snapshot::Target;
use gateway_wire::v1::{BodyPart, LogBody};
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use super::Record;

/// What is kept of one request.
pub(super) struct Kept {
    keeping: Arc<Keeping>,
    /// The client's own bytes, which are shared and not copied.
    request: Option<(Bytes, String)>,
    /// As much as is kept.
    response: Vec<u8>,
    response_kind: String,
    n_response_bytes: u64,
}

// === impl Record ===

impl Record {
    /// From now on bodies are kept, if the rule says so of this request, whose own is asked for only then.
    pub(crate) fn keeps_bodies(
        &mut self,
        keeping: Option<&Arc<Keeping>>,
        request: impl FnOnce() -> Bytes,
        headers: &HeaderMap,
    ) {
        let Some(keeping) = keeping.filter(|keeping| keeping.takes(&self.log.id)) else { return };
        let request = keeping.request.then(|| (request(), content_type(headers)));
        self.kept = Some(Box::new(Kept {
            keeping: Arc::clone(keeping),
            request,
            response: Vec::new(),
            response_kind: String::new(),
            n_response_bytes: 0,
        }));
    }

    /// In which form the client is answered.
    pub(crate) fn shows_as(&mut self, headers: &HeaderMap) {
        if let Some(kept) = &mut self.kept {
            kept.response_kind = content_type(headers);
        }
    }

    /// So much of the reply goes to the client.
    pub(crate) fn keep_shown(&mut self, out: &[u8]) {
        if let Some(kept) = &mut self.kept
            && kept.keeping.response
        {
            let room = kept.keeping.max_bytes.saturating_sub(kept.response.len());
            kept.response.extend_from_slice(&out[..room.min(out.len())]);
            kept.n_response_bytes += out.len() as u64;
        }
    }

    /// When nothing more comes.
    pub(super) fn log_bodies(&mut self) {
        let Some(kept) = self.kept.take() else { return };
        let Kept { keeping, request, response, response_kind, n_response_bytes } = *kept;
        let credentials = self.target.as_deref().map(credentials).unwrap_or_default();
        let credentials: Vec<&[u8]> = credentials.iter().map(Vec::as_slice).collect();
        let part = |first: &[u8], n_bytes: u64, content_type: String| {
            let truncated = first.len() as u64 != n_bytes;
            let hidden = keeping.hide(Media::of(&content_type), first, truncated, &credentials);
            BodyPart {
                content: hidden.content.into(),
                content_type,
                total_bytes: n_bytes,
                truncated,
                redacted: hidden.n_hidden,
                withheld: hidden.withheld,
            }
        };
        let request = request.map(|(body, kind)| {
            let n_kept = body.len().min(keeping.max_bytes);
            part(&body[..n_kept], body.len() as u64, kind)
        });
        let response = (n_response_bytes > 0).then(|| part(&response, n_response_bytes, response_kind));
        if request.is_none() && response.is_none() {
            return;
        }
        let (id, started_unix_ms) = (self.log.id.clone(), self.log.started_unix_ms);
        self.sinks.logs.push_body(LogBody { id, started_unix_ms, request, response });
    }
}

/// What the gateway shows the upstream that nobody else is to see.
fn credentials(target: &Target) -> Vec<Vec<u8>> {
    let secrets = target.provider.endpoint.headers().iter().filter(|(_, value)| value.is_sensitive());
    let secrets = secrets.map(|(_, value)| value.as_bytes());
    secrets.map(|value| value.strip_prefix(b"Bearer ").unwrap_or(value).to_vec()).collect()
}

/// Without what nobody could print.
fn content_type(headers: &HeaderMap) -> String {
    headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().chars().take(128).collect()
}
