//! Facts in the list, by precedence, and models made of them.

use std::collections::HashMap;

use gateway_ir::offer::{Offer, Rates};

use super::*;
use crate::identity::Caller;
use crate::listing::{Listed, addressed, listing};
use crate::resolve::{Ask, resolve};
use crate::routing;
use crate::testing;

fn discovered(lists: &[(&str, &[(&str, Known)])]) -> Arc<Discovered> {
    let list = |models: &[(&str, Known)]| -> Arc<[Offer]> {
        models.iter().map(|(model, known)| Offer { model: (*model).to_owned(), known: known.clone() }).collect()
    };
    let lists: HashMap<_, _> = lists.iter().map(|(name, models)| ((*name).to_owned(), list(models))).collect();
    Arc::new(Discovered::new(lists))
}

fn window(tokens: u64) -> Known {
    Known { context_window: Some(tokens), ..Known::default() }
}

fn find(snapshot: &Snapshot, name: &str) -> Listed {
    let found = listing(snapshot).into_iter().find(|model| &*model.name == name);
    found.unwrap_or_else(|| panic!("`{name}` is not listed"))
}

#[test]
fn facts_are_the_configurations_then_discovered_then_the_catalogues() {
    let yaml = "
providers:
  - {name: openai, kind: openai, api_key: k}
prices:
  - {provider: openai, model: dear, input_per_1m: \"9\", output_per_1m: \"10\"}
models:
  - {name: said, targets: [{provider: openai, model: gpt-4o}], facts: {context_window: 7, supports_vision: false}}
  - {name: found, targets: [{provider: openai, model: gpt-4o}]}
  - {name: priced, targets: [{provider: openai, model: dear}]}
  - {name: strange, targets: [{provider: openai, model: none-such}]}
";
    let rates = |input: u64| Some(Rates { input: input * 1_000_000_000, ..Rates::default() });
    let offered = Known { max_tokens: Some(11), rates: rates(1), ..window(10) };
    let plain = testing::snapshot(yaml);
    let merged = with_discovered(&plain, discovered(&[("openai", &[("dear", offered.clone()), ("gpt-4o", offered)])]));
    // (context window, longest answer, vision, dollars per million in)
    let told = |snapshot: &Snapshot, name: &str| {
        let known = find(snapshot, name).known;
        (known.context_window, known.max_tokens, known.vision, known.rates.map(|rates| rates.input as f64 / 1e9))
    };
    assert_eq!(told(&plain, "said"), (Some(7), Some(16_384), Some(false), Some(2.5)));
    assert_eq!(told(&plain, "found"), (Some(128_000), Some(16_384), Some(true), Some(2.5)));
    assert_eq!(told(&merged, "said"), (Some(7), Some(11), Some(false), Some(1.0)));
    assert_eq!(told(&merged, "found"), (Some(10), Some(11), Some(true), Some(1.0)));
    assert_eq!(told(&merged, "priced"), (Some(10), Some(11), None, Some(9.0)));
    assert_eq!(told(&merged, "openai/gpt-4o"), (Some(10), Some(11), Some(true), Some(1.0)));
    // What is told is what is charged, also where a model serves another's requests.
    let charged = |snapshot: &Snapshot, name: &str| {
        let model = snapshot.model(name).expect("a model");
        model.groups[0].members[0].price.as_ref().and_then(|price| price.told()).map(|told| told.input as f64 / 1e9)
    };
    for name in ["said", "found", "priced", "openai/gpt-4o"] {
        assert_eq!(charged(&merged, name), told(&merged, name).3, "{name}");
    }
    assert_eq!(charged(&with_discovered(&merged, Arc::default()), "found"), Some(2.5));
    assert_eq!(told(&merged, "strange"), (None, None, None, None));
    assert_eq!(addressed(&plain, "openai/gpt-4o").map(|model| model.known.context_window), Some(Some(128_000)));
    assert_eq!([addressed(&plain, "openai/none-such"), addressed(&plain, "other/gpt-4o")], [None, None]);
}

#[test]
fn of_several_targets_what_all_can_do_is_told() {
    let yaml = "
providers:
  - {name: openai, kind: openai, api_key: k}
  - {name: claude, kind: anthropic, api_key: k}
models:
  - {name: m, description: both, targets: [{provider: openai, model: gpt-4o}, {provider: claude, model: claude-haiku-4-5}], fallbacks: [openai/gpt-4]}
";
    let told = find(&testing::snapshot(yaml), "m");
    let known = told.known;
    assert_eq!((&*told.owned_by, told.description.as_deref()), ("gateway", Some("both")));
    assert_eq!((known.context_window, known.max_tokens, known.reasoning), (Some(128_000), Some(16_384), Some(false)));
    assert_eq!(known.rates.map(|rates| (rates.input, rates.output)), Some((2_500_000_000, 10_000_000_000)));
}

#[test]
fn a_discovered_name_that_is_configured_is_listed_once() {
    let yaml =
        format!("{}models:\n  - {{name: openai/a, targets: [{{provider: claude, model: x}}]}}\n", testing::PROVIDERS);
    let merged =
        with_discovered(&testing::snapshot(&yaml), discovered(&[("openai", &[("a", window(1)), ("b", window(2))])]));
    let names: Vec<_> =
        listing(&merged).into_iter().map(|model| (model.name.to_string(), model.owned_by.to_string())).collect();
    let expected = [("openai/a", "claude"), ("openai/b", "openai")];
    assert_eq!(names, expected.map(|(name, owner)| (name.to_owned(), owner.to_owned())));
}

/// Names of the targets of each agent there is, in the order in which one request asks them.
fn made_of(snapshot: &Snapshot) -> Vec<(String, Vec<String>)> {
    let headers = http::HeaderMap::new();
    let ask = |model| Ask::new("/v1/chat/completions", &headers, model);
    let agents = snapshot.auto_agents.iter().map(|agent| {
        let resolved = resolve(snapshot, &ask(&agent.name), &Caller::anonymous()).expect("it can be asked for");
        let plan = routing::plan(&resolved, routing::Shape::default(), std::time::Instant::now());
        (agent.name.to_string(), plan.map(|choice| choice.target.model.to_string()).collect())
    });
    agents.collect()
}

#[test]
fn agents_are_made_of_what_fits() {
    let yaml = |agents: &str| {
        format!(
            "{}settings: {{discovery: {{auto_agents: {agents}}}}}\nmodels:\n  - {{name: auto_large, targets: [{{provider: openai, model: x}}]}}\n",
            testing::PROVIDERS
        )
    };
    let answer = |most, tokens, price: u64| Known {
        max_tokens: Some(most),
        rates: Some(Rates { input: price, ..Rates::default() }),
        ..window(tokens)
    };
    let able = |tokens| Known { tool_calls: Some(true), reasoning: Some(true), ..window(tokens) };
    let lists = discovered(&[
        ("claude", &[("a-coder", able(100_000)), ("thinker", able(200_000))]),
        (
            "openai",
            &[
                ("dear", answer(4096, 32_768, 9)),
                ("embedder", Known { mode: Some("embedding"), ..answer(1, 8000, 0) }),
                ("long-answers", answer(8192, 16_000, 1)),
                ("quick", answer(1000, 8000, 2)),
                ("unknown", Known::default()),
            ],
        ),
    ]);
    let expected: &[(&str, &[&str])] = &[
        ("auto_fast", &["quick", "dear"]),
        ("auto_reasoning", &["thinker"]),
        ("auto_tools", &["a-coder", "thinker"]),
        ("auto_balanced", &["dear", "a-coder"]),
        ("auto_coding", &["a-coder"]),
    ];
    let check = |agents: &str, expected: &[(&str, &[&str])]| {
        let merged = with_discovered(&testing::snapshot(&yaml(agents)), Arc::clone(&lists));
        let expected: Vec<(String, Vec<String>)> = expected
            .iter()
            .map(|(name, targets)| ((*name).to_owned(), targets.iter().map(|name| (*name).to_owned()).collect()))
            .collect();
        assert_eq!(made_of(&merged), expected, "{agents}");
        let again = with_discovered(&merged, Arc::default());
        assert!(made_of(&again).is_empty(), "what is gone makes no agents");
    };
    check("true", expected);
    check("[auto_coding, auto_large]", &expected[4..]);
    check("false", &[]);
}
