//! Tools a client declares and how they may be used, in the present form and in the one before it (`functions`).

use gateway_ir::chat::{CacheMark, ChatRequest, Function, Tool, ToolChoice};
use gateway_ir::dialect::Dialect;
use gateway_ir::failure::Failure;
use serde_json::value::RawValue;

use super::Kept;
use crate::fields::{self, Fields, Path};

/// Fills `tools` and `tool_choice`. A choice only OpenAI knows goes to `kept`.
pub(super) fn read(top: &mut Fields<'_, '_>, request: &mut ChatRequest, kept: &mut Kept) -> Result<(), Box<Failure>> {
    let (tools, functions) = (top.array("tools")?, top.array("functions")?);
    let (choice, function_call) = (top.take("tool_choice"), top.take("function_call"));
    let has_both_forms = (tools.is_some() || choice.is_some()) && (functions.is_some() || function_call.is_some());
    if has_both_forms {
        let message =
            "invalid tool/function calling payload: use `tools` and `tool_choice`, or `functions` and `function_call`";
        return Err(Box::new(Failure::invalid(message).at("functions")));
    }
    let path = top.path().name("tools");
    for (index, raw) in tools.unwrap_or_default().into_iter().enumerate() {
        request.tools.push(tool(raw, &path.index(index))?);
    }
    if functions.is_some() {
        // That form knows one call at a time.
        request.parallel_tool_calls = request.parallel_tool_calls.or(Some(false));
    }
    let path = top.path().name("functions");
    for (index, raw) in functions.unwrap_or_default().into_iter().enumerate() {
        request.tools.push(Tool::Function(function(raw, &path.index(index))?));
    }
    if let Some(raw) = choice {
        request.tool_choice = tool_choice(raw, &top.path().name("tool_choice"))?;
        if request.tool_choice.is_none() {
            kept.push(("tool_choice".to_owned(), raw.to_owned()));
        }
    }
    if let Some(raw) = function_call {
        request.tool_choice = Some(legacy_choice(raw, &top.path().name("function_call"))?);
    }
    Ok(())
}

fn tool(raw: &RawValue, path: &Path<'_>) -> Result<Tool, Box<Failure>> {
    let mut tool = Fields::read(raw, path)?;
    let kind = tool.string("type")?.unwrap_or("function".into());
    if kind != "function" {
        return Ok(Tool::Opaque { kind: kind.into_owned(), json: raw.to_owned(), dialect: Dialect::OpenAiChat });
    }
    match tool.take("function") {
        Some(inner) => {
            let mut function = function(inner, &path.name("function"))?;
            // Beside the function, not in it: where clients of several vendors put the mark.
            function.cache = function.cache.or(cache_mark(tool.take("cache_control")));
            Ok(Tool::Function(function))
        }
        // The flat form of the responses API.
        None => function(raw, path).map(Tool::Function),
    }
}

fn function(raw: &RawValue, path: &Path<'_>) -> Result<Function, Box<Failure>> {
    let mut function = Fields::read(raw, path)?;
    function.take("type");
    Ok(Function {
        name: function.required_string("name")?.into_owned(),
        description: function.string("description")?.map(Into::into),
        parameters: match function.take("parameters") {
            Some(schema) if schema.get().starts_with('{') => Some(schema.to_owned()),
            Some(_) => return Err(path.name("parameters").must_be("an object")),
            None => None,
        },
        strict: function.boolean("strict")?,
        cache: cache_mark(function.take("cache_control")),
        extra: function.into_extra(Dialect::OpenAiChat),
    })
}

pub(super) fn cache_mark(raw: Option<&RawValue>) -> Option<CacheMark> {
    raw.map(|raw| CacheMark(raw.to_owned()))
}

/// `None` for a choice that only OpenAI knows (allowed or custom tools).
fn tool_choice(raw: &RawValue, path: &Path<'_>) -> Result<Option<ToolChoice>, Box<Failure>> {
    if raw.get().starts_with('"') {
        return match fields::string(raw, path)?.as_ref() {
            "auto" => Ok(Some(ToolChoice::Auto)),
            "none" => Ok(Some(ToolChoice::None)),
            "required" | "any" => Ok(Some(ToolChoice::Required)),
            _ => Err(path.must_be("`auto`, `none`, `required` or an object that names a function")),
        };
    }
    let mut choice = Fields::read(raw, path)?;
    match choice.required_string("type")?.as_ref() {
        "function" => match choice.take("function") {
            Some(inner) => named(inner, &path.name("function")).map(Some),
            None => Ok(Some(ToolChoice::Function(choice.required_string("name")?.into_owned()))),
        },
        _ => Ok(None),
    }
}

fn legacy_choice(raw: &RawValue, path: &Path<'_>) -> Result<ToolChoice, Box<Failure>> {
    if raw.get().starts_with('{') {
        return named(raw, path);
    }
    match fields::string(raw, path)?.as_ref() {
        "auto" => Ok(ToolChoice::Auto),
        "none" => Ok(ToolChoice::None),
        _ => Err(path.must_be("`auto`, `none` or an object that names a function")),
    }
}

fn named(raw: &RawValue, path: &Path<'_>) -> Result<ToolChoice, Box<Failure>> {
    Ok(ToolChoice::Function(Fields::read(raw, path)?.required_string("name")?.into_owned()))
}
