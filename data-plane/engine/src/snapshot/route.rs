//! Routes: what a request must look like, and where it goes by that.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use regex::Regex;

use super::Model;
use crate::glob::Glob;
use crate::policy::Overrides;

/// A compiled route.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) name: Arc<str>,
    pub(crate) path: Option<PathMatch>,
    pub(crate) headers: Vec<(HeaderName, HeaderMatch)>,
    /// Over the name that the request asks for.
    pub(crate) asked: Option<Glob>,
    /// `None`: whatever the request asks for.
    pub(crate) model: Option<Arc<Model>>,
    pub(crate) overrides: Overrides,
}

#[derive(Clone, Debug)]
pub(crate) enum PathMatch {
    Exact(String),
    Prefix(String),
}

#[derive(Clone, Debug)]
pub(crate) enum HeaderMatch {
    Exact(String),
    Prefix(String),
    Regex(Regex),
    Present,
    Absent,
}

// === impl Route ===

impl Route {
    /// Whether all that the route demands holds. Allocates nothing.
    pub(crate) fn matches(&self, path: &str, headers: &HeaderMap, asked: &str) -> bool {
        self.path.as_ref().is_none_or(|wanted| wanted.matches(path))
            && self.asked.as_ref().is_none_or(|wanted| wanted.matches(asked))
            && self.headers.iter().all(|(name, wanted)| wanted.matches(headers, name))
    }
}

// === impl PathMatch ===

impl PathMatch {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(wanted) => path == wanted,
            Self::Prefix(wanted) => path.starts_with(wanted.as_str()),
        }
    }
}

// === impl HeaderMatch ===

impl HeaderMatch {
    /// A header that is sent several times matches if one of its values does.
    fn matches(&self, headers: &HeaderMap, name: &HeaderName) -> bool {
        let any = |holds: &dyn Fn(&str) -> bool| {
            headers.get_all(name).iter().any(|value| value.to_str().is_ok_and(|value| holds(value.trim())))
        };
        match self {
            Self::Exact(wanted) => any(&|value| value == wanted),
            Self::Prefix(wanted) => any(&|value| value.starts_with(wanted.as_str())),
            Self::Regex(wanted) => any(&|value| wanted.is_match(value)),
            Self::Present => headers.contains_key(name),
            Self::Absent => !headers.contains_key(name),
        }
    }
}
