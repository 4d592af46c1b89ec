//! Input items of a response, as raw JSON: one list out of several, and the list that clients are shown.

use bytes::Bytes;
use gateway_ir::json;
use serde_json::{Map, Value, json};

/// What may be asked of a list (`limit`, `order`, `after`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) limit: usize,
    pub(super) oldest_first: bool,
    pub(super) after: Option<String>,
}

/// `input` as an array of items: a text is one message.
pub(super) fn listed(input: &[u8]) -> Bytes {
    match json::string(input) {
        Some(text) => {
            let part = json!({"type": "input_text", "text": text});
            json!([{"type": "message", "role": "user", "content": [part]}]).to_string().into()
        }
        None if input.starts_with(b"[") => Bytes::copy_from_slice(input),
        // Wrong, and for whoever reads the request to say so.
        None => Bytes::from_static(b"[]"),
    }
}

/// One array of all elements.
pub(super) fn joined(arrays: &[&[u8]]) -> Bytes {
    let mut all = Vec::with_capacity(arrays.iter().map(|array| array.len()).sum());
    all.push(b'[');
    for array in arrays {
        let inside = array.strip_prefix(b"[").and_then(|array| array.strip_suffix(b"]")).unwrap_or_default();
        let inside = inside.trim_ascii();
        if !inside.is_empty() {
            if all.len() > 1 {
                all.push(b',');
            }
            all.extend_from_slice(inside);
        }
    }
    all.push(b']');
    all.into()
}

/// The output of a response object.
pub(super) fn output(response: &Bytes) -> Bytes {
    let mut at = None;
    let scanned = json::scan_object(response, |member| {
        if member.is("output") {
            at = Some(member.value);
        }
    });
    scanned.ok().and(at).map_or_else(|| Bytes::from_static(b"[]"), |at| response.slice(at))
}

/// The list object, <https://platform.openai.com/docs/api-reference/responses/input-items>. `None`: there is no item to begin
/// behind.
pub(super) fn page(input: &[u8], response_id: &str, page: &Page) -> Option<Value> {
    let items: Vec<Map<String, Value>> = serde_json::from_slice(input).unwrap_or_default();
    let named = items.into_iter().enumerate().map(|(index, item)| named(item, response_id, index));
    let mut items: Vec<Value> = named.collect();
    if !page.oldest_first {
        items.reverse();
    }
    if let Some(after) = &page.after {
        let place = items.iter().position(|item| item["id"] == **after)?;
        items.drain(..=place);
    }
    let has_more = items.len() > page.limit;
    items.truncate(page.limit);
    let end = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
    Some(json!({
        "object": "list",
        "first_id": end(items.first()),
        "last_id": end(items.last()),
        "has_more": has_more,
        "data": items,
    }))
}

/// Every item has an id and a type, and a message its parts, also where its client left them out.
pub(super) fn named(mut item: Map<String, Value>, response_id: &str, index: usize) -> Value {
    let kind = item.entry("type").or_insert_with(|| "message".into()).as_str().unwrap_or_default().to_owned();
    if !item.get("id").is_some_and(Value::is_string) {
        let prefix = match kind.as_str() {
            "message" => "msg",
            "reasoning" => "rs",
            _ => "fc",
        };
        let id = format!("{prefix}_{}_in_{index}", response_id.trim_start_matches("resp_"));
        item.insert("id".to_owned(), id.into());
    }
    if let Some(Value::String(text)) = item.get("content") {
        let part = if item.get("role") == Some(&"assistant".into()) { "output_text" } else { "input_text" };
        let content = json!([{"type": part, "text": text}]);
        item.insert("content".to_owned(), content);
    }
    Value::Object(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_joined_as_they_stand() {
        let cases: [(&[&[u8]], &[u8]); 4] = [
            (&[], b"[]"),
            (&[b"[]", b"[ ]"], b"[]"),
            (&[b"[]", b"[1, 2]", b"[ ]", b"[ {\"a\":[]} ]"], b"[1, 2,{\"a\":[]}]"),
            (&[b"null", b"[3]"], b"[3]"),
        ];
        for (arrays, expected) in cases {
            assert_eq!(joined(arrays), expected);
        }
        assert_eq!(listed(b"{}"), "[]");
        assert_eq!(output(&Bytes::from_static(b"{\"id\":\"x\",\"output\": [1]}")), "[1]");
    }

    #[test]
    fn a_page_is_what_was_asked_for() {
        let input = br#"[{"role":"user","content":"a"},{"type":"function_call","id":"fc_1"},{"type":"x"}]"#;
        let asked = |limit, oldest_first, after: Option<&str>| {
            let page = Page { limit, oldest_first, after: after.map(str::to_owned) };
            let list = super::page(input, "resp_r", &page)?;
            let ids = list["data"].as_array()?.iter().filter_map(|item| item["id"].as_str().map(str::to_owned));
            Some((ids.collect::<Vec<_>>().join(" "), list["has_more"].as_bool()?))
        };
        let cases = [
            (20, false, None, Some(("fc_r_in_2 fc_1 msg_r_in_0", false))),
            (2, true, None, Some(("msg_r_in_0 fc_1", true))),
            (2, true, Some("fc_1"), Some(("fc_r_in_2", false))),
            (1, false, Some("fc_r_in_2"), Some(("fc_1", true))),
            (1, false, Some("none"), None),
        ];
        for (limit, oldest_first, after, expected) in cases {
            let expected = expected.map(|(ids, more)| (ids.to_owned(), more));
            assert_eq!(asked(limit, oldest_first, after), expected, "{limit} {oldest_first} {after:?}");
        }
        let first = super::page(input, "resp_r", &Page { limit: 1, oldest_first: true, after: None }).expect("a list");
        assert_eq!(first["data"][0]["content"], json!([{"type": "input_text", "text": "a"}]));
    }
}
