//! Paths of what is kept of the Responses API.

use gateway_ir::failure::{Code, Failure};
use gateway_providers::endpoint::encoded;
use http::Method;

use super::percent_decoded;

/// What is wanted of one response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) id: String,
    pub(crate) act: Act,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Get,
    Delete,
    InputItems,
    Cancel,
}

// === impl Stored ===

impl Stored {
    /// Reads what stands behind `/v1/responses/`; `None` where that is no path.
    pub(super) fn read(method: &Method, rest: &str) -> Option<Result<Self, Box<Failure>>> {
        let (id, tail) = rest.split_once('/').map_or((rest, None), |(id, tail)| (id, Some(tail)));
        if id.is_empty() {
            return None;
        }
        let acts: &[(Method, Act)] = match tail {
            None => &[(Method::GET, Act::Get), (Method::DELETE, Act::Delete)],
            Some("input_items") => &[(Method::GET, Act::InputItems)],
            Some("cancel") => &[(Method::POST, Act::Cancel)],
            Some(_) => return None,
        };
        // What is answered to HEAD is what is answered to GET, without its body.
        let asked = if *method == Method::HEAD { &Method::GET } else { method };
        let Some((_, act)) = acts.iter().find(|(taken, _)| taken == asked) else {
            let taken: Vec<&str> = acts.iter().map(|(method, _)| method.as_str()).collect();
            let message = format!("`/v1/responses/{rest}` takes {}, not {method}", taken.join(" and "));
            return Some(Err(Box::new(Failure::new(Code::MethodNotAllowed, message))));
        };
        Some(Ok(Self { id: percent_decoded(id), act: *act }))
    }

    /// The path at a vendor, behind `/v1`.
    pub(crate) fn tail(&self) -> String {
        let id = encoded(&self.id);
        match self.act {
            Act::Get | Act::Delete => format!("/responses/{id}"),
            Act::InputItems => format!("/responses/{id}/input_items"),
            Act::Cancel => format!("/responses/{id}/cancel"),
        }
    }
}
