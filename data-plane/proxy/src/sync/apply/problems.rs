//! Findings about a configuration, in the form in which the control plane is told: kind, name and field path apart.

use gateway_model::document::SETTINGS_NAME;
use gateway_model::kind::Kind;
use gateway_model::problem::Problem;
use gateway_wire::v1::{ConfigError, Item, item::Body};
use serde_json::Value;

/// About one item; `field_path` is relative to it.
pub(super) fn of_item(item: &Item, field_path: &str, code: &str, message: &str) -> ConfigError {
    let name = match &item.body {
        Some(Body::Key(key)) => Some(key.name.clone()),
        Some(Body::Document(document)) => serde_json::from_slice(document).ok().and_then(|value| name_in(&value)),
        Some(Body::Pepper(_)) | None => None,
    };
    ConfigError {
        kind: item.kind.clone(),
        name: name.unwrap_or_else(|| item.id.clone()),
        field_path: field_path.to_owned(),
        code: code.to_owned(),
        message: message.to_owned(),
    }
}

/// About one document; the problem's path is relative to it.
pub(super) fn of_document(kind: Kind, name: &str, problem: &Problem) -> ConfigError {
    ConfigError {
        kind: kind.name().to_owned(),
        name: name.to_owned(),
        field_path: problem.path.clone(),
        code: problem.code.to_string(),
        message: problem.message.clone(),
    }
}

/// About a whole set; the problem's path begins at its root: `providers[openai].timeouts.idle`.
pub(super) fn of_set(problem: &Problem) -> ConfigError {
    let (kind, name, field_path) = split(&problem.path);
    ConfigError {
        kind: kind.map(|kind| kind.name().to_owned()).unwrap_or_default(),
        name: name.to_owned(),
        field_path: field_path.to_owned(),
        code: problem.code.to_string(),
        message: problem.message.clone(),
    }
}

pub(super) fn name_in(document: &Value) -> Option<String> {
    document.get("name").and_then(Value::as_str).map(str::to_owned)
}

/// Kind, name and the rest. A path of another form is all rest.
fn split(path: &str) -> (Option<Kind>, &str, &str) {
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (plural, rest) = path.split_at(end);
    let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == plural);
    match kind {
        Some(Kind::Setting) => (kind, SETTINGS_NAME, rest.trim_start_matches('.')),
        Some(_) => match rest.strip_prefix('[').and_then(|rest| Some((rest, close(rest)?))) {
            Some((rest, at)) => (kind, &rest[..at], rest[at + 1..].trim_start_matches('.')),
            None => (kind, "", rest),
        },
        None => (None, "", path),
    }
}

/// Where the bracket closes that was opened before this text. Names may hold brackets in pairs.
fn close(text: &str) -> Option<usize> {
    let mut depth = 1;
    for (at, character) in text.char_indices() {
        match character {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_apart() {
        let cases = [
            ("providers[openai].timeouts.idle", Some(Kind::Provider), "openai", "timeouts.idle"),
            ("models[a/b[1].x].targets[0].provider", Some(Kind::Model), "a/b[1].x", "targets[0].provider"),
            ("settings.server.listen", Some(Kind::Setting), "settings", "server.listen"),
            ("routes[r]", Some(Kind::Route), "r", ""),
            ("routes[r", Some(Kind::Route), "", "[r"),
            ("strange[x]", None, "", "strange[x]"),
            ("", None, "", ""),
        ];
        for (path, kind, name, field_path) in cases {
            assert_eq!(split(path), (kind, name, field_path), "{path}");
        }
    }
}
