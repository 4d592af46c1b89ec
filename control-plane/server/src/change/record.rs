//! What a change leaves behind: rows to write, one audit row per item, one line for the history.

use gateway_store::audit::AuditRow;
use gateway_store::revisions::{self, Commit};
use gateway_store::{Heads, StoredItem};

use super::plan::Step;
use super::{Earlier, Edit, Op, Request, Wish};
use crate::view;

/// The transaction that makes the steps.
pub(super) fn commit(request: &Request, steps: &[Step], heads: &Heads, at_ms: i64) -> Commit {
    let changed: Vec<&Step> = steps.iter().filter(|step| step.op != Op::Unchanged).collect();
    Commit {
        expected: Some(heads.clone()),
        edits: changed.iter().flat_map(|step| edits(step)).collect(),
        actor: request.actor.name.clone(),
        summary: summary(request, &changed),
        audit: changed.iter().map(|step| audit(request, step, at_ms)).collect(),
        at_ms,
    }
}

fn edits(step: &Step) -> Vec<revisions::Edit> {
    let before = step.before.as_ref().map(|entry| &entry.item);
    let after = step.after.as_ref().map(|entry| &entry.item);
    let edit = |op, item: &StoredItem| revisions::Edit { op, item: item.clone() };
    // An item that comes back under its old id replaces the one that has its name now.
    let gone = before.filter(|before| after.is_none_or(|after| after.id != before.id));
    let gone = gone.map(|item| edit(revisions::Op::Delete, item));
    gone.into_iter().chain(after.map(|item| edit(revisions::Op::Upsert, item))).collect()
}

fn audit(request: &Request, step: &Step, at_ms: i64) -> AuditRow {
    let shown = |entry: &Option<super::state::Entry>| entry.as_ref().map(|entry| view::item(&entry.item).to_string());
    let action = match (&request.wish, step.op) {
        (Wish::Rollback(_), _) => "rollback",
        (Wish::Switch(switch), _) => switch.verb(),
        (Wish::Edit(Edit::Rotate { .. }), _) => "rotate",
        (_, op) => op.name(),
    };
    AuditRow {
        at_ms,
        actor: request.actor.name.clone(),
        ip: request.actor.ip.clone(),
        request_id: request.actor.request_id.clone(),
        action: action.to_owned(),
        kind: step.kind.name().to_owned(),
        name: step.name().to_owned(),
        before: shown(&step.before),
        after: shown(&step.after),
    }
}

fn summary(request: &Request, changed: &[&Step]) -> String {
    let what = match changed {
        [step] => {
            format!("{} {} {}", step.op.name(), step.kind, step.name())
        }
        _ => tally(changed),
    };
    match &request.wish {
        Wish::Edit(_) | Wish::Retarget(_) => what,
        Wish::Apply(apply) => format!("{}: {what}", apply.source),
        Wish::Switch(switch) => format!("{} {}: {what}", switch.verb(), switch.which),
        Wish::Rollback(Earlier::Previous) => format!("rollback to the previous revision: {what}"),
        Wish::Rollback(Earlier::Revision(revision)) => format!("rollback to revision {revision}: {what}"),
    }
}

/// `2 created, 1 deleted`
fn tally(changed: &[&Step]) -> String {
    let words = [(Op::Create, "created"), (Op::Update, "updated"), (Op::Delete, "deleted")];
    let counted = words.into_iter().filter_map(|(op, word)| {
        let n_steps = changed.iter().filter(|step| step.op == op).count();
        (n_steps > 0).then(|| format!("{n_steps} {word}"))
    });
    counted.collect::<Vec<_>>().join(", ")
}

// === impl Op ===

impl Op {
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Unchanged => "unchanged",
        }
    }
}
