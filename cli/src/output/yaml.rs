//! JSON values as YAML text that any YAML 1.2 (or 1.1) reader reads back as the same value. Emits only.

use std::fmt::Write;

use serde_json::Value;

/// Block style, two spaces, keys in their order; ends with a newline.
pub(crate) fn emit(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => mapping(map, 0, &mut text),
        Value::Array(items) if !items.is_empty() => sequence(items, 0, &mut text),
        flat => {
            scalar(flat, &mut text);
            text.push('\n');
        }
    }
    text
}

fn mapping(map: &serde_json::Map<String, Value>, depth: usize, text: &mut String) {
    for (position, (key, value)) in map.iter().enumerate() {
        if position > 0 {
            indent(depth, text);
        }
        string(key, text);
        text.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push('\n');
                indent(depth + 1, text);
                mapping(inner, depth + 1, text);
            }
            Value::Array(inner) if !inner.is_empty() => {
                text.push('\n');
                indent(depth + 1, text);
                sequence(inner, depth + 1, text);
            }
            flat => {
                text.push(' ');
                scalar(flat, text);
                text.push('\n');
            }
        }
    }
}

fn sequence(items: &[Value], depth: usize, text: &mut String) {
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            indent(depth, text);
        }
        text.push_str("- ");
        match item {
            Value::Object(inner) if !inner.is_empty() => mapping(inner, depth + 1, text),
            Value::Array(inner) if !inner.is_empty() => sequence(inner, depth + 1, text),
            flat => {
                scalar(flat, text);
                text.push('\n');
            }
        }
    }
}

fn indent(depth: usize, text: &mut String) {
    text.extend(std::iter::repeat_n("  ", depth));
}

fn scalar(value: &Value, text: &mut String) {
    match value {
        Value::String(value) => string(value, text),
        // Numbers, booleans, null and the empty collections are written in YAML as in JSON.
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

/// Plain where no reader could take it for anything else, double-quoted otherwise (JSON's escapes are YAML's).
fn string(value: &str, text: &mut String) {
    if is_plain(value) {
        text.push_str(value);
        return;
    }
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            // Control characters, and those that some readers take for line breaks, byte-order marks or refuse.
            '\0'..='\u{1f}' | '\u{7f}'..='\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(text, "\\u{:04x}", u32::from(character));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

/// Letters, digits and a few marks that mean nothing inside a word; no word that some YAML reads as null, bool or number.
fn is_plain(value: &str) -> bool {
    let Some(first) = value.chars().next() else { return false };
    let starts_well = first.is_ascii_alphabetic() || matches!(first, '/' | '_' | '$');
    let goes_on_well =
        value.chars().all(|character| character.is_ascii_alphanumeric() || "_-./$+@ ".contains(character));
    let is_word = matches!(
        value.to_ascii_lowercase().as_str(),
        "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | "nan" | "inf"
    );
    let is_url = value.starts_with("http://") || value.starts_with("https://");
    let url_is_plain =
        is_url && value.chars().all(|character| character.is_ascii_graphic() && !"\"'#{}[],".contains(character));
    (starts_well && goes_on_well && !is_word && !value.ends_with(' ')) || (url_is_plain && !value.ends_with(':'))
}

#[cfg(test)]
mod tests {
    use gateway_model::file;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![any::<String>(), "[a-zA-Z0-9:/.#&*!|>'\"%@`{}, \\[\\]?~=-]{0,12}"];
        let flat = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        flat.prop_recursive(4, 32, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(text.clone(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_it_was(value in any_value()) {
            let text = emit(&value);
            prop_assert_eq!(file::value("t", &text), Ok(value), "{}", text);
        }
    }

    #[test]
    fn values_are_written_as_people_write_them() {
        for (value, expected) in [
            (json!({}), "{}\n"),
            (json!([]), "[]\n"),
            (json!("plain"), "plain\n"),
            (json!({"a": {"b": [1, {"c": null, "d": []}]}}), "a:\n  b:\n    - 1\n    - c: null\n      d: []\n"),
            (json!([[1, 2], []]), "- - 1\n  - 2\n- []\n"),
            (
                json!({"u": "https://api.example.com/v1", "h": "http://a:"}),
                "u: https://api.example.com/v1\nh: \"http://a:\"\n",
            ),
            (
                json!(["yes", "Off", "1", "*", "a: b", "a #b", "", " x", "x ", "-", "${A}", "é\n"]),
                "- \"yes\"\n- \"Off\"\n- \"1\"\n- \"*\"\n- \"a: b\"\n- \"a #b\"\n- \"\"\n- \" x\"\n- \"x \"\n- \"-\"\n- \"${A}\"\n- \"é\\n\"\n",
            ),
        ] {
            assert_eq!(emit(&value), expected);
        }
    }
}
