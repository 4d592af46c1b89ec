//! What somebody wants a resource to be, read from what they sent.

use std::collections::BTreeSet;

use gateway_model::document::{self, Resource};
use gateway_model::kind::Kind;
use gateway_model::problem::Problem;
use serde_json::{Map, Value};

/// A resource as it is wanted. A secret it does not mention stays as it is stored.
#[derive(Clone, Debug)]
pub struct Draft {
    pub(super) resource: Resource,
    /// Secrets that were given as `null`: to be removed.
    pub(super) cleared: BTreeSet<&'static str>,
}

// === impl Draft ===

impl Draft {
    /// Reads a document strictly. Problems carry paths from the configuration's root.
    pub fn from_document(kind: Kind, mut document: Value) -> Result<Self, Vec<Problem>> {
        let mut cleared = BTreeSet::new();
        let mut name = String::new();
        if let Value::Object(members) = &mut document {
            for path in kind.row().secrets {
                if members.get(*path).is_some_and(Value::is_null) {
                    members.remove(*path);
                    cleared.insert(*path);
                }
            }
            name = members.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        }
        let resource = document::decode(kind, document).map_err(|problems| rooted(kind, &name, problems))?;
        Ok(Self { resource, cleared })
    }

    /// What a document becomes under a merge patch (RFC 7396).
    pub(super) fn patched(kind: Kind, mut document: Value, patch: &Value) -> Result<Self, Vec<Problem>> {
        merge(&mut document, patch);
        // A merge takes fields away that are null; for a secret, which the document never shows, that is the wish to clear it.
        if let (Value::Object(members), Value::Object(patch)) = (&mut document, patch) {
            for path in kind.row().secrets.iter().filter(|path| patch.get(**path).is_some_and(Value::is_null)) {
                members.insert((*path).to_owned(), Value::Null);
            }
        }
        Self::from_document(kind, document)
    }

    pub fn kind(&self) -> Kind {
        self.resource.kind()
    }

    pub fn name(&self) -> &str {
        self.resource.name()
    }

    /// What it says, as it stands: nothing that is stored is added.
    pub(crate) fn into_resource(self) -> Resource {
        self.resource
    }
}

impl From<Resource> for Draft {
    fn from(resource: Resource) -> Self {
        Self { resource, cleared: BTreeSet::new() }
    }
}

/// Paths relative to an item become paths from the root: `providers[openai].base_url`.
fn rooted(kind: Kind, name: &str, mut problems: Vec<Problem>) -> Vec<Problem> {
    let item = match kind {
        Kind::Setting => kind.plural().to_owned(),
        _ => format!("{}[{name}]", kind.plural()),
    };
    for problem in &mut problems {
        problem.path = match problem.path.as_str() {
            "" => item.clone(),
            path => format!("{item}.{path}"),
        };
    }
    problems
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(members) = target else { return };
    for (field, value) in patch {
        if value.is_null() {
            members.remove(field);
        } else {
            merge(members.entry(field).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merge_follows_the_rules() {
        // The table of RFC 7396, appendix A.
        for (mut target, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            merge(&mut target, &patch);
            assert_eq!(target, expected, "{patch}");
        }
    }

    #[test]
    fn a_null_secret_is_a_wish_to_clear_it() {
        let document = json!({"name": "p", "kind": "openai"});
        let cleared = |draft: Draft| draft.cleared.into_iter().collect::<Vec<_>>();
        let patched = Draft::patched(Kind::Provider, document.clone(), &json!({"api_key": null}));
        assert_eq!(cleared(patched.expect("a provider")), ["api_key"]);
        let kept = Draft::patched(Kind::Provider, document, &json!({"kind": "groq"}));
        assert!(cleared(kept.expect("a provider")).is_empty());
    }

    #[test]
    fn problems_are_named_from_the_root() {
        let problems = Draft::from_document(Kind::Provider, json!({"name": "p", "kind": "openai", "bogus": 1}));
        assert_eq!(problems.expect_err("unknown field")[0].path, "providers[p].bogus");
        let problems = Draft::from_document(Kind::Setting, json!({"chat": 7}));
        assert_eq!(problems.expect_err("wrong type")[0].path, "settings.chat");
    }
}
