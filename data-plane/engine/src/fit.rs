//! Whether a model can serve a request at all: room for the prompt, and what the request needs. By declared facts only; what
//! nobody has said keeps nobody away.

use gateway_ir::failure::{Code, Failure};
use gateway_ir::needs::Needs;
use gateway_ir::offer::Known;

/// What is known of one upstream model. The default knows nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fit {
    /// Tokens of the largest prompt.
    window: Option<u64>,
    /// What it lacks by the configuration or its provider.
    lacks: Needs,
    /// What it lacks by the catalogue, which may be behind the times.
    may_lack: Needs,
    /// What it is known to have.
    has: Needs,
}

/// Why a model is passed over for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    TooSmall { window: u64, n_input: u64 },
    Lacks { needs: Needs, is_certain: bool },
}

// === impl Fit ===

impl Fit {
    /// `certain` is what the configuration and the provider say, each fact the nearer one's.
    pub(crate) fn new(certain: &Known, catalogued: &Known) -> Self {
        let lacks = |known: &Known| {
            let reads_audio = known.reads.map(|reads| reads.has("audio"));
            let facts = [(known.tool_calls, Needs::TOOLS), (known.vision, Needs::VISION), (reads_audio, Needs::AUDIO)];
            let of = |wanted: bool| {
                let those = facts.into_iter().filter(move |(fact, _)| *fact == Some(wanted));
                those.fold(Needs::NONE, |all, (_, need)| all.with(need))
            };
            (of(false), of(true))
        };
        let (lacking, having) = lacks(certain);
        let (may_lack, listed) = lacks(catalogued);
        Self {
            window: certain.context_window.or(catalogued.context_window),
            lacks: lacking,
            may_lack: may_lack.without(having),
            has: having.with(listed.without(lacking)),
        }
    }

    /// Which of these needs it is known to meet.
    pub(crate) fn meets(&self, needs: Needs) -> Needs {
        self.has.both(needs)
    }

    /// What keeps it from a conversation of so many tokens.
    pub(crate) fn unfit(&self, needs: Needs, n_input: u64) -> Option<Unfit> {
        let lacking = self.lacks.both(needs);
        let may_lack = self.may_lack.both(needs);
        match self.window {
            Some(window) if n_input > window => Some(Unfit::TooSmall { window, n_input }),
            _ if !lacking.is_empty() => Some(Unfit::Lacks { needs: lacking, is_certain: true }),
            _ if !may_lack.is_empty() => Some(Unfit::Lacks { needs: may_lack, is_certain: false }),
            _ => None,
        }
    }
}

// === impl Unfit ===

impl Unfit {
    pub fn name(self) -> &'static str {
        match self {
            Self::TooSmall { .. } => "context_too_small",
            Self::Lacks { needs, .. } if needs.covers(Needs::TOOLS) => "lacks_tools",
            Self::Lacks { needs, .. } if needs.covers(Needs::VISION) => "lacks_vision",
            Self::Lacks { .. } => "lacks_audio",
        }
    }

    /// Whether asking it all the same is better than a refusal: a prompt is estimated, and may be half of that; the catalogue may
    /// be old.
    pub(crate) fn is_doubtful(self) -> bool {
        match self {
            Self::TooSmall { window, n_input } => n_input / 2 <= window,
            Self::Lacks { is_certain, .. } => !is_certain,
        }
    }

    fn reason(self) -> String {
        match self {
            Self::TooSmall { window, n_input } => {
                format!("takes {window} tokens at most, and the prompt has about {n_input}")
            }
            Self::Lacks { needs, .. } => format!("lacks {}", needs.names().collect::<Vec<_>>().join(" and ")),
        }
    }
}

/// What to tell a client for whom nobody fits; by the targets' addresses. There is at least one.
pub(crate) fn refusal(model: &str, unfit: &[(String, Unfit)]) -> Box<Failure> {
    /// More reasons than these help nobody.
    const MAX_REASONS: usize = 3;
    let reasons = unfit.iter().take(MAX_REASONS).map(|(target, unfit)| format!("`{target}` {}", unfit.reason()));
    let reasons = reasons.collect::<Vec<_>>().join("; ");
    let message = format!("no target of `{model}` can serve this request: {reasons}");
    let is_size = unfit.iter().all(|(_, unfit)| matches!(unfit, Unfit::TooSmall { .. }));
    Box::new(Failure::new(if is_size { Code::ContextTooLong } else { Code::UnsupportedParameter }, message))
}

#[cfg(test)]
mod tests {
    use gateway_ir::offer::Modalities;

    use super::*;

    #[test]
    fn only_what_is_known_keeps_anybody_away() {
        let nothing = Known::default();
        let small = Known { context_window: Some(1000), ..Known::default() };
        let blind = Known { vision: Some(false), tool_calls: Some(true), ..Known::default() };
        let seeing = Known { vision: Some(true), ..Known::default() };
        let deaf = Known { reads: Some(Modalities::from_words(["text", "image"])), ..Known::default() };
        let both = Needs::VISION.with(Needs::TOOLS);
        let cases = [
            (&nothing, &nothing, both, 1 << 40, None, false),
            (&small, &nothing, both, 1000, None, false),
            (&small, &nothing, both, 1001, Some("context_too_small"), true),
            (&small, &nothing, both, 2002, Some("context_too_small"), false),
            (&nothing, &small, Needs::NONE, 5000, Some("context_too_small"), false),
            (&blind, &nothing, both, 0, Some("lacks_vision"), false),
            (&blind, &nothing, Needs::TOOLS, 0, None, false),
            (&nothing, &blind, both, 0, Some("lacks_vision"), true),
            // The nearer word stands.
            (&seeing, &blind, both, 0, None, false),
            (&nothing, &deaf, Needs::AUDIO, 0, Some("lacks_audio"), true),
            (&nothing, &deaf, Needs::DOCUMENTS.with(Needs::JSON_SCHEMA), 0, None, false),
        ];
        for (certain, catalogued, needs, n_input, expected, is_doubtful) in cases {
            let unfit = Fit::new(certain, catalogued).unfit(needs, n_input);
            assert_eq!(unfit.map(Unfit::name), expected, "{certain:?} {catalogued:?} {needs:?} {n_input}");
            assert_eq!(unfit.is_some_and(Unfit::is_doubtful), is_doubtful, "{certain:?} {needs:?} {n_input}");
        }
    }

    #[test]
    fn a_refusal_says_why() {
        let small = Unfit::TooSmall { window: 10, n_input: 99 };
        let blind = Unfit::Lacks { needs: Needs::VISION, is_certain: true };
        let cases = [
            (vec![("a/x".to_owned(), small)], 413, "`a/x` takes 10 tokens at most, and the prompt has about 99"),
            (vec![("a/x".to_owned(), small), ("b/y".to_owned(), blind)], 400, "`b/y` lacks vision"),
        ];
        for (unfit, status, reason) in cases {
            let failure = refusal("m", &unfit);
            assert_eq!(failure.status, status);
            assert!(failure.message.ends_with(reason), "{}", failure.message);
        }
    }
}
