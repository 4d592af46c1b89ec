//! A client's request, strictly. Names are taken in `camelCase` and in `snake_case`, as Google's own API does.
//!
//! The model and whether the reply streams stand in the path, not here. Requests that pass to Google are not read here.

use gateway_ir::chat::{ChatRequest, Content, Message, Part, Role};
use gateway_ir::dialect::Dialect;
use gateway_ir::extra::Extra;
use gateway_ir::failure::{Code, Failure};
use serde_json::value::RawValue;

use crate::fields::{self, Fields, Path};
use crate::repair;

mod contents;
mod schema;
mod tools;
mod config;

const SELF: Dialect = Dialect::GeminiGenerate;

/// Reads a whole request body.
pub(super) fn request(document: &RawValue) -> Result<ChatRequest, Box<Failure>> {
    if !document.get().starts_with('{') {
        return Err(Box::new(Failure::invalid("the request body must be a JSON object")));
    }
    read(document, &Path::ROOT)
}

/// The body of `countTokens`: a request's contents, or a whole request one level down.
pub(super) fn counted(document: &RawValue) -> Result<ChatRequest, Box<Failure>> {
    if !document.get().starts_with('{') {
        return Err(Box::new(Failure::invalid("the request body must be a JSON object")));
    }
    match object(document, &Path::ROOT)?.take(WHOLE) {
        Some(whole) => read(whole, &Path::ROOT.name(WHOLE)),
        None => read(document, &Path::ROOT),
    }
}

/// Where `countTokens` takes a whole request.
pub(super) const WHOLE: &str = "generateContentRequest";

fn read(raw: &RawValue, path: &Path<'_>) -> Result<ChatRequest, Box<Failure>> {
    let mut top = object(raw, path)?;
    let mut kept = Vec::new();
    refuse_state(&mut top)?;
    let mut request = ChatRequest { origin: Some(SELF), include_usage: true, ..ChatRequest::default() };
    if let Some(raw) = top.take("systemInstruction") {
        request.messages.extend(system(raw, &path.name("systemInstruction"))?);
    }
    contents::read(&mut top, &mut request.messages)?;
    tools::read(&mut top, &mut request, &mut kept)?;
    config::read(&mut top, &mut request, &mut kept)?;
    // The path has said it.
    top.take("model");
    kept.extend(top.rest());
    request.extra = Extra::new(SELF, kept);
    repair::transcript(&mut request);
    Ok(request)
}

fn object<'a, 'p>(raw: &'a RawValue, path: &'p Path<'p>) -> Result<Fields<'a, 'p>, Box<Failure>> {
    Fields::read(raw, path)?.camel_cased()
}

/// A part of the prompt that Google keeps is not there where another vendor answers.
fn refuse_state(top: &mut Fields<'_, '_>) -> Result<(), Box<Failure>> {
    const NAME: &str = "cachedContent";
    if top.string(NAME)?.is_none_or(|name| name.is_empty()) {
        return Ok(());
    }
    let message = "`cachedContent` names what Google has stored, and this model is served by a provider that speaks another API; \
        send the whole conversation in `contents`";
    Err(Box::new(Failure::new(Code::UnsupportedParameter, message).at(NAME)))
}

/// A `Content`, of which only texts can instruct.
fn system(raw: &RawValue, path: &Path<'_>) -> Result<Option<Message>, Box<Failure>> {
    if raw.get().starts_with('"') {
        let text = fields::string(raw, path)?;
        return Ok(Some(Message::new(Role::System, vec![Part::text(text)])));
    }
    let mut content = object(raw, path)?;
    let parts_path = path.name("parts");
    let mut texts = Vec::new();
    for (index, raw) in contents::list(content.take("parts"), &parts_path)?.into_iter().enumerate() {
        let path = parts_path.index(index);
        let Some(text) = object(raw, &path)?.string("text")? else {
            return Err(path.must_be("a part with `text`: instructions are text"));
        };
        texts.push(Part::new(Content::Text(text.into_owned())));
    }
    Ok((!texts.is_empty()).then(|| Message::new(Role::System, texts)))
}
