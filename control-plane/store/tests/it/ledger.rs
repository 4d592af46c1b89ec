//! The ledger of budgets: what is spent and what nodes hold stay within the amount, whoever asks and however often.

use gateway_model::kind::budget::Wish;
use gateway_store::Store;
use gateway_store::ledger::{Account, Ask, Balance, Charge, Granted, Holder};
use gateway_store::usage::{Sender, UsageRow};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::membership;

const BUDGET: &str = "budget/b";

fn holder<'a>(node: &'a str, boot: &'a str) -> Holder<'a> {
    Holder { node, boot, at_ms: 1 }
}

fn ask(amount: i64, needs: i64, waiting: i64) -> Ask {
    let wish = Wish { needs, waiting, burn: 0 };
    Ask { budget: BUDGET.to_owned(), start_ms: 100, from_ms: 100, amount, has: i64::MAX, wish, n_nodes: 1 }
}

async fn asked(store: &Store, boot: &str, ask: Ask) -> Granted {
    store.grant(holder("n", boot), &[], &[ask]).await.unwrap()[0]
}

fn told(granted: i64, returned: i64) -> Account {
    Account { budget: BUDGET.to_owned(), start_ms: 100, granted, returned }
}

async fn used(store: &Store, boot: &str, number: u64, nano_usd: i64) {
    let charge = Charge { budget: BUDGET.to_owned(), start_ms: 100, nano_usd };
    let id = format!("{boot}-{number}");
    let row = UsageRow { id, node_id: "n".to_owned(), charges: vec![charge], ..UsageRow::default() };
    let from = Sender { node: "n", boot, at_ms: 1 };
    store.ingest_usage(from, 0, number, &[row]).await.unwrap();
}

async fn check(store: &Store, spent: i64, leased: i64) {
    let Balance { spent: is_spent, leased: is_leased, .. } = store.balance(BUDGET, 0).await.unwrap();
    assert_eq!((is_spent, is_leased), (spent, leased));
}

pub(crate) async fn what_is_granted_stays_within_the_amount(store: &Store) {
    let first = asked(store, "b1", ask(100, 10, 1000)).await;
    assert_eq!((first.granted, first.is_short), (50, false), "half of what is left");
    let second = asked(store, "b2", ask(100, 40, 0)).await;
    assert_eq!((second.granted, second.is_short), (40, false), "what one request needs");
    let third = asked(store, "b3", ask(100, 11, 1000)).await;
    assert_eq!((third.granted, third.is_short, third.oldest_ms), (0, true, Some(100)));
    assert_eq!(asked(store, "b3", ask(100, 10, 1000)).await.granted, 10, "the last of it");
    check(store, 0, 100).await;
    assert!(asked(store, "b1", ask(99, 1, 1)).await.is_short, "an amount that was lowered counts at once");
    assert_eq!(asked(store, "b1", ask(120, 5, 0)).await.granted, 60, "so does one that was raised");
    let again = asked(store, "b1", Ask { has: 50, ..ask(120, 5, 0) }).await;
    assert_eq!((again.granted, again.is_short), (60, false), "what was lost on the way comes again, and is no more");
    store.grant(holder("n", "b1"), &[told(60, 35)], &[]).await.unwrap();
    store.grant(holder("n", "b1"), &[told(60, 35)], &[]).await.unwrap();
    check(store, 0, 75).await;
}

pub(crate) async fn usage_moves_from_leased_to_spent_exactly_once(store: &Store) {
    asked(store, "b1", ask(100, 60, 0)).await;
    for _ in 0..3 {
        used(store, "b1", 1, 25).await;
        check(store, 25, 35).await;
    }
    used(store, "b1", 2, 0).await;
    used(store, "b1", 3, -7).await;
    check(store, 25, 35).await;
    // The same request from another boot, which found it on the disk.
    let charge = Charge { budget: BUDGET.to_owned(), start_ms: 100, nano_usd: 25 };
    let row = UsageRow { id: "b1-1".to_owned(), charges: vec![charge], ..UsageRow::default() };
    store.ingest_usage(Sender { node: "n", boot: "b2", at_ms: 1 }, 0, 1, &[row]).await.unwrap();
    check(store, 25, 35).await;
}

/// A node that was put out delivers nothing any more.
pub(crate) async fn what_a_revoked_node_holds_goes_back(store: &Store) {
    membership::member(store, "n").await;
    membership::member(store, "other").await;
    asked(store, "b1", ask(100, 40, 0)).await;
    asked(store, "b2", ask(100, 20, 0)).await;
    store.grant(holder("other", "b3"), &[], &[ask(100, 10, 0)]).await.unwrap();
    used(store, "b1", 1, 25).await;
    check(store, 25, 62).await;
    assert_eq!(store.reap_leases(i64::MAX, 9).await.unwrap(), [], "none is revoked");
    membership::revoke(store, "n", 1000).await;
    assert_eq!(store.reap_leases(1000, 9).await.unwrap(), [], "its last words may be on their way");
    let reaped = store.reap_leases(1001, 9).await.unwrap();
    let expected = [("b1", 25), ("b2", 25)].map(|(boot, freed)| ("n".to_owned(), boot.to_owned(), freed));
    assert_eq!(reaped, expected);
    check(store, 25, 12).await;
    assert_eq!(store.reap_leases(1001, 9).await.unwrap(), [], "once");
    assert_eq!(asked(store, "b1", ask(100, 63, 0)).await.granted, 113, "it is there for others");
}

pub(crate) async fn what_was_spent_beyond_a_lease_is_booked(store: &Store) {
    asked(store, "b1", ask(100, 60, 0)).await;
    used(store, "b1", 1, 80).await;
    check(store, 80, 0).await;
    let next = asked(store, "b1", ask(100, 20, 0)).await;
    assert_eq!((next.granted, next.is_short), (100, false), "the debt is as good as granted, and paid");
    assert!(asked(store, "b2", ask(100, 1, 0)).await.is_short);
    // A budget that only alerts is spent without a lease.
    used(store, "b3", 1, 500).await;
    check(store, 580, 20).await;
}

pub(crate) async fn windows_that_count_share_one_amount(store: &Store) {
    let in_window = |start_ms, from_ms, needs| Ask { start_ms, from_ms, ..ask(100, needs, 0) };
    assert!(!asked(store, "b1", in_window(100, 0, 60)).await.is_short);
    let next = asked(store, "b1", in_window(200, 100, 41)).await;
    assert_eq!((next.is_short, next.oldest_ms), (true, Some(100)), "the window before still counts");
    assert!(!asked(store, "b1", in_window(200, 100, 40)).await.is_short);
    assert!(asked(store, "b1", in_window(300, 200, 61)).await.is_short);
    assert!(!asked(store, "b1", in_window(300, 200, 60)).await.is_short, "the oldest does not any more");
    assert_eq!(store.balance(BUDGET, 200).await.unwrap(), Balance { spent: 0, leased: 100, oldest_ms: Some(200) });
    assert_eq!(store.prune_ledger(250).await.unwrap(), 4);
    check(store, 0, 60).await;
}

/// A lease that nobody has heard of is one that nobody spends: in its window it comes again, and when that is over it is free.
pub(crate) async fn what_nobody_heard_of_a_window_that_is_over_is_free(store: &Store) {
    // Among so many nodes each is granted what it needs.
    let window = |start_ms, has, needs| Ask { start_ms, has, from_ms: start_ms, n_nodes: 1000, ..ask(1000, needs, 0) };
    let tells = |start_ms, granted, returned| Account { start_ms, ..told(granted, returned) };
    let says = async |told: &[Account], asks: &[Ask]| store.grant(holder("n", "b1"), told, asks).await.unwrap();
    let leased = async |from_ms: i64| store.balance(BUDGET, from_ms).await.unwrap().leased;
    assert_eq!(says(&[tells(100, 0, 0)], &[window(100, 0, 60)]).await[0].granted, 60);
    assert_eq!(says(&[tells(100, 60, 0)], &[window(100, 60, 40)]).await[0].granted, 100, "which is lost on the way");
    let again = says(&[tells(100, 60, 0)], &[window(100, 60, 30)]).await[0];
    assert_eq!((again.granted, leased(0).await), (100, 100), "and comes again, lost once more");
    // It has spent 75 meanwhile, of which some was an allowance, and one of its events is not delivered yet.
    used(store, "b1", 1, 70).await;
    says(&[tells(100, 60, 0), tells(200, 0, 0)], &[window(200, 0, 20)]).await;
    assert_eq!((leased(100).await, leased(200).await), (20, 20), "nothing is held of the window that is over");
    used(store, "b1", 2, 5).await;
    check(store, 75, 20).await;
    // The ledger's clock was ahead of the node's: it grants in a window that the node never gets to know.
    says(&[tells(200, 20, 0)], &[window(300, 0, 10)]).await;
    assert_eq!(leased(0).await, 30);
    says(&[tells(200, 20, 5)], &[]).await;
    check(store, 75, 15).await;
    says(&[tells(400, 0, 0)], &[window(400, 0, 10)]).await;
    check(store, 75, 25).await;
    // Another boot's, and another budget's, are none of its affairs.
    asked(store, "b2", window(500, 0, 10)).await;
    says(&[tells(400, 10, 0)], &[]).await;
    check(store, 75, 35).await;
}

pub(crate) async fn a_boot_that_is_over_gives_back_the_rest(store: &Store) {
    asked(store, "b1", ask(100, 60, 0)).await;
    used(store, "b1", 1, 25).await;
    assert_eq!(store.boots_with_leases("n", "b2").await.unwrap(), ["b1"]);
    assert!(store.boots_with_leases("n", "b1").await.unwrap().is_empty());
    assert!(asked(store, "b2", ask(100, 41, 0)).await.is_short, "nobody else has it meanwhile");
    assert_eq!(store.close_leases(holder("n", "b1")).await.unwrap(), 35);
    assert_eq!(store.close_leases(holder("n", "b1")).await.unwrap(), 0);
    check(store, 25, 0).await;
    // What was thought to be all was not: it is booked, and nothing goes below zero.
    used(store, "b1", 2, 10).await;
    check(store, 35, 0).await;
    assert!(!asked(store, "b2", ask(100, 65, 0)).await.is_short);
}

/// A ledger that begins anew hears of what was granted from whoever has it, as often as they say it: counters of many nodes that
/// are seeded again do not add up to many times what was spent (BerriAI/litellm#28247).
pub(crate) async fn reseed_idempotent(store: &Store) {
    const N_BOOTS: i64 = 8;
    // Each was granted 100 and gave 40 back, before this database was there.
    for n_spent in [0, 1, 1] {
        for boot in (0..N_BOOTS).map(|number| format!("b{number}")) {
            store.grant(holder("n", &boot), &[told(100, 40)], &[]).await.unwrap();
            // A message that was held up says less, and changes nothing.
            store.grant(holder("n", &boot), &[told(60, 10)], &[]).await.unwrap();
        }
        check(store, n_spent * 25, N_BOOTS * 60 - n_spent * 25).await;
        assert!(asked(store, "new", ask(N_BOOTS * 60, 1, 0)).await.is_short, "all of it is out");
        // So does an event that is delivered anew.
        used(store, "b0", 1, 25).await;
        check(store, 25, N_BOOTS * 60 - 25).await;
    }
}

/// The control plane's clock goes ahead by a day and comes back, twice: what was let out ahead of time counts on the day that it really
/// is, and the day that comes has had its money. No day is doubled, and none is lost.
pub(crate) async fn clock_jumps(store: &Store) {
    const DAY: i64 = 86_400_000;
    let on_day = |day: i64, needs| Ask { start_ms: day * DAY, from_ms: day * DAY, ..ask(100, needs, 0) };
    for (day, needs, is_short) in [
        (20, 60, false),
        (21, 70, false),
        // It is set right again.
        (20, 1, true),
        (21, 31, true),
        (21, 30, false),
        (19, 1, true),
        // A day has passed in truth.
        (21, 1, true),
        (22, 100, false),
        (23, 100, false),
        (23, 1, true),
    ] {
        assert_eq!(asked(store, "b1", on_day(day, needs)).await.is_short, is_short, "{needs} on day {day}");
    }
    for (day, leased) in [(20, 60 + 100 + 200), (21, 100 + 200), (22, 200), (23, 100), (24, 0)] {
        let balance = store.balance(BUDGET, day * DAY).await.unwrap();
        assert_eq!((balance.spent, balance.leased), (0, leased), "from day {day}");
    }
}

/// Boots ask, spend and give back at once; afterwards all figures agree, and no two had the same money.
pub(crate) async fn nodes_at_once_never_share_a_dollar(store: &Store) {
    const AMOUNT: i64 = 10_000;
    let boots = (0..6).map(|number| tokio::spawn(one_boot(store.clone(), number, AMOUNT)));
    let (mut spent, mut held) = (0, 0);
    for boot in boots.collect::<Vec<_>>() {
        let (of_boot, left) = boot.await.unwrap();
        spent += of_boot;
        held += left;
    }
    check(store, spent, held).await;
    assert!(spent + held <= AMOUNT, "{spent} spent and {held} held of {AMOUNT}");
    for number in 0..6 {
        store.close_leases(holder("n", &format!("b{number}"))).await.unwrap();
    }
    check(store, spent, 0).await;
}

async fn one_boot(store: Store, number: u64, amount: i64) -> (i64, i64) {
    let (boot, mut random) = (format!("b{number}"), StdRng::seed_from_u64(number));
    let (mut granted, mut returned, mut spent, mut n_events) = (0, 0, 0, 0);
    for _ in 0..25 {
        let ask = Ask { n_nodes: 6, ..ask(amount, random.random_range(0..200), random.random_range(0..2000)) };
        let account = [told(granted, returned)];
        granted = store.grant(holder("n", &boot), &account, &[ask]).await.unwrap()[0].granted;
        let left = granted - returned - spent;
        let nano = random.random_range(0..=left / 2);
        n_events += 1;
        used(&store, &boot, n_events, nano).await;
        spent += nano;
        returned += random.random_range(0..=(left - nano) / 2);
    }
    store.grant(holder("n", &boot), &[told(granted, returned)], &[]).await.unwrap();
    (spent, granted - returned - spent)
}
