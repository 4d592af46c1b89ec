//! Paths of conversations that are kept.

use gateway_ir::failure::{Code, Failure};
use http::Method;

use super::percent_decoded;

/// What is wanted of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Create,
    Get { id: String },
    Update { id: String },
    Delete { id: String },
    Items { id: String },
    AddItems { id: String },
    Item { id: String, item: String },
    DeleteItem { id: String, item: String },
}

// === impl Wanted ===

impl Wanted {
    /// Reads what stands behind `/v1/conversations/`; `None` where that is no path.
    pub(super) fn read(method: &Method, rest: &str) -> Option<Result<Self, Box<Failure>>> {
        let segments: Vec<&str> = rest.split('/').collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        // What is answered to HEAD is what is answered to GET, without its body.
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let id = percent_decoded(segments[0]);
        let (taken, wanted) = match segments[1..] {
            [] => match *method {
                Method::GET => ("", Self::Get { id }),
                Method::POST => ("", Self::Update { id }),
                Method::DELETE => ("", Self::Delete { id }),
                _ => ("GET, POST and DELETE", Self::Create),
            },
            ["items"] => match *method {
                Method::GET => ("", Self::Items { id }),
                Method::POST => ("", Self::AddItems { id }),
                _ => ("GET and POST", Self::Create),
            },
            ["items", item] => match (method, percent_decoded(item)) {
                (&Method::GET, item) => ("", Self::Item { id, item }),
                (&Method::DELETE, item) => ("", Self::DeleteItem { id, item }),
                _ => ("GET and DELETE", Self::Create),
            },
            _ => return None,
        };
        if taken.is_empty() {
            return Some(Ok(wanted));
        }
        let message = format!("`/v1/conversations/{rest}` takes {taken}, not {method}");
        Some(Err(Box::new(Failure::new(Code::MethodNotAllowed, message))))
    }
}
