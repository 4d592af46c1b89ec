//! A call by JSON-RPC 2.0, <https://www.jsonrpc.org/specification>, read so that nobody behind us can understand it otherwise: names
//! in their own case, and no member twice, at any depth.

use std::collections::HashSet;
use std::fmt;

use gateway_ir::failure::Failure;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) method: String,
    /// `params.metadata.agent`.
    pub(super) agent: Option<String>,
}

const MEMBERS: [&str; 4] = ["jsonrpc", "id", "method", "params"];

/// Reads one call. Several in an array are refused: they could go to several agents, and each has one answer.
pub(super) fn call(body: &[u8]) -> Result<Call, Box<Failure>> {
    let invalid = |message: String, param: &str| Box::new(Failure::invalid(message).at(param));
    let mut text = serde_json::Deserializer::from_slice(body);
    let read = Strict.deserialize(&mut text).and_then(|value| text.end().map(|()| value));
    let value = read.map_err(|fault| Box::new(Failure::invalid(format!("the body is no JSON-RPC call: {fault}"))))?;
    let Value::Object(members) = value else {
        return Err(Box::new(Failure::invalid("the body must be one JSON-RPC call, an object")));
    };
    if let Some(other) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
        return Err(invalid(format!("a JSON-RPC call has no member `{}`", other.escape_debug()), "body"));
    }
    if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(invalid("`jsonrpc` must be \"2.0\"".to_owned(), "jsonrpc"));
    }
    let Some(method) = members.get("method").and_then(Value::as_str).filter(|method| !method.is_empty()) else {
        return Err(invalid("`method` must be a name".to_owned(), "method"));
    };
    let agent = members.get("params").and_then(|params| params.pointer("/metadata/agent")).and_then(Value::as_str);
    Ok(Call { method: method.to_owned(), agent: agent.map(str::to_owned) })
}

/// JSON in which no object has a member twice.
struct Strict;

// === impl Strict ===

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let (mut members, mut names) = (Map::new(), HashSet::new());
        while let Some(name) = map.next_key::<String>()? {
            // Readers that do not heed case would take one for the other.
            if !names.insert(name.to_lowercase()) {
                return Err(A::Error::custom(format_args!("`{}` is given twice", name.escape_debug())));
            }
            members.insert(name, map.next_value_seed(Self)?);
        }
        Ok(Value::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(Self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_can_be_read_in_one_way_only() {
        let call_of =
            |method: &str, agent: Option<&str>| Ok(Call { method: method.to_owned(), agent: agent.map(str::to_owned) });
        let cases = [
            (r#"{"jsonrpc":"2.0","id":1,"method":"message/send"}"#, call_of("message/send", None)),
            (
                r#"{"method":"tasks/get","params":{"metadata":{"agent":"a"}},"jsonrpc":"2.0"}"#,
                call_of("tasks/get", Some("a")),
            ),
            (r#"{"jsonrpc":"2.0","method":"a","method":"b"}"#, Err("given twice")),
            (r#"{"jsonrpc":"2.0","method":"a","m\u0065thod":"b"}"#, Err("given twice")),
            (r#"{"jsonrpc":"2.0","method":"a","Method":"b"}"#, Err("given twice")),
            (r#"{"jsonrpc":"2.0","Method":"b"}"#, Err("no member `Method`")),
            (r#"{"jsonrpc":"2.0","method":"a","params":{"x":{"y":1,"y":2}}}"#, Err("given twice")),
            (r#"{"jsonrpc":"1.0","method":"a"}"#, Err("jsonrpc")),
            (r#"{"jsonrpc":"2.0","method":1}"#, Err("method")),
            (r#"[{"jsonrpc":"2.0","method":"a"}]"#, Err("one JSON-RPC call")),
            (r#"{"jsonrpc":"2.0","method":"a"} {}"#, Err("no JSON-RPC call")),
            ("", Err("no JSON-RPC call")),
        ];
        for (body, expected) in cases {
            match (call(body.as_bytes()), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{body}"),
                (Err(failure), Err(told)) => assert!(failure.message.contains(told), "{body}: {failure}"),
                (found, expected) => panic!("{body}: {found:?}, not {expected:?}"),
            }
        }
    }
}
