//! What differs between two documents, field by field.

use std::collections::BTreeMap;

use gateway_store::StoredItem;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Op;
use crate::view;

/// One field that differs. A side without it is left out.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Difference {
    /// `targets[0].weight`
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Differences between two forms of an item: its document, its secrets (only that they changed), its owner.
pub(crate) fn items(before: &StoredItem, after: &StoredItem) -> Vec<Difference> {
    let mut found = Vec::new();
    values("", &view::spec(before), &view::spec(after), &mut found);
    let (old, new) = (view::secret_facts(before), view::secret_facts(after));
    for path in old.keys().chain(new.keys().filter(|path| !old.contains_key(*path))) {
        let (old, new) = (old.get(path), new.get(path));
        if old.map(|fact| &fact.fingerprint) != new.map(|fact| &fact.fingerprint) {
            let (before, after) = (old.map(view::secret), new.map(view::secret));
            found.push(Difference { path: path.clone(), before, after });
        }
    }
    if before.digest != after.digest {
        let changed = |text: &str| Some(Value::from(text));
        found.push(Difference { path: "secret".to_owned(), before: changed("(old)"), after: changed("(new)") });
    }
    if before.owner != after.owner {
        let shown = |owner: &Option<String>| owner.as_ref().map(|owner| Value::from(owner.as_str()));
        found.push(Difference { path: "owner".to_owned(), before: shown(&before.owner), after: shown(&after.owner) });
    }
    found
}

/// What became of one item between two states.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ItemDifference {
    op: Op,
    kind: &'static str,
    name: String,
    diff: Vec<Difference>,
}

/// Differences between two states, by kind and name; what stayed as it was is left out.
pub(crate) fn states(before: &[StoredItem], after: &[StoredItem]) -> Vec<ItemDifference> {
    let index = |items: &'_ [StoredItem]| -> BTreeMap<_, usize> {
        items.iter().enumerate().map(|(place, item)| ((item.kind, item.name.clone()), place)).collect()
    };
    let (old, new) = (index(before), index(after));
    let mut found = Vec::new();
    let mut add = |op, item: &StoredItem, diff| {
        found.push(ItemDifference { op, kind: item.kind.name(), name: item.name.clone(), diff });
    };
    for (key, place) in &old {
        match new.get(key).map(|place| &after[*place]) {
            None => add(Op::Delete, &before[*place], Vec::new()),
            Some(now) => match items(&before[*place], now) {
                none if none.is_empty() => {}
                diff => add(Op::Update, now, diff),
            },
        }
    }
    for (_, place) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
        add(Op::Create, &after[*place], Vec::new());
    }
    found
}

fn values(path: &str, before: &Value, after: &Value, found: &mut Vec<Difference>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for (field, value) in old {
                let path = member(path, field);
                match new.get(field) {
                    Some(other) => values(&path, value, other, found),
                    None => found.push(Difference { path, before: Some(value.clone()), after: None }),
                }
            }
            for (field, value) in new.iter().filter(|(field, _)| !old.contains_key(*field)) {
                found.push(Difference { path: member(path, field), before: None, after: Some(value.clone()) });
            }
        }
        // Lists of one length are compared place by place; otherwise a place says nothing about what moved.
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (value, other)) in old.iter().zip(new).enumerate() {
                values(&format!("{path}[{index}]"), value, other, found);
            }
        }
        _ if before == after => {}
        _ => found.push(Difference { path: path.to_owned(), before: Some(before.clone()), after: Some(after.clone()) }),
    }
}

fn member(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_named_by_their_path() {
        let before = json!({"a": 1, "b": {"c": [1, {"d": 2}]}, "gone": true, "list": [1]});
        let after = json!({"a": 1, "b": {"c": [1, {"d": 3}]}, "list": [1, 2], "new": null});
        let mut found = Vec::new();
        values("", &before, &after, &mut found);
        assert_eq!(
            serde_json::to_value(&found).expect("JSON"),
            json!([
                {"path": "b.c[1].d", "before": 2, "after": 3},
                {"path": "gone", "before": true},
                {"path": "list", "before": [1], "after": [1, 2]},
                {"path": "new", "after": null},
            ])
        );
    }
}
