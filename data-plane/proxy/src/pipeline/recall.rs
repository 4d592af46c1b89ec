//! Whether a request is one whose answer may be there already, and how to ask for it.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use gateway_dialects::framing::array::StreamForm;
use gateway_engine::cache::{Question, Terms};
use gateway_engine::identity::Caller;
use gateway_engine::resolve::Resolved;
use gateway_engine::snapshot::Snapshot;
use gateway_ir::dialect::Dialect;
use gateway_ir::facts::Facts;
use gateway_ir::task::Task;
use http::HeaderMap;

use crate::attempt::ANTHROPIC_BETA;
use crate::cache::{Cache, Form, Hit, Recalled, Wanted};
use crate::headers::Hints;
use crate::ingress::{self, Errand};
use crate::record::Record;

/// A request that has been admitted.
pub(crate) struct Asked<'a> {
    pub(crate) operation: (Errand, Dialect),
    /// Path, headers, and how a stream is told.
    pub(crate) head: (&'a str, &'a HeaderMap, StreamForm),
    pub(crate) hints: &'a Hints<'a>,
    pub(crate) said: (&'a Facts, &'a Bytes),
    pub(crate) caller: &'a Caller,
    pub(crate) strict: bool,
    pub(crate) stream: bool,
    /// It goes on from nothing, nothing will go on from it, and its client stays.
    pub(crate) is_free: bool,
}

/// On the heap: most requests do not ask, and should not carry it.
type Recalling = Pin<Box<dyn Future<Output = Recalled> + Send>>;

/// `None` where nobody is to be asked; one branch where the cache is off.
pub(crate) fn begin(
    cache: &Arc<Cache>,
    snapshot: &Snapshot,
    resolved: &Resolved,
    asked: Asked<'_>,
    record: &mut Record,
) -> Option<Recalling> {
    let terms = Terms::of(snapshot, resolved)?;
    if asked.hints.no_cache {
        cache.bypassed();
        record.cached("bypass");
        return None;
    }
    let Some(wanted) = asked.wanted(snapshot, resolved, terms) else {
        record.cached("unfit");
        return None;
    };
    Some(Box::pin(Arc::clone(cache).recall(wanted)))
}

/// Waits for it. `None`: the request is to be answered by somebody, and its reply kept.
pub(crate) async fn end(recalling: Recalling, record: &mut Record) -> Option<Hit> {
    record.waits_for_upstream();
    let recalled = recalling.await;
    record.heard_from_upstream();
    match recalled {
        Recalled::Miss(fill) => {
            record.fills(fill);
            None
        }
        Recalled::Hit(hit) => {
            record.recalled(&hit);
            Some(hit)
        }
    }
}

// === impl Asked ===

impl Asked<'_> {
    fn wanted(&self, snapshot: &Snapshot, resolved: &Resolved, terms: Terms) -> Option<Wanted> {
        let ((errand, dialect), (path, _, form), (facts, body)) = (self.operation, self.head, self.said);
        let told = match errand {
            Errand::Chat => Some(ingress::spoken(dialect)),
            Errand::Task(form) if matches!(form.task(), Task::Embeddings | Task::Rerank | Task::Moderations) => None,
            Errand::Task(_) | Errand::CountTokens => return None,
        };
        if !self.is_free {
            return None;
        }
        let question = Question {
            language: errand.language(dialect),
            tenant: &self.caller.id,
            forced_provider: self.hints.provider,
            forced_model: self.hints.model,
            forced_route: self.hints.route,
            strict: self.strict,
            features: &self.features(dialect),
            named_in_path: ingress::gemini::asked(path).is_some(),
            body,
        };
        let key = question.key(snapshot, resolved)?;
        let form = match self.stream {
            true => Form::Stream { form, include_usage: facts.include_usage },
            false => Form::Json,
        };
        // Nobody waits longer for another's answer than for an upstream's.
        let patience = resolved.policy(resolved.targets().next()?, self.stream).first_byte;
        Some(Wanted { key, terms, form, dialect: told, patience })
    }

    /// As far as they go on to an upstream.
    fn features(&self, dialect: Dialect) -> Vec<&[u8]> {
        let values = self.head.1.get_all(&ANTHROPIC_BETA);
        let is_sent = dialect == Dialect::AnthropicMessages;
        values.iter().filter(|_| is_sent).map(http::HeaderValue::as_bytes).collect()
    }
}
