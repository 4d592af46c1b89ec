//! What a write did, for people: the differences, the revision, and on which nodes it runs. Decides the exit code from it.

use serde_json::Value;

use crate::exit::Exit;
use crate::output::{items, text};

/// One line per changed resource, its fields below it; nothing for what stayed as it was.
pub(crate) fn differences(changes: &[Value]) -> String {
    let mut lines = String::new();
    for change in changes {
        let sign = match text(change, "/op").as_str() {
            "create" => '+',
            "delete" => '-',
            "unchanged" => continue,
            _ => '~',
        };
        lines.push_str(&format!("{sign} {} {}\n", text(change, "/kind"), text(change, "/name")));
        if sign != '~' {
            continue;
        }
        for field in items(change, "/diff") {
            let before = field.get("before").map_or_else(|| "(unset)".to_owned(), short);
            let after = field.get("after").map_or_else(|| "(unset)".to_owned(), short);
            lines.push_str(&format!("    {}: {before} -> {after}\n", text(field, "/path")));
        }
    }
    lines
}

/// `2 created, 1 updated, 5 unchanged`; empty when there is nothing to count.
pub(crate) fn tally(changes: &[Value]) -> String {
    let words = [("create", "created"), ("update", "updated"), ("delete", "deleted"), ("unchanged", "unchanged")];
    let counted = words.into_iter().filter_map(|(op, word)| {
        let n_changes = changes.iter().filter(|change| text(change, "/op") == op).count();
        (n_changes > 0).then(|| format!("{n_changes} {word}"))
    });
    counted.collect::<Vec<_>>().join(", ")
}

/// `topology 7, identity 3`.
pub(crate) fn revision(revision: &Value) -> String {
    let classes = ["topology", "identity"].into_iter();
    let known = classes.filter_map(|class| Some(format!("{class} {}", revision.get(class)?.as_u64()?)));
    known.collect::<Vec<_>>().join(", ")
}

/// Where a change runs: one line per outcome. Empty when nobody waited for it.
pub(crate) fn rollout(rollout: &Value) -> String {
    if rollout.is_null() {
        return String::new();
    }
    let mut lines = String::new();
    let applied = items(rollout, "/applied");
    let (n_rejected, pending) = (items(rollout, "/rejected").len(), items(rollout, "/pending"));
    if !applied.is_empty() {
        let of = match applied.len() + n_rejected + pending.len() {
            1 => String::new(),
            n_connected => format!(" ({} of {n_connected} connected)", applied.len()),
        };
        lines.push_str(&format!("running on {}{of}\n", names(applied)));
    }
    for node in items(rollout, "/rejected") {
        lines.push_str(&format!("rejected by {}, which keeps its old configuration:\n", text(node, "/node")));
        for error in items(node, "/errors") {
            let (kind, name, path) = (text(error, "/kind"), text(error, "/name"), text(error, "/field_path"));
            lines.push_str(&format!(
                "    {kind} {name}: {path}: {} ({})\n",
                text(error, "/message"),
                text(error, "/code")
            ));
        }
    }
    if !pending.is_empty() {
        lines.push_str(&format!("not confirmed in time by {}\n", names(pending)));
    }
    let offline = items(rollout, "/offline");
    if !offline.is_empty() {
        lines.push_str(&format!("offline, will catch up: {}\n", names(offline)));
    }
    if lines.is_empty() {
        lines.push_str("stored; no node is connected, nodes take it when they come\n");
    }
    lines
}

/// [`Exit::Partly`] when a node refused the change or did not confirm it. Offline nodes catch up and count as well.
pub(crate) fn exit(rollout: &Value) -> Exit {
    let whole = items(rollout, "/rejected").is_empty() && items(rollout, "/pending").is_empty();
    if whole { Exit::Done } else { Exit::Partly }
}

/// The first few by name, the rest as a number.
fn names(nodes: &[Value]) -> String {
    const SHOWN: usize = 8;
    let mut names: Vec<String> = nodes.iter().take(SHOWN).map(|node| text(node, "")).collect();
    if nodes.len() > SHOWN {
        names.push(format!("and {} more", nodes.len() - SHOWN));
    }
    names.join(", ")
}

/// A value on one line, cut where it grows long.
fn short(value: &Value) -> String {
    const LONGEST: usize = 60;
    let whole = match value {
        Value::Null => "(unset)".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if whole.chars().count() <= LONGEST { whole } else { whole.chars().take(LONGEST - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_show_what_changed_and_only_that() {
        let changes = [
            json!({"op": "create", "kind": "provider", "name": "openai", "diff": []}),
            json!({"op": "update", "kind": "model", "name": "smart",
                   "diff": [{"path": "targets[0].weight", "before": 70, "after": 50}, {"path": "retry", "after": {"max_attempts": 1}}]}),
            json!({"op": "unchanged", "kind": "key", "name": "demo", "diff": []}),
            json!({"op": "delete", "kind": "route", "name": "old"}),
        ];
        assert_eq!(
            differences(&changes),
            "+ provider openai\n~ model smart\n    targets[0].weight: 70 -> 50\n    retry: (unset) -> {\"max_attempts\":1}\n- route old\n"
        );
        assert_eq!(tally(&changes), "1 created, 1 updated, 1 deleted, 1 unchanged");
        assert_eq!(tally(&[]), "");
    }

    #[test]
    fn a_rollout_says_where_it_runs_and_sets_the_exit_code() {
        let error = json!({"kind": "provider", "name": "p", "field_path": "base_url", "code": "invalid_value", "message": "no"});
        for (value, expected, code) in [
            (json!(null), "", Exit::Done),
            (
                json!({"applied": ["node_a"], "rejected": [], "offline": [], "pending": []}),
                "running on node_a\n",
                Exit::Done,
            ),
            (
                json!({"applied": ["a", "b"], "pending": ["c"]}),
                "running on a, b (2 of 3 connected)\nnot confirmed in time by c\n",
                Exit::Partly,
            ),
            (
                json!({"applied": [], "rejected": [], "offline": [], "pending": []}),
                "stored; no node is connected, nodes take it when they come\n",
                Exit::Done,
            ),
            (
                json!({"applied": [], "rejected": [], "offline": ["node_b"], "pending": ["node_c"]}),
                "not confirmed in time by node_c\noffline, will catch up: node_b\n",
                Exit::Partly,
            ),
            (
                json!({"rejected": [{"node": "node_a", "errors": [error]}]}),
                "rejected by node_a, which keeps its old configuration:\n    provider p: base_url: no (invalid_value)\n",
                Exit::Partly,
            ),
        ] {
            assert_eq!((rollout(&value).as_str(), exit(&value)), (expected, code));
        }
    }
}
