//! Which replies may be given again, and to whom: what holds for a request, and the key under which its reply is kept.
//!
//! A key is a digest of everything that changes the answer, and of whose it is. What is left out is left out because it says only
//! how the answer is told (`stream`, `stream_options.include_usage`) or is said better elsewhere (`model`).

mod canonical;

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};

use crate::resolve::Resolved;
use crate::snapshot::{Bounds, Recall, Said, Snapshot};

/// Of everything that changes an answer, and whose it is; nothing can be learned from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

/// What holds for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub ttl: Duration,
    /// It waits for another one like it.
    pub coalesce: bool,
    pub bounds: Bounds,
}

/// A request, as far as it changes the answer.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Operation and wire language.
    pub language: &'a str,
    /// Whose it is: nobody else is ever told the answer.
    pub tenant: &'a str,
    pub forced_provider: Option<&'a str>,
    pub forced_model: Option<&'a str>,
    pub forced_route: Option<&'a str>,
    pub strict: bool,
    /// Headers that go on to the upstream and change what it does.
    pub features: &'a [&'a [u8]],
    /// Model and streaming stand in the path, so that members of these names say something else.
    pub named_in_path: bool,
    pub body: &'a [u8],
}

/// How long a reply is given again where nobody says.
const TTL: Duration = Duration::from_secs(60 * 60);

/// Fields that cannot run into one another.
struct Digester(Context);

// === impl Key ===

impl Key {
    /// For tests of what keeps replies.
    #[doc(hidden)]
    pub fn of_test(n: u8) -> Self {
        Self([n; 32])
    }
}

// === impl Terms ===

impl Terms {
    /// `None`: nothing is given again. One branch where no level of the configuration switches it on.
    pub fn of(snapshot: &Snapshot, resolved: &Resolved) -> Option<Self> {
        snapshot.recall.as_deref()?.terms(resolved)
    }
}

// === impl Recall ===

impl Recall {
    /// The nearest level wins, field by field: route, model, settings.
    fn terms(&self, resolved: &Resolved) -> Option<Terms> {
        let route = resolved.route.as_ref().and_then(|route| self.routes.get(route));
        let model = self.models.get(&resolved.model.name).and_then(|model| model.said.as_ref());
        let levels = [route, model, Some(&self.everywhere)].into_iter().flatten();
        let first = |said: fn(&Said) -> Option<bool>| levels.clone().find_map(said);
        first(|said| Some(said.on)).filter(|on| *on)?;
        Some(Terms {
            ttl: levels.clone().find_map(|said| said.ttl).unwrap_or(TTL),
            coalesce: first(|said| said.coalesce).unwrap_or(true),
            bounds: self.bounds,
        })
    }
}

// === impl Question ===

impl Question<'_> {
    /// `None` where the answer depends on what is kept elsewhere, or on nothing that can be said in a key: such a request is asked
    /// each time. Takes time linear in the body, which has been found to be JSON.
    pub fn key(&self, snapshot: &Snapshot, resolved: &Resolved) -> Option<Key> {
        let recall = snapshot.recall.as_deref()?;
        let body = canonical::written(self.body, self.named_in_path)?;
        let mut digester = Digester(Context::new(&SHA256));
        digester.field(self.language.as_bytes());
        digester.field(self.tenant.as_bytes());
        for forced in [self.forced_provider, self.forced_model, self.forced_route] {
            digester.option(forced.map(str::as_bytes));
        }
        digester.field(&[u8::from(self.strict)]);
        digester.list(self.features.iter().copied());
        let model = &resolved.model;
        digester.field(model.name.as_bytes());
        digester.option(recall.models.get(&model.name).map(|model| &model.identity[..]));
        digester.list(model.targets().map(|target| target.model.as_bytes()));
        for target in model.targets() {
            digester.field(recall.providers.get(target.provider.index)?);
        }
        digester.field(&body);
        Some(digester.finish())
    }
}

// === impl Digester ===

impl Digester {
    fn field(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// What is not there is not empty.
    fn option(&mut self, bytes: Option<&[u8]>) {
        self.list(bytes.into_iter());
    }

    fn list<'a>(&mut self, fields: impl Iterator<Item = &'a [u8]> + Clone) {
        self.0.update(&(fields.clone().count() as u64).to_le_bytes());
        fields.for_each(|field| self.field(field));
    }

    fn finish(self) -> Key {
        let digest = self.0.finish();
        Key(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

#[cfg(test)]
mod tests;
