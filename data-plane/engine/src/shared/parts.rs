//! One set of limits for each of many: made when a request first needs it, let go when nothing of it is used and room is scarce.
//!
//! A request's way to its part takes no lock. Whoever takes a part says so behind its own hold of it, and whoever lets parts go marks
//! them only where nobody has said so since they were found to be idle: no request ever counts in a part that others do not find.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use gateway_model::kind::limit::Per;
use gateway_model::limits::Limits as Document;
use papaya::HashMap;

use super::{Apart, OWNER};
use crate::limits::{Limits, Owner};
use crate::selector::{Selector, Spender};

/// Those beyond share one.
const MOST: usize = 100_000;
/// All parts are looked at no more often, where they become many.
const TIDIES_EVERY: Duration = Duration::from_secs(1);
/// Longer values are told apart by a digest, so that names stay short.
const MOST_BYTES: usize = 256;

/// In `Part::uses`: it was let go.
const GONE: u64 = 1 << 63;

/// Of one rule.
#[derive(Debug)]
pub(super) struct Parts {
    rule: Arc<str>,
    per: Per,
    written: Document,
    each: HashMap<Box<str>, Part, ahash::RandomState>,
    /// Of requests that have nothing to be told apart by.
    none: Arc<Limits>,
    /// Of requests that find no room.
    beyond: Arc<Limits>,
    n_beyond: AtomicU64,
    tidied_at: Mutex<Option<Instant>>,
    most: usize,
}

#[derive(Debug)]
struct Part {
    limits: Arc<Limits>,
    /// How often it was taken.
    uses: AtomicU64,
}

// === impl Parts ===

impl Parts {
    pub(super) fn new(rule: &str, per: Per, written: &Document) -> Self {
        let per_name = per.name();
        // No rule has a space in its name: no other has these names.
        let own = |name: String| Arc::new(Limits::new(Owner { kind: OWNER, name: name.into() }, written));
        Self {
            rule: rule.into(),
            per,
            written: written.clone(),
            each: HashMap::default(),
            none: own(format!("{rule} for no {per_name}")),
            beyond: own(format!("{rule} for further {per_name}s")),
            n_beyond: AtomicU64::new(0),
            tidied_at: Mutex::default(),
            most: MOST,
        }
    }

    pub(super) fn are(&self, per: Per, written: &Document) -> bool {
        (self.per, &self.written) == (per, written)
    }

    pub(super) fn told(&self, rule: &Arc<str>) -> Apart {
        let n_beyond = self.n_beyond.load(Ordering::Relaxed);
        Apart { rule: Arc::clone(rule), per: self.per, n_parts: self.each.len(), n_beyond }
    }

    /// Puts those that this request takes behind `found`.
    pub(super) fn of(
        &self,
        (selector, spender): (&Selector, Spender<'_>),
        found: &mut Vec<Arc<Limits>>,
        now: impl Fn() -> Instant,
    ) {
        let Spender { caller, standing, models: [_, model] } = spender;
        let tenant = match self.per {
            Per::Key => Some(&caller.id),
            Per::User => standing.user.as_ref().map(|user| &user.name),
            Per::Team => standing.team.as_ref().map(|team| &team.name),
            Per::Organization => standing.organization.as_ref().map(|organization| &organization.name),
            Per::Model => return found.push(self.one(model, &now)),
            Per::Tag => {
                let n_before = found.len();
                for tag in selector.tags_of(caller) {
                    let limits = self.one(tag, &now);
                    // One that is there twice, or several that share.
                    if !found[n_before..].iter().any(|other| Arc::ptr_eq(other, &limits)) {
                        found.push(limits);
                    }
                }
                if found.len() > n_before {
                    return;
                }
                None
            }
        };
        found.push(self.one(tenant.map_or("", |name| name), &now));
    }

    fn one(&self, value: &str, now: impl Fn() -> Instant) -> Arc<Limits> {
        if value.is_empty() {
            return Arc::clone(&self.none);
        }
        let each = self.each.pin();
        loop {
            let part = match each.get(value) {
                Some(part) => part,
                None if !self.has_room(&now) => {
                    self.n_beyond.fetch_add(1, Ordering::Relaxed);
                    return Arc::clone(&self.beyond);
                }
                None => each.get_or_insert_with(value.into(), || self.part(value)),
            };
            if let Some(limits) = part.take() {
                return limits;
            }
            // Whoever let it go may take a while.
            let _ = each.remove_if(value, |_, part| part.is_gone());
        }
    }

    /// Of a part with this value; no other part of any rule has its name.
    #[cold]
    fn part(&self, value: &str) -> Part {
        let name = format!("{} for {} {}", self.rule, self.per.name(), short(value));
        let limits = Arc::new(Limits::new(Owner { kind: OWNER, name: name.into() }, &self.written));
        Part { limits, uses: AtomicU64::new(0) }
    }

    /// For one more. Where parts become many, one request in a while lets those go that are idle.
    #[cold]
    fn has_room(&self, now: impl Fn() -> Instant) -> bool {
        let is_many = self.each.len() >= self.most - self.most / 8;
        if is_many && let Ok(mut tidied_at) = self.tidied_at.try_lock() {
            let now = now();
            if tidied_at.is_none_or(|at| now.saturating_duration_since(at) >= TIDIES_EVERY) {
                *tidied_at = Some(now);
                self.each.pin().retain(|_, part| !part.let_go(now));
            }
        }
        self.each.len() < self.most
    }
}

// === impl Part ===

impl Part {
    /// `None` where it was let go.
    fn take(&self) -> Option<Arc<Limits>> {
        let limits = Arc::clone(&self.limits);
        // Behind the hold: who saw none of it sees this.
        let is_there = self.uses.fetch_add(1, Ordering::AcqRel) & GONE == 0;
        is_there.then_some(limits)
    }

    fn is_gone(&self) -> bool {
        self.uses.load(Ordering::Acquire) & GONE != 0
    }

    /// Whether it is gone now: nobody holds it, and nothing of it is used.
    fn let_go(&self, now: Instant) -> bool {
        let uses = self.uses.load(Ordering::Acquire);
        if uses & GONE != 0 {
            return true;
        }
        if Arc::strong_count(&self.limits) > 1 {
            return false;
        }
        // What they did who held it.
        fence(Ordering::Acquire);
        let is_idle = self.limits.n_open() == 0 && self.limits.occupied(now).all(|nanos| nanos == 0);
        is_idle && self.uses.compare_exchange(uses, uses | GONE, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// The same on every node.
fn short(value: &str) -> String {
    use std::fmt::Write as _;
    if value.len() <= MOST_BYTES && !value.starts_with('#') {
        return value.to_owned();
    }
    digest(&SHA256, value.as_bytes()).as_ref().iter().take(16).fold("#".to_owned(), |mut text, byte| {
        // A string takes all.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::limits::{Asked, Permit, Scopes, Settlement, admit};

    fn parts(most: usize, written: Document) -> Parts {
        Parts { most, ..Parts::new("r", Per::User, &written) }
    }

    fn rpm(amount: u64) -> Document {
        Document { rpm: Some(amount), ..Document::default() }
    }

    fn pass(parts: &Parts, value: &str, now: Instant) -> Option<Permit> {
        admit(Scopes::of_key(parts.one(value, || now)), Asked::default(), now).ok()
    }

    #[test]
    fn each_has_its_own_and_those_beyond_share_one() {
        let (parts, now) = (parts(3, rpm(1)), Instant::now());
        let mut open: Vec<_> = ["a", "b", "c"].map(|value| pass(&parts, value, now).expect("its own")).into();
        assert!(pass(&parts, "a", now).is_none());
        open.push(pass(&parts, "d", now).expect("the first of those beyond"));
        assert!(pass(&parts, "e", now).is_none() && pass(&parts, "", now).is_some(), "and nobody is somebody else");
        let refused = admit(Scopes::of_key(parts.one("e", || now)), Asked::default(), now).expect_err("it was taken");
        assert_eq!(&*refused.failure.message, "Limit r for further users exceeded its 1 req/min limit.");
        let told = parts.told(&"r".into());
        assert_eq!((told.n_parts, told.n_beyond), (3, 3));
        open.into_iter().for_each(|permit| permit.settle(Settlement::default()));
    }

    #[test]
    fn parts_that_are_idle_make_room_and_lose_nothing() {
        let (parts, now) = (parts(3, Document { concurrency: Some(1), ..rpm(1) }), Instant::now());
        let later = now + Duration::from_secs(61);
        let open = pass(&parts, "open", now).expect("room");
        drop(pass(&parts, "idle", now));
        drop(pass(&parts, "used", later));
        drop(pass(&parts, "new", later));
        assert_eq!((parts.told(&"r".into()).n_parts, parts.told(&"r".into()).n_beyond), (3, 0), "one gave way");
        assert!(parts.each.pin().get("idle").is_none());
        assert!(pass(&parts, "used", later).is_none(), "what was used is used");
        assert!(pass(&parts, "open", later).is_none(), "and who has a request open has no second place");
        drop(open);
        let (soon, after) = (later + TIDIES_EVERY / 2, later + TIDIES_EVERY);
        drop(pass(&parts, "other", soon));
        assert_eq!(parts.told(&"r".into()).n_beyond, 1, "they are not looked at for each request");
        drop(pass(&parts, "other", after));
        assert!(parts.each.pin().get("other").is_some());
    }

    #[test]
    fn names_tell_all_parts_apart() {
        let name = |parts: &Parts, value: &str| parts.one(value, Instant::now).owner().to_string();
        let parts = parts(MOST, rpm(1));
        assert_eq!(name(&parts, "ada"), "Limit r for user ada");
        assert_eq!(name(&parts, ""), "Limit r for no user");
        let (long, longer) = ("x".repeat(1000), "x".repeat(1001));
        let short = name(&parts, &long);
        assert_eq!(short.len(), "Limit r for user #".len() + 32);
        let digest = short.strip_prefix("Limit r for user ").expect("a name");
        assert!(name(&parts, &longer) != short && name(&parts, digest) != short);
    }

    /// Threads that make, use and let go of the same few parts: of none is more let pass than its limit.
    #[test]
    fn no_request_counts_in_a_part_that_is_gone() {
        let parts = parts(2, Document { concurrency: Some(1), ..Document::default() });
        let inside: [AtomicUsize; 4] = Default::default();
        let began = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let (parts, inside) = (&parts, &inside);
                scope.spawn(move || {
                    for round in 0..20_000_usize {
                        let now = began + TIDIES_EVERY * u32::try_from(round).expect("few");
                        let n = (round + thread) % inside.len();
                        let limits = parts.one(["a", "b", "c", "d"][n], || now);
                        let is_own = !Arc::ptr_eq(&limits, &parts.beyond);
                        if let Ok(permit) = admit(Scopes::of_key(limits), Asked::default(), now)
                            && is_own
                        {
                            assert_eq!(inside[n].fetch_add(1, Ordering::SeqCst), 0, "two at once");
                            inside[n].fetch_sub(1, Ordering::SeqCst);
                            permit.settle(Settlement::default());
                        }
                    }
                });
            }
        });
    }
}
