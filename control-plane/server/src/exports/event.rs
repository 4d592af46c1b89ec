//! A request as exporters tell it: read from its stored record, written in the words that most of them share.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::rfc3339;

/// What is taken of a stored record. What an older record does not have is empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) started_unix_ms: i64,
    pub(super) node_id: String,
    pub(super) key_id: String,
    pub(super) key_name: String,
    pub(super) path: String,
    pub(super) dialect: String,
    pub(super) model: String,
    pub(super) route: String,
    pub(super) provider: String,
    pub(super) upstream_model: String,
    pub(super) status: u32,
    pub(super) ending: String,
    pub(super) error_code: String,
    pub(super) error_message: String,
    pub(super) stream: bool,
    pub(super) tokens: Option<Tokens>,
    pub(super) cost_nano_usd: i64,
    pub(super) admitted_us: u64,
    pub(super) first_byte_us: u64,
    pub(super) first_token_us: u64,
    pub(super) total_us: u64,
    pub(super) overhead_us: u64,
    pub(super) attempts: Vec<Attempt>,
    pub(super) passed_over: Vec<PassedOver>,
    pub(super) auto_choice: Option<AutoChoice>,
    pub(super) session_id: String,
    pub(super) tags: Vec<String>,
    pub(super) cache: Option<CacheUse>,
    pub(super) user: String,
    pub(super) team: String,
    pub(super) organization: String,
    pub(super) trace_id: String,
    /// What was asked and answered, for those who may be told. It is kept apart from records.
    #[serde(skip)]
    pub(super) request_body: Option<Value>,
    #[serde(skip)]
    pub(super) response_body: Option<Value>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tokens {
    pub(super) input: u64,
    pub(super) cache_read: u64,
    pub(super) cache_write: u64,
    pub(super) output: u64,
    pub(super) reasoning: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Attempt {
    pub(super) provider: String,
    pub(super) status: u32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PassedOver {
    pub(super) reason: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AutoChoice {
    pub(super) model: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CacheUse {
    pub(super) verdict: String,
    pub(super) saved_nano_usd: i64,
}

// === impl Event ===

impl Event {
    /// `None` where a record cannot be read, which none of ours is.
    pub(super) fn read(record: &str) -> Option<Self> {
        serde_json::from_str(record).ok()
    }

    /// Sent to try an exporter. It says of itself that it is no request.
    pub(super) fn trial(id: &str, now_ms: i64) -> Self {
        Self {
            id: id.to_owned(),
            started_unix_ms: now_ms,
            key_name: "test".to_owned(),
            path: "/v1/chat/completions".to_owned(),
            model: "test".to_owned(),
            provider: "test".to_owned(),
            upstream_model: "test".to_owned(),
            status: 200,
            ending: "finished".to_owned(),
            tags: vec!["test".to_owned()],
            ..Self::default()
        }
    }

    pub(super) fn failed(&self) -> bool {
        self.status >= 400 || !self.error_code.is_empty()
    }

    pub(super) fn cost_usd(&self) -> f64 {
        usd(self.cost_nano_usd)
    }

    /// What came in altogether: read from the provider's cache, written to it, and neither.
    pub(super) fn n_input(&self) -> u64 {
        let tokens = self.tokens.unwrap_or_default();
        tokens.input.saturating_add(tokens.cache_read).saturating_add(tokens.cache_write)
    }

    pub(super) fn n_output(&self) -> u64 {
        self.tokens.unwrap_or_default().output
    }

    pub(super) fn ended_ms(&self) -> i64 {
        self.started_unix_ms.saturating_add(i64::try_from(self.total_us / 1000).unwrap_or(i64::MAX))
    }

    pub(super) fn is_cache_hit(&self) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.verdict == "hit")
    }

    pub(super) fn n_retries(&self) -> usize {
        self.attempts.len().saturating_sub(1)
    }

    /// Whether another provider served than the one that was asked first.
    pub(super) fn fell_back(&self) -> bool {
        let first = self.attempts.first();
        !self.passed_over.is_empty() || first.is_some_and(|first| first.provider != self.provider)
    }

    /// The shared form. Never a prompt, never an answer.
    pub(super) fn told(&self) -> Value {
        let text = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
        let tokens = self.tokens.unwrap_or_default();
        let saved = self.cache.as_ref().map_or(0, |cache| cache.saved_nano_usd);
        let served = self.auto_choice.as_ref().map_or(self.model.as_str(), |choice| choice.model.as_str());
        json!({
            "id": self.id,
            "trace_id": text(&self.trace_id),
            "timestamp": rfc3339(self.started_unix_ms),
            "duration_ms": millis(self.total_us),
            "ttft_ms": millis(self.first_token_us.max(self.first_byte_us)),
            "overhead_ms": millis(self.overhead_us),
            "endpoint": self.path,
            "dialect": self.dialect,
            "node_id": self.node_id,
            "alias": self.model,
            "provider": self.provider,
            "model": self.upstream_model,
            "route": text(&self.route),
            "status": self.status,
            "ending": self.ending,
            "stream": self.stream,
            "tokens": {
                "input": self.n_input(),
                "output": tokens.output,
                "cache_read": tokens.cache_read,
                "cache_write": tokens.cache_write,
                "reasoning": tokens.reasoning,
                "total": self.n_input().saturating_add(tokens.output),
            },
            "cost": {
                "actual_usd": self.cost_usd(),
                "baseline_usd": usd(self.cost_nano_usd.saturating_add(saved)),
                "savings_usd": usd(saved),
            },
            "key_id": self.key_id,
            "key_name": self.key_name,
            "user": text(&self.user),
            "team": text(&self.team),
            "organization": text(&self.organization),
            "session_id": text(&self.session_id),
            "error": self.failed().then(|| json!({"code": self.error_code, "message": self.error_message})),
            "routing": {
                "requested_alias": self.model,
                "served_alias": served,
                "overridden": served != self.model,
                "retried": self.n_retries() > 0,
                "n_attempts": self.attempts.len(),
                "fallback": self.fell_back(),
            },
            "cache": self.cache.as_ref().map(|cache| cache.verdict.as_str()),
            "tags": self.tags,
        })
    }
}

fn usd(nano_usd: i64) -> f64 {
    nano_usd as f64 / 1e9
}

/// From microseconds.
pub(super) fn millis(us: u64) -> f64 {
    us as f64 / 1000.0
}
