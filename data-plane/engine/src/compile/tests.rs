//! Snapshots, whole.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use gateway_ir::failure::{Code as FailureCode, Failure};
use gateway_ir::usage::Usage;
use gateway_model::kind::provider::Provider as ProviderDocument;
use gateway_model::problem::Code;
use gateway_model::secret::Secret;

use super::*;
use crate::ask::Ask;
use crate::health::Seat;
use crate::identity::Caller;
use crate::listing::listing;
use crate::price::cost;
use crate::resolve::resolve;
use crate::routing::{Shape, plan};
use crate::testing;

#[test]
fn settings_have_their_defaults() {
    let settings = testing::snapshot("").settings;
    assert_eq!((settings.auth_off, settings.default_stream, settings.max_body), (false, false, 32 << 20));
    assert!(settings.header_families.gateway && settings.header_families.lunargate);
    let yaml =
        "settings: {auth: off, chat: {default_stream: true}, header_families: [gateway], server: {max_body: 1KiB}}";
    let settings = testing::snapshot(yaml).settings;
    assert_eq!((settings.auth_off, settings.default_stream, settings.max_body), (true, true, 1024));
    assert!(settings.header_families.gateway && !settings.header_families.lunargate);
}

#[test]
fn prices_are_found_by_model_else_for_all_others() {
    let yaml = "
providers:
  - {name: openai, kind: openai}
  - {name: claude, kind: anthropic}
prices:
  - {provider: openai, model: gpt, input_per_1m: \"1\", output_per_1m: \"2\"}
  - {provider: openai, model: \"*\", input_per_1m: \"3\", output_per_1m: \"4\"}
models:
  - {name: m, targets: [{provider: openai, model: gpt}, {provider: claude, model: gpt}]}
";
    let snapshot = testing::snapshot(yaml);
    // Of a million tokens, in dollars.
    let million = Usage { input: 1_000_000, ..Usage::default() };
    let prices = |name: &str| -> Vec<Option<i64>> {
        let model = snapshot.model(name).expect("a model");
        let targets = model.groups.iter().flat_map(|group| &group.members);
        targets
            .map(|target| {
                target.price.as_ref().and_then(|price| cost(&million, price)).map(|cost| cost / 1_000_000_000)
            })
            .collect()
    };
    assert_eq!(prices("m"), [Some(1), None]);
    assert_eq!(prices("openai/gpt"), [Some(1)]);
    assert_eq!(prices("openai/other"), [Some(3)]);
    assert_eq!(prices("openai/gpt-4o"), [Some(3)], "a configured price goes before the catalogue's");
    assert_eq!(prices("claude/opus"), [None]);
    assert_eq!(prices("claude/claude-sonnet-4-5"), [Some(3)], "the catalogue knows it");
}

#[test]
fn models_are_listed_for_whom_they_are() {
    let yaml = format!(
        "{}models:
  - {{name: b, targets: [{{provider: openai, model: x}}, {{provider: openai, model: y}}]}}
  - {{name: a/1, targets: [{{provider: openai, model: x}}], fallbacks: [claude/x]}}
  - {{name: a/2, targets: [{{provider: claude, model: x, enabled: false}}]}}
",
        testing::PROVIDERS
    );
    let snapshot = testing::snapshot(&yaml);
    let listed = |caller: &Caller| -> Vec<(String, String)> {
        let models = listing(&snapshot).into_iter().filter(|model| caller.may_use(&model.name));
        models.map(|model| (model.name.to_string(), model.owned_by.to_string())).collect()
    };
    let all = [("b", "openai"), ("a/1", "gateway"), ("a/2", "gateway")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(listed(&Caller::anonymous()), all);
    assert_eq!(listed(&testing::caller(&["a/*"])), all[1..]);
    assert!(listed(&testing::caller(&["c"])).is_empty());
}

#[test]
fn what_the_validator_cannot_see_is_refused_with_its_path() {
    let with_key = |key: &str| Set {
        providers: vec![ProviderDocument {
            api_key: Some(Secret::new(key)),
            ..testing::parsed(testing::PROVIDERS).providers.remove(0)
        }],
        ..Set::default()
    };
    let refused = |set: &Set| -> Vec<(String, Code)> {
        let problems = compile(set, 1).expect_err("must be refused");
        problems.into_iter().map(|problem| (problem.path, problem.code)).collect()
    };
    assert!(compile(&with_key("fine"), 1).is_ok());
    assert_eq!(refused(&with_key("line\nbreak")), [("providers[openai].api_key".to_owned(), Code::InvalidValue)]);
    let mut unknown = with_key("fine");
    unknown.providers[0].kind = "nonsense".to_owned();
    assert_eq!(refused(&unknown), [("providers[openai].kind".to_owned(), Code::InvalidValue)]);
}

/// So many providers, and models with two targets each; `fallback` names the model behind the n-th.
fn many(n_models: usize, fallback: impl Fn(usize) -> Option<usize>) -> Set {
    let mut yaml = String::from("providers:\n");
    for n in 0..n_models {
        let _ = writeln!(yaml, "  - {{name: p{n}, kind: openai, api_key: k{n}}}");
    }
    yaml.push_str("models:\n");
    for n in 0..n_models {
        let other = (n + 1) % n_models;
        let fallbacks = fallback(n).map(|model| format!("m{model}")).unwrap_or_default();
        let _ = writeln!(
            yaml,
            "  - {{name: m{n}, targets: [{{provider: p{n}, model: x, weight: 70}}, {{provider: p{other}, model: y, weight: 30}}], \
             fallbacks: [{fallbacks}]}}"
        );
    }
    testing::parsed(&yaml)
}

#[test]
fn many_providers_and_models_compile() {
    let set = many(1500, |n| (n > 0).then_some(0));
    let began = std::time::Instant::now();
    let snapshot = compile(&set, 1).expect("valid");
    println!("1500 providers and 1500 models: validated and compiled in {:?}", began.elapsed());
    assert_eq!((snapshot.providers.len(), snapshot.public_models.len()), (1500, 1500));
    assert_eq!(snapshot.model("m7").expect("a model").groups.len(), 2);
}

#[test]
fn a_long_chain_of_fallbacks_is_cut_where_no_attempt_could_reach() {
    let snapshot = compile(&many(100, |n| (n < 99).then_some(n + 1)), 1).expect("valid");
    let groups = |name: &str| snapshot.model(name).expect("a model").groups.len();
    assert_eq!((groups("m0"), groups("m90"), groups("m99")), (32, 10, 1));
}

#[test]
fn a_weight_changes_without_a_restart_and_nothing_is_forgotten() {
    let yaml = |b: u32, c: u32| {
        format!(
            "providers:
  - {{name: a, kind: openai, api_key: k, limits: {{rpm: 10}}}}
  - {{name: b, kind: openai, api_key: k, limits: {{rpm: 100000}}}}
  - {{name: c, kind: openai, api_key: k, timeouts: {{connect: {c}s}}}}
models:
  - {{name: m, targets: [{{provider: a, model: up}}, {{provider: b, model: up, weight: {b}}}, {{provider: c, model: up, weight: {c}}}]}}
"
        )
    };
    let before = testing::snapshot(&yaml(1, 1));
    let now = Instant::now();
    let broken = Failure::new(FailureCode::UpstreamError, "x");
    let mut n_asked = 0;
    // Turn by turn, until `a` is open.
    while asked(&before, now).iter().any(|name| name == "a") {
        n_asked += 1;
        assert!(n_asked < 10);
        let target = target(&before, "a");
        Seat::force(&target.health, target.breaker, now).failed(&broken, now);
    }
    let served = target(&before, "b");
    Seat::force(&served.health, served.breaker, now).answered(now + Duration::from_millis(100));
    let left = |snapshot: &Snapshot| {
        let quota = snapshot.provider("a").and_then(|provider| provider.quota.clone()).expect("limits");
        quota.left(now)[0].remaining
    };
    let taken = left(&before);
    assert!(taken < 10);

    let after = compile_over(&testing::parsed(&yaml(3, 1)), 2, &before).expect("valid");
    let (open, quick) = (target(&after, "a"), target(&after, "b"));
    assert_eq!((open.health.state(now).name(), left(&after)), ("open", taken));
    assert!(quick.health.latency_us(false, now) > 0.0);
    let mut counts = std::collections::BTreeMap::new();
    asked_often(&after, now, 500).into_iter().for_each(|name| *counts.entry(name).or_insert(0) += 1);
    // One in five turns is that of `a`, which is passed over for the heavier one.
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [("b".to_owned(), 400), ("c".to_owned(), 100)]);
}

fn target(snapshot: &Snapshot, provider: &str) -> Arc<Target> {
    let model = snapshot.model("m").expect("a model");
    let mut members = model.groups.iter().flat_map(|group| &group.members);
    Arc::clone(members.find(|target| *target.provider.name == *provider).expect("a target"))
}

/// Who is asked first, in a round of turns.
fn asked(snapshot: &Snapshot, now: Instant) -> Vec<String> {
    asked_often(snapshot, now, 3)
}

fn asked_often(snapshot: &Snapshot, now: Instant, n_times: usize) -> Vec<String> {
    let headers = http::HeaderMap::new();
    let resolved = resolve(snapshot, &Ask::new("/", &headers, "m"), &Caller::anonymous()).expect("a model");
    let first = |_| plan(&resolved, Shape::default(), now).next().expect("a target").target.provider.name.to_string();
    (0..n_times).map(first).collect()
}
