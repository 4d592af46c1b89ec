//! The document as a page: every operation folded, every schema a table. Plain HTML, which needs no script: what an address
//! names stands within what is folded, and browsers unfold what they are led into.

use std::fmt::Write as _;

use serde_json::{Map, Value};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The whole page; how it looks is in `docs/api/style.css`.
pub fn page(document: &Value) -> String {
    let mut html = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Gateway API</title>\n<link rel=\"stylesheet\" href=\"/docs/style.css\">\n</head>\n<body>\n",
    );
    let tags = document["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
    html += "<nav aria-label=\"Contents\">\n<a class=\"home\" href=\"/\">Gateway</a>\n<ul>\n";
    for tag in tags {
        let name = text(&tag["name"]);
        put(&mut html, format_args!("<li><a href=\"#{name}\">{name}</a></li>\n"));
    }
    html += "<li><a href=\"#schemas\">schemas</a></li>\n<li><a href=\"/openapi.json\">openapi.json</a></li>\n</ul>\n</nav>\n<main>\n";
    let info = &document["info"];
    put(
        &mut html,
        format_args!(
            "<h1>Gateway API <small>{}</small></h1>\n<p class=\"lead\">{}</p>\n",
            text(&info["version"]),
            marked(&info["description"])
        ),
    );
    for tag in tags {
        let name = text(&tag["name"]);
        put(
            &mut html,
            format_args!("<section id=\"{name}\">\n<h2>{name}</h2>\n<p>{}</p>\n", marked(&tag["description"])),
        );
        for (path, item) in members(&document["paths"]) {
            for method in METHODS {
                let operation = &item[method];
                if operation["tags"][0] == tag["name"] {
                    add_operation(&mut html, document, (method, path, item), operation);
                }
            }
        }
        html += "</section>\n";
    }
    html += "<section id=\"schemas\">\n<h2>schemas</h2>\n";
    for (name, schema) in members(&document["components"]["schemas"]) {
        put(
            &mut html,
            format_args!("<details>\n<summary><code>{0}</code></summary>\n<div id=\"schema-{0}\">\n", escaped(name)),
        );
        add_schema(&mut html, schema);
        html += "</div>\n</details>\n";
    }
    html += "</section>\n</main>\n</body>\n</html>\n";
    html
}

fn add_operation(html: &mut String, document: &Value, (method, path, item): (&str, &str, &Value), operation: &Value) {
    let id = text(&operation["operationId"]);
    let path = escaped(path).replace('{', "<var>{").replace('}', "}</var>");
    let about = marked(&operation["summary"]);
    put(
        html,
        format_args!(
            "<details>\n<summary><span class=\"method {method}\">{}</span> <code class=\"path\">{path}</code> <span class=\"about\">{about}</span></summary>\n<div id=\"{id}\">\n",
            method.to_uppercase(),
        ),
    );
    let servers = item["servers"].as_array().into_iter().flatten().map(|server| text(&server["description"]));
    let servers = servers.collect::<Vec<_>>().join(" and ").replace("and The", "and the");
    let security = operation.get("security").unwrap_or(&document["security"]);
    let key = match security.as_array().and_then(|all| all.first()) {
        None => "no key",
        Some(scheme) if scheme.get("masterKey").is_some() => "the master key",
        Some(_) => "a virtual key",
    };
    put(html, format_args!("<p class=\"where\">{servers} · takes {key} · <code>{id}</code></p>\n"));
    if let Some(parameters) = operation["parameters"].as_array() {
        *html += "<h3>Parameters</h3>\n<table>\n";
        for parameter in parameters {
            add_row(
                html,
                &text(&parameter["name"]),
                parameter["required"] == true,
                &parameter["schema"],
                &parameter["description"],
            );
        }
        *html += "</table>\n";
    }
    add_content(html, "Body", "", &operation["requestBody"]["content"]);
    for (status, answer) in members(&operation["responses"]) {
        let title = if status == "default" { "Otherwise" } else { status };
        add_content(html, title, &text(&answer["description"]), &answer["content"]);
    }
    *html += "</div>\n</details>\n";
}

fn add_content(html: &mut String, title: &str, about: &str, content: &Value) {
    if content.is_null() && about.is_empty() {
        return;
    }
    let about = if about.is_empty() { String::new() } else { format!(" <small>{about}</small>") };
    put(html, format_args!("<h3>{title}{about}</h3>\n"));
    for (media, content) in members(content) {
        put(html, format_args!("<p><code class=\"media\">{media}</code> {}</p>\n", kind(&content["schema"])));
    }
}

fn add_schema(html: &mut String, schema: &Value) {
    if !schema["description"].is_null() {
        put(html, format_args!("<p>{}</p>\n", marked(&schema["description"])));
    }
    let Some(properties) = schema["properties"].as_object() else {
        put(html, format_args!("<p>{}</p>\n", kind(schema)));
        return;
    };
    *html += "<table>\n";
    for (name, property) in properties {
        add_row(html, name, is_required(schema, name), property, &property["description"]);
    }
    *html += "</table>\n";
}

fn add_row(html: &mut String, name: &str, required: bool, schema: &Value, about: &Value) {
    let required = if required { " <em>required</em>" } else { "" };
    put(
        html,
        format_args!(
            "<tr><th scope=\"row\"><code>{}</code>{required}</th><td>{}</td><td>{}</td></tr>\n",
            escaped(name),
            kind(schema),
            marked(about)
        ),
    );
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name))
}

/// A schema in a few words.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    if let Some(constant) = schema.get("const") {
        return format!("<code>{}</code>", escaped(&constant.to_string()));
    }
    if let Some(choices) = schema["enum"].as_array() {
        let choices = choices.iter().map(|choice| format!("<code>{}</code>", escaped(&choice.to_string())));
        return choices.collect::<Vec<_>>().join(" or ");
    }
    for (word, between) in [("anyOf", " or "), ("oneOf", " or "), ("allOf", " and ")] {
        if let Some(choices) = schema[word].as_array() {
            return choices.iter().map(kind).collect::<Vec<_>>().join(between);
        }
    }
    match &schema["type"] {
        Value::Array(types) => types.iter().map(text).collect::<Vec<_>>().join(" or "),
        one if one == "array" => format!("array of {}", kind(&schema["items"])),
        one if one == "object" => match schema["properties"].as_object() {
            Some(properties) => {
                let names = properties.keys().map(|name| format!("<code>{}</code>", escaped(name)));
                format!("object with {}", names.collect::<Vec<_>>().join(", "))
            }
            None => "object".to_owned(),
        },
        Value::String(one) => escaped(one),
        _ => "anything".to_owned(),
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn text(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

/// Text in which `…` in backticks is code.
fn marked(value: &Value) -> String {
    let escaped = text(value);
    let parts = escaped.split('`').enumerate();
    parts.map(|(place, part)| if place % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() }).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn put(html: &mut String, text: std::fmt::Arguments<'_>) {
    html.write_fmt(text).expect("a string takes everything");
}
