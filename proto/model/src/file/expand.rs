//! `${NAME}`, `${file:/path}` and `$$` in texts. Messages name the variable or file, never its content.

use std::path::Path;

use super::{Env, Read};

pub(super) struct Expander<'a> {
    pub(super) env: Env<'a>,
    pub(super) read: Read<'a>,
}

// === impl Expander ===

impl Expander<'_> {
    pub(super) fn expand(&self, text: &str) -> Result<String, String> {
        if !text.contains('$') {
            return Ok(text.to_owned());
        }
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            expanded.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(escaped) = after.strip_prefix('$') {
                expanded.push('$');
                rest = escaped;
            } else if let Some(inside) = after.strip_prefix('{') {
                let Some(end) = inside.find('}') else {
                    return Err("`${` is not closed; write `$$` for a plain dollar sign".to_owned());
                };
                expanded.push_str(&self.reference(&inside[..end])?);
                rest = &inside[end + 1..];
            } else {
                expanded.push('$');
                rest = after;
            }
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn reference(&self, name: &str) -> Result<String, String> {
        if let Some(path) = name.strip_prefix("file:") {
            let text = (self.read)(Path::new(path)).map_err(|error| format!("cannot read `{path}`: {error}"))?;
            return Ok(text
                .strip_suffix('\n')
                .map(|text| text.strip_suffix('\r').unwrap_or(text))
                .unwrap_or(&text)
                .to_owned());
        }
        (self.env)(name).ok_or_else(|| format!("the environment variable `{name}` is not set"))
    }
}
