//! The lists of a key that it has in common with many others: models and tags. Equal lists are kept once, because with a
//! hundred thousand keys they would be a quarter of the table.

use std::collections::HashMap;
use std::sync::Arc;

use crate::glob::Glob;

/// What a key may use and how it is labelled.
#[derive(Clone)]
pub(super) struct Lists {
    pub(super) tags: Arc<[Arc<str>]>,
    pub(super) models: Arc<[Glob]>,
    pub(super) passthrough: Arc<[Glob]>,
}

/// Lists that were made lately, to be handed out again.
#[derive(Default)]
pub(super) struct Shared {
    tags: HashMap<Vec<String>, Arc<[Arc<str>]>, ahash::RandomState>,
    patterns: HashMap<Vec<String>, Arc<[Glob]>, ahash::RandomState>,
}

/// Lists of each sort that are remembered. Where every key has its own, remembering them would only cost.
const MAX_SHARED: usize = 1000;

pub(super) fn globs(patterns: &[String]) -> Arc<[Glob]> {
    patterns.iter().map(|pattern| Glob::new(pattern)).collect()
}

// === impl Shared ===

impl Shared {
    pub(super) fn lists(&mut self, tags: &[String], models: &[String], passthrough: &[String]) -> Lists {
        Lists {
            tags: share(&mut self.tags, tags, |tags| tags.iter().map(|tag| tag.as_str().into()).collect()),
            models: share(&mut self.patterns, models, globs),
            passthrough: share(&mut self.patterns, passthrough, globs),
        }
    }
}

fn share<T: ?Sized>(
    made: &mut HashMap<Vec<String>, Arc<T>, ahash::RandomState>,
    list: &[String],
    make: impl Fn(&[String]) -> Arc<T>,
) -> Arc<T> {
    if let Some(known) = made.get(list) {
        return Arc::clone(known);
    }
    if made.len() == MAX_SHARED {
        // Which of them are worth keeping shows again soon.
        made.clear();
    }
    let new = make(list);
    made.insert(list.to_vec(), Arc::clone(&new));
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_are_one_and_the_memory_of_them_is_bounded() {
        let mut shared = Shared::default();
        let list = |text: &str| vec![text.to_owned()];
        let (one, other) = (shared.lists(&list("a"), &list("b"), &[]), shared.lists(&list("a"), &[], &list("b")));
        assert!(Arc::ptr_eq(&one.tags, &other.tags) && Arc::ptr_eq(&one.models, &other.passthrough));
        let different = shared.lists(&list("b"), &list("a"), &[]);
        assert_eq!((&*different.tags[0], different.models[0].matches("a")), ("b", true));
        (0..3 * MAX_SHARED).for_each(|number| drop(shared.lists(&[], &list(&number.to_string()), &[])));
        assert!(shared.patterns.len() <= MAX_SHARED);
        assert!(one.models[0].matches("b"), "what is in use stays");
    }
}
