//! `tools` and `toolConfig`.

use gateway_ir::chat::{ChatRequest, Function, Tool, ToolChoice};
use gateway_ir::failure::Failure;
use serde_json::value::RawValue;

use super::{SELF, contents, object, schema};
use crate::fields::{self, Fields, Path};

type Kept = Vec<(String, Box<RawValue>)>;

pub(super) fn read(top: &mut Fields<'_, '_>, request: &mut ChatRequest, kept: &mut Kept) -> Result<(), Box<Failure>> {
    let path = top.path().name("tools");
    for (index, raw) in contents::list(top.take("tools"), &path)?.into_iter().enumerate() {
        read_tool(raw, &path.index(index), &mut request.tools)?;
    }
    if let Some(raw) = top.take("toolConfig") {
        read_config(raw, &top.path().name("toolConfig"), request, kept)?;
    }
    Ok(())
}

/// One `Tool` holds functions of the client and tools that Google runs, side by side.
fn read_tool(raw: &RawValue, path: &Path<'_>, tools: &mut Vec<Tool>) -> Result<(), Box<Failure>> {
    let mut tool = object(raw, path)?;
    let functions_path = path.name("functionDeclarations");
    for (index, raw) in contents::list(tool.take("functionDeclarations"), &functions_path)?.into_iter().enumerate() {
        tools.push(Tool::Function(function(raw, &functions_path.index(index))?));
    }
    for (kind, raw) in tool.rest().filter(|(_, raw)| raw.get() != "null") {
        let json = RawValue::from_string(format!("{{{}:{raw}}}", serde_json::Value::from(kind.as_str())));
        let json = json.expect("a member with its name is an object");
        tools.push(Tool::Opaque { kind, json, dialect: SELF });
    }
    Ok(())
}

fn function(raw: &RawValue, path: &Path<'_>) -> Result<Function, Box<Failure>> {
    let mut function = object(raw, path)?;
    let own = function.take("parameters").map(|raw| schema::json_schema(raw, &path.name("parameters"))).transpose()?;
    let plain = function.take("parametersJsonSchema").map(ToOwned::to_owned);
    Ok(Function {
        name: function.required_string("name")?.into_owned(),
        description: function.string("description")?.map(Into::into),
        parameters: plain.or(own),
        strict: None,
        cache: None,
        extra: function.into_extra(SELF),
    })
}

/// What others have no word for is kept as said, beside the nearest that they have.
fn read_config(
    raw: &RawValue,
    path: &Path<'_>,
    request: &mut ChatRequest,
    kept: &mut Kept,
) -> Result<(), Box<Failure>> {
    let mut config = object(raw, path)?;
    let mut is_said = true;
    if let Some(raw) = config.take("functionCallingConfig") {
        let path = path.name("functionCallingConfig");
        let mut calling = object(raw, &path)?;
        let names_path = path.name("allowedFunctionNames");
        let names = calling.array("allowedFunctionNames")?.unwrap_or_default();
        let names = names.iter().enumerate().map(|(at, raw)| fields::string(raw, &names_path.index(at)));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        let mode = calling.string("mode")?.unwrap_or_default();
        request.tool_choice = match (mode.to_ascii_uppercase().as_str(), names.as_slice()) {
            ("" | "MODE_UNSPECIFIED", _) => None,
            ("AUTO", _) => Some(ToolChoice::Auto),
            ("NONE", _) => Some(ToolChoice::None),
            ("ANY", [name]) => Some(ToolChoice::Function(name.to_string())),
            ("ANY", names) => {
                is_said &= names.is_empty();
                allow_only(names, &mut request.tools);
                Some(ToolChoice::Required)
            }
            ("VALIDATED", names) => {
                is_said = false;
                allow_only(names, &mut request.tools);
                Some(ToolChoice::Auto)
            }
            _ => return Err(path.name("mode").must_be("`AUTO`, `ANY`, `NONE` or `VALIDATED`")),
        };
        is_said &= calling.rest().next().is_none();
    }
    if !is_said || config.rest().next().is_some() {
        kept.push(("toolConfig".to_owned(), raw.to_owned()));
    }
    Ok(())
}

/// Functions that may not be called are not offered. No names: all may be.
fn allow_only(names: &[std::borrow::Cow<'_, str>], tools: &mut Vec<Tool>) {
    if !names.is_empty() {
        tools.retain(|tool| match tool {
            Tool::Function(function) => names.iter().any(|name| *name == function.name),
            Tool::Opaque { .. } => true,
        });
    }
}
