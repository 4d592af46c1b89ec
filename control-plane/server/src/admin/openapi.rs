//! The admin API's part of the OpenAPI document, written from the table of routes: each has a text here, with the types that its
//! handler reads and writes. `{kind}` is written out for each kind of resource, with the schema of its documents.
//!
//! Used when `docs/api` is made; nothing here runs while the control plane serves.

mod shape;
mod texts;

use gateway_model::kind::Kind;
use gateway_model::person::PersonRole;
use gateway_model::problem::Problem;
use gateway_model::schema;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use self::shape::{Answer, Make, of, parameters, reference};
use self::texts::{Text, texts};
use super::{Need, ROUTES, Route};
use crate::change::diff::ItemDifference;
use crate::change::{Difference, Op};
use crate::fleet::{NodeView, Rollout};

const JSON: &str = "application/json";

/// Types that `schemas.json` refers to.
const BY_NAME: [Make; 7] =
    [of::<Problem>, of::<PersonRole>, of::<Op>, of::<Difference>, of::<ItemDifference>, of::<NodeView>, of::<Rollout>];

/// `paths`, `components` and `tags` of what the admin listener serves.
pub fn fragment() -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let mut paths = Map::new();
    for route in ROUTES {
        let text =
            text(route).unwrap_or_else(|| panic!("`{} {}` is served and not described", route.method, route.path));
        let kinds: Vec<Option<Kind>> = match route.path.contains("{kind}") {
            true => Kind::ALL.into_iter().filter(|kind| *kind != Kind::Setting).map(Some).collect(),
            false => vec![None],
        };
        for kind in kinds {
            let name = kind.map_or("", Kind::plural);
            let path = paths.entry(route.path.replace("{kind}", name)).or_insert_with(|| json!({}));
            path[route.method.as_str().to_ascii_lowercase()] = described(route, text, kind, &mut generator);
        }
    }
    for kind in Kind::ALL {
        schema::of(kind, &mut generator);
    }
    for make in BY_NAME {
        make(&mut generator);
    }
    let mut schemas = generator.take_definitions(true);
    let written: Map<String, Value> =
        serde_json::from_str(include_str!("openapi/schemas.json")).expect("the file is a JSON object");
    schemas.extend(written);
    for kind in Kind::ALL {
        schemas.insert(shape::item_name(kind), shape::item(kind));
    }
    json!({
        "tags": [
            {"name": "configuration", "description": "The configuration as a whole, its history, the way back."},
            {"name": "resources", "description": "Every kind of resource, one at a time."},
            {"name": "fleet", "description": "The nodes, and how they join."},
            {"name": "people", "description": "Who may sign in, with what, and who has."},
            {"name": "aliases", "description": "The same under names that clients of other gateways know."},
            {"name": "records", "description": "What was asked, used and changed."},
        ],
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

fn text(route: &Route) -> Option<&'static Text> {
    texts().find(|text| text.method == route.method.as_str() && text.path == route.path)
}

fn described(route: &Route, text: &Text, kind: Option<Kind>, generator: &mut SchemaGenerator) -> Value {
    let kind_name = kind.map(|kind| shape::title(kind.name())).unwrap_or_default();
    let mut described = json!({
        "operationId": text.id.replace("{Kind}", &kind_name),
        "summary": text.about.replace("{kind}", kind.map_or("", Kind::name)).replace("{kinds}", kind.map_or("", Kind::plural)),
        "description": route.need.told(),
        "tags": [text.tag],
        "security": if matches!(route.need, Need::Nothing | Need::Greeting) { json!([]) } else { json!([{"masterKey": []}]) },
    });
    let mut all = Vec::new();
    for name in route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
        if name != "kind" {
            all.push(
                json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}}),
            );
        }
    }
    if let Some(query) = text.query {
        all.extend(parameters(&query(generator), generator));
    }
    if !all.is_empty() {
        described["parameters"] = Value::Array(all);
    }
    if let Some(body) = &text.body {
        let schema = body.schema(kind, generator);
        described["requestBody"] = json!({"required": route.need != Need::Greeting || text.id != "signIn", "content": {JSON: {"schema": schema}}});
    }
    for Answer { status, media, shape, about } in text.answers {
        let answer = &mut described["responses"][*status];
        answer["description"] = json!(about);
        if !media.is_empty() {
            let schema = shape.as_ref().map(|shape| json!({"schema": shape.schema(kind, generator)}));
            answer["content"][*media] = schema.unwrap_or_else(|| json!({}));
        }
    }
    if route.need != Need::Nothing {
        described["responses"]["default"] =
            json!({"description": "Refused", "content": {JSON: {"schema": reference("AdminError")}}});
    }
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_one_text_and_every_text_a_route() {
        for route in ROUTES {
            let n_texts =
                texts().filter(|text| text.method == route.method.as_str() && text.path == route.path).count();
            assert_eq!(n_texts, 1, "{} {}", route.method, route.path);
        }
        assert_eq!(texts().count(), ROUTES.len());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let fragment = fragment();
        let schemas = fragment["components"]["schemas"].as_object().expect("schemas");
        for reference in fragment.to_string().split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap_or_default();
            assert!(schemas.contains_key(name), "{name} is not there");
        }
    }
}
