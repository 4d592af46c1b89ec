//! The OpenAPI document of the whole gateway and its page, from what each plane says of itself. Both are checked in under
//! `docs/api`, from where both planes serve them; a test keeps them current.

mod page;

use serde_json::{Map, Value, json};

pub use self::page::page;

const ABOUT: &str = "The data plane answers requests to models, in the dialects of OpenAI, Anthropic and Google; it takes \
    virtual keys. The admin API is on a listener of its own and takes the master key. `/health`, `/ready`, `/metrics` and these \
    pages are on both.";

/// OpenAPI 3.1.
pub fn document() -> Value {
    let data = with_server(gateway_proxy::openapi::fragment(), "http://127.0.0.1:8080", "The data plane");
    let admin = with_server(gateway_server::admin::openapi(), "http://127.0.0.1:8081", "The admin API");
    let tags: Vec<Value> =
        [&data, &admin].into_iter().filter_map(|plane| plane["tags"].as_array()).flatten().cloned().collect();
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Gateway", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT, "license": {"name": "MIT OR Apache-2.0"}},
        "servers": [{"url": "http://127.0.0.1:8080", "description": "The data plane"}],
        "security": [{"virtualKey": []}, {"virtualKeyHeader": []}, {"googleKeyHeader": []}],
        "tags": tags,
        "paths": merged(&data["paths"], &admin["paths"], on_both),
        "components": {
            "securitySchemes": {
                "virtualKey": {"type": "http", "scheme": "bearer", "description": "A virtual key, `gw_virt_…`"},
                "virtualKeyHeader": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "googleKeyHeader": {"type": "apiKey", "in": "header", "name": "x-goog-api-key"},
                "masterKey": {"type": "http", "scheme": "bearer", "description": "The master key, `gw_master_…`"},
            },
            "schemas": merged(&data["components"]["schemas"], &admin["components"]["schemas"], |name, _, _| {
                panic!("both planes have a schema `{name}`")
            }),
        },
    })
}

fn with_server(mut plane: Value, url: &str, about: &str) -> Value {
    for path in plane["paths"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        path["servers"] = json!([{"url": url, "description": about}]);
    }
    plane
}

/// What both planes answer alike is told once.
fn on_both(_: &str, data: &mut Value, admin: &Value) {
    let servers = admin["servers"].as_array().cloned().unwrap_or_default();
    if let Some(all) = data["servers"].as_array_mut() {
        all.extend(servers);
    }
}

fn merged(first: &Value, second: &Value, join: impl Fn(&str, &mut Value, &Value)) -> Map<String, Value> {
    let mut all = first.as_object().cloned().unwrap_or_default();
    for (name, value) in second.as_object().into_iter().flatten() {
        match all.get_mut(name) {
            Some(there) => join(name, there, value),
            None => drop(all.insert(name.clone(), value.clone())),
        }
    }
    all
}
