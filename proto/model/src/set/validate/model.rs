//! What can be wrong with a model by itself: its targets, its selectors, its strategy.

use super::{Findings, cache, is_header_name, policy, quirks};
use crate::kind::model::{Model, Selector, Strategy};
use crate::pattern::regex;
use crate::policy::{Breaker, Continuation, Hedge};
use crate::problem::Code;

/// Of one target.
const MAX_WEIGHT: u32 = 10_000;

pub(super) fn check(model: &Model, findings: &mut Findings<'_>) {
    cache::rule(model.cache.as_ref(), findings);
    if model.targets.is_empty() && model.selectors.is_empty() {
        findings.error(Code::MissingField, "targets", "a model needs at least one target");
    } else if model.selectors.is_empty()
        && model.targets.iter().all(|target| !target.enabled)
        && model.fallbacks.is_empty()
    {
        findings.warning(Code::Conflict, "targets", "every target is disabled: requests will be refused");
    }
    for (index, target) in model.targets.iter().enumerate() {
        if target.model.is_empty() {
            findings.error(Code::InvalidValue, &format!("targets[{index}].model"), "must not be empty");
        }
        quirks(&target.quirks, &format!("targets[{index}].quirks"), findings);
        if target.weight > MAX_WEIGHT {
            let message = format!("must be at most {MAX_WEIGHT}");
            findings.error(Code::InvalidValue, &format!("targets[{index}].weight"), message);
        }
    }
    for (index, selector) in model.selectors.iter().enumerate() {
        select(selector, index, findings);
    }
    strategy(model, findings);
    let facts = model.facts.as_ref();
    for (field, tokens) in [
        ("facts.context_window", facts.and_then(|facts| facts.context_window)),
        ("facts.max_tokens", facts.and_then(|facts| facts.max_tokens)),
    ] {
        if tokens == Some(0) {
            findings.error(Code::InvalidValue, field, "must be at least 1");
        }
    }
    findings.all(model.breaker.as_ref().map(Breaker::faults));
    policy(model.retry.as_ref(), model.timeouts.as_ref(), findings);
    findings.all(model.hedge.as_ref().map(Hedge::faults));
    findings.all(model.continuation.as_ref().map(Continuation::faults));
}

fn select(selector: &Selector, index: usize, findings: &mut Findings<'_>) {
    let Selector { provider, model, provider_regex, model_regex, weight, priority: _ } = selector;
    let at = |field: &str| format!("selectors[{index}].{field}");
    if [provider, model, provider_regex, model_regex].iter().all(|field| field.is_none()) {
        let message = "a selector needs one of `provider`, `model`, `provider_regex`, `model_regex`";
        findings.error(Code::MissingField, &format!("selectors[{index}]"), message);
    }
    for (field, text) in [("provider_regex", provider_regex), ("model_regex", model_regex)] {
        if let Some(Err(reason)) = text.as_deref().map(regex) {
            findings.error(Code::InvalidValue, &at(field), reason);
        }
    }
    if *weight > MAX_WEIGHT {
        findings.error(Code::InvalidValue, &at("weight"), format!("must be at most {MAX_WEIGHT}"));
    }
}

fn strategy(model: &Model, findings: &mut Findings<'_>) {
    if let Some(header) = &model.sticky_header {
        if model.strategy != Strategy::Sticky {
            findings.error(Code::Conflict, "sticky_header", "belongs to `strategy: sticky`");
        } else if !is_header_name(header) {
            findings.error(Code::InvalidValue, "sticky_header", format!("`{header}` is no header name"));
        }
    }
    if model.sticky_opening && model.strategy != Strategy::Sticky {
        findings.error(Code::Conflict, "sticky_opening", "belongs to `strategy: sticky`");
    }
    if let Some(balance) = &model.balance {
        if model.strategy != Strategy::Balanced {
            findings.error(Code::Conflict, "balance", "belongs to `strategy: balanced`");
        } else if balance.latency.max(balance.cost) == 0
            || balance.latency.max(balance.cost).max(balance.capability) > 100
        {
            findings.error(
                Code::InvalidValue,
                "balance",
                "takes weights from 0 to 100, that of `latency` or `cost` above 0",
            );
        }
    }
    let is_by_weight = matches!(model.strategy, Strategy::Weighted | Strategy::Random | Strategy::Sticky);
    let weights = model.targets.iter().map(|target| target.weight);
    let mut weights = weights.chain(model.selectors.iter().map(|selector| selector.weight)).peekable();
    if is_by_weight && weights.peek().is_some() && weights.all(|weight| weight == 0) {
        let message = "every weight is 0, so nobody has a share; give at least one target a weight";
        findings.error(Code::Conflict, "targets", message);
    }
}
