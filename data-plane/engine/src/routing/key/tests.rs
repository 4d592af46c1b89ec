//! Which key of several goes with a request, which is left alone, and for how long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_ir::failure::{Code, Failure};
use gateway_ir::usage::Usage;
use gateway_model::kind::budget::Window;
use http::HeaderMap;

use super::super::{Choice, Shape, plan};
use crate::compile::compile_over;
use crate::health::Skip;
use crate::limits::Asked;
use crate::limits::purse::{Grant, Purse};
use crate::resolve::{Ask, Resolved, resolve};
use crate::selector::Spender;
use crate::snapshot::Snapshot;
use crate::tenants::Standing;
use crate::testing::{caller, parsed, snapshot};

/// A provider with these keys, `model: m` over it and over one that has a single key.
fn yaml(keys: &str, more: &str) -> String {
    format!(
        "providers:
  - {{name: p, kind: openai, api_keys: [{keys}]{more}}}
  - {{name: q, kind: openai, api_key: k}}
models:
  - {{name: m, strategy: priority, targets: [{{provider: p, model: up}}, {{provider: q, model: up}}]}}
  - {{name: alone, targets: [{{provider: p, model: up}}]}}
"
    )
}

const TWO: &str = "{name: a, key: ka}, {name: b, key: kb}";

fn resolved(snapshot: &Snapshot, model: &str, provider: Option<&str>) -> Resolved {
    let headers = HeaderMap::new();
    let ask = Ask { forced_provider: provider, ..Ask::new("/v1/chat/completions", &headers, model) };
    resolve(snapshot, &ask, &caller(&["*"])).expect("a model")
}

fn account(choice: &Choice) -> String {
    choice.target.provider.account.to_string()
}

/// One request: who is asked in turn, while each fails as it does in `fails`.
fn asked(resolved: &Resolved, now: Instant, fails: &[(&str, Code)]) -> Vec<String> {
    let plan = plan(resolved, Shape::default(), now);
    let mut asked = Vec::new();
    for mut choice in plan {
        let name = account(&choice);
        match fails.iter().find(|(failing, _)| *failing == name) {
            Some((_, code)) => choice.seat.failed(&Failure::new(*code, "x"), now),
            None => choice.seat.answered(now),
        }
        let is_over = !fails.iter().any(|(failing, _)| *failing == name);
        asked.push(name);
        if is_over || asked.len() > 9 {
            break;
        }
    }
    asked
}

#[test]
fn keys_take_turns_by_weight() {
    let keys = "{name: spare, key: k0, weight: 0}, {name: a, key: ka, weight: 3}, {name: b, key: kb}, \
                {name: off, key: ko, enabled: false}";
    let snapshot = snapshot(&yaml(keys, ""));
    let (resolved, now) = (resolved(&snapshot, "alone", None), Instant::now());
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..400 {
        *counts.entry(asked(&resolved, now, &[]).concat()).or_insert(0) += 1;
    }
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [("p#a".to_owned(), 300), ("p#b".to_owned(), 100)]);
    let fails = [("p#a", Code::UpstreamCredential), ("p#b", Code::UpstreamRateLimited)];
    let last = asked(&resolved, now, &fails);
    assert_eq!(last.last().map(String::as_str), Some("p#spare"), "{last:?}");
}

#[test]
fn what_is_said_of_a_key_concerns_that_key() {
    for (code, expected) in [
        (Code::UpstreamCredential, &["p#a", "p#b"][..]),
        (Code::UpstreamRateLimited, &["p#a", "p#b"]),
        // Not the key's doing: the next target, and not the same one once more.
        (Code::UpstreamError, &["p#a", "q"]),
        (Code::ConnectTimeout, &["p#a", "q"]),
        (Code::UpstreamOverloaded, &["p#a", "q"]),
    ] {
        let (snapshot, now) = (snapshot(&yaml(TWO, "")), Instant::now());
        let resolved = resolved(&snapshot, "m", None);
        assert_eq!(asked(&resolved, now, &[("p#a", code)]), expected, "{code:?}");
    }
}

#[test]
fn a_target_is_passed_over_when_all_of_its_keys_cool_down() {
    let (snapshot, now) = (snapshot(&yaml(TWO, "")), Instant::now());
    let resolved = resolved(&snapshot, "m", None);
    let refused = [("p#a", Code::UpstreamCredential), ("p#b", Code::UpstreamCredential)];
    assert_eq!(asked(&resolved, now, &refused), ["p#a", "p#b", "q"]);
    let mut plan = plan(&resolved, Shape::default(), now);
    assert_eq!(plan.next().as_ref().map(account).as_deref(), Some("q"));
    let mut skipped: Vec<_> =
        plan.skipped.iter().map(|(target, skip)| (&*target.provider.account, skip.name())).collect();
    skipped.sort_unstable();
    assert_eq!(skipped, [("p#a", "cooling_down"), ("p#b", "cooling_down")]);
    assert_eq!(asked(&resolved, now + Duration::from_secs(121), &[]).concat().len(), 3, "after their time they serve");
}

#[test]
fn with_the_breaker_off_keys_cool_down_all_the_same() {
    let (snapshot, now) = (snapshot(&yaml(TWO, ", breaker: {enabled: false}")), Instant::now());
    let resolved = resolved(&snapshot, "alone", None);
    assert_eq!(asked(&resolved, now, &[("p#a", Code::UpstreamRateLimited)]), ["p#a", "p#b"]);
    let serving: Vec<_> = (0..4).map(|_| asked(&resolved, now, &[]).concat()).collect();
    assert_eq!(serving, ["p#b"; 4]);
    // Nobody else is left: the one that may be used soonest.
    let both = [("p#a", Code::UpstreamCredential), ("p#b", Code::UpstreamCredential)];
    asked(&resolved, now, &both);
    assert_eq!(plan(&resolved, Shape::default(), now).next().as_ref().map(account).as_deref(), Some("p#a"));
}

#[test]
fn one_broken_key_does_not_take_the_others_with_it() {
    let (snapshot, now) = (snapshot(&yaml(TWO, ", breaker: {failures: 3}")), Instant::now());
    let resolved = resolved(&snapshot, "alone", None);
    for _ in 0..8 {
        asked(&resolved, now, &[("p#a", Code::UpstreamError)]);
    }
    assert_eq!(asked(&resolved, now, &[("p#a", Code::UpstreamError)]), ["p#b"]);
    assert_eq!(
        asked(&resolved, now, &[("p#a", Code::UpstreamError)]),
        ["p#b"],
        "its breaker is open, that of the target is not"
    );
}

#[test]
fn what_a_key_owns_is_asked_of_that_key() {
    let (snapshot, now) = (snapshot(&yaml(TWO, "")), Instant::now());
    for model in ["m", "up"] {
        let resolved = resolved(&snapshot, model, Some("p#b"));
        assert_eq!(asked(&resolved, now, &[("p#b", Code::UpstreamError)])[..1], ["p#b"], "{model}");
    }
    let chosen = snapshot.provider("p#b").and_then(|provider| provider.key.clone());
    assert_eq!((chosen.as_deref(), snapshot.provider("p#c").is_none()), (Some("b"), true));
}

#[test]
fn what_is_known_of_a_key_outlives_changes_around_it() {
    let (before, now) = (snapshot(&yaml(TWO, "")), Instant::now());
    let refused = [("p#a", Code::UpstreamCredential)];
    asked(&resolved(&before, "alone", None), now, &refused);
    let first = |keys: &str, more: &str| {
        let after = compile_over(&parsed(&yaml(keys, more)), 2, &before).expect("valid");
        let resolved = resolved(&after, "alone", None);
        let taken: Vec<String> = (0..3).map(|_| asked(&resolved, now, &[]).concat()).collect();
        taken.contains(&"p#a".to_owned())
    };
    assert!(!first("{name: c, key: kc, weight: 2}, {name: a, key: ka, weight: 7}", ", timeouts: {connect: 9s}"));
    assert!(first("{name: a, key: another}, {name: b, key: kb}", ""), "another value is another key");
}

/// The same for a caller of whom these limits hold.
fn limited(snapshot: &Snapshot, model: &str, asked: Asked, now: Instant) -> Resolved {
    let mut resolved = resolved(snapshot, model, None);
    let (caller, standing) = (caller(&["*"]), Standing::default());
    let spender = Spender { caller: &caller, standing: &standing, models: [model, model] };
    assert!(snapshot.shared_limits.of(spender, || now).is_empty(), "they are taken when a credential is picked");
    resolved.within(snapshot.shared_limits.at_credentials(spender, asked, || now));
    resolved
}

#[test]
fn whose_credential_is_used_up_is_passed_over() {
    let rules = "limits:
  - {name: of-a, match: {credentials: [\"p#a\"]}, limits: {rpm: 1}}
  - {name: of-q, match: {credentials: [q], keys: [vk_1]}, per: key, limits: {rpm: 1, tpm: 600, concurrency: 1}}
  - {name: others, match: {credentials: [q], keys: [vk_2]}, limits: {rpm: 1}}
";
    let snapshot = snapshot(&(yaml("{name: a, key: ka}", "") + rules));
    let (now, asked) = (Instant::now(), Asked { n_input: 100, max_output: Some(500), ..Asked::default() });
    let resolved = limited(&snapshot, "m", asked, now);
    let first = plan(&resolved, Shape::default(), now).next().expect("room");
    assert_eq!(account(&first), "p#a");
    let mut second = plan(&resolved, Shape::default(), now);
    let mut held = second.next().expect("the next one has room");
    assert_eq!(account(&held), "q");
    assert!(matches!(second.skipped[0].1, Skip::Full(wait) if wait > Duration::from_secs(50)), "{:?}", second.skipped);
    assert!(plan(&resolved, Shape::default(), now).next().is_none(), "all are used up");

    // What was used is settled once, however often it is told.
    held.seat.spent(Usage { input: 9, ..Usage::default() });
    held.seat.spent(Usage { input: 100, output: 200, ..Usage::default() });
    drop(held);
    let later = now + Duration::from_secs(60);
    let n_passed = (0..4).map_while(|_| plan(&resolved, Shape::default(), later).next()).count();
    assert_eq!(n_passed, 2, "each of them once more");
}

#[test]
fn who_is_not_asked_after_all_takes_nothing_of_a_credential() {
    let rules = "limits: [{name: of-all, match: {credentials: [\"p*\"]}, limits: {rpm: 2, concurrency: 1}}]\n";
    let snapshot = snapshot(&(yaml(TWO, ", limits: {rpm: 100}") + rules));
    let now = Instant::now();
    let resolved = limited(&snapshot, "alone", Asked::default(), now);
    for _ in 0..5 {
        plan(&resolved, Shape::default(), now).next().expect("room").unused();
    }
    let first = plan(&resolved, Shape::default(), now).next().expect("nothing was taken");
    let mut plan_of_second = plan(&resolved, Shape::default(), now);
    assert!(plan_of_second.next().is_none(), "its place is taken, whichever key it is");
    assert_eq!(plan_of_second.skipped.len(), 2);
    let provider = snapshot.provider("p").and_then(|provider| provider.quota.clone()).expect("limits");
    assert_eq!(provider.left(now)[0].remaining, 99, "nothing of the provider's own either");
    drop(first);
    assert!(plan(&resolved, Shape::default(), now).next().is_some());
    assert!(plan(&resolved, Shape::default(), now).next().is_none(), "two a minute");
}

/// Gives the first budget of a credential so much of what it may spend, and says that there is no more.
fn grant(snapshot: &Snapshot, nano: i64) -> Arc<Purse> {
    let (caller, standing) = (caller(&["*"]), Standing::default());
    let spender = Spender { caller: &caller, standing: &standing, models: ["m", "m"] };
    assert!(snapshot.budgets.of(spender).is_empty(), "they are paid when a credential is picked");
    let (_, purse) = snapshot.budgets.at_credentials(spender).swap_remove(0);
    let window = purse.terms().window.at(UNIX_MS);
    purse.granted(&Grant { window, granted: nano, refused: 1, free_at_ms: Some(window.end_ms) }, UNIX_MS);
    purse
}

fn paying(snapshot: &Snapshot, model: &str) -> Resolved {
    let mut resolved = resolved(snapshot, model, None);
    let (caller, standing) = (caller(&["*"]), Standing::default());
    let spender = Spender { caller: &caller, standing: &standing, models: [model, model] };
    let expected = Usage { input: 10, output: 20, ..Usage::default() };
    let beside = snapshot.shared_limits.at_credentials(spender, Asked::default(), Instant::now);
    resolved.within(beside.paying(snapshot.budgets.at_credentials(spender), expected, UNIX_MS));
    resolved
}

const UNIX_MS: i64 = 1_800_000_000_000;

/// A token costs a thousandth of a dollar.
const BUDGET: &str = "prices: [{provider: p, model: up, input_per_1m: 1000, output_per_1m: 1000}]
budgets: [{name: of-a, match: {credentials: [\"p#a\"]}, amount_usd: 1, window: daily}]
";

#[test]
fn whose_budget_is_spent_is_passed_over() {
    let snapshot = snapshot(&(yaml(TWO, "") + BUDGET));
    let (now, thirty) = (Instant::now(), 30_000_000);
    let purse = grant(&snapshot, 2 * thirty);
    let left = || purse.accounts().last().map(|account| (account.left, account.n_open)).expect("a window");
    let resolved = paying(&snapshot, "alone");
    let asked = || plan(&resolved, Shape::default(), now).next().expect("somebody");
    let by_turns = [asked(), asked()];
    let mut names = by_turns.each_ref().map(account);
    names.sort();
    assert_eq!((names, left()), (["p#a".to_owned(), "p#b".to_owned()], (thirty, 1)));
    drop(by_turns);
    assert_eq!(left(), (2 * thirty, 0), "nobody has answered");

    // Two requests may be under way.
    let held: Vec<_> = (0..4).map(|_| asked()).collect();
    assert_eq!((held.iter().filter(|choice| account(choice) == "p#a").count(), left()), (2, (0, 2)));
    let mut plan_of_next = plan(&resolved, Shape::default(), now);
    let next: Vec<_> = (0..2).map_while(|_| plan_of_next.next()).map(|choice| account(&choice)).collect();
    assert_eq!(next[0], "p#b", "{next:?}");
    for mut choice in held {
        let bill = choice.seat.take_bill();
        bill.settle(1_000_000);
    }
    assert_eq!(left(), (2 * thirty - 2_000_000, 0), "what was taken out is settled by whoever has it");
}

#[test]
fn nobody_is_left_whose_budget_allows_it() {
    let snapshot = snapshot(&(yaml("{name: a, key: ka}", "") + BUDGET));
    let now = Instant::now();
    assert!(!paying(&snapshot, "alone").is_funded(), "the ledger has been asked");
    let mut unknown = paying(&snapshot, "alone");
    assert!(plan(&unknown, Shape::default(), now).next().is_none());
    grant(&snapshot, 29_000_000);
    assert!(paying(&snapshot, "alone").is_funded(), "there is nothing to wait for");
    unknown = paying(&snapshot, "alone");
    let mut planned = plan(&unknown, Shape::default(), now);
    assert!(planned.next().is_none());
    let until_midnight = Window::Daily.at(UNIX_MS).end_ms - UNIX_MS;
    let left = Duration::from_millis(until_midnight.try_into().expect("later"));
    assert_eq!(planned.skipped[0].1, Skip::Spent(Some(left)));
}

#[test]
fn a_limit_that_refuses_gives_the_money_back() {
    let rules = "limits: [{name: of-a, match: {credentials: [\"p#a\"]}, limits: {rpm: 1}}]\n";
    let snapshot = snapshot(&(yaml("{name: a, key: ka}", "") + BUDGET + rules));
    let (now, purse) = (Instant::now(), grant(&snapshot, 60_000_000));
    let resolved = paying(&snapshot, "alone");
    drop(plan(&resolved, Shape::default(), now).next().expect("room"));
    assert!(plan(&resolved, Shape::default(), now).next().is_none(), "one in a minute");
    let account = *purse.accounts().last().expect("a window");
    assert_eq!((account.left, account.spent, account.n_open), (60_000_000, 0, 0));
}
