//! How a header must look.

use std::fmt;

use http::{HeaderMap, HeaderName};
use regex::Regex;

#[derive(Clone, Debug)]
pub(crate) enum HeaderMatch {
    Exact(Box<str>),
    Prefix(Box<str>),
    Present,
    Absent,
    Regex(Regex),
}

// === impl HeaderMatch ===

impl fmt::Display for HeaderMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(wanted) => f.write_str(wanted),
            Self::Prefix(wanted) => write!(f, "prefix {wanted}"),
            Self::Regex(wanted) => write!(f, "regex {wanted}"),
            Self::Present => f.write_str("present"),
            Self::Absent => f.write_str("not present"),
        }
    }
}

impl HeaderMatch {
    /// A header that is sent several times matches if one of its values does.
    pub(super) fn matches(&self, headers: &HeaderMap, name: &HeaderName) -> bool {
        let any = |holds: &dyn Fn(&str) -> bool| {
            headers.get_all(name).iter().any(|value| value.to_str().is_ok_and(|value| holds(value.trim())))
        };
        match self {
            Self::Exact(wanted) => any(&|value| value == &**wanted),
            Self::Prefix(wanted) => any(&|value| value.starts_with(&**wanted)),
            Self::Regex(wanted) => any(&|value| wanted.is_match(value)),
            Self::Present => headers.contains_key(name),
            Self::Absent => !headers.contains_key(name),
        }
    }

    /// Where it stands among the headers of a route: what costs more comes later.
    pub(crate) fn cost(&self) -> u8 {
        match self {
            Self::Exact(_) | Self::Present | Self::Absent => 0,
            Self::Prefix(_) => 1,
            Self::Regex(_) => 2,
        }
    }
}
