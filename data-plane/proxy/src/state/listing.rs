//! The list of models, written once for each configuration in each shape that clients know. A request picks its own models out of
//! the text that is there; nothing is built or copied for it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use gateway_engine::identity::Caller;
use gateway_engine::listing::{Listed, listing};
use gateway_engine::snapshot::Snapshot;

use super::shape::Shape;
use crate::body::Pieces;

/// All models, and their texts.
pub struct Listing {
    models: Vec<Listed>,
    by_name: HashMap<Arc<str>, usize, ahash::RandomState>,
    /// By shape, in the order of [`Shape::ALL`].
    texts: [Text; Shape::ALL.len()],
}

/// Models as JSON, with commas between them.
struct Text {
    bytes: Bytes,
    /// Where each one begins and ends.
    places: Vec<(usize, usize)>,
}

/// A part of the list.
pub(crate) struct Page {
    /// Elements of an array, with commas between them.
    pub(crate) elements: Vec<Bytes>,
    pub(crate) first: Option<Arc<str>>,
    pub(crate) last: Option<Arc<str>>,
    /// There are others behind.
    pub(crate) more: bool,
}

/// Which part is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted<'a> {
    /// Behind this one; a name that is not there has nothing behind it.
    pub(crate) after: Option<&'a str>,
    /// In front of this one.
    pub(crate) before: Option<&'a str>,
    /// At most so many.
    pub(crate) limit: Option<usize>,
}

// === impl Listing ===

impl Listing {
    pub(crate) fn new(snapshot: &Snapshot) -> Self {
        let models = listing(snapshot);
        let by_name = models.iter().enumerate().map(|(at, model)| (Arc::clone(&model.name), at)).collect();
        let texts = Shape::ALL.map(|shape| Text::new(&models, shape));
        Self { models, by_name, texts }
    }

    /// Nothing.
    pub(crate) fn empty() -> Arc<Self> {
        static EMPTY: LazyLock<Arc<Listing>> = LazyLock::new(|| Arc::new(Listing::new(&Snapshot::default())));
        Arc::clone(&EMPTY)
    }

    /// One model's text.
    pub(crate) fn one(&self, shape: Shape, name: &str) -> Option<Bytes> {
        let text = &self.texts[shape as usize];
        let (begin, end) = text.places[*self.by_name.get(name)?];
        Some(text.bytes.slice(begin..end))
    }

    /// What this caller may use, in order. Looks at each name between the ends of the page; neighbours share one slice.
    pub(crate) fn page(&self, shape: Shape, caller: &Caller, wanted: Wanted<'_>) -> Page {
        let text = &self.texts[shape as usize];
        let place = |name: &str| self.by_name.get(name).copied();
        let begin = wanted.after.map_or(0, |name| place(name).map_or(self.models.len(), |at| at + 1));
        let end = wanted.before.and_then(place).unwrap_or(self.models.len()).max(begin);
        let allowed = |at: &usize| caller.may_use(&self.models[*at].name);
        // Of what is in front of a model, its nearest neighbours are wanted.
        let (places, more): (Vec<usize>, bool) = match (wanted.before.is_some(), wanted.limit) {
            (_, None) => ((begin..end).filter(allowed).collect(), false),
            (false, Some(limit)) => {
                let mut rest = (begin..end).filter(allowed);
                (rest.by_ref().take(limit).collect(), rest.next().is_some())
            }
            (true, Some(limit)) => {
                let mut rest = (begin..end).rev().filter(allowed);
                let mut places: Vec<usize> = rest.by_ref().take(limit).collect();
                places.reverse();
                (places, rest.next().is_some())
            }
        };
        let name = |at: Option<&usize>| at.map(|at| Arc::clone(&self.models[*at].name));
        Page { first: name(places.first()), last: name(places.last()), more, elements: text.slices(&places) }
    }
}

// === impl Text ===

impl Text {
    fn new(models: &[Listed], shape: Shape) -> Self {
        let (mut text, mut places) = (String::new(), Vec::with_capacity(models.len()));
        for model in models {
            if !text.is_empty() {
                text.push(',');
            }
            let begin = text.len();
            text.push_str(&shape.model(model).to_string());
            places.push((begin, text.len()));
        }
        Self { bytes: Bytes::from(text), places }
    }

    /// Slices of neighbours, with a comma between two that are none. `wanted` ascends.
    fn slices(&self, wanted: &[usize]) -> Vec<Bytes> {
        let mut slices = Vec::new();
        for run in wanted.chunk_by(|a, b| a + 1 == *b) {
            if !slices.is_empty() {
                slices.push(Bytes::from_static(b","));
            }
            if let (Some(first), Some(last)) = (run.first(), run.last()) {
                slices.push(self.bytes.slice(self.places[*first].0..self.places[*last].1));
            }
        }
        slices
    }
}

// === impl Page ===

impl Page {
    /// The elements between `before` and `after`. Many small slices are joined: each of them would be one more to write.
    pub(crate) fn within(mut self, before: &'static str, after: impl Into<Bytes>) -> Pieces {
        if self.elements.len() > 16 {
            self.elements = vec![Bytes::from(self.elements.concat())];
        }
        self.elements.insert(0, Bytes::from_static(before.as_bytes()));
        self.elements.push(after.into());
        Pieces::joined_if_small(self.elements)
    }
}
