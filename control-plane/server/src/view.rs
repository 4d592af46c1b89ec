//! A stored item as people see it: in the admin API and in the audit log. Secrets never show, only that they are set.

use std::collections::BTreeMap;

use gateway_model::kind::Kind;
use gateway_store::{ItemKind, StoredItem};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::clock::rfc3339;
use crate::credential;

/// What is known of a stored secret without opening it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecretFact {
    pub(crate) last4: String,
    /// See [`crate::vault::Vault::fingerprint`]. Never shown.
    pub(crate) fingerprint: String,
    pub(crate) updated_at_ms: i64,
}

/// By field path.
pub(crate) type SecretFacts = BTreeMap<String, SecretFact>;

/// Facts as they are stored. What this version cannot read counts as nothing known, so that the item still shows.
pub(crate) fn secret_facts(item: &StoredItem) -> SecretFacts {
    serde_json::from_str(&item.secret_facts).unwrap_or_default()
}

/// `{"set": true, "last4": "…", "updated_at": "…"}`
pub(crate) fn secret(fact: &SecretFact) -> Value {
    json!({"set": true, "last4": fact.last4, "updated_at": rfc3339(fact.updated_at_ms)})
}

/// What the author wrote, without secrets.
pub(crate) fn spec(item: &StoredItem) -> Value {
    serde_json::from_str(&item.document).unwrap_or(Value::Null)
}

/// The item as the admin API shows it. Keys are flat, all others have their document under `spec`.
pub(crate) fn item(item: &StoredItem) -> Value {
    let mut shown = Map::new();
    if item.kind != ItemKind::Resource(Kind::Key) {
        shown.insert("kind".to_owned(), json!(item.kind.name()));
    }
    shown.insert("id".to_owned(), json!(item.id));
    shown.insert("name".to_owned(), json!(item.name));
    if item.kind == ItemKind::Resource(Kind::Key) {
        key_fields(&mut shown, &spec(item));
        let until = credential::earlier(item).iter().map(|earlier| earlier.until_ms).max();
        shown.insert("earlier_secret_until".to_owned(), json!(until.map(rfc3339)));
        // Whoever shows keys that are in use asks for it.
        shown.insert("last_used_at".to_owned(), Value::Null);
    }
    shown.insert("revision".to_owned(), json!(item.revision));
    shown.insert("created_at".to_owned(), json!(rfc3339(item.created_at_ms)));
    shown.insert("updated_at".to_owned(), json!(rfc3339(item.updated_at_ms)));
    shown.insert("owner".to_owned(), json!(item.owner));
    if item.kind != ItemKind::Resource(Kind::Key) {
        let secrets: Map<String, Value> =
            secret_facts(item).iter().map(|(path, fact)| (path.clone(), secret(fact))).collect();
        shown.insert("secrets".to_owned(), Value::Object(secrets));
        shown.insert("spec".to_owned(), spec(item));
    }
    Value::Object(shown)
}

/// All fields of a key, those that were left out with what they then mean.
fn key_fields(shown: &mut Map<String, Value>, spec: &Value) {
    let defaults = [
        ("models", json!(["*"])),
        ("passthrough", json!([])),
        ("roles", json!([])),
        ("endpoints", json!([])),
        ("ips", json!([])),
        ("team", Value::Null),
        ("user", Value::Null),
        ("limits", json!({})),
        ("budget", Value::Null),
        ("expires_at", Value::Null),
        ("enabled", json!(true)),
        ("tags", json!([])),
        ("metadata", json!({})),
    ];
    for (field, default) in defaults {
        shown.insert(field.to_owned(), spec.get(field).cloned().unwrap_or(default));
    }
    // Without them others decide: the route, the settings.
    for field in ["revoke_mode", "unpriced", "log_bodies"] {
        if let Some(said) = spec.get(field) {
            shown.insert(field.to_owned(), said.clone());
        }
    }
}
