//! The trace that a request is part of: the client's, or one that begins here.

use http::HeaderMap;

use super::Record;
use crate::spans::Span;
use crate::trace_context::Parent;

// === impl Record ===

impl Record {
    /// The trace that it belongs to, or begins where traces are collected.
    pub(crate) fn traced(&mut self, headers: &HeaderMap) {
        let parent = Parent::read(headers);
        self.span = self.sinks.tracer.as_ref().and_then(|tracer| tracer.begin(parent));
        let trace_id = self.span.map(|span| span.trace_id).or(parent.map(|parent| parent.trace_id));
        if let Some(trace_id) = trace_id {
            self.log.trace_id = format!("{trace_id:032x}");
        }
        self.is_traced =
            self.span.is_some_and(|span| span.is_sampled) || parent.is_some_and(|parent| parent.is_sampled);
    }

    /// It is done behind a request, whose trace it belongs to where that has one.
    pub(crate) fn traced_behind(&mut self, span: Option<Span>) {
        let Some(span) = span.map(Span::behind) else { return };
        self.log.trace_id = format!("{:032x}", span.trace_id);
        (self.is_traced, self.span) = (span.is_sampled, Some(span));
    }

    /// Nobody waits for it: where traces are collected, one begins here.
    pub(crate) fn traced_alone(&mut self) {
        self.traced(&HeaderMap::new());
        if let Some(span) = &mut self.span {
            span.is_internal = true;
        }
    }

    /// Where traces are collected, and its client does not forbid it.
    pub(crate) fn span(&self) -> Option<Span> {
        self.span
    }

    /// Tells whoever is asked behind this request whose part it is; where traces are not collected the client's word goes on.
    pub(crate) fn hands_on(&self, headers: &mut HeaderMap) {
        if let Some(span) = &self.span {
            span.hand_on(headers);
        }
    }
}
