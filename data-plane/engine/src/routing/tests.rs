//! Plans: proportions, order after failures, each target once, who is passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gateway_ir::failure::{Code, Failure};
use http::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::identity::Caller;
use crate::resolve::{Ask, resolve};
use crate::snapshot::Snapshot;
use crate::testing;

fn resolved(snapshot: &Snapshot, model: &str, forced_provider: Option<&str>) -> Resolved {
    let headers = HeaderMap::new();
    let ask = Ask { forced_provider, ..Ask::new("/", &headers, model) };
    resolve(snapshot, &ask, &Caller::anonymous()).expect("a model")
}

fn name(target: &Target) -> String {
    format!("{}/{}", target.provider.name, target.model)
}

fn names(resolved: &Resolved) -> Vec<String> {
    plan(resolved, Shape::default(), Instant::now()).map(|choice| name(&choice.target)).collect()
}

/// A snapshot of two providers and these models.
fn with_models(models: &str) -> Snapshot {
    testing::snapshot(&format!("{}models:\n{models}", testing::PROVIDERS))
}

/// The whole plan of model `m`.
fn check(models: &str, expected: &[&str]) {
    assert_eq!(names(&resolved(&with_models(models), "m", None)), expected, "{models}");
}

#[test]
fn the_order_of_a_plan() {
    check(
        "  - {name: m, targets: [{provider: openai, model: a, weight: 1}, {provider: openai, model: b, weight: 9}]}",
        &["openai/b", "openai/a"],
    );
    check(
        "  - {name: m, targets: [{provider: openai, model: a, weight: 0}, {provider: openai, model: b}, {provider: openai, \
         model: c, enabled: false}]}",
        &["openai/b", "openai/a"],
    );
    check(
        "  - {name: m, targets: [{provider: openai, model: a, priority: 2}, {provider: openai, model: b, priority: 1}, \
         {provider: claude, model: c, priority: 1}]}",
        &["openai/b", "claude/c", "openai/a"],
    );
    check(
        "  - {name: m, targets: [{provider: openai, model: a, weight: 4}, {provider: openai, model: b, weight: 5}, \
         {provider: openai, model: a, weight: 4}]}",
        &["openai/a", "openai/b"],
    );
    check(
        "  - {name: m, strategy: priority, targets: [{provider: openai, model: a, weight: 1}, {provider: openai, model: b, \
         weight: 9}, {provider: claude, model: c, priority: 1}]}",
        &["openai/a", "openai/b", "claude/c"],
    );
    check(
        "  - {name: m, targets: [{provider: openai, model: a}], fallbacks: [claude/x, other, openai/last]}\n  \
         - {name: other, targets: [{provider: claude, model: y}, {provider: openai, model: a}], fallbacks: [third]}\n  \
         - {name: third, targets: [{provider: claude, model: x}, {provider: openai, model: z}]}",
        &["openai/a", "claude/x", "claude/y", "openai/z", "openai/last"],
    );
}

#[test]
fn forced_providers_narrow_the_whole_plan() {
    let snapshot = with_models(
        "  - {name: m, targets: [{provider: openai, model: a, weight: 99}, {provider: claude, model: b}, {provider: claude, \
         model: c, weight: 3}], fallbacks: [openai/x, claude/y]}",
    );
    let narrowed = resolved(&snapshot, "m", Some("claude"));
    let mut firsts = BTreeMap::new();
    for _ in 0..400 {
        let plan = names(&narrowed);
        assert_eq!((plan.len(), plan[2].as_str()), (3, "claude/y"), "{plan:?}");
        *firsts.entry(plan[0].clone()).or_insert(0) += 1;
    }
    assert!(firsts["claude/c"] > 2 * firsts["claude/b"] && firsts["claude/b"] > 0, "{firsts:?}");
}

#[test]
fn the_first_targets_are_in_exact_proportion() {
    let snapshot = with_models(
        "  - {name: m, targets: [{provider: openai, model: a, weight: 70}, {provider: openai, model: b, weight: 20}, \
         {provider: claude, model: c, weight: 10}]}",
    );
    let resolved = resolved(&snapshot, "m", None);
    // Any ten in a row, from whichever turn, by several threads at once.
    for n_threads in [1, 4] {
        let counts = std::sync::Mutex::new(BTreeMap::new());
        std::thread::scope(|scope| {
            for _ in 0..n_threads {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let first = plan(&resolved, Shape::default(), Instant::now()).next().expect("a target");
                        *counts.lock().expect("no panic").entry(name(&first.target)).or_insert(0) += 1;
                    }
                });
            }
        });
        let counts = counts.into_inner().expect("no panic");
        let expected = [("claude/c", 10), ("openai/a", 70), ("openai/b", 20)];
        let expected = expected.map(|(name, count)| (name.to_owned(), count * n_threads)).into_iter().collect();
        assert_eq!(counts, expected);
    }
}

/// Targets `a`, `b` and `c` behind one strategy, with what each is followed by in the document.
fn three(strategy: &str, more: [&str; 3]) -> Snapshot {
    let [a, b, c] = more;
    with_models(&format!(
        "  - {{name: m, {strategy}, targets: [{{provider: openai, model: a{a}}}, {{provider: openai, model: b{b}}}, {{provider: \
         claude, model: c{c}}}]}}\n"
    ))
}

/// How often each target came first.
fn firsts(resolved: &Resolved, n: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..n {
        let first = plan(resolved, Shape::default(), Instant::now()).next().expect("a target");
        *counts.entry(first.target.model.to_string()).or_insert(0) += 1;
    }
    counts
}

fn member(resolved: &Resolved, place: usize) -> Arc<Target> {
    Arc::clone(&resolved.model.groups[0].members[place])
}

fn fail(target: &Target, code: Code, times: usize, now: Instant) {
    for _ in 0..times {
        Seat::force(&target.health, target.breaker, now).failed(&Failure::new(code, "x"), now);
    }
}

#[test]
fn round_robin() {
    let snapshot = three("strategy: round-robin", ["", ", weight: 7", ", weight: 0"]);
    let resolved = resolved(&snapshot, "m", None);
    let sequence: Vec<String> = (0..4).map(|_| names(&resolved).remove(0)).collect();
    assert_eq!(sequence, ["openai/a", "openai/b", "openai/a", "openai/b"]);
    assert_eq!(names(&resolved), ["openai/a", "openai/b", "claude/c"], "whoever has no turn comes last");
}

#[test]
fn random_is_in_proportion() {
    let snapshot = three("strategy: random", [", weight: 70", ", weight: 30", ", weight: 0"]);
    let counts = firsts(&resolved(&snapshot, "m", None), 10_000);
    assert!(counts["a"].abs_diff(7000) < 200 && counts["b"].abs_diff(3000) < 200, "{counts:?}");
    assert!(!counts.contains_key("c"), "{counts:?}");
}

#[test]
fn least_busy() {
    let snapshot = three("strategy: least-busy", ["", ", weight: 2", ""]);
    let resolved = resolved(&snapshot, "m", None);
    let mut held: Vec<Choice> = Vec::new();
    for _ in 0..12 {
        held.extend(plan(&resolved, Shape::default(), Instant::now()).next());
    }
    let under_way: Vec<u32> = (0..3).map(|place| member(&resolved, place).health.in_flight()).collect();
    assert_eq!(under_way, [3, 6, 3]);
    drop(held);
    assert_eq!(member(&resolved, 1).health.in_flight(), 0);
}

#[test]
fn least_latency() {
    let snapshot = three("strategy: least-latency", ["", "", ""]);
    let resolved = resolved(&snapshot, "m", None);
    let now = Instant::now();
    // Whoever was not measured is tried once, not by all at the same time.
    let held: Vec<Choice> = (0..3).filter_map(|_| plan(&resolved, Shape::default(), now).next()).collect();
    let tried: BTreeSet<String> = held.iter().map(|choice| name(&choice.target)).collect();
    assert_eq!(tried.len(), 3, "{tried:?}");
    for Choice { target, mut seat } in held {
        let ms = match &*target.model {
            "a" => 300,
            "b" => 20,
            _ => 200,
        };
        seat.answered(now + Duration::from_millis(ms));
    }
    let firsts = firsts(&resolved, 100);
    assert_eq!(firsts, BTreeMap::from([("b".to_owned(), 100)]));
    assert_eq!(names(&resolved), ["openai/b", "claude/c", "openai/a"]);
    // How soon whole replies come says nothing of streams.
    let streaming = Shape::default().streaming(true);
    let held: Vec<Choice> = (0..3).filter_map(|_| plan(&resolved, streaming, now).next()).collect();
    for Choice { target, mut seat } in held {
        seat.begun(now + Duration::from_millis(if &*target.model == "a" { 5 } else { 50 }));
    }
    let first = |shape| plan(&resolved, shape, now).next().map(|choice| name(&choice.target));
    assert_eq!(first(streaming).as_deref(), Some("openai/a"));
    assert_eq!(first(Shape::default()).as_deref(), Some("openai/b"));
}

/// Where everybody is busy and nobody was measured.
#[test]
fn no_strategy_leaves_anybody_out() {
    let all = "weighted priority round-robin random least-latency least-busy cheapest balanced sticky";
    for strategy in all.split(' ') {
        let snapshot = three(&format!("strategy: {strategy}"), [", weight: 0", "", ""]);
        let resolved = resolved(&snapshot, "m", None);
        let _busy: Vec<Choice> = plan(&resolved, Shape::default(), Instant::now()).collect();
        for names in (0..50).map(|_| names(&resolved)) {
            assert!(names.len() == 3 && names[2] == "openai/a", "{strategy}: {names:?}");
        }
    }
}

const PRICES: &str = "prices:
  - {provider: openai, model: a, input_per_1m: 10, output_per_1m: 10}
  - {provider: openai, model: b, input_per_1m: 1, output_per_1m: 100}
";

#[test]
fn cheapest_by_the_shape_of_the_request() {
    let models = "models:\n  - {name: m, strategy: cheapest, targets: [{provider: openai, model: unpriced}, {provider: openai, \
                  model: a}, {provider: openai, model: b}]}\n";
    let snapshot = testing::snapshot(&format!("{}{models}{PRICES}", testing::PROVIDERS));
    let resolved = resolved(&snapshot, "m", None);
    for (n_input, n_output, expected) in
        [(100_000, 100, ["b", "a", "unpriced"]), (100, 100_000, ["a", "b", "unpriced"])]
    {
        let plan = plan(&resolved, Shape::new(n_input, n_output), Instant::now());
        let order: Vec<String> = plan.map(|choice| choice.target.model.to_string()).collect();
        assert_eq!(order, expected, "{n_input} in, {n_output} out");
    }
}

#[test]
fn balanced_latency_cost_capability() {
    // `a` is dear and quick, `b` cheap and slow.
    for (balance, expected) in [("{latency: 10, cost: 1}", "a"), ("{latency: 1, cost: 10}", "b")] {
        let models = format!(
            "models:\n  - {{name: m, strategy: balanced, balance: {balance}, targets: [{{provider: openai, model: b}}, \
             {{provider: openai, model: a}}]}}\n"
        );
        let snapshot = testing::snapshot(&format!("{}{models}{PRICES}", testing::PROVIDERS));
        let resolved = resolved(&snapshot, "m", None);
        let now = Instant::now();
        for (place, ms) in [(0, 900), (1, 50)] {
            let target = member(&resolved, place);
            Seat::force(&target.health, target.breaker, now).answered(now + Duration::from_millis(ms));
        }
        let mut plan = plan(&resolved, Shape::new(10_000, 10), now);
        assert_eq!(&*plan.next().expect("a target").target.model, expected, "{balance}");
    }
    // Both take as long and cost as much; one is known to see pictures and to call tools.
    let facts = "facts: {supports_vision: true, supports_tool_calls: true}";
    let models = format!(
        "models:\n  - {{name: m, strategy: balanced, targets: [{{provider: openai, model: x}}], fallbacks: [able]}}\n  \
         - {{name: able, {facts}, targets: [{{provider: openai, model: y}}]}}\n"
    );
    let snapshot = with_models(&models.replace("models:\n", ""));
    let member = |name: &str| Arc::clone(&snapshot.model(name).expect("a model").groups[0].members[0]);
    let order = Order::Balanced { latency: 1.0, cost: 1.0, capability: 1.0 };
    let group = Group::new(vec![(member("m"), 1), (member("able"), 1)], order);
    let scores =
        |needs| rank::scores(&group, &Shape::new(10, 10).needing(needs), Instant::now(), || 0.5).expect("scores");
    let apart = |needs: Needs| {
        let scores = scores(needs);
        ((scores[0] - scores[1]) * 10.0).round() as i64
    };
    assert_eq!(apart(Needs::NONE), 0);
    assert_eq!(apart(Needs::VISION), 2, "a tenth more for one, a tenth less for the other");
    assert_eq!(apart(Needs::VISION.with(Needs::TOOLS)), 4);
    assert_eq!(apart(Needs::VISION.with(Needs::AUDIO)), 3);
}

#[test]
fn sticky_session() {
    let snapshot = three("strategy: sticky, sticky_header: x-user", ["", ", weight: 2", ""]);
    let ask = |user: &str| {
        let headers = HeaderMap::from_iter([(http::HeaderName::from_static("x-user"), user.parse().expect("a value"))]);
        resolve(&snapshot, &Ask::new("/", &headers, "m"), &Caller::anonymous()).expect("a model")
    };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for user in 0..2000 {
        let resolved = ask(&format!("user-{user}"));
        let order = names(&resolved);
        assert_eq!(names(&resolved), order, "the same user, the same order");
        *counts.entry(order[0].clone()).or_default() += 1;
    }
    assert!(counts["openai/b"].abs_diff(1000) < 100 && counts["openai/a"].abs_diff(500) < 80, "{counts:?}");
    // Whoever is away moves its own sessions and no others, and they come back.
    let lost = member(&ask("x"), 1);
    let before: Vec<Vec<String>> = (0..100).map(|user| names(&ask(&format!("user-{user}")))).collect();
    fail(&lost, Code::UpstreamError, 5, Instant::now());
    for (user, before) in before.iter().enumerate() {
        let resolved = ask(&format!("user-{user}"));
        let mut plan = plan(&resolved, Shape::default(), Instant::now());
        let first = plan.next().expect("another");
        assert_eq!(plan.keeps(&first.target), Some(before[0] != name(&lost)), "user-{user}");
        let expected = before.iter().find(|target| **target != name(&lost)).expect("two others");
        assert_eq!(name(&first.target), *expected, "user-{user}");
    }
}

#[test]
fn whoever_is_open_is_passed_over() {
    let now = Instant::now();
    let snapshot = three("strategy: priority", ["", "", ""]);
    let resolved = resolved(&snapshot, "m", None);
    let (first, second) = (member(&resolved, 0), member(&resolved, 1));
    fail(&first, Code::UpstreamError, 4, now);
    assert_eq!(names(&resolved), ["openai/a", "openai/b", "claude/c"], "four failures are not five");
    fail(&first, Code::UpstreamError, 1, now);
    let mut plan = plan(&resolved, Shape::default(), now);
    let order: Vec<String> = plan.by_ref().map(|choice| name(&choice.target)).collect();
    assert_eq!(order, ["openai/b", "claude/c"]);
    assert_eq!(
        plan.skipped.iter().map(|(target, skip)| (name(target), skip.name())).collect::<Vec<_>>(),
        [("openai/a".to_owned(), "breaker_open")]
    );
    // One that cools down is asked when nobody else is left.
    fail(&second, Code::UpstreamCredential, 1, now);
    assert_eq!(names(&resolved), ["claude/c", "openai/b"]);
}

#[test]
fn when_all_are_open_all_are_asked() {
    let now = Instant::now();
    let snapshot = three("strategy: priority", ["", "", ""]);
    let resolved = resolved(&snapshot, "m", None);
    (0..3).for_each(|place| fail(&member(&resolved, place), Code::UpstreamError, 5, now));
    let mut firsts = BTreeSet::new();
    for _ in 0..100 {
        let asked = names(&resolved);
        assert_eq!(asked.iter().collect::<BTreeSet<_>>().len(), 3, "{asked:?}");
        firsts.extend(asked.into_iter().take(1));
    }
    assert_eq!(firsts.len(), 3, "each comes first at times, or it would not be found when it is back");
    // A lone target is left alone all the same: there is nothing to choose.
    let lone = with_models("  - {name: m, targets: [{provider: openai, model: z}]}");
    let lone = self::resolved(&lone, "m", None);
    fail(&member(&lone, 0), Code::UpstreamError, 5, now);
    assert_eq!(names(&lone), Vec::<String>::new());
}

#[test]
fn per_agent_breaker_thresholds() {
    let now = Instant::now();
    let snapshot = with_models(
        "  - {name: m, breaker: {failures: 2}, targets: [{provider: openai, model: a}]}\n  \
         - {name: n, breaker: {enabled: false}, targets: [{provider: openai, model: b}]}",
    );
    for (model, failures, expected) in [("m", 1, 1), ("m", 1, 0), ("n", 50, 1)] {
        let resolved = resolved(&snapshot, model, None);
        fail(&member(&resolved, 0), Code::UpstreamError, failures, now);
        assert_eq!(names(&resolved).len(), expected, "{model}");
    }
}

/// What is known of an upstream outlives a configuration that leaves it as it was, and no other.
#[test]
fn health_outlives_the_configuration() {
    let now = Instant::now();
    let yaml = |key: &str, weight: u32| {
        format!(
            "providers:\n  - {{name: openai, kind: openai, api_key: {key}}}\nmodels:\n  - {{name: m, targets: [{{provider: \
             openai, model: a, weight: {weight}}}]}}\n"
        )
    };
    let served = testing::snapshot(&yaml("k", 1));
    fail(&member(&resolved(&served, "m", None), 0), Code::UpstreamError, 5, now);
    for (key, expected) in [("k", 0), ("another", 1)] {
        let set = testing::parsed(&yaml(key, 5));
        let next = crate::compile::compile_over(&set, 2, &served).expect("valid");
        assert_eq!(names(&resolved(&next, "m", None)).len(), expected, "{key}");
    }
    // A direct address is the same upstream.
    assert_eq!(names(&resolved(&served, "openai/a", None)).len(), 0);
}

/// Who is asked for a conversation, and why the others are not, in the order in which they come up.
fn asked(snapshot: &Snapshot, needs: Needs, n_input: u64) -> (Vec<String>, Vec<String>) {
    let resolved = resolved(snapshot, "m", None);
    let mut plan = plan(&resolved, Shape::new(n_input, 1).needing(needs), Instant::now());
    let asked = plan.by_ref().map(|choice| name(&choice.target)).collect();
    let skipped = plan.skipped.iter().map(|(target, skip)| format!("{} {}", name(target), skip.name()));
    (asked, skipped.collect())
}

#[test]
fn who_is_not_up_to_it_is_passed_over() {
    let snapshot = with_models(
        "  - {name: m, strategy: priority, targets: [{provider: openai, model: small}], fallbacks: [blind, able]}
  - {name: blind, targets: [{provider: openai, model: blind}], facts: {context_window: 9000, supports_vision: false}}
  - {name: able, targets: [{provider: openai, model: able}]}
",
    );
    let (vision, none) = (Needs::VISION.with(Needs::TOOLS), Needs::NONE);
    let everybody = ["openai/small", "openai/blind", "openai/able"];
    assert_eq!(asked(&snapshot, none, 9000).0, everybody);
    assert_eq!(asked(&snapshot, vision, 0).0, ["openai/small", "openai/able"]);
    assert_eq!(
        asked(&snapshot, none, 9001),
        (vec!["openai/small".to_owned(), "openai/able".to_owned()], vec!["openai/blind context_too_small".to_owned()],)
    );
}

#[test]
fn nobody_is_refused_on_a_guess() {
    let model = |facts: &str| {
        with_models(&format!(
            "  - {{name: m, targets: [{{provider: openai, model: a}}, {{provider: openai, model: b}}], facts: {facts}}}\n"
        ))
    };
    let refusal = |snapshot: &Snapshot, needs, n_input| {
        let resolved = resolved(snapshot, "m", None);
        let mut plan = plan(&resolved, Shape::new(n_input, 1).needing(needs), Instant::now());
        match plan.next() {
            Some(_) => None,
            None => nobody_fits("m", &plan.skipped).map(|failure| failure.status),
        }
    };
    let small = model("{context_window: 1000}");
    for (n_input, expected) in [(1000, None), (2001, None), (2002, Some(413)), (1 << 50, Some(413))] {
        assert_eq!(refusal(&small, Needs::NONE, n_input), expected, "{n_input}");
    }
    let plain = model("{supports_tool_calls: false}");
    assert_eq!(refusal(&plain, Needs::TOOLS, 0), Some(400));
    assert_eq!(refusal(&plain, Needs::VISION, 0), None);
    // Both are as unwell as can be: that is no reason to say that they are not up to it.
    let snapshot = model("{context_window: 1000}");
    for place in 0..2 {
        fail(&member(&resolved(&snapshot, "m", None), place), Code::UpstreamError, 5, Instant::now());
    }
    assert_eq!(refusal(&snapshot, Needs::NONE, 1), None);
}

/// A target by its upstream name, weight, priority and whether it is enabled.
type Drawn = (u8, u32, u32, bool);

/// Models `m0`, `m1` … that fall back only on later ones.
fn yaml(models: &[Vec<Drawn>], edges: &[(usize, usize)]) -> String {
    let mut yaml = String::new();
    for (index, targets) in models.iter().enumerate() {
        let target = |(model, weight, priority, enabled): &Drawn| {
            format!("{{provider: openai, model: t{model}, weight: {weight}, priority: {priority}, enabled: {enabled}}}")
        };
        let targets: Vec<String> = targets.iter().map(target).collect();
        let falls = edges.iter().filter(|(from, to)| *from == index && (index + 1..models.len()).contains(to));
        let fallbacks: Vec<String> = falls.map(|(_, to)| format!("m{to}")).collect();
        let (targets, fallbacks) = (targets.join(", "), fallbacks.join(", "));
        yaml.push_str(&format!("  - {{name: m{index}, targets: [{targets}], fallbacks: [{fallbacks}]}}\n"));
    }
    yaml
}

/// The same with a share for somebody in each model.
fn with_shares(mut models: Vec<Vec<Drawn>>) -> Vec<Vec<Drawn>> {
    models.iter_mut().for_each(|targets| targets[0].1 = targets[0].1.max(1));
    models
}

/// Upstream names of the enabled targets that can be reached from `m0`.
fn reachable(models: &[Vec<Drawn>], edges: &[(usize, usize)]) -> BTreeSet<String> {
    let mut reached = BTreeSet::from([0]);
    for from in 0..models.len() {
        if reached.contains(&from) {
            let falls = edges.iter().filter(|(at, to)| *at == from && (from + 1..models.len()).contains(to));
            reached.extend(falls.map(|(_, to)| *to));
        }
    }
    let targets = reached.iter().flat_map(|model| &models[*model]).filter(|(.., enabled)| *enabled);
    targets.map(|(model, ..)| format!("openai/t{model}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However models fall back on each other: a plan has every enabled target that can be reached, each once.
    #[test]
    fn every_target_once(
        models in prop::collection::vec(prop::collection::vec((0_u8..5, 0_u32..4, 0_u32..3, any::<bool>()), 1..4), 1..6)
            .prop_map(with_shares),
        edges in prop::collection::vec((0_usize..6, 0_usize..6), 0..8),
    ) {
        let snapshot = with_models(&yaml(&models, &edges));
        let resolved = resolved(&snapshot, "m0", None);
        for _ in 0..3 {
            let found = names(&resolved);
            prop_assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), reachable(&models, &edges));
            prop_assert_eq!(found.len(), found.iter().collect::<BTreeSet<_>>().len(), "{:?}", found);
        }
    }
}
