//! YAML text → a tree of nodes with their places. Bounded: depth, number of nodes (aliases counted each time they are used).

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::Number;

use super::MAX_BYTES;

const MAX_DEPTH: usize = 64;
const MAX_NODES: usize = 2_000_000;

/// 1-based.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) content: Content,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    /// Name, the name's place, value.
    Map(Vec<(String, Place, Node)>),
}

type Fault = (Place, String);

/// Parses one YAML document. An empty text is an empty map.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let start = Place { line: 1, column: 1 };
    if text.len() > MAX_BYTES {
        return Err((start, format!("the file is larger than {} MiB", MAX_BYTES >> 20)));
    }
    let mut builder = Builder { parser: Parser::new_from_str(text), anchors: HashMap::new(), n_nodes: 0 };
    loop {
        match builder.next()? {
            Some((Event::DocumentStart(_), _)) => break,
            Some((Event::StreamEnd, _)) | None => return Ok(Node { place: start, content: Content::Null }),
            Some(_) => {}
        }
    }
    let root = match builder.next()? {
        Some((event, span)) => builder.node(event, span, 0)?,
        None => Node { place: start, content: Content::Null },
    };
    while let Some((event, span)) = builder.next()? {
        if let Event::DocumentStart(_) = event {
            return Err((place(span), "the file holds a second document; put everything into one".to_owned()));
        }
    }
    Ok(root)
}

struct Builder<'t> {
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
    anchors: HashMap<usize, (Node, usize)>,
    n_nodes: usize,
}

// === impl Builder ===

impl<'t> Builder<'t> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Fault> {
        self.parser.next_event().transpose().map_err(|error| {
            let at = error.marker();
            (Place { line: at.line(), column: at.col() + 1 }, format!("this is no valid YAML: {}", error.info()))
        })
    }

    fn required(&mut self) -> Result<(Event<'t>, Span), Fault> {
        match self.next()? {
            Some(next) => Ok(next),
            None => Err((Place { line: 1, column: 1 }, "the file ends too early".to_owned())),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Fault> {
        let place = place(span);
        let n_before = self.n_nodes;
        self.count(1, place)?;
        if depth > MAX_DEPTH {
            return Err((place, "nested too deeply".to_owned()));
        }
        let (content, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.suffix == "str");
                (if is_text { Content::Text(text.into_owned()) } else { plain(text.into_owned()) }, anchor)
            }
            Event::SequenceStart(anchor, _) => (self.list(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.map(depth)?, anchor),
            Event::Alias(anchor) => {
                let Some((node, n_nodes)) = self.anchors.get(&anchor).cloned() else {
                    return Err((place, "this alias has no anchor".to_owned()));
                };
                self.count(n_nodes, place)?;
                return Ok(Node { place, content: node.content });
            }
            _ => return Err((place, "expected a value".to_owned())),
        };
        let node = Node { place, content };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), self.n_nodes - n_before));
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Content, Fault> {
        let mut items = Vec::new();
        loop {
            match self.required()? {
                (Event::SequenceEnd, _) => return Ok(Content::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Content, Fault> {
        let mut members: Vec<(String, Place, Node)> = Vec::new();
        loop {
            let (event, span) = self.required()?;
            let (name, at) = match event {
                Event::MappingEnd => return Ok(Content::Map(members)),
                Event::Scalar(name, ..) => (name.into_owned(), place(span)),
                _ => return Err((place(span), "a field's name must be a plain word".to_owned())),
            };
            if members.iter().any(|(known, ..)| *known == name) {
                return Err((at, format!("`{name}` is given twice")));
            }
            let (event, span) = self.required()?;
            let node = self.node(event, span, depth + 1)?;
            members.push((name, at, node));
        }
    }

    fn count(&mut self, n_nodes: usize, at: Place) -> Result<(), Fault> {
        self.n_nodes += n_nodes;
        if self.n_nodes > MAX_NODES { Err((at, "the file holds too many values".to_owned())) } else { Ok(()) }
    }
}

/// A scalar without quotes, by the YAML 1.2 core schema: `on`, `off`, `yes` and `no` are texts.
fn plain(text: String) -> Content {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Content::Null,
        "true" | "True" | "TRUE" => return Content::Bool(true),
        "false" | "False" | "FALSE" => return Content::Bool(false),
        _ => {}
    }
    let looks_numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    if looks_numeric {
        if let Ok(number) = text.parse::<i64>() {
            return Content::Number(number.into());
        }
        if let Ok(number) = text.parse::<u64>() {
            return Content::Number(number.into());
        }
        let is_float = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
        if let Some(number) = text.parse::<f64>().ok().filter(|_| is_float).and_then(Number::from_f64) {
            return Content::Number(number);
        }
    }
    Content::Text(text)
}

fn place(span: Span) -> Place {
    Place { line: span.start.line(), column: span.start.col() + 1 }
}

// === impl Node ===

impl Node {
    /// The text of a member, where this is a map that has it.
    pub(super) fn text_of(&self, wanted: &str) -> Option<&str> {
        let Content::Map(members) = &self.content else { return None };
        match members.iter().find(|(name, ..)| name == wanted) {
            Some((_, _, Node { content: Content::Text(text), .. })) => Some(text),
            _ => None,
        }
    }
}
