//! Schemas of what goes in and out: of types, of the kinds of resources, or written by hand in `schemas.json`.

use gateway_model::kind::Kind;
use gateway_model::schema;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

/// Makes the schema of a type.
pub(super) type Make = fn(&mut SchemaGenerator) -> Value;

/// What a body holds.
pub(super) enum Shape {
    /// What a type says.
    Of(Make),
    /// One of `schemas.json`.
    Named(&'static str),
    /// A page of these.
    PageOf(&'static str),
    /// A page of these that had to be looked for.
    Found(&'static str),
    /// A document of the path's kind; settings where the path names none. So are the following.
    Document,
    /// Some members of one.
    Patch,
    /// As it is stored.
    Item,
    /// A page of those.
    Items,
    /// As it is stored after a change.
    Written,
}

/// One status, what comes with it, and when.
pub(super) struct Answer {
    pub(super) status: &'static str,
    /// Empty where no body comes.
    pub(super) media: &'static str,
    pub(super) shape: Option<Shape>,
    pub(super) about: &'static str,
}

pub(super) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

// === impl Shape ===

impl Shape {
    pub(super) fn schema(&self, kind: Option<Kind>, generator: &mut SchemaGenerator) -> Value {
        let kind = kind.unwrap_or(Kind::Setting);
        match self {
            Self::Of(make) => make(generator),
            Self::Named(name) => reference(name),
            Self::PageOf(name) => page(&reference(name)),
            Self::Found(name) => found(page(&reference(name))),
            Self::Document => schema::of(kind, generator),
            Self::Patch => {
                json!({"type": "object", "description": "A merge patch (RFC 7396): what is `null` is taken away."})
            }
            Self::Item => reference(&item_name(kind)),
            Self::Items => page(&reference(&item_name(kind))),
            Self::Written => {
                json!({"allOf": [reference(&item_name(kind)), reference("WrittenPart")]})
            }
        }
    }
}

/// Query parameters from the schema of the type that reads them.
pub(super) fn parameters(schema: &Value, generator: &SchemaGenerator) -> Vec<Value> {
    let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let Some(object) = generator.definitions().get(name) else { return Vec::new() };
    let required = |name: &str| object["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    let properties = object["properties"].as_object().into_iter().flatten();
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = present(schema.clone());
        let about = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        let mut parameter = json!({"name": name, "in": "query", "required": required(name), "schema": schema});
        if let Some(about) = about {
            parameter["description"] = about;
        }
        parameter
    };
    properties.map(parameter).collect()
}

/// A parameter is there or not; it is never null.
fn present(mut schema: Value) -> Value {
    if let Some(choices) = schema["anyOf"].as_array() {
        return choices.iter().find(|choice| choice["type"] != "null").cloned().unwrap_or_default();
    }
    if let Some(types) = schema["type"].as_array() {
        schema["type"] = types.iter().find(|one| *one != "null").cloned().unwrap_or_default();
    }
    schema
}

fn page(item: &Value) -> Value {
    json!({
        "type": "object",
        "required": ["data", "next"],
        "properties": {
            "data": {"type": "array", "items": item},
            "next": {"type": ["string", "null"], "description": "`after` of the next page; null on the last one."},
        },
    })
}

/// A page may be empty and have a next one: what is older has not been looked at.
fn found(mut page: Value) -> Value {
    let since = "How far back was looked; null where nothing had to be looked for.";
    let early = "Whether that took too long to go on.";
    page["properties"]["searched_since"] =
        json!({"type": ["string", "null"], "format": "date-time", "description": since});
    page["properties"]["stopped_early"] = json!({"type": "boolean", "description": early});
    page["required"] = json!(["data", "next", "searched_since", "stopped_early"]);
    page
}

/// `ProviderItem`
pub(super) fn item_name(kind: Kind) -> String {
    format!("{}Item", title(kind.name()))
}

pub(super) fn title(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

/// A stored resource as it is shown: `view::item`.
pub(super) fn item(kind: Kind) -> Value {
    let text = json!({"type": "string"});
    let moment = json!({"type": ["string", "null"], "description": "RFC 3339"});
    let mut properties = json!({
        "id": text, "name": text, "revision": {"type": "integer", "minimum": 0}, "created_at": moment, "updated_at": moment,
        "owner": {"type": ["string", "null"], "description": "The file that manages it"},
    });
    if kind == Kind::Key {
        for list in ["models", "passthrough", "roles", "endpoints", "ips"] {
            properties[list] = json!({"type": "array", "items": text});
        }
        for name in ["team", "user"] {
            properties[name] = json!({"type": ["string", "null"]});
        }
        properties["limits"] = json!({"type": "object"});
        properties["budget"] = json!({"type": ["object", "null"]});
        properties["expires_at"] = moment.clone();
        properties["earlier_secret_until"] = moment.clone();
        properties["last_used_at"] = moment;
        properties["enabled"] = json!({"type": "boolean"});
        properties["tags"] = json!({"type": "array", "items": text});
        properties["metadata"] = json!({"type": "object", "additionalProperties": text});
    } else {
        properties["kind"] = json!({"type": "string", "const": kind.name()});
        properties["secrets"] = json!({"type": "object", "additionalProperties": reference("SecretFact")});
        properties["spec"] =
            json!({"type": "object", "description": "The document as it was written, without its secrets."});
    }
    let required: Vec<String> = properties.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    if kind == Kind::Key {
        // Where it says so itself.
        properties["log_bodies"] = json!({"type": "object"});
        properties["revoke_mode"] = text.clone();
        properties["unpriced"] = text;
    }
    json!({"type": "object", "description": kind.row().about, "required": required, "properties": properties})
}
