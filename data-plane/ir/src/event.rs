//! The one vocabulary of replies. A stream is a sequence of events; a whole reply is decoded into the same events and folded.
//!
//! Order a decoder keeps: `Start` first; deltas; per choice one `Finish`; `Usage` where the upstream says it (the last one
//! counts); `End` only when the upstream's own terminal mark was seen. A decoder that was cut never says `End`.

use serde_json::value::RawValue;

use crate::dialect::Dialect;
use crate::failure::Failure;
use crate::usage::Usage;

#[derive(Clone, Debug)]
pub enum Event {
    /// Who answers. `id` and `model` as the upstream said them, empty where it said none.
    Start {
        id: String,
        model: String,
        created: Option<i64>,
    },
    Text {
        choice: u32,
        text: String,
    },
    Refusal {
        choice: u32,
        text: String,
    },
    Reasoning {
        choice: u32,
        text: String,
    },
    /// Signature over the reasoning so far (closes a thinking block).
    ReasoningSignature {
        choice: u32,
        signature: String,
    },
    /// Encrypted reasoning, one whole block.
    RedactedReasoning {
        choice: u32,
        data: String,
    },
    /// A call begins; `call` counts calls within the choice from 0.
    ToolCallStart {
        choice: u32,
        call: u32,
        id: String,
        name: String,
    },
    /// A piece of the call's arguments, JSON text. A call without any piece has the arguments `{}`.
    ToolCallArguments {
        choice: u32,
        call: u32,
        json: String,
    },
    /// A citation or annotation on the text so far, verbatim in the dialect it came from.
    Citation {
        choice: u32,
        kind: CitationKind,
        json: Box<RawValue>,
    },
    /// OpenAI-form logprobs entries (`{content: […], refusal: …}`), verbatim.
    Logprobs {
        choice: u32,
        json: Box<RawValue>,
    },
    /// A block only the upstream's own dialect can say (provider-run tools), whole and verbatim.
    Opaque {
        choice: u32,
        kind: String,
        json: Box<RawValue>,
        dialect: Dialect,
    },
    /// Totals so far; a later one replaces an earlier one.
    Usage(Usage),
    Finish {
        choice: u32,
        reason: FinishReason,
        stop_sequence: Option<String>,
    },
    /// Details beside the answer that a same-dialect caller should see again (`system_fingerprint`, `service_tier`, …). A name
    /// with a dot (`anthropic.container`) is for the dialect before the dot only.
    Meta {
        name: String,
        json: Box<RawValue>,
    },
    /// The upstream reported an error inside its reply.
    Error(Box<Failure>),
    /// The upstream's terminal mark: the reply is whole.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CitationKind {
    /// OpenAI `annotations` entry.
    OpenAi,
    /// Anthropic `citations` entry.
    Anthropic,
    /// Only where it was found: `{"url", "title"}`.
    Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FinishReason {
    Stop,
    /// A stop sequence of the request was met.
    StopSequence,
    Length,
    ToolCalls,
    ContentFilter,
    /// The provider paused a long turn; send the reply back to go on.
    Pause,
    /// The model refused (Anthropic `refusal`).
    Refusal,
    /// A reason we do not know, as said.
    Other(String),
}

// === impl Event ===

impl Event {
    /// The choice that it belongs to, if it belongs to one.
    pub fn choice(&self) -> Option<u32> {
        match self {
            Self::Text { choice, .. }
            | Self::Refusal { choice, .. }
            | Self::Reasoning { choice, .. }
            | Self::ReasoningSignature { choice, .. }
            | Self::RedactedReasoning { choice, .. }
            | Self::ToolCallStart { choice, .. }
            | Self::ToolCallArguments { choice, .. }
            | Self::Citation { choice, .. }
            | Self::Logprobs { choice, .. }
            | Self::Opaque { choice, .. }
            | Self::Finish { choice, .. } => Some(*choice),
            Self::Start { .. } | Self::Usage(_) | Self::Meta { .. } | Self::Error(_) | Self::End => None,
        }
    }

    /// Whether it is of the model's reasoning; `None` for what says nothing of that.
    pub fn is_reasoning(&self) -> Option<bool> {
        match self {
            Self::Reasoning { .. } | Self::ReasoningSignature { .. } | Self::RedactedReasoning { .. } => Some(true),
            _ => self.choice().map(|_| false),
        }
    }
}
