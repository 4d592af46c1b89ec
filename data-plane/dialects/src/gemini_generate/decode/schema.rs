//! Google's `Schema`, which is OpenAPI's with types in capitals, as the JSON Schema that everybody else reads.
//! <https://ai.google.dev/api/caching#Schema>

use gateway_ir::failure::Failure;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::fields::{Path, camel_case};

/// The same schema in JSON Schema's words. What is none of Google's stays as it is.
pub(super) fn json_schema(raw: &RawValue, path: &Path<'_>) -> Result<Box<RawValue>, Box<Failure>> {
    let Ok(Value::Object(schema)) = serde_json::from_str(raw.get()) else { return Err(path.must_be("an object")) };
    to_raw_value(&converted(schema)).map_err(|_| path.must_be("a schema"))
}

fn converted(schema: Map<String, Value>) -> Value {
    let mut out = Map::with_capacity(schema.len());
    let mut is_nullable = false;
    for (name, value) in schema {
        match (camel_case(&name).as_str(), value) {
            ("type", Value::String(kind)) => {
                let kind = kind.to_ascii_lowercase();
                if kind != "type_unspecified" {
                    out.insert("type".to_owned(), kind.into());
                }
            }
            ("nullable", value) => is_nullable = value == true,
            // An order for the model's own writing; nobody else has it.
            ("propertyOrdering", _) => {}
            ("format", value) if value == "enum" => {}
            ("example", value) => drop(out.insert("examples".to_owned(), json!([value]))),
            (
                name @ ("minItems" | "maxItems" | "minProperties" | "maxProperties" | "minLength" | "maxLength"),
                value,
            ) => {
                out.insert(name.to_owned(), number(value));
            }
            ("properties", Value::Object(members)) => drop(out.insert("properties".to_owned(), each(members))),
            ("defs" | "$defs", Value::Object(members)) => drop(out.insert("$defs".to_owned(), each(members))),
            ("ref", value) => drop(out.insert("$ref".to_owned(), value)),
            (name @ ("items" | "additionalProperties" | "not"), Value::Object(inner)) => {
                out.insert(name.to_owned(), converted(inner));
            }
            (name @ ("anyOf" | "oneOf" | "allOf" | "prefixItems"), Value::Array(inner)) => {
                out.insert(name.to_owned(), inner.into_iter().map(any).collect());
            }
            (_, value) => drop(out.insert(name, value)),
        }
    }
    if is_nullable {
        make_nullable(&mut out);
    }
    Value::Object(out)
}

fn each(members: Map<String, Value>) -> Value {
    members.into_iter().map(|(name, value)| (name, any(value))).collect::<Map<_, _>>().into()
}

fn any(value: Value) -> Value {
    match value {
        Value::Object(schema) => converted(schema),
        other => other,
    }
}

/// 64-bit numbers are texts in the JSON of protocol buffers.
fn number(value: Value) -> Value {
    let parsed = value.as_str().and_then(|text| text.parse::<u64>().ok());
    parsed.map_or(value, Value::from)
}

fn make_nullable(schema: &mut Map<String, Value>) {
    if let Some(kind) = schema.get_mut("type") {
        *kind = json!([kind.take(), "null"]);
    } else if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.push(json!({"type": "null"}));
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.push(Value::Null);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(google: Value, expected: Value) {
        let raw = to_raw_value(&google).expect("JSON");
        let schema = json_schema(&raw, &Path::ROOT).expect("a schema");
        assert_eq!(schema.get(), expected.to_string(), "{google}");
    }

    #[test]
    fn googles_schemas_are_json_schemas() {
        check(
            json!({"type": "OBJECT", "properties": {
                "min_items": {"type": "STRING", "format": "enum", "enum": ["a"], "nullable": true},
                "list": {"type": "ARRAY", "items": {"type": "INTEGER", "format": "int32"}, "min_items": "1"},
                "either": {"anyOf": [{"type": "NUMBER"}, {"type": "BOOLEAN"}], "nullable": true}},
                "required": ["list"], "propertyOrdering": ["list"]}),
            json!({"type": "object", "properties": {
                "min_items": {"type": ["string", "null"], "enum": ["a", null]},
                "list": {"type": "array", "items": {"type": "integer", "format": "int32"}, "minItems": 1},
                "either": {"anyOf": [{"type": "number"}, {"type": "boolean"}, {"type": "null"}]}},
                "required": ["list"]}),
        );
        check(json!({"type": "TYPE_UNSPECIFIED", "example": 1}), json!({"examples": [1]}));
        let plain =
            json!({"type": "object", "additionalProperties": false, "properties": {"a": {"$ref": "#/$defs/A"}}});
        check(plain.clone(), plain);
    }
}
