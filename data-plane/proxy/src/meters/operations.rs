//! What the semantic conventions for generative AI ask of whoever calls models: how long each operation at an upstream took, and how
//! many tokens it had. Shadows are not among them.
//!
//! Source: <https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/>, `gen_ai.client.operation.duration` and
//! `gen_ai.client.token.usage` with the bounds that they recommend.

use std::hash::Hash;
use std::sync::Arc;

use gateway_ir::dialect::Dialect;
use gateway_ir::task::Form;
use gateway_wire::v1::{Attempt, LogRecord, TokenUsage};
use papaya::{Equivalent, HashMap};

use super::histograms::{DURATION, Histogram, Histograms, TOKENS};

const OK: &str = "ok";

/// Bounded: providers of the configuration × operations × codes of failures.
#[derive(Default)]
pub(super) struct Operations {
    durations: HashMap<Done, Histogram, ahash::RandomState>,
    /// Of input and of output.
    tokens: HashMap<Done, Arc<[Histogram; 2]>, ahash::RandomState>,
}

#[derive(PartialEq, Eq, Hash)]
struct Done {
    provider: Box<str>,
    operation: &'static str,
    outcome: Box<str>,
}

/// As the key, without owning anything.
#[derive(Clone, Copy, Hash)]
struct DoneRef<'a> {
    provider: &'a str,
    operation: &'static str,
    outcome: &'a str,
}

/// What an upstream was asked to do, in the conventions' words where they have one.
pub(crate) fn operation(log: &LogRecord) -> &'static str {
    let dialect = log.dialect.as_str();
    if dialect == "pass" {
        return passed(&log.method, &log.path);
    }
    if dialect == Dialect::GeminiGenerate.name() {
        return "generate_content";
    }
    if dialect == Dialect::OpenAiCompletions.name() {
        return "text_completion";
    }
    // It is asked by clients alone, and in no list of forms.
    if dialect == Form::GeminiEmbedOne.name() {
        return Form::GeminiEmbedOne.task().name();
    }
    Form::ALL.iter().find(|form| form.name() == dialect).map_or("chat", |form| form.task().name())
}

/// The attempt whose answer the client got.
pub(crate) fn answering(log: &LogRecord) -> Option<usize> {
    log.attempts.iter().rposition(|attempt| attempt.error_code.is_empty() && attempt.status < 400)
}

/// When an attempt was over: the one that answers with its reply.
pub(crate) fn end_of(log: &LogRecord, attempt: &Attempt, is_answer: bool) -> u64 {
    if is_answer { log.total_us } else { attempt.ended_us }.max(attempt.started_us)
}

/// Of paths that are the vendors' own only what many vendors have is known.
fn passed(method: &str, path: &str) -> &'static str {
    let path = path.trim_end_matches('/');
    let last = path.rsplit('/').next().unwrap_or_default();
    match last {
        _ if path == "/v1/realtime" => "realtime",
        _ if method == "POST" && path.starts_with("/v1/a2a") => "invoke_agent",
        "completions" if path.ends_with("/chat/completions") => "chat",
        "messages" | "responses" | "chat" | "converse" | "converse-stream" if method == "POST" => "chat",
        "completions" => "text_completion",
        "embeddings" | "embed" => "embeddings",
        _ if last.ends_with(":generateContent") || last.ends_with(":streamGenerateContent") => "generate_content",
        _ => "pass",
    }
}

// === impl Operations ===

impl Operations {
    /// A request has ended; `provider` serves it.
    pub(super) fn ended(&self, log: &LogRecord, provider: Option<&str>, histograms: &Histograms) {
        if log.attempts.is_empty() {
            return;
        }
        let (operation, answering) = (operation(log), answering(log));
        for (number, attempt) in log.attempts.iter().enumerate() {
            let is_answer = answering == Some(number);
            let outcome = match attempt.error_code.as_str() {
                "" if attempt.status < 400 => OK,
                "" => "error",
                code => code,
            };
            let took = end_of(log, attempt, is_answer) - attempt.started_us;
            let done = DoneRef { provider: &attempt.provider, operation, outcome };
            self.duration(done, histograms).record_micros(took);
        }
        if let (Some(tokens), Some(provider), Some(_)) = (&log.tokens, provider, answering) {
            self.used(DoneRef { provider, operation, outcome: OK }, tokens, histograms);
        }
    }

    fn duration(&self, done: DoneRef<'_>, histograms: &Histograms) -> Histogram {
        let durations = self.durations.pin();
        if let Some(duration) = durations.get(&done) {
            return duration.clone();
        }
        let made = || histograms.series(DURATION, &done.labelled("outcome", done.outcome));
        durations.get_or_insert_with(done.owned(), made).clone()
    }

    /// The conventions count what caches had among what was read.
    fn used(&self, done: DoneRef<'_>, tokens: &TokenUsage, histograms: &Histograms) {
        let read = tokens.input + tokens.cache_read + tokens.cache_write + tokens.cache_write_1h;
        let rows = self.tokens.pin();
        let row = rows.get(&done).cloned().unwrap_or_else(|| {
            let of = |kind| histograms.series(TOKENS, &done.labelled("type", kind));
            Arc::clone(rows.get_or_insert_with(done.owned(), || Arc::new(["input", "output"].map(of))))
        });
        let [input, output] = &*row;
        input.record(read);
        output.record(tokens.output);
    }
}

// === impl DoneRef ===

impl<'a> DoneRef<'a> {
    fn owned(self) -> Done {
        Done { provider: self.provider.into(), operation: self.operation, outcome: self.outcome.into() }
    }

    fn labelled(self, name: &'static str, value: &'a str) -> [(&'static str, &'a str); 3] {
        [("provider", self.provider), ("operation", self.operation), (name, value)]
    }
}

impl Equivalent<Done> for DoneRef<'_> {
    fn equivalent(&self, done: &Done) -> bool {
        self.provider == &*done.provider && self.operation == done.operation && self.outcome == &*done.outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_have_the_words_of_the_conventions() {
        let of = |dialect: &str, method: &str, path: &str| {
            let [dialect, method, path] = [dialect, method, path].map(str::to_owned);
            operation(&LogRecord { dialect, method, path, ..LogRecord::default() })
        };
        for (dialect, method, path, expected) in [
            ("openai-chat", "POST", "/v1/chat/completions", "chat"),
            ("anthropic-messages", "POST", "/v1/messages", "chat"),
            ("openai-completions", "POST", "/v1/completions", "text_completion"),
            ("gemini-generate", "POST", "/v1beta/models/m:generateContent", "generate_content"),
            ("openai-embeddings", "POST", "/v1/embeddings", "embeddings"),
            ("gemini-embed-one", "POST", "/v1beta/models/m:embedContent", "embeddings"),
            ("jina-rerank", "POST", "/v1/rerank", "rerank"),
            ("pass", "GET", "/v1/realtime", "realtime"),
            ("pass", "POST", "/proxy/up/v1/chat/completions", "chat"),
            ("pass", "POST", "/proxy/up/v1/completions", "text_completion"),
            ("pass", "POST", "/proxy/up/v1beta/models/m:streamGenerateContent", "generate_content"),
            ("pass", "POST", "/v1/a2a/agent", "invoke_agent"),
            ("pass", "GET", "/v1/files", "pass"),
        ] {
            assert_eq!(of(dialect, method, path), expected, "{dialect} {path}");
        }
    }
}
