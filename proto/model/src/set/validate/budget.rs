//! What can be wrong with a budget.

use super::Findings;
use crate::kind::budget::{Budget, BudgetRule, Match};
use crate::problem::Code;

/// Of a key, or of whom keys are for.
pub(super) fn of(budget: Option<Budget>, findings: &mut Findings<'_>) {
    for (field, why) in budget.iter().flat_map(Budget::faults) {
        findings.error(Code::InvalidValue, &format!("budget.{field}"), why);
    }
}

pub(super) fn rule(rule: &BudgetRule, findings: &mut Findings<'_>) {
    findings.all(Some(rule.budget().faults()));
    selects(&rule.matcher, findings);
}

pub(super) fn selects(matcher: &Match, findings: &mut Findings<'_>) {
    let lists = matcher.lists();
    if lists.iter().all(|(_, names)| names.is_empty()) {
        let message = "selects nothing; give one of `keys`, `teams`, `users`, `organizations`, `models`, `tags`, \
            `credentials` (`models: [\"*\"]` is everything)";
        findings.error(Code::MissingField, "match", message);
    }
    for (list, _) in lists.iter().filter(|(_, names)| names.iter().any(String::is_empty)) {
        findings.error(Code::InvalidValue, &format!("match.{list}"), "holds an empty name");
    }
}

#[cfg(test)]
mod tests {
    use crate::set::validate::tests::check;

    #[test]
    fn a_key_and_whom_it_is_for_have_budgets() {
        let of = |kind: &str, budget: &str| format!("{kind}: [{{name: x, budget: {{{budget}}}}}]");
        for kind in ["keys", "teams", "users", "organizations"] {
            check(&of(kind, "amount_usd: 0.000001, window: once"), &[]);
            check(&of(kind, "amount_usd: 0, window: once"), &[&format!("{kind}[x].budget.amount_usd")]);
            check(&of(kind, "amount_usd: 5, window: sometimes"), &[&format!("{kind}[x].budget.window")]);
            check(&of(kind, "amount_usd: 5"), &[&format!("{kind}[x].budget")]);
        }
    }

    #[test]
    fn a_budget_selects_something_and_has_an_amount() {
        let rule = |fields: &str| format!("budgets: [{{name: b, amount_usd: 5, window: monthly, {fields}}}]");
        check(&rule("match: {teams: [search], models: [\"gpt-*\"]}"), &[]);
        check(&rule("match: {}"), &["budgets[b].match"]);
        check(&rule("match: {keys: [\"\"]}"), &["budgets[b].match.keys"]);
        check(&rule("match: {credentials: [\"openai#main\"]}"), &[]);
        check(&rule("match: {credentials: [\"\"]}"), &["budgets[b].match.credentials"]);
        check(&rule("match: {colours: [red]}"), &["budgets[b].match.colours"]);
        check(&rule("match: {keys: [k]}, on_exhausted: shout"), &["budgets[b].on_exhausted"]);
        check(&rule("match: {keys: [k]}, offline_allowance_usd: 6"), &["budgets[b].offline_allowance_usd"]);
        check("budgets: [{name: b, amount_usd: 0, window: 30d, match: {keys: [k]}}]", &["budgets[b].amount_usd"]);
        check("budgets: [{name: b, amount_usd: -1, window: 30d, match: {keys: [k]}}]", &["budgets[b].amount_usd"]);
        check("budgets: [{name: b, amount_usd: 1, window: yearly, match: {keys: [k]}}]", &["budgets[b].window"]);
        check("budgets: [{name: b, amount_usd: 1, window: once}]", &["budgets[b]"]);
    }
}
