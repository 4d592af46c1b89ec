//! What serves a request, and who may have it.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use super::*;
use crate::testing;

const MODELS: &str = "
models:
  - name: smart
    targets:
      - {provider: openai, model: gpt-5}
      - {provider: claude, model: opus}
  - {name: cheap, targets: [{provider: openai, model: gpt-nano}]}
  - {name: openai/gpt-5, targets: [{provider: claude, model: shadow}]}
";

const ROUTES: &str = "
routes:
  - {name: team, match: {headers: {x-team: search}}, model: smart}
  - {name: nano, match: {path: /v1/chat/*, headers: {x-cheap: {present: true}, x-no: {present: false}}}, model: openai/nano}
  - {name: by-model, match: {model: \"gpt-3*\"}, model: cheap}
  - {name: rules, match: {headers: {x-a: {prefix: ab}, x-b: {regex: \"^[0-9]+$\"}}}, model: cheap}
  - {name: policy, match: {path: /v1/messages}, timeouts: {idle: 7s}}
";

/// A request in words: `key=value` pairs; `path`, `model`, `provider=`, `force=`, `route=`, the rest are headers.
fn resolved(words: &str, keys: &[&str]) -> Result<Resolved, Box<Failure>> {
    let snapshot = testing::snapshot(&format!("{}{MODELS}{ROUTES}", testing::PROVIDERS));
    let mut headers = HeaderMap::new();
    let mut ask = ("/v1/chat/completions", "", None, None, None);
    for word in words.split_whitespace() {
        let (name, value) = word.split_once('=').expect("a pair");
        match name {
            "path" => ask.0 = value,
            "model" => ask.1 = value,
            "provider" => ask.2 = Some(value),
            "force" => ask.3 = Some(value),
            "route" => ask.4 = Some(value),
            header => {
                let name = http::HeaderName::try_from(header).expect("a header");
                headers.append(name, HeaderValue::from_str(value).expect("a value"));
            }
        }
    }
    let (path, model, forced_provider, forced_model, forced_route) = ask;
    let ask = Ask { forced_provider, forced_model, forced_route, ..Ask::new(path, &headers, model) };
    resolve(&snapshot, &ask, &testing::caller(keys))
}

/// The route, the model, and the targets that are left, in words.
fn check(words: &str, expected: &str) {
    let found = match resolved(words, &["*"]) {
        Ok(resolved) => {
            let targets = resolved.model.groups.iter().flat_map(|group| &group.members);
            let left = targets.filter(|target| resolved.permits(target));
            let left: Vec<String> = left.map(|target| format!("{}/{}", target.provider.name, target.model)).collect();
            format!("{} {}: {}", resolved.route.as_deref().unwrap_or("-"), resolved.model.name, left.join(" "))
        }
        Err(failure) => format!("{} {}", failure.status, failure.message.split(':').next().unwrap_or_default()),
    };
    assert_eq!(found, expected, "{words}");
}

#[test]
fn without_routes_and_headers() {
    check("model=smart", "- smart: openai/gpt-5 claude/opus");
    check("model=openai/gpt-5", "- openai/gpt-5: claude/shadow");
    check("model=openai/gpt-4", "- openai/gpt-4: openai/gpt-4");
    check("model=openai/org/gpt:free", "- openai/org/gpt:free: openai/org/gpt:free");
    for unknown in ["nothing", "nobody/gpt", "openai/", "SMART", "/", ""] {
        let failure = resolved(&format!("model={unknown}"), &["*"]).expect_err(unknown);
        assert_eq!((failure.code, failure.status, failure.param.as_deref()), (Code::ModelNotFound, 404, Some("model")));
        assert!(failure.message.contains(&format!("`{unknown}`")) && failure.message.contains("/v1/models"));
    }
}

#[test]
fn the_first_route_that_matches() {
    check("model=cheap x-team=search", "team smart: openai/gpt-5 claude/opus");
    check("model=unheard-of x-team=search", "team smart: openai/gpt-5 claude/opus");
    check("model=cheap x-team=searching", "- cheap: openai/gpt-nano");
    check("model=smart x-cheap=anything", "nano openai/nano: openai/nano");
    check("model=smart x-cheap=anything x-no=1", "- smart: openai/gpt-5 claude/opus");
    check("model=smart path=/v2/chat/x x-cheap=1", "- smart: openai/gpt-5 claude/opus");
    check("model=gpt-3.5", "by-model cheap: openai/gpt-nano");
    check("model=smart x-a=zz x-a=abc x-b=12", "rules cheap: openai/gpt-nano");
    check("model=smart x-a=abc x-b=12a", "- smart: openai/gpt-5 claude/opus");
    check("model=smart path=/v1/messages", "policy smart: openai/gpt-5 claude/opus");
    check(
        "model=nothing path=/v1/messages",
        "404 no model is named `nothing`; GET /v1/models lists what this key may use",
    );
}

#[test]
fn forcing_headers_win() {
    check("model=smart route=by-model", "by-model cheap: openai/gpt-nano");
    check("model=smart route=nowhere", "400 no route is named `nowhere`");
    check("model=smart provider=claude", "- smart: claude/opus");
    check("model=smart provider=nobody", &format!("400 {NO_PROVIDER}"));
    check("model=cheap provider=claude", &format!("400 {NO_PROVIDER}"));
    check("model=own provider=claude", "- claude/own: claude/own");
    check("model=own provider=nobody", &format!("400 {NO_PROVIDER}"));
    check("model=smart force=cheap", "- cheap: openai/gpt-nano");
    check("model=smart force=smart", "- smart: openai/gpt-5 claude/opus");
    check("model=smart force=claude/opus", "- smart: claude/opus");
    check("model=smart force=opus", "- smart: claude/opus");
    check("model=smart force=claude/other", "- claude/other: claude/other");
    check("model=smart force=opus provider=openai", "- openai/opus: openai/opus");
    check("model=nothing force=claude/x", "- claude/x: claude/x");
    check("model=smart force=nothing", &format!("400 {NO_MODEL}"));
    check("model=smart force=cheap provider=claude", &format!("400 {NO_PROVIDER}"));
    check("model=x x-team=search force=claude/opus", "team smart: claude/opus");
    check("model=x x-team=search force=opus provider=claude", "team smart: claude/opus");
    check("model=x x-team=search force=claude/opus provider=openai", &format!("400 {NO_MODEL}"));
    check("model=x x-team=search force=cheap", &format!("400 {NO_MODEL}"));
    check("model=x x-team=search provider=claude", "team smart: claude/opus");
    check("model=x x-team=search force=smart", "team smart: openai/gpt-5 claude/opus");
    // The forced name is what routes see; their model must then have it.
    check("model=smart force=gpt-3.5", &format!("400 {NO_MODEL}"));
}

#[test]
fn a_key_must_be_allowed_what_it_asks_for_or_what_a_route_makes_of_it() {
    let cases = [
        (&["smart"][..], "model=smart", true),
        (&["smart"], "model=cheap", false),
        (&["smart"], "model=openai/gpt-5", false),
        (&["openai/*"], "model=openai/anything", true),
        (&["openai/*"], "model=claude/opus", false),
        (&[], "model=smart", false),
        // The route's model, or the name asked for.
        (&["smart"], "model=gpt-3.5", false),
        (&["cheap"], "model=gpt-3.5", true),
        (&["gpt-3*"], "model=gpt-3.5", true),
        // A header may narrow what is allowed, and may not widen it.
        (&["smart"], "model=smart provider=claude", true),
        (&["smart"], "model=smart force=claude/opus", true),
        (&["smart"], "model=smart force=opus", true),
        (&["smart"], "model=smart force=cheap", false),
        (&["smart"], "model=smart force=claude/other", false),
        (&["smart"], "model=cheap force=smart", true),
        (&["own"], "model=own provider=claude", false),
        (&["claude/own"], "model=own provider=claude", true),
        (&["opus"], "model=smart force=opus provider=claude", false),
        (&["claude/opus"], "model=smart force=claude/opus", true),
        (&["cheap"], "model=smart route=by-model", true),
        (&["other"], "model=smart route=by-model", false),
        (&["smart"], "model=smart route=by-model", false),
    ];
    for (keys, words, allowed) in cases {
        let found = resolved(words, keys);
        assert_eq!(found.is_ok(), allowed, "{keys:?} {words}: {found:?}");
        if let Err(failure) = found {
            assert_eq!((failure.code, failure.status), (Code::NotAllowed, 403), "{keys:?} {words}: {failure}");
        }
    }
}

#[test]
fn policies_come_from_the_nearest_level() {
    let yaml = "
settings: {timeouts: {connect: 1s, total: 100s}, retry: {max_attempts: 9}}
providers:
  - {name: openai, kind: openai, timeouts: {connect: 2s, first_byte: 20s}}
models:
  - {name: m, targets: [{provider: openai, model: x}], timeouts: {first_byte: 30s}, retry: {max_attempts: 2}}
routes:
  - {name: r, match: {headers: {x-r: \"1\"}}, timeouts: {total: 400s}}
";
    let snapshot = testing::snapshot(yaml);
    let policy = |headers: &HeaderMap, stream| {
        let resolved = resolve(&snapshot, &Ask::new("/", headers, "m"), &Caller::anonymous()).expect("a model");
        resolved.policy(&resolved.model.groups[0].members[0], stream)
    };
    let seconds = Duration::from_secs;
    let without = Policy {
        max_attempts: 2,
        connect: seconds(2),
        first_byte: seconds(30),
        idle: seconds(60),
        idle_reasoning: Policy::STREAM.idle_reasoning,
        total: seconds(100),
        ..Policy::PLAIN
    };
    let mut headers = HeaderMap::new();
    assert_eq!(policy(&headers, true), without);
    headers.insert("x-r", HeaderValue::from_static("1"));
    assert_eq!(policy(&headers, false), Policy { total: seconds(400), ..without });
}
