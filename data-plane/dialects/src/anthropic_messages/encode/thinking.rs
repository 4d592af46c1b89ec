//! Whether and how much the model shall think, and the `max_tokens` that goes with it.

use std::borrow::Cow;

use gateway_ir::chat::{ChatRequest, Reasoning, ToolChoice};

use super::SELF;
use super::turns::Conversation;
use crate::dropped::Dropped;

/// The least budget Anthropic accepts.
const LEAST_BUDGET: u64 = 1024;

/// What the request says about thinking.
pub(super) struct Thinking<'r> {
    /// `thinking.type`; `None` = no `thinking` at all.
    pub(super) kind: Option<&'static str>,
    pub(super) budget_tokens: Option<u64>,
    /// `output_config.effort`, where the caller's own words are not given back anyway.
    pub(super) effort: Option<Cow<'r, str>>,
    pub(super) max_tokens: u64,
    /// We chose to think, so we have to clear what thinking does not go with.
    pub(super) forbids_sampling: bool,
}

/// Decides. A budget, "adaptive" or "off" is done as said. An effort in words becomes a budget, unless an Anthropic client
/// said it, who means Anthropic's own effort.
pub(super) fn decide<'r>(
    request: &'r ChatRequest,
    conversation: &Conversation<'_>,
    default_max_tokens: u64,
    dropped: &mut Dropped,
) -> Thinking<'r> {
    let asked = request.sampling.max_output_tokens;
    let mut thinking = Thinking {
        kind: None,
        budget_tokens: None,
        effort: None,
        max_tokens: asked.unwrap_or(default_max_tokens),
        forbids_sampling: false,
    };
    let said = |name: &str| request.extra.of(SELF).iter().any(|(known, _)| known == name);
    match &request.reasoning {
        None => {}
        Some(Reasoning::Off) => thinking.kind = Some("disabled"),
        Some(Reasoning::Adaptive) => thinking.kind = Some("adaptive"),
        Some(Reasoning::BudgetTokens(budget)) => {
            thinking.kind = Some("enabled");
            thinking.budget_tokens = Some(*budget);
            thinking.max_tokens = asked.unwrap_or(default_max_tokens.saturating_add(*budget));
        }
        Some(Reasoning::Effort(effort)) if said("thinking.type") => {
            thinking.kind = Some("adaptive");
            thinking.effort = Some(Cow::Borrowed(effort));
        }
        Some(Reasoning::Effort(_)) if said("output_config.effort") => {}
        Some(Reasoning::Effort(effort)) if effort == "none" => thinking.kind = Some("disabled"),
        Some(Reasoning::Effort(effort)) => match budget(request, conversation, effort) {
            Some(budget) => {
                thinking.kind = Some("enabled");
                thinking.budget_tokens = Some(budget);
                thinking.max_tokens = asked.unwrap_or(default_max_tokens.saturating_add(budget));
                thinking.forbids_sampling = true;
            }
            None => dropped.note("reasoning_effort"),
        },
    }
    thinking
}

/// The budget for an effort, if this request can think at all: Anthropic takes no forced tool beside it, and the client's
/// limit, which covers thinking too, must leave room for an answer.
fn budget(request: &ChatRequest, conversation: &Conversation<'_>, effort: &str) -> Option<u64> {
    let wanted = match effort {
        "minimal" | "low" => LEAST_BUDGET,
        "medium" => 4096,
        "high" => 16_384,
        "xhigh" | "max" => 32_768,
        _ => return None,
    };
    let forced_tool = matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Function(_)));
    if forced_tool || !conversation.allows_new_thinking() {
        return None;
    }
    match request.sampling.max_output_tokens {
        None => Some(wanted),
        Some(limit) if limit > LEAST_BUDGET => Some(wanted.min(LEAST_BUDGET.max(limit / 2))),
        Some(_) => None,
    }
}
