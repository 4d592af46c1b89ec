//! JSON Schema of the configuration file, for editors. Generated from the same types that decode it.

use schemars::JsonSchema;
use serde_json::{Value, json};

use crate::kind::Kind;
use crate::kind::a2a_agent::A2aAgent;
use crate::kind::budget::BudgetRule;
use crate::kind::exporter::Exporter;
use crate::kind::key::Key;
use crate::kind::limit::LimitRule;
use crate::kind::model::Model;
use crate::kind::price::Price;
use crate::kind::provider::Provider;
use crate::kind::route::Route;
use crate::kind::settings::Settings;
use crate::kind::tenant::{Organization, Team, User};

/// Draft 2020-12.
pub fn schema() -> Value {
    let mut generator = schemars::SchemaGenerator::default();
    let mut properties = serde_json::Map::new();
    for kind in Kind::ALL {
        let item = of(kind, &mut generator);
        let property = if kind == Kind::Setting {
            item
        } else {
            json!({"type": ["array", "null"], "items": item, "description": kind.row().about})
        };
        properties.insert(kind.plural().to_owned(), property);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "gateway.yaml",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "$defs": generator.take_definitions(true),
    })
}

/// The schema of one resource as people write it; what it refers to is in the generator afterwards.
pub fn of(kind: Kind, generator: &mut schemars::SchemaGenerator) -> Value {
    match kind {
        Kind::Setting => generate::<Settings>(generator),
        Kind::Provider => generate::<Provider>(generator),
        Kind::Price => generate::<Price>(generator),
        Kind::Model => generate::<Model>(generator),
        Kind::Route => generate::<Route>(generator),
        Kind::A2aAgent => generate::<A2aAgent>(generator),
        Kind::Organization => generate::<Organization>(generator),
        Kind::Team => generate::<Team>(generator),
        Kind::User => generate::<User>(generator),
        Kind::Budget => generate::<BudgetRule>(generator),
        Kind::Limit => generate::<LimitRule>(generator),
        Kind::Exporter => generate::<Exporter>(generator),
        Kind::Key => generate::<Key>(generator),
    }
}

fn generate<T: JsonSchema>(generator: &mut schemars::SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_and_reference_is_there() {
        let schema = schema();
        for kind in Kind::ALL {
            assert!(schema["properties"][kind.plural()].is_object(), "{kind}");
        }
        let text = schema.to_string();
        for reference in text.split("\"#/$defs/").skip(1) {
            let name = reference.split('"').next().unwrap_or_default();
            assert!(schema["$defs"][name].is_object(), "{name} is not defined");
        }
    }
}
