//! What is told of a request, line by line.

use gateway_ir::needs::Needs;
use http::{HeaderMap, HeaderValue};

use super::*;
use crate::resolve::resolve;
use crate::testing;

const CONFIG: &str = "
models:
  - name: m
    strategy: cheapest
    targets: [{provider: openai, model: dear}, {provider: openai, model: cheap}, {provider: openai, model: unpriced}]
    fallbacks: [small, claude/direct]
  - {name: small, targets: [{provider: claude, model: small}], facts: {context_window: 10}}
prices:
  - {provider: openai, model: dear, input_per_1m: 10, output_per_1m: 0}
  - {provider: openai, model: cheap, input_per_1m: 1, output_per_1m: 0}
routes:
  - {name: tenant, match: {headers: {x-tenant: {prefix: ac}}}, model: m}
  - {name: tools, match: {needs: [tools], kinds: [messages]}, model: m}
  - {name: night, match: {times: {days: [sat], from: '22:00', to: '06:00'}}, model: m}
  - {name: rest, match: {model: 'x-*'}, model: m}
  - {name: never-seen, model: small}
";

/// Everything told, a line each.
fn told(ask: &Ask<'_>) -> Vec<String> {
    let snapshot = testing::snapshot(&format!("{}{CONFIG}", testing::PROVIDERS));
    let shape = Shape::new(1000, 500).needing(Needs::NONE);
    let caller = Caller::anonymous();
    let resolved = resolve(&snapshot, ask, &caller).map(|resolved| (resolved, Chosen::default()));
    let told = explained(resolved, ask, shape, Instant::now());
    let told = Explanation { routes: tried(&snapshot, ask, &caller), ..told };
    let routes = told.routes.iter().map(|tried| match &tried.miss {
        None => format!("{} matches", tried.route),
        Some(Missed { field, wanted, given }) => format!("{}: {field} wants {wanted}, not {given}", tried.route),
    });
    let candidates = told.candidates.iter().map(|candidate| {
        let address = format!("{}/{}", candidate.target.provider.name, candidate.target.model);
        let skip = candidate.skip.map_or(String::new(), |skip| format!(" {}", skip.name()));
        let cost = candidate.cost.map_or("?".to_owned(), |cost| cost.to_string());
        format!("{} {address} {} {cost} {}{skip}", candidate.group, candidate.strategy, candidate.is_asked)
    });
    let refused = told.refused.iter().map(|failure| format!("{} {}", failure.status, failure.message));
    routes.chain(candidates).chain(refused).collect()
}

#[test]
fn the_whole_way_is_told() {
    let mut headers = HeaderMap::new();
    headers.insert("x-tenant", HeaderValue::from_static("bcme"));
    let ask =
        Ask { needs: Needs::VISION, unix_ms: 1_800_014_400_000, ..Ask::new("/v1/chat/completions", &headers, "x-1") };
    assert_eq!(
        told(&ask),
        [
            "tenant: match.headers.x-tenant wants prefix ac, not bcme",
            "tools: match.needs wants tools, not vision",
            "night: match.times wants sat 22:00 to 06:00 UTC+00:00, not fri 12:00 UTC",
            "rest matches",
            "0 openai/cheap cheapest 1000000 true",
            "0 openai/dear cheapest 10000000 true",
            "0 openai/unpriced cheapest ? true",
            "2 claude/direct as listed ? true",
            "1 claude/small as listed ? false context_too_small",
        ]
    );
}

#[test]
fn what_is_forced_and_what_is_refused() {
    let headers = HeaderMap::new();
    let ask = Ask { forced_route: Some("never-seen"), ..Ask::new("/v1/chat/completions", &headers, "x-1") };
    assert_eq!(
        told(&ask),
        [
            "never-seen matches",
            "1 claude/small as listed ? false context_too_small",
            "413 no target of `x-1` can serve this request: `claude/small` takes 10 tokens at most, and the prompt has about 1000",
        ]
        .map(|line| line.replace("1 claude/small", "0 claude/small"))
    );
    let ask = Ask { forced_provider: Some("nobody"), ..Ask::new("/v1/chat/completions", &headers, "x-1") };
    assert!(told(&ask).last().is_some_and(|last| last.starts_with("400 requested provider")), "{:?}", told(&ask));
}

#[test]
fn an_automatic_choice_is_explained_by_its_prompt() {
    let config = "models: [{name: small, targets: [{provider: openai, model: s}]}, {name: big, targets: [{provider: claude, model: b}]}]
settings: {auto: {default_model: small}}
routes: [{name: hard, match: {headers: {x-lunargate-complexity: '4-5'}}, model: big}]";
    let snapshot = testing::snapshot(&format!("{}{config}", testing::PROVIDERS));
    let headers = HeaderMap::new();
    for (text, model, matches) in
        [("hi", "small", false), ("Prove that this Python code computes the integral", "big", true)]
    {
        let body = format!(r#"{{"model":"lunargate/auto","messages":[{{"role":"user","content":"{text}"}}]}}"#);
        let (path, body) = ("/v1/chat/completions", body.as_bytes());
        let question = Question { method: "POST", path, headers: &headers, body, unix_ms: 0 };
        let told = answer(&snapshot, &question, &Caller::anonymous(), Instant::now()).expect("an explanation");
        assert_eq!((told.model.as_deref(), told.routes[0].miss.is_none()), (Some(model), matches), "{text}");
    }
}
