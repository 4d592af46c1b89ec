//! What a request takes where somebody counts for all nodes, and what they are told.

use std::sync::Mutex;

use gateway_ir::usage::Usage;
use gateway_model::limits::Limits as Document;

use super::super::{Owner, admit};
use super::*;

/// Writes down what it hears.
#[derive(Debug, Default)]
struct Book(Mutex<Vec<String>>);

impl Keeper for Book {
    fn correct(&self, limits: &Arc<Limits>, rate: usize, n: i64) {
        self.0.lock().expect("no panic").push(format!("{} {rate} {n:+}", limits.owner()));
    }

    fn left(&self, limits: &Arc<Limits>) {
        self.0.lock().expect("no panic").push(format!("{} left", limits.owner()));
    }
}

impl Book {
    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("no panic"))
    }
}

fn limits(kind: &'static str, written: Document) -> Arc<Limits> {
    Arc::new(Limits::new(Owner { kind, name: "a".into() }, &written))
}

fn both() -> (Arc<Limits>, Arc<Limits>, Scopes) {
    let key = limits("Key", Document { rpm: Some(60), tpm: Some(6000), concurrency: Some(2), ..Document::default() });
    let team = limits("Team", Document { rpm: Some(10), max_tokens: Some(500), ..Document::default() });
    let scopes = Scopes::of_key(Arc::clone(&key)).with(None, Some(Arc::clone(&team)), None);
    (key, team, scopes)
}

const ASKED: Asked = Asked { n_input: 100, max_output: Some(100), n_nodes: 3, yields: true, away: None };

const LOCAL: WhenAway = WhenAway::LocalShare;

#[test]
fn what_is_wanted_is_told_in_one_order_and_settled_by_what_was_used() {
    let ((key, team, scopes), book, now) = (both(), Arc::new(Book::default()), Instant::now());
    let entered = enter(scopes.clone(), ASKED, book.clone()).expect("room");
    let wants: Vec<_> = entered.limited().flat_map(|limits| limits.wants(ASKED)).collect();
    let told: Vec<_> = wants.iter().map(|want| (want.rate, want.amount, want.n)).collect();
    assert_eq!(told, [("rpm", 60, 1), ("tpm", 6000, 200), ("rpm", 10, 1)]);
    assert_eq!(wants[0].interval, 1_000_000_000);
    assert_eq!((key.n_open(), team.n_open(), key.open_here().1), (1, 1, 1));
    // Ten seconds of the first, half of the second, all but one of the third.
    let permit = entered.admitted([10_000_000_000, 30_000_000_000, 54_000_000_000], now);
    let rates = permit.rates().expect("limits");
    let shown = |rate: Option<crate::limits::Rate>| rate.map(|rate| (rate.limit, rate.remaining));
    assert_eq!((shown(rates.requests), shown(rates.tokens)), (Some((10, 1)), Some((6000, 3000))));
    assert!(!rates.is_degraded);
    permit.settle(Settlement { usage: Usage { input: 100, output: 30, ..Usage::default() } });
    assert_eq!(book.heard(), ["Key a 1 -70", "Key a left", "Team a left"]);
    assert_eq!((key.n_open(), team.n_open()), (0, 0));

    // Alone, this node goes on from what it heard: of the team one was left for all three nodes, and is not a third of one for each.
    let refused = admit_here(scopes, ASKED, LOCAL, now, book.clone()).expect_err("all is used");
    assert_eq!(refused.limit_kind, Some("rpm"));
    assert!(book.heard().is_empty(), "nothing was taken");
}

#[test]
fn refusals_take_nothing_and_name_whose_limit_it_is() {
    let ((key, team, scopes), book) = (both(), Arc::new(Book::default()));
    let enter = |asked| enter(scopes.clone(), asked, book.clone());
    let wait = Duration::from_secs(7);
    for (position, message) in
        [(0, "Key a exceeded its 60 req/min limit."), (2, "Team a exceeded its 10 req/min limit.")]
    {
        let failure = enter(ASKED).expect("room").exceeded(position, wait);
        assert_eq!((&*failure.message, failure.status, failure.retry_after), (message, 429, Some(wait)));
    }
    let failure = enter(ASKED).expect("room").crowded(0);
    assert_eq!(
        (&*failure.message, failure.limit_kind),
        ("Key a exceeded its limit of 2 requests at once.", Some("parallel"))
    );
    let too_large = enter(Asked { n_input: 1000, ..ASKED }).expect_err("the team's");
    assert_eq!((too_large.status, key.n_open(), team.n_open()), (400, 0, 0));
    let (_first, _second) = (enter(ASKED).expect("room"), enter(ASKED).expect("room"));
    let crowded = enter(ASKED).expect_err("two at once");
    assert_eq!((crowded.limit_kind, key.n_open(), team.n_open()), (Some("parallel"), 2, 2));
}

#[test]
fn what_passes_while_nobody_counts_is_told_later() {
    let ((key, _, scopes), book, now) = (both(), Arc::new(Book::default()), Instant::now());
    let permit = admit_here(scopes.clone(), ASKED, LOCAL, now, book.clone()).expect("a third is enough");
    let rates = permit.rates().expect("limits");
    assert!(rates.is_degraded);
    assert_eq!(rates.requests.map(|rate| (rate.limit, rate.remaining)), Some((10, 2)), "a third of ten, less one");
    assert_eq!(book.heard(), ["Key a 0 +1", "Key a 1 +200", "Team a 0 +1"]);
    permit.settle(Settlement { usage: Usage { input: 100, output: 150, ..Usage::default() } });
    assert_eq!(book.heard(), ["Key a 1 +50", "Key a left", "Team a left"]);
    let n_passed = (0..20).filter(|_| admit_here(scopes.clone(), ASKED, LOCAL, now, book.clone()).is_ok()).count();
    assert_eq!(n_passed, 2, "and no more than a third");
    book.heard();

    drop(enter(scopes.clone(), ASKED, book.clone()).expect("room").let_through());
    assert_eq!(book.heard(), ["Key a 0 +1", "Key a 1 +200", "Team a 0 +1", "Key a left", "Team a left"]);
    assert_eq!(key.n_open(), 0);
    owed(scopes, ASKED, now, book.clone()).settle(Settlement { usage: Usage { input: 40, ..Usage::default() } });
    assert_eq!(book.heard(), ["Key a 1 +40", "Key a left", "Team a left"]);
}

/// Of a key that says `own`, and a team that says nothing and has a third of three for this node.
fn away(own: Option<WhenAway>) -> (Arc<Limits>, Arc<Limits>, Scopes) {
    let key = limits("Key", Document { rpm: Some(3), concurrency: Some(3), when_away: own, ..Document::default() });
    let team = limits("Team", Document { rpm: Some(3), ..Document::default() });
    let scopes = Scopes::of_key(Arc::clone(&key)).with(None, Some(Arc::clone(&team)), None);
    (key, team, scopes)
}

#[test]
fn each_limit_says_what_holds_while_nobody_counts() {
    let (book, now) = (Arc::new(Book::default()), Instant::now());
    let admit = |scopes: &Scopes, default| admit_here(scopes.clone(), ASKED, default, now, book.clone());

    let (key, team, closed) = away(Some(WhenAway::Closed));
    let refused = admit(&closed, WhenAway::Open).expect_err("the key is closed");
    assert_eq!((refused.status, refused.limit_kind, refused.retry_after.is_some()), (429, Some("limit_store"), true));
    assert!(refused.message.contains("Key a") && book.heard().is_empty(), "{}", refused.message);
    assert_eq!((key.n_open(), team.n_open()), (0, 0), "nothing was taken");

    let (_, _, local) = away(Some(LOCAL));
    let refused = admit(&local, WhenAway::Closed).expect_err("the team goes by the default");
    assert!(refused.message.contains("Team a"), "{}", refused.message);

    // All of the key's pass, and are told; of the team's a third do.
    let (key, team, open) = away(Some(WhenAway::Open));
    let permit = admit(&open, LOCAL).expect("the team's third");
    assert_eq!(book.heard(), ["Key a 0 +1", "Team a 0 +1"]);
    let refused = admit(&open, LOCAL).expect_err("the team's third is taken");
    assert!(refused.message.contains("Team a") && book.heard().is_empty(), "{}", refused.message);
    assert_eq!(key.occupied(now).collect::<Vec<_>>(), [0], "of the key nothing is taken, and nothing given back");
    permit.settle(Settlement::default());
    assert_eq!((key.n_open(), team.n_open(), key.occupied(now).next()), (0, 0, Some(0)));
    let alone = Scopes::of_key(key);
    let held: Vec<_> = (0..3).map(|_| admit(&alone, LOCAL).expect("more than its third, on all places")).collect();
    assert_eq!(admit(&alone, LOCAL).expect_err("three places").limit_kind, Some("parallel"));
    drop(held);
}

#[test]
fn limits_that_are_lent_say_it_too() {
    let (now, default) = (Instant::now(), Some(LOCAL));
    let asked = |away| Asked { n_nodes: 3, away, ..Asked::default() };
    let key = |own| Scopes::of_key(away(own).0);
    let n_passed = |scopes: &Scopes, away| {
        let permits = (0..9).map_while(|_| admit(scopes.clone(), asked(away), now).ok());
        permits.map(|permit| permit.settle(Settlement::default())).count()
    };
    assert_eq!(n_passed(&key(None), default), 1);
    assert_eq!(n_passed(&key(Some(WhenAway::Open)), default), 9);
    assert_eq!(n_passed(&key(Some(WhenAway::Closed)), default), 0);
    assert_eq!(n_passed(&key(Some(WhenAway::Closed)), None), 1, "nobody is away");
}

/// A place says how often it has changed, so that what is late is known to be.
#[test]
fn places_count_their_changes() {
    let (key, now) = (limits("Key", Document { rpm: Some(60), ..Document::default() }), Instant::now());
    let (before, _) = key.open_here();
    let permit = admit(Scopes::of_key(Arc::clone(&key)), Asked::default(), now).expect("room");
    assert_eq!(key.open_here(), (before + 1, 1));
    drop(permit);
    assert_eq!(key.open_here(), (before + 2, 0));
}
