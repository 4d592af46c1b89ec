//! Their fields and ours: what each is called there, what it becomes here, and back.

use gateway_model::kind::Kind;
use gateway_store::StoredItem;
use serde_json::{Map, Value, json};

use crate::admin::error::ApiError;
use crate::{clock, view};

/// A body of theirs as a document of ours, or as a patch of one.
#[derive(Debug, Default)]
struct Translated {
    document: Map<String, Value>,
}

/// Theirs, ours.
const LIMITS: [(&str, &str); 3] =
    [("rpm_limit", "rpm"), ("tpm_limit", "tpm"), ("max_parallel_requests", "concurrency")];

/// Refuses what it does not know, and what is known and not kept, unless it asks for nothing.
pub(super) fn read(kind: Kind, body: Map<String, Value>, now_ms: i64) -> Result<Map<String, Value>, ApiError> {
    let mut read = Translated::default();
    let (mut amount, mut window) = (None, None);
    for (field, value) in body {
        let own_id = format!("{}_id", kind.name());
        let own_alias = format!("{}_alias", kind.name());
        match field.as_str() {
            "max_budget" => amount = Some(value),
            "budget_duration" => window = Some(value),
            _ if nothing(&value) && !CLEARED_BY_NULL.contains(&field.as_str()) => {}
            "name" => read.name(&field, value)?,
            field if field == own_id || field == own_alias => read.name(field, value)?,
            _ => read.field(kind, &field, value, now_ms)?,
        }
    }
    match (amount, window.filter(|window| !window.is_null())) {
        (None, None) => {}
        (Some(Value::Null), None) => read.keep("budget", Value::Null)?,
        (Some(amount @ (Value::Number(_) | Value::String(_))), window) => {
            let window =
                window.map_or_else(|| json!("once"), |window| if window == "1mo" { json!("monthly") } else { window });
            read.keep("budget", json!({"amount_usd": amount, "window": window}))?;
        }
        (Some(_), _) => return Err(refused("max_budget", "it is an amount in US dollars")),
        (None, Some(_)) => return Err(refused("budget_duration", "it goes with `max_budget`; give both")),
    }
    Ok(read.document)
}

/// Those of which `null` takes away what is there; of all others it asks for nothing.
const CLEARED_BY_NULL: [&str; 8] = [
    "rpm_limit",
    "tpm_limit",
    "max_parallel_requests",
    "duration",
    "expires_at",
    "team_id",
    "user_id",
    "organization_id",
];

/// Their clients send many fields empty.
pub(super) fn nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

pub(super) fn refused(field: &str, why: &str) -> ApiError {
    ApiError::malformed(format!("`{field}` cannot be honoured: {why}"))
}

// === impl Translated ===

impl Translated {
    /// There is one name here; an alias that differs from the id would be lost.
    fn name(&mut self, field: &str, value: Value) -> Result<(), ApiError> {
        match self.document.insert("name".to_owned(), value.clone()) {
            Some(other) if other != value => {
                Err(refused(field, "there is one name here; give the same in each, or one of them"))
            }
            _ => Ok(()),
        }
    }

    fn field(&mut self, kind: Kind, field: &str, value: Value, now_ms: i64) -> Result<(), ApiError> {
        if let Some((_, ours)) = LIMITS.iter().find(|(theirs, _)| *theirs == field) {
            self.document.entry("limits").or_insert_with(|| json!({}))[*ours] = value;
            return Ok(());
        }
        let (ours, value) = match (field, kind) {
            ("is_active", _) => ("enabled", value),
            ("blocked", _) => {
                ("enabled", json!(!value.as_bool().ok_or_else(|| refused(field, "it is true or false"))?))
            }
            ("metadata", _) => ("metadata", texts(value)),
            ("organization_id", Kind::Team | Kind::User) => ("organization", value),
            ("user_email", Kind::User) => ("email", value),
            ("user_role", Kind::User) if value == "internal_user" => return Ok(()),
            ("user_role", Kind::User) => {
                return Err(refused(field, "the control plane has one role, that of the master key"));
            }
            ("models" | "allowed_agents", Kind::Key) => ("models", value),
            ("roles" | "tags", Kind::Key) => return self.keep(field, value),
            ("allowed_endpoints", Kind::Key) => ("endpoints", value),
            ("team_id", Kind::Key) => ("team", value),
            ("user_id", Kind::Key) => ("user", value),
            ("key", Kind::Key) => ("secret", value),
            ("expires_at" | "expires", Kind::Key) => ("expires_at", value),
            ("duration", Kind::Key) => ("expires_at", ends(&value, now_ms)?),
            ("models", _) => return Err(refused(field, "models are allowed key by key")),
            _ => return Err(refused(field, &format!("a {kind} has nothing like it here"))),
        };
        self.keep(ours, value)
    }

    fn keep(&mut self, ours: &str, value: Value) -> Result<(), ApiError> {
        self.document.insert(ours.to_owned(), value);
        Ok(())
    }
}

/// `30d` from now; `null` for ever.
fn ends(duration: &Value, now_ms: i64) -> Result<Value, ApiError> {
    if duration.is_null() {
        return Ok(Value::Null);
    }
    let span = serde_json::from_value::<gateway_model::unit::Span>(duration.clone());
    let span = span.map_err(|_| refused("duration", "write it like `30s`, `15m`, `24h` or `30d`"))?;
    let millis = i64::try_from(span.0.as_millis()).unwrap_or(i64::MAX);
    Ok(json!(clock::rfc3339(now_ms.saturating_add(millis))))
}

/// Metadata is texts here; what is none is kept as the JSON that it is.
fn texts(metadata: Value) -> Value {
    let Value::Object(members) = metadata else { return metadata };
    let text = |value: Value| if value.is_string() { value } else { json!(value.to_string()) };
    Value::Object(members.into_iter().map(|(name, value)| (name, text(value))).collect())
}

/// An item in the words of both families: where they differ it has both.
pub(super) fn show(kind: Kind, item: &StoredItem) -> Map<String, Value> {
    let spec = view::spec(item);
    let of = |field: &str, default: Value| spec.get(field).cloned().unwrap_or(default);
    let enabled = of("enabled", json!(true)) == json!(true);
    let id = if kind == Kind::Key { &item.id } else { &item.name };
    let amount = spec["budget"]["amount_usd"].as_str().and_then(|amount| amount.parse::<f64>().ok());
    let shown = json!({
        "id": id,
        "name": item.name,
        "metadata": of("metadata", json!({})),
        "is_active": enabled,
        "blocked": !enabled,
        "max_budget": amount,
        "budget_duration": spec["budget"].get("window").filter(|window| *window != "once"),
        "created_at": clock::rfc3339(item.created_at_ms),
        "updated_at": clock::rfc3339(item.updated_at_ms),
    });
    let Value::Object(mut shown) = shown else { return Map::new() };
    for (theirs, ours) in LIMITS {
        shown.insert(theirs.to_owned(), spec["limits"][ours].clone());
    }
    shown.insert(format!("{}_alias", kind.name()), json!(item.name));
    let more = match kind {
        Kind::Key => json!({
            "token": item.id, "models": of("models", json!(["*"])), "expires": of("expires_at", Value::Null),
            "expires_at": of("expires_at", Value::Null), "team_id": of("team", Value::Null), "user_id": of("user", Value::Null),
            "tags": of("tags", json!([])), "roles": of("roles", json!([])), "allowed_endpoints": of("endpoints", json!([])),
        }),
        Kind::User => json!({
            "user_id": item.name, "user_email": of("email", Value::Null), "organization_id": of("organization", Value::Null),
        }),
        Kind::Team => json!({"team_id": item.name, "organization_id": of("organization", Value::Null)}),
        _ => json!({"organization_id": item.name}),
    };
    if let Value::Object(more) = more {
        shown.extend(more);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn their_fields_become_ours() {
        let read = |kind, body: Value| {
            let Value::Object(body) = body else { panic!("an object") };
            self::read(kind, body, 1_800_000_000_000)
        };
        let full = json!({
            "key_alias": "ci", "duration": "30d", "models": ["m"], "rpm_limit": 5, "tpm_limit": 100, "max_parallel_requests": 2,
            "team_id": "red", "user_id": "u", "metadata": {"a": "b", "n": 1}, "blocked": true, "aliases": {}, "config": {},
            "max_budget": 1.5, "budget_duration": "30d", "permissions": {}, "soft_budget": null, "allowed_endpoints": ["GET /v1/models"],
        });
        let found = read(Kind::Key, full).expect("a key");
        let expected = json!({
            "name": "ci", "expires_at": "2027-02-14T08:00:00.000Z", "models": ["m"],
            "limits": {"rpm": 5, "tpm": 100, "concurrency": 2}, "team": "red", "user": "u", "metadata": {"a": "b", "n": "1"},
            "enabled": false, "endpoints": ["GET /v1/models"], "budget": {"amount_usd": 1.5, "window": "30d"},
        });
        assert_eq!(Value::Object(found), expected);
        let cleared = read(Kind::Key, json!({"rpm_limit": null, "duration": null, "max_budget": null, "models": []}))
            .expect("a patch");
        assert_eq!(Value::Object(cleared), json!({"limits": {"rpm": null}, "expires_at": null, "budget": null}));
        for (kind, body, named) in [
            (Kind::Key, json!({"soft_budget": 5}), "soft_budget"),
            (Kind::Key, json!({"aliases": {"a": "b"}}), "aliases"),
            (Kind::Key, json!({"duration": "soon"}), "duration"),
            (Kind::Key, json!({"budget_duration": "30d"}), "budget_duration"),
            (Kind::Key, json!({"max_budget": []}), "max_budget"),
            (Kind::Key, json!({"name": "a", "key_alias": "b"}), "key_alias"),
            (Kind::Team, json!({"models": ["m"]}), "models"),
            (Kind::User, json!({"user_role": "proxy_admin"}), "user_role"),
            (Kind::Team, json!({"blocked": "yes"}), "blocked"),
        ] {
            let refused = format!("{:?}", read(kind, body).expect_err(named));
            assert!(refused.contains(named), "{refused}");
        }
    }
}
