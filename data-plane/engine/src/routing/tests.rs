//! Plans: proportions, order after failures, each target once.

use std::collections::{BTreeMap, BTreeSet};

use http::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::identity::Caller;
use crate::resolve::{Ask, resolve};
use crate::snapshot::Snapshot;
use crate::testing;

fn resolved(snapshot: &Snapshot, model: &str, forced_provider: Option<&str>) -> Resolved {
    let headers = HeaderMap::new();
    let ask = Ask { path: "/", headers: &headers, model, forced_provider, forced_model: None, forced_route: None };
    resolve(snapshot, &ask, &Caller::anonymous()).expect("a model")
}

fn name(target: &Target) -> String {
    format!("{}/{}", target.provider.name, target.model)
}

fn names(resolved: &Resolved) -> Vec<String> {
    plan(resolved).map(|target| name(&target)).collect()
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
                        let first = plan(&resolved).next().expect("a target");
                        *counts.lock().expect("no panic").entry(name(&first)).or_insert(0) += 1;
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
        models in prop::collection::vec(prop::collection::vec((0_u8..5, 0_u32..4, 0_u32..3, any::<bool>()), 1..4), 1..6),
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
