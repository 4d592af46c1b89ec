//! Arguments that come in pieces: `partialArgs` names a place by JSONPath and gives what belongs there.

use gateway_ir::failure::Failure;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::reading::{elements, garbage, members_of, text};

/// The deepest place, and the largest index, that arguments have.
const MAX_DEPTH: usize = 64;
const MAX_INDEX: usize = 10_000;

/// Arguments being put together.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    whole: Map<String, Value>,
    n_bytes: usize,
}

enum Step {
    Name(String),
    Index(usize),
}

/// The most that arguments may hold until they are whole, in bytes.
const MAX_BYTES: usize = 4 << 20;

// === impl Arguments ===

impl Arguments {
    /// Takes the pieces of one chunk.
    pub(super) fn add(&mut self, pieces: &RawValue) -> Result<(), Box<Failure>> {
        let mut all = Vec::new();
        elements(pieces, |piece| all.push(piece));
        for piece in all {
            self.n_bytes += piece.get().len();
            if self.n_bytes > MAX_BYTES {
                return Err(garbage("a tool call of the upstream is larger than any should be"));
            }
            self.add_piece(piece)?;
        }
        Ok(())
    }

    pub(super) fn into_json(self) -> String {
        Value::Object(self.whole).to_string()
    }

    fn add_piece(&mut self, piece: &RawValue) -> Result<(), Box<Failure>> {
        let (mut path, mut value) = (None, Value::Null);
        members_of(piece, |name, raw| match name {
            "jsonPath" => path = text(raw),
            "stringValue" | "numberValue" | "boolValue" => {
                value = serde_json::from_str(raw.get()).unwrap_or(Value::Null);
            }
            _ => {}
        });
        let steps = path.as_deref().and_then(steps);
        let Some(steps) = steps else { return Err(garbage("a tool call of the upstream names no place")) };
        let Some(place) = place(&mut self.whole, &steps) else {
            return Err(garbage("a tool call of the upstream contradicts itself"));
        };
        match (place, value) {
            (Value::String(whole), Value::String(more)) => whole.push_str(&more),
            (place, value) => *place = value,
        }
        Ok(())
    }
}

/// `$.a.b[0]['c d']` as steps.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() && steps.len() < MAX_DEPTH {
        if let Some(quoted) = rest.strip_prefix("['") {
            let (name, after) = quoted.split_once("']")?;
            steps.push(Step::Name(name.to_owned()));
            rest = after;
        } else if let Some(index) = rest.strip_prefix('[') {
            let (index, after) = index.split_once(']')?;
            steps.push(Step::Index(index.parse().ok().filter(|index| *index <= MAX_INDEX)?));
            rest = after;
        } else {
            let name = rest.strip_prefix('.')?;
            let end = name.find(['.', '[']).unwrap_or(name.len());
            steps.push(Step::Name(name[..end].to_owned()));
            rest = &name[end..];
        }
    }
    (rest.is_empty() && matches!(steps.first(), Some(Step::Name(_)))).then_some(steps)
}

/// Makes the place where it is not there yet; `None` where something else stands in the way.
fn place<'w>(whole: &'w mut Map<String, Value>, steps: &[Step]) -> Option<&'w mut Value> {
    let (Step::Name(first), rest) = steps.split_first()? else { return None };
    let mut at = whole.entry(first.clone()).or_insert(Value::Null);
    for step in rest {
        at = match step {
            Step::Name(name) => {
                if at.is_null() {
                    *at = Value::Object(Map::new());
                }
                at.as_object_mut()?.entry(name.clone()).or_insert(Value::Null)
            }
            Step::Index(index) => {
                if at.is_null() {
                    *at = Value::Array(Vec::new());
                }
                let array = at.as_array_mut()?;
                if array.len() <= *index {
                    array.resize(index + 1, Value::Null);
                }
                array.get_mut(*index)?
            }
        };
    }
    Some(at)
}
