//! Routes: what a request must look like, and where it goes by that.

mod clock;
mod header;
mod index;

use std::fmt;
use std::sync::Arc;

use gateway_ir::needs::Needs;
use gateway_model::kind::route::Kind;
use http::HeaderName;

use super::Model;
use crate::ask::{self, Ask};
use crate::bodies::Keeping;
use crate::glob::Glob;
use crate::identity::Caller;
use crate::policy::Overrides;

pub(crate) use clock::Clock;
pub(crate) use header::HeaderMatch;
pub(crate) use index::Index;

/// A compiled route.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) name: Arc<str>,
    pub(crate) wants: Wants,
    /// `None`: whatever the request asks for.
    pub(crate) model: Option<Arc<Model>>,
    pub(crate) overrides: Overrides,
    /// What is kept of requests' bodies, if it says so itself.
    pub(crate) log_bodies: Option<Arc<Keeping>>,
}

/// What must hold of a request. What is empty or `None` holds of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wants {
    pub(crate) methods: Vec<Box<str>>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) path: Option<PathMatch>,
    /// Over the name that the request asks for.
    pub(crate) asked: Option<Glob>,
    /// Those that are compared before those that are searched.
    pub(crate) headers: Vec<(HeaderName, HeaderMatch)>,
    pub(crate) keys: Vec<Glob>,
    pub(crate) key_tags: Vec<Box<str>>,
    pub(crate) key_metadata: Vec<(String, String)>,
    pub(crate) tags: Vec<Box<str>>,
    pub(crate) needs: Needs,
    /// The least and the most.
    pub(crate) tokens: Option<(u64, u64)>,
    pub(crate) clock: Option<Clock>,
}

#[derive(Clone, Debug)]
pub(crate) enum PathMatch {
    Exact(Box<str>),
    Prefix(Box<str>),
}

/// Which of a route's demands is the first that a request does not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss<'a> {
    Needs,
    Tokens,
    Model,
    Path,
    Method,
    Kind,
    Keys,
    KeyTags,
    KeyMetadata,
    Header(&'a HeaderName),
    Tags,
    Times,
}

// === impl Wants ===

impl Wants {
    /// The first demand that does not hold, the cheap ones first. Allocates nothing.
    pub(crate) fn miss(&self, ask: &Ask<'_>, caller: &Caller) -> Option<Miss<'_>> {
        let any = |demands: &[Box<str>], given: &str| demands.iter().any(|demand| **demand == *given);
        if !ask.needs.covers(self.needs) {
            return Some(Miss::Needs);
        }
        if self.tokens.is_some_and(|(least, most)| !(least..=most).contains(&ask.n_input)) {
            return Some(Miss::Tokens);
        }
        if self.asked.as_ref().is_some_and(|wanted| !wanted.matches(ask.name())) {
            return Some(Miss::Model);
        }
        if self.path.as_ref().is_some_and(|wanted| !wanted.matches(ask.path)) {
            return Some(Miss::Path);
        }
        if !self.methods.is_empty() && !any(&self.methods, ask.method) {
            return Some(Miss::Method);
        }
        if !self.kinds.is_empty() && !self.kinds.contains(&ask::kind(ask.path)) {
            return Some(Miss::Kind);
        }
        let is_key = |wanted: &Glob| wanted.matches(&caller.name) || wanted.matches(&caller.id);
        if !self.keys.is_empty() && !self.keys.iter().any(is_key) {
            return Some(Miss::Keys);
        }
        if !self.key_tags.is_empty() && !caller.tags.iter().any(|tag| any(&self.key_tags, tag)) {
            return Some(Miss::KeyTags);
        }
        if !self.key_metadata.iter().all(|(name, value)| caller.metadata(name) == Some(value)) {
            return Some(Miss::KeyMetadata);
        }
        if let Some((name, _)) = self.headers.iter().find(|(name, wanted)| !wanted.matches(ask.headers, name)) {
            return Some(Miss::Header(name));
        }
        if !self.tags.is_empty() && !ask.tags().any(|tag| any(&self.tags, tag)) {
            return Some(Miss::Tags);
        }
        self.clock.as_ref().is_some_and(|clock| !clock.holds(ask.unix_ms)).then_some(Miss::Times)
    }

    pub(crate) fn hold(&self, ask: &Ask<'_>, caller: &Caller) -> bool {
        self.miss(ask, caller).is_none()
    }
}

// === impl PathMatch ===

impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(wanted) => f.write_str(wanted),
            Self::Prefix(wanted) => write!(f, "{wanted}*"),
        }
    }
}

impl PathMatch {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(wanted) => path == &**wanted,
            Self::Prefix(wanted) => path.starts_with(&**wanted),
        }
    }
}

#[cfg(test)]
mod tests;
