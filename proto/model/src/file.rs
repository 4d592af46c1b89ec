//! The YAML file that people write: text → a validated set, with every finding at its line and column.
//!
//! Reading files and variables is the caller's business; it lends two functions for that.

mod tree;
mod expand;

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};

use crate::document::{self, Resource, did_you_mean, unsupported};
use crate::kind::{Kind, UNSUPPORTED_KINDS};
use crate::problem::{Code, Position, Problem};
use crate::set::Set;
use expand::Expander;
use tree::{Content, Node, Place};

/// Largest file accepted.
pub const MAX_BYTES: usize = 32 << 20;

/// A file that can be applied.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub set: Set,
    pub warnings: Vec<Problem>,
    pub index: Index,
}

/// Where in the file each field stands.
#[derive(Clone, Debug, Default)]
pub struct Index {
    file: String,
    places: HashMap<String, Place>,
}

/// Looks a variable up.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;
/// Reads a file named by `${file:…}`.
pub type Read<'a> = &'a dyn Fn(&Path) -> std::io::Result<String>;

/// Parses, decodes and validates. `file_name` is only for messages. Every problem that can be found in one go is reported,
/// sorted by position.
pub fn parse(file_name: &str, text: &str, env: Env<'_>, read: Read<'_>) -> Result<Parsed, Vec<Problem>> {
    let parsed = decode(file_name, text, env, read)?;
    let found = parsed.index.located(parsed.set.validate());
    let (errors, warnings): (Vec<_>, Vec<_>) = found.into_iter().partition(Problem::is_error);
    if errors.is_empty() { Ok(Parsed { warnings, ..parsed }) } else { Err(errors) }
}

/// As [`parse`], but without validation: what the file refers to may be defined elsewhere. There are no warnings yet.
pub fn decode(file_name: &str, text: &str, env: Env<'_>, read: Read<'_>) -> Result<Parsed, Vec<Problem>> {
    let mut index = Index { file: file_name.to_owned(), places: HashMap::new() };
    let root = match tree::parse(text) {
        Ok(root) => root,
        Err((place, message)) => {
            index.places.insert(String::new(), place);
            return Err(index.located(vec![Problem::error(Code::Syntax, "", message)]));
        }
    };
    let mut reader = Reader { index: &mut index, expander: Expander { env, read }, problems: Vec::new() };
    let resources = reader.root(&root);
    let problems = reader.problems;
    if !problems.is_empty() {
        return Err(index.located(problems));
    }
    Ok(Parsed { set: Set::from_resources(resources), warnings: Vec::new(), index })
}

/// YAML text as plain data, with nothing expanded and nothing decoded: one document in an editor.
pub fn value(file_name: &str, text: &str) -> Result<Value, Vec<Problem>> {
    tree::parse(text).map(|root| plain(&root)).map_err(|(place, message)| {
        let index = Index { file: file_name.to_owned(), places: HashMap::from([(String::new(), place)]) };
        index.located(vec![Problem::error(Code::Syntax, "", message)])
    })
}

fn plain(node: &Node) -> Value {
    match &node.content {
        Content::Null => Value::Null,
        Content::Bool(value) => Value::Bool(*value),
        Content::Number(number) => Value::Number(number.clone()),
        Content::Text(text) => Value::String(text.clone()),
        Content::List(items) => items.iter().map(plain).collect(),
        Content::Map(members) => {
            Value::Object(members.iter().map(|(name, _, node)| (name.clone(), plain(node))).collect())
        }
    }
}

// === impl Index ===

impl Index {
    /// Fills in where each problem's field stands: the field itself, or the nearest thing around it that is in the file.
    pub fn locate(&self, problems: &mut [Problem]) {
        for problem in problems {
            if problem.position.is_none() {
                problem.position = self.place(&problem.path).map(|place| Position {
                    file: self.file.clone(),
                    line: place.line,
                    column: place.column,
                });
            }
        }
    }

    fn place(&self, path: &str) -> Option<Place> {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return Some(*place);
            }
            if path.is_empty() {
                return None;
            }
            path = parent(path);
        }
    }

    fn located(&self, mut problems: Vec<Problem>) -> Vec<Problem> {
        self.locate(&mut problems);
        problems.sort_by_key(|problem| problem.position.as_ref().map(|at| (at.line, at.column)));
        problems
    }
}

/// `a[x.y].b[0]` → `a[x.y].b` → `a[x.y]` → `a` → nothing. Names in brackets may hold dots.
fn parent(path: &str) -> &str {
    if path.ends_with(']') {
        let mut depth = 0;
        for (at, character) in path.char_indices().rev() {
            match character {
                ']' => depth += 1,
                '[' => {
                    depth -= 1;
                    if depth == 0 {
                        return &path[..at];
                    }
                }
                _ => {}
            }
        }
        return "";
    }
    // A header's name may hold dots too, but then the field around it is found one step later.
    path.rfind(['.', '[']).map_or("", |at| &path[..at])
}

/// Reads a tree of nodes as resources.
struct Reader<'a> {
    index: &'a mut Index,
    expander: Expander<'a>,
    problems: Vec<Problem>,
}

// === impl Reader ===

impl Reader<'_> {
    fn root(&mut self, root: &Node) -> Vec<Resource> {
        let mut resources = Vec::new();
        self.index.places.insert(String::new(), root.place);
        let members = match &root.content {
            Content::Map(members) => members,
            Content::Null => return resources,
            _ => {
                let message = "the file must be a map of lists such as `providers:` and `models:`";
                self.problems.push(Problem::error(Code::InvalidValue, "", message));
                return resources;
            }
        };
        for (name, key_place, node) in members {
            self.index.places.insert(name.clone(), *key_place);
            match Kind::ALL.into_iter().find(|kind| kind.plural() == name) {
                Some(Kind::Setting) => resources.extend(self.item(Kind::Setting, "settings", node, None)),
                Some(kind) => self.list(kind, node, &mut resources),
                None => self.unknown_list(name),
            }
        }
        resources
    }

    fn list(&mut self, kind: Kind, node: &Node, resources: &mut Vec<Resource>) {
        let plural = kind.plural();
        match &node.content {
            Content::Null => {}
            Content::List(items) => {
                for (position, item) in items.iter().enumerate() {
                    let path = format!("{plural}[{}]", label(kind, item).unwrap_or_else(|| position.to_string()));
                    let order = (kind == Kind::Route).then_some(position);
                    resources.extend(self.item(kind, &path, item, order));
                }
            }
            _ => {
                let message = format!("`{plural}` must be a list of {plural}, each with a `name`");
                self.problems.push(Problem::error(Code::InvalidValue, plural, message));
            }
        }
    }

    /// One item; `order` is its place in the list where that matters.
    fn item(&mut self, kind: Kind, path: &str, node: &Node, order: Option<usize>) -> Option<Resource> {
        let n_before = self.problems.len();
        let mut value = self.value(path, node);
        if value.is_null() {
            value = Value::Object(Map::new());
        }
        if let (Some(order), Value::Object(members)) = (order, &mut value) {
            members.entry("order").or_insert_with(|| order.into());
        }
        // A value that could not be expanded would only cause a second, misleading problem.
        if self.problems.len() > n_before {
            return None;
        }
        match document::decode(kind, value) {
            Ok(resource) => Some(resource),
            Err(problems) => {
                self.problems.extend(problems.into_iter().map(|problem| {
                    let joint = if problem.path.is_empty() || problem.path.starts_with('[') { "" } else { "." };
                    Problem { path: format!("{path}{joint}{}", problem.path), ..problem }
                }));
                None
            }
        }
    }

    fn value(&mut self, path: &str, node: &Node) -> Value {
        self.index.places.insert(path.to_owned(), node.place);
        match &node.content {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Number(number) => Value::Number(number.clone()),
            Content::Text(text) => match self.expander.expand(text) {
                Ok(text) => Value::String(text),
                Err(message) => {
                    self.problems.push(Problem::error(Code::UnsetVariable, path, message));
                    Value::Null
                }
            },
            Content::List(items) => {
                let items = items.iter().enumerate();
                items.map(|(position, item)| self.value(&format!("{path}[{position}]"), item)).collect()
            }
            Content::Map(members) => {
                let members = members.iter();
                Value::Object(
                    members
                        .map(|(name, _, node)| (name.clone(), self.value(&format!("{path}.{name}"), node)))
                        .collect(),
                )
            }
        }
    }

    fn unknown_list(&mut self, name: &str) {
        if UNSUPPORTED_KINDS.contains(&name) {
            self.problems.push(unsupported(name.to_owned(), &format!("`{name}`")));
            return;
        }
        let known = Kind::ALL.map(Kind::plural).join(", ");
        let hint = did_you_mean(name, &known).map(|close| format!("did you mean `{close}`? ")).unwrap_or_default();
        let message = format!("there is no `{name}`; {hint}known are {known}");
        self.problems.push(Problem::error(Code::UnknownField, name, message));
    }
}

/// How an item is called in paths.
fn label(kind: Kind, item: &Node) -> Option<String> {
    let text = |name: &str| item.text_of(name).map(str::to_owned);
    text("name").or_else(|| match kind {
        Kind::Price => Some(format!("{}/{}", text("provider")?, text("model")?)),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
