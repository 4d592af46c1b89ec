//! Shallow reading of JSON objects: take the members you know, in any order; the rest stays raw. Owns how a wrong type is told.
//!
//! Knows no dialect. `null` counts as absent wherever a member is asked for by name.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use gateway_ir::dialect::Dialect;
use gateway_ir::extra::Extra;
use gateway_ir::failure::Failure;
use gateway_ir::json::{self, known};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// Where a value stands, for messages: `messages[2].content[0].type`. A chain on the stack; rendered only when something is wrong.
#[derive(Clone, Copy)]
pub(crate) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    Name(&'p str),
    Index(usize),
}

/// The members of one object that nobody has taken yet, in the order written.
pub(crate) struct Fields<'a, 'p> {
    path: &'p Path<'p>,
    entries: Vec<(Cow<'a, str>, &'a RawValue)>,
}

// === impl Path ===

impl<'p> Path<'p> {
    pub(crate) const ROOT: Path<'static> = Path { parent: None, step: Step::Root };

    pub(crate) fn name<'c>(&'c self, name: &'c str) -> Path<'c> {
        Path { parent: Some(self), step: Step::Name(name) }
    }

    pub(crate) fn index(&'p self, index: usize) -> Path<'p> {
        Path { parent: Some(self), step: Step::Index(index) }
    }

    /// The failure "this value must be …".
    pub(crate) fn must_be(&self, what: &str) -> Box<Failure> {
        Box::new(Failure::invalid(format!("`{self}` must be {what}")).at(self.to_string()))
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        let nested = self.parent.is_some_and(|parent| !matches!(parent.step, Step::Root));
        match self.step {
            Step::Root => Ok(()),
            Step::Name(name) if nested => write!(f, ".{name}"),
            Step::Name(name) => f.write_str(name),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

// === impl Fields ===

impl<'a, 'p> Fields<'a, 'p> {
    /// The members of the object in `raw`. Refuses anything else, and a name that occurs twice.
    pub(crate) fn read(raw: &'a RawValue, path: &'p Path<'p>) -> Result<Self, Box<Failure>> {
        if !raw.get().starts_with('{') {
            return Err(path.must_be("an object"));
        }
        // Most objects have no more.
        let (mut entries, mut is_text) = (Vec::with_capacity(8), true);
        known::members(raw, |name, value| match known::string(name) {
            Some(name) => entries.push((name, value)),
            None => is_text = false,
        });
        if !is_text {
            let message = format!("`{path}` cannot be read: a name is not valid Unicode");
            return Err(Box::new(Failure::invalid(message).at(path.to_string())));
        }
        if let Some(name) = repeated(&entries) {
            let path = path.name(name);
            return Err(Box::new(Failure::invalid(format!("`{path}` is given twice")).at(path.to_string())));
        }
        Ok(Self { path, entries })
    }

    /// The same with names in `camelCase`, for a dialect that takes `snake_case` as well (the JSON of protocol buffers does).
    pub(crate) fn camel_cased(mut self) -> Result<Self, Box<Failure>> {
        for (name, _) in self.entries.iter_mut().filter(|(name, _)| name.contains('_')) {
            *name = Cow::Owned(camel_case(name));
        }
        match repeated(&self.entries) {
            Some(name) => {
                let path = self.path.name(name);
                Err(Box::new(Failure::invalid(format!("`{path}` is given in two spellings")).at(path.to_string())))
            }
            None => Ok(self),
        }
    }

    pub(crate) fn path(&self) -> &'p Path<'p> {
        self.path
    }

    /// Takes a member as it stands.
    pub(crate) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let position = self.entries.iter().position(|(known, _)| known == name)?;
        let (_, raw) = self.entries.remove(position);
        (raw.get() != "null").then_some(raw)
    }

    /// Looks at a member and leaves it there.
    pub(crate) fn peek(&self, name: &str) -> Option<&'a RawValue> {
        let (_, raw) = self.entries.iter().find(|(known, _)| known == name)?;
        (raw.get() != "null").then_some(raw)
    }

    pub(crate) fn string(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, Box<Failure>> {
        self.take(name).map(|raw| string(raw, &self.path.name(name))).transpose()
    }

    pub(crate) fn required_string(&mut self, name: &str) -> Result<Cow<'a, str>, Box<Failure>> {
        self.string(name)?.ok_or_else(|| self.missing(name))
    }

    pub(crate) fn boolean(&mut self, name: &str) -> Result<Option<bool>, Box<Failure>> {
        self.scalar(name, "true or false")
    }

    pub(crate) fn unsigned(&mut self, name: &str) -> Result<Option<u64>, Box<Failure>> {
        self.scalar(name, "a whole number of at least 0")
    }

    pub(crate) fn number(&mut self, name: &str) -> Result<Option<serde_json::Number>, Box<Failure>> {
        self.scalar(name, "a number")
    }

    pub(crate) fn array(&mut self, name: &str) -> Result<Option<Vec<&'a RawValue>>, Box<Failure>> {
        self.take(name).map(|raw| array(raw, &self.path.name(name))).transpose()
    }

    /// The failure "this member must be there".
    pub(crate) fn missing(&self, name: &str) -> Box<Failure> {
        let path = self.path.name(name);
        Box::new(Failure::invalid(format!("`{path}` is missing")).at(path.to_string()))
    }

    /// What was not taken.
    pub(crate) fn rest(self) -> impl Iterator<Item = (String, Box<RawValue>)> {
        self.entries.into_iter().map(|(name, raw)| (name.into_owned(), raw.to_owned()))
    }

    pub(crate) fn into_extra(self, dialect: Dialect) -> Extra {
        Extra::new(dialect, self.rest().collect())
    }

    fn scalar<T: DeserializeOwned>(&mut self, name: &str, what: &str) -> Result<Option<T>, Box<Failure>> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|_| self.path.name(name).must_be(what))
    }
}

/// The text of a JSON string.
pub(crate) fn string<'a>(raw: &'a RawValue, path: &Path<'_>) -> Result<Cow<'a, str>, Box<Failure>> {
    known::string(raw).ok_or_else(|| path.must_be("a string"))
}

/// The elements of a JSON array.
pub(crate) fn array<'a>(raw: &'a RawValue, path: &Path<'_>) -> Result<Vec<&'a RawValue>, Box<Failure>> {
    if !raw.get().starts_with('[') {
        return Err(path.must_be("an array"));
    }
    let mut elements = Vec::new();
    known::elements(raw, |element| elements.push(element));
    Ok(elements)
}

/// A whole request body as one JSON value, nothing after it.
pub(crate) fn document(body: &[u8]) -> Result<&RawValue, Box<Failure>> {
    json::prove(body)
        .map_err(|fault| Box::new(Failure::invalid(format!("the request body is not valid JSON: {fault}"))))
}

/// `response_schema` → `responseSchema`. A leading underscore stays.
pub(crate) fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut is_upper = false;
    for letter in name.chars() {
        if letter == '_' && !camel.is_empty() {
            is_upper = true;
        } else if std::mem::take(&mut is_upper) {
            camel.push(letter.to_ascii_uppercase());
        } else {
            camel.push(letter);
        }
    }
    camel
}

/// Objects have few members; a hash set is made only for the ones that are large enough to make comparing pairs costly.
fn repeated<'e>(entries: &'e [(Cow<'_, str>, &RawValue)]) -> Option<&'e str> {
    const FEW: usize = 16;
    let names = entries.iter().map(|(name, _)| name.as_ref());
    if entries.len() <= FEW {
        return names
            .enumerate()
            .find(|(at, name)| entries[..*at].iter().any(|(other, _)| other == name))
            .map(|(_, name)| name);
    }
    let mut seen = HashSet::with_capacity(entries.len());
    names.into_iter().find(|name| !seen.insert(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[(&str, &str)], &str>) {
        let raw: &RawValue = serde_json::from_str(text).expect("JSON");
        let (array, element);
        array = Path::ROOT.name("a");
        element = array.index(3);
        let path = element.name("b");
        let read = Fields::read(raw, &path)
            .map(|fields| fields.rest().map(|(name, raw)| (name, raw.get().to_owned())).collect());
        let read: Result<Vec<_>, _> = read.map_err(|failure| failure.message.into_owned());
        let expected =
            expected.map(|entries| entries.iter().map(|(name, raw)| ((*name).to_owned(), (*raw).to_owned())).collect());
        assert_eq!(read, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn reads_members_in_order_and_byte_for_byte() {
        check(r#"{"z": 1.0e0 ,"\u0061":{"x":[ ]}}"#, Ok(&[("z", "1.0e0"), ("a", r#"{"x":[ ]}"#)]));
        check("[]", Err("`a[3].b` must be an object"));
        check(r#"{"x":1,"\u0078":2}"#, Err("`a[3].b.x` is given twice"));
        let many: Vec<String> = (0..40).map(|n| format!("\"k{}\":0", n % 39)).collect();
        check(&format!("{{{}}}", many.join(",")), Err("`a[3].b.k0` is given twice"));
    }

    #[test]
    fn wrong_types_name_the_field() {
        let raw: &RawValue = serde_json::from_str(r#"{"s":1,"n":-1,"b":"x","l":{},"none":null}"#).expect("JSON");
        let mut fields = Fields::read(raw, &Path::ROOT).expect("an object");
        let told = [
            fields.string("s").map(drop),
            fields.unsigned("n").map(drop),
            fields.boolean("b").map(drop),
            fields.array("l").map(drop),
        ];
        let params: Vec<_> =
            told.into_iter().map(|told| told.expect_err("wrong type").param.unwrap_or_default()).collect();
        assert_eq!(params, ["s", "n", "b", "l"]);
        assert!(fields.string("none").expect("null is absent").is_none());
    }
}
