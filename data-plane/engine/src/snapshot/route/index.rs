//! Which routes a request needs to be held against at all. A route that names a model, a key, a header's value or a path
//! exactly is looked up by one of them, one that wants a header is tried where that is; what is left is tried one by one. A thousand routes, one for each tenant, cost as much as one.

use std::collections::HashMap;

use http::HeaderName;

use super::{HeaderMatch, PathMatch, Route, Wants};
use crate::ask::Ask;
use crate::glob::Glob;
use crate::identity::Caller;

/// Places of routes, by what each of them names. Every list is in the order of the routes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    by_model: ByText,
    by_key: ByText,
    by_header: Vec<(HeaderName, ByText)>,
    by_path: ByText,
    /// By a header that must be there, whatever it says.
    by_presence: Vec<(HeaderName, Vec<u32>)>,
    others: Vec<u32>,
}

type ByText = HashMap<Box<str>, Vec<u32>, ahash::RandomState>;

// === impl Index ===

impl Index {
    /// Each route stands below what is likely to tell it best from the others.
    pub(crate) fn new(routes: &[Route]) -> Self {
        let mut index = Self::default();
        for (place, route) in (0..).zip(routes) {
            index.add(place, &route.wants);
        }
        index
    }

    fn add(&mut self, place: u32, wants: &Wants) {
        let present = wants.headers.iter().find(|(_, wanted)| !matches!(wanted, HeaderMatch::Absent));
        let exact_header = wants.headers.iter().find_map(|(name, wanted)| match wanted {
            HeaderMatch::Exact(text) => Some((name, text)),
            _ => None,
        });
        let keys: Option<Vec<&str>> = wants.keys.iter().map(Glob::literal).collect();
        if let Some(model) = wants.asked.as_ref().and_then(Glob::literal) {
            by(&mut self.by_model, model).push(place);
        } else if let Some(keys) = keys.filter(|keys| !keys.is_empty()) {
            for key in keys {
                by(&mut self.by_key, key).push(place);
            }
        } else if let Some((name, text)) = exact_header {
            by(of_header(&mut self.by_header, name), text).push(place);
        } else if let Some(PathMatch::Exact(path)) = &wants.path {
            by(&mut self.by_path, path).push(place);
        } else if let Some((name, _)) = present {
            of_header(&mut self.by_presence, name).push(place);
        } else {
            self.others.push(place);
        }
    }

    /// The first of `routes` that matches: a few look-ups, and each route that is among what they give. Allocates nothing.
    pub(crate) fn first<'a>(&self, routes: &'a [Route], ask: &Ask<'_>, caller: &Caller) -> Option<&'a Route> {
        let mut best: Option<u32> = None;
        let mut among = |places: Option<&Vec<u32>>| {
            let earlier = places.into_iter().flatten().take_while(|place| best.is_none_or(|best| **place < best));
            let found = earlier.copied().find(|place| routes[*place as usize].wants.hold(ask, caller));
            best = found.or(best);
        };
        if !self.by_model.is_empty() {
            among(self.by_model.get(ask.name()));
        }
        if !self.by_key.is_empty() {
            among(self.by_key.get(&*caller.name));
            among(self.by_key.get(&*caller.id));
        }
        for (name, by_value) in &self.by_header {
            for value in ask.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()) {
                among(by_value.get(value.trim()));
            }
        }
        if !self.by_path.is_empty() {
            among(self.by_path.get(ask.path));
        }
        for (_, places) in self.by_presence.iter().filter(|(name, _)| ask.headers.contains_key(name)) {
            among(Some(places));
        }
        among(Some(&self.others));
        best.map(|place| &routes[place as usize])
    }
}

fn by<'a>(map: &'a mut ByText, text: &str) -> &'a mut Vec<u32> {
    map.entry(text.into()).or_default()
}

fn of_header<'a, T: Default>(headers: &'a mut Vec<(HeaderName, T)>, name: &HeaderName) -> &'a mut T {
    let at = headers.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
        headers.push((name.clone(), T::default()));
        headers.len() - 1
    });
    &mut headers[at].1
}
