//! One purse: what it lets out, and what comes back.

use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;
use serde_json::json;

use super::*;

const NOW: i64 = 1_800_000_000_000;
const DAY: i64 = 86_400_000;

fn terms(fields: serde_json::Value) -> Budget {
    let mut document = json!({"amount_usd": 1, "window": "daily"});
    let fields = fields.as_object().expect("fields").clone();
    document.as_object_mut().expect("fields").extend(fields);
    serde_json::from_value(document).expect("a budget")
}

/// A purse that is looked after, and how often it asked to be.
fn purse(fields: serde_json::Value) -> (Arc<Purse>, Arc<AtomicUsize>) {
    let (purses, n_woken) = (Arc::new(Purses::default()), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&n_woken);
    purses.on_noted(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    (purses.purse("budget/b", terms(fields)), n_woken)
}

fn grant(purse: &Purse, at_ms: i64, granted: i64) {
    let window = purse.terms().window.at(at_ms);
    purse.granted(&Grant { window, granted, refused: 0, free_at_ms: None }, at_ms);
}

fn left(purse: &Purse) -> i64 {
    purse.accounts().last().map_or(0, |account| account.left)
}

#[test]
fn money_is_taken_whole_and_settled_once() {
    let (purse, n_woken) = purse(json!({}));
    assert_eq!(purse.reserve(10, NOW).err(), Some(Short::Asked), "nothing was granted yet");
    assert_eq!(n_woken.load(Ordering::Relaxed), 1);
    assert_eq!(purse.look(), Need { one: 10, all: 10 });
    grant(&purse, NOW, 100);
    grant(&purse, NOW, 100);
    let (one, two) = (purse.reserve(60, NOW).expect("granted"), purse.reserve(40, NOW).expect("granted"));
    assert_eq!(purse.reserve(1, NOW).err(), Some(Short::Asked), "an answer that comes twice counts once");
    one.settle(50);
    assert_eq!(left(&purse), 10);
    drop(two);
    let account = *purse.accounts().last().expect("a window");
    assert_eq!((account.spent, account.left, account.n_open), (90, 10, 0), "what is dropped is spent");
    let mut third = purse.reserve(5, NOW).expect("left");
    assert_eq!(third.top_up(6, NOW).err(), Some(Short::Asked));
    assert_eq!((third.top_up(5, NOW), third.nano()), (Ok(()), 10));
    third.settle(25);
    assert_eq!(left(&purse), -15, "what was used beyond the hold is owed");
    purse.look();
    assert_eq!(purse.reserve(5, NOW).err(), Some(Short::Asked));
    assert_eq!(purse.look().one, 5);
    grant(&purse, NOW, 119);
    assert_eq!(purse.reserve(5, NOW).err(), Some(Short::Asked), "and comes first");
    grant(&purse, NOW, 120);
    assert!(purse.reserve(5, NOW).is_ok());
}

#[test]
fn a_refusal_holds_for_a_moment_and_for_no_less_than_was_asked() {
    let (purse, _) = purse(json!({}));
    let window = purse.terms().window.at(NOW);
    let refused = Grant { window, granted: 5, refused: 20, free_at_ms: Some(window.end_ms) };
    purse.granted(&refused, NOW);
    let exhausted = Some(Short::Exhausted { until_ms: Some(window.end_ms) });
    assert_eq!(purse.reserve(25, NOW + 1).err(), exhausted);
    assert_eq!(purse.reserve(24, NOW + 1).err(), Some(Short::Asked), "that may be there");
    assert!(purse.reserve(5, NOW + 1).is_ok());
    assert_eq!(purse.reserve(25, NOW + 5_000).err(), Some(Short::Asked), "others may have given back");
    assert_eq!(purse.reserve(25, NOW - DAY).err(), Some(Short::Asked), "a clock that goes back prolongs nothing");
}

#[test]
fn while_the_ledger_is_away_the_allowance_is_all_there_is() {
    for (allowance, n_served) in [("0", 0), ("0.000000025", 2_usize)] {
        let (purse, _) = purse(json!({"offline_allowance_usd": allowance}));
        purse.purses.silent(NOW - 2_000);
        let served: Vec<_> = (0..5).map(|_| purse.reserve(10, NOW)).collect();
        assert_eq!(served.iter().filter(|hold| hold.is_ok()).count(), n_served);
        assert_eq!(served[4].as_ref().err(), Some(&Short::Unavailable));
        drop(served);
        let lent = 10 * n_served as i64;
        grant(&purse, NOW, lent);
        assert_eq!(left(&purse), 0, "what was lent is not granted a second time");
        grant(&purse, NOW, lent + 30);
        assert!(purse.reserve(30, NOW).is_ok(), "what was granted is there in any case");
    }
}

#[test]
fn who_only_alerts_never_refuses() {
    let (purse, n_woken) = purse(json!({"on_exhausted": "alert"}));
    for _ in 0..10 {
        purse.reserve(1_000, NOW).expect("soft").settle(900);
    }
    assert_eq!(purse.accounts().last().map(|account| account.spent), Some(9_000));
    assert_eq!(n_woken.load(Ordering::Relaxed), 1, "it is known that there is something to count");
    let hard = purse.purses.purse("budget/b", terms(json!({})));
    assert!(Arc::ptr_eq(&hard, &purse), "terms change in place");
    assert_eq!(hard.reserve(1, NOW).err(), Some(Short::Asked));
}

#[test]
fn a_request_settles_in_the_window_that_it_began_in() {
    let (purse, _) = purse(json!({}));
    grant(&purse, NOW, 100);
    let hold = purse.reserve(40, NOW).expect("granted");
    assert_eq!(purse.reserve(1, NOW + DAY).err(), Some(Short::Asked), "a new day begins with nothing");
    grant(&purse, NOW + DAY, 7);
    assert!(purse.reserve(7, NOW + DAY).is_ok());
    assert_eq!(hold.window_start_ms(), purse.terms().window.at(NOW).start_ms);
    hold.settle(10);
    purse.give_back(0);
    let accounts = purse.accounts();
    let [before, current] = accounts[..] else { panic!("two windows: {accounts:?}") };
    assert_eq!((before.spent, before.returned, before.left, before.is_current), (10, 90, 0, false));
    assert_eq!((current.spent, current.granted), (7, 7));
    purse.told(&accounts);
    assert_eq!(purse.accounts().len(), 1, "what the ledger knows is forgotten");
}

#[test]
fn clock_jumps() {
    let (purse, _) = purse(json!({}));
    grant(&purse, NOW, 100);
    assert!(purse.reserve(10, NOW - 3 * DAY).is_ok(), "a clock that goes back stays in its window");
    assert_eq!(purse.accounts().len(), 1);
    assert_eq!(purse.reserve(10, NOW + 3 * DAY).err(), Some(Short::Asked));
    // The ledger says that it is not so late after all.
    purse.purses.set_clock(NOW, NOW + 3 * DAY);
    grant(&purse, NOW, 100);
    assert!(purse.reserve(90, NOW + 3 * DAY).is_ok(), "the same window with what was left of it");
    assert_eq!(purse.accounts().iter().map(|account| account.granted).sum::<i64>(), 100, "none is doubled");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// A clock that steps by milliseconds, hours, days and over the end of a month: in each window no more is spent than the ledger,
    /// which has the right time, granted in it, and none is granted twice.
    #[test]
    fn clock_jumps_double_no_window(
        steps in prop::collection::vec((prop_oneof![-50..50_i64, -DAY / 24..DAY / 24, -40 * DAY..40 * DAY], 0..30_i64), 1..80)
    ) {
        const AMOUNT: i64 = 100;
        let (purse, _) = purse(json!({"window": "monthly"}));
        // Shortly before the end of a month.
        let mut true_ms = purse.terms().window.at(NOW).end_ms - DAY;
        let (mut granted, mut spent) = (std::collections::BTreeMap::new(), std::collections::BTreeMap::new());
        for (jump, nano) in steps {
            true_ms += DAY / 10;
            let local_ms = true_ms + jump;
            if purse.reserve(nano, local_ms).map(|hold| hold.settle(0)).is_err() {
                let window = purse.terms().window.at(true_ms);
                let in_all: &mut i64 = granted.entry(window.start_ms).or_default();
                *in_all = (*in_all + nano).min(AMOUNT);
                purse.purses.set_clock(true_ms, local_ms);
                purse.granted(&Grant { window, granted: *in_all, refused: 0, free_at_ms: None }, local_ms);
            }
            if let Ok(hold) = purse.reserve(nano, local_ms) {
                *spent.entry(hold.window_start_ms()).or_insert(0) += nano;
                hold.settle(nano);
            }
            let accounts = purse.accounts();
            prop_assert!(accounts.iter().all(|account| account.left >= 0 && account.spent <= account.granted), "{accounts:?}");
        }
        for (start_ms, spent) in spent {
            prop_assert!(spent <= granted.get(&start_ms).copied().unwrap_or(0), "{spent} in {start_ms}: {granted:?}");
        }
    }
}

#[test]
fn a_purse_lives_as_long_as_somebody_has_it() {
    let (purse, _) = purse(json!({}));
    let purses = Arc::clone(&purse.purses);
    assert!(purses.find("budget/b").is_some() && purses.find("budget/c").is_none());
    drop(purse);
    assert!(purses.find("budget/b").is_none());
    assert!(format!("{purses:?}").contains("n: 0"));
}

#[derive(Clone, Debug)]
enum Step {
    Reserve(i64),
    /// The oldest hold of this thread, with so much used of a hundred parts.
    Settle(i64),
    Forget,
    GiveBack,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..40_i64).prop_map(Step::Reserve),
        3 => (0..=130_i64).prop_map(Step::Settle),
        1 => Just(Step::Forget),
        1 => Just(Step::GiveBack),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However threads interleave: what is reserved and spent is never above what was granted, but for what settling said it was.
    #[test]
    fn never_more_than_granted(scripts in prop::collection::vec(prop::collection::vec(step(), 1..60), 1..5), amount in 0..600_i64) {
        let (purse, _) = purse(json!({}));
        grant(&purse, NOW, amount);
        let overrun = AtomicI64::new(0);
        std::thread::scope(|scope| {
            for script in &scripts {
                let (purse, overrun) = (&purse, &overrun);
                scope.spawn(move || {
                    let mut holds = std::collections::VecDeque::new();
                    for step in script {
                        match step {
                            Step::Reserve(nano) => holds.extend(purse.reserve(*nano, NOW)),
                            Step::Settle(part) => if let Some(hold) = holds.pop_front() {
                                let used = hold.nano() * part / 100;
                                overrun.fetch_add((used - hold.nano()).max(0), Ordering::Relaxed);
                                hold.settle(used);
                            },
                            Step::Forget => drop(holds.pop_front()),
                            Step::GiveBack => purse.give_back(amount / 3),
                        }
                        let account = *purse.accounts().last().expect("a window");
                        // Read apart, so only what holds at any moment: nobody is served from a balance below nothing.
                        assert!(account.spent <= amount + overrun.load(Ordering::Relaxed), "{account:?}");
                    }
                });
            }
        });
        let account = *purse.accounts().last().expect("a window");
        prop_assert_eq!(account.n_open, 0);
        prop_assert_eq!(account.granted, account.returned + account.spent + account.left, "{:?}", account);
        prop_assert!(account.spent <= amount - account.returned + overrun.load(Ordering::Relaxed));
        prop_assert!(account.left >= 0 || overrun.load(Ordering::Relaxed) >= -account.left);
    }
}

/// What a request pays for a budget: a figure of a debug build, so with room.
#[test]
fn reserve_and_settle_take_little() {
    let (purse, _) = purse(json!({}));
    grant(&purse, NOW, i64::MAX / 2);
    const N: u32 = 100_000;
    let began = std::time::Instant::now();
    for _ in 0..N {
        purse.reserve(5, NOW).expect("plenty").settle(4);
    }
    let each = began.elapsed() / N;
    eprintln!("figure: purse reserve and settle {each:?} in this build");
    assert!(each < std::time::Duration::from_micros(20), "{each:?}");
}
