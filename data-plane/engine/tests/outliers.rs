//! One of four deployments fails and returns, or all of them do: what clients notice, and for how long. Time is an argument, so
//! that minutes take none.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use gateway_engine::compile::compile;
use gateway_engine::identity::Caller;
use gateway_engine::resolve::{Ask, Resolved, resolve};
use gateway_engine::retry::{self, Budget, Decision, Spent};
use gateway_engine::routing::{self, Shape};
use gateway_ir::failure::{Code, Failure};
use gateway_model::file;
use http::HeaderMap;

const PER_SECOND: u64 = 100;
const STRATEGIES: [&str; 8] =
    ["weighted", "round-robin", "random", "priority", "least-latency", "least-busy", "balanced", "sticky"];

/// What happened in one second.
#[derive(Clone, Debug, Default)]
struct Second {
    /// Clients that were told of a failure.
    n_failed: u64,
    /// Replies, by provider.
    answered: BTreeMap<String, u64>,
    /// Requests that upstreams saw.
    n_sent: u64,
}

/// A day of so many seconds, on which a provider is down in a second where `is_down` says so.
fn seconds(strategy: &str, n: u64, is_down: impl Fn(&str, u64) -> bool) -> Vec<Second> {
    let providers = ["p0", "p1", "p2", "p3"];
    let mut yaml = "providers:\n".to_owned();
    for name in providers {
        yaml += &format!("  - {{name: {name}, kind: openai, api_key: k}}\n");
    }
    let targets = providers.map(|name| format!("{{provider: {name}, model: x}}")).join(", ");
    yaml += &format!("models:\n  - {{name: m, strategy: {strategy}, targets: [{targets}]}}\n");
    let no_file = |_: &Path| Err(ErrorKind::NotFound.into());
    let set = file::parse("outliers.yaml", &yaml, &|_| None, &no_file).expect("a configuration").set;
    let snapshot = compile(&set, 1).expect("a configuration that compiles");
    let (start, headers) = (Instant::now(), HeaderMap::new());
    let budget = Budget::new(start);
    let mut seconds = vec![Second::default(); usize::try_from(n).expect("few")];
    for (at, second) in (0..).zip(&mut seconds) {
        for request in 0..PER_SECOND {
            let now = start + Duration::from_secs(at) + Duration::from_millis(request * 1000 / PER_SECOND);
            // A hundred sessions, so that a strategy that keeps them has some for each provider.
            let session = format!("s{request}");
            let ask = Ask { session: Some(&session), ..Ask::new("/v1/chat/completions", &headers, "m") };
            let resolved = resolve(&snapshot, &ask, &Caller::anonymous()).expect("a model");
            serve(&resolved, &budget, now, |provider| is_down(provider, at), second);
        }
    }
    seconds
}

/// One request with its second attempts, as the data plane makes them; an answer takes 40 ms, a failure 5.
fn serve(resolved: &Resolved, budget: &Budget, now: Instant, is_down: impl Fn(&str) -> bool, second: &mut Second) {
    budget.earn();
    let mut plan = routing::plan(resolved, Shape::default(), now);
    let (mut next, mut n_attempts) = (plan.next(), 0);
    while let Some(mut choice) = next.take() {
        n_attempts += 1;
        second.n_sent += 1;
        let provider = choice.target.provider.name.to_string();
        if !is_down(&provider) {
            choice.seat.answered(now + Duration::from_millis(40));
            *second.answered.entry(provider).or_default() += 1;
            return;
        }
        let failure = Failure::from_upstream_status(503, "down");
        assert_eq!(failure.code, Code::UpstreamError);
        choice.seat.failed(&failure, now + Duration::from_millis(5));
        drop(choice);
        let total = Duration::from_secs(60);
        let spent = Spent { n_attempts, max_attempts: 3, once_each: true, elapsed: Duration::ZERO, total };
        next = match retry::next(&failure, spent, plan.at(now)) {
            Decision::Next(choice) if budget.spend(now) => Some(choice),
            _ => None,
        };
    }
    second.n_failed += 1;
}

/// The share of clients that were told of a failure.
fn failed(seconds: &[Second]) -> f64 {
    let n: u64 = seconds.iter().map(|second| second.n_failed).sum();
    n as f64 / (seconds.len() as u64 * PER_SECOND) as f64
}

/// The share of a provider in all answers.
fn share(seconds: &[Second], provider: &str) -> f64 {
    let of = |second: &Second| second.answered.get(provider).copied().unwrap_or(0);
    let all: u64 = seconds.iter().flat_map(|second| second.answered.values()).sum();
    seconds.iter().map(of).sum::<u64>() as f64 / all.max(1) as f64
}

#[test]
fn outlier_and_recovery() {
    for strategy in STRATEGIES {
        let day = seconds(strategy, 180, |provider, at| provider == "p0" && (10..70).contains(&at));
        assert_eq!(failed(&day[..10]), 0.0, "{strategy}: all are well");
        assert!(failed(&day[12..70]) < 0.01, "{strategy}: {} of clients notice", failed(&day[12..70]));
        // Trials are all that it gets while it is down.
        let n_sent: u64 = day[12..70].iter().map(|second| second.n_sent).sum();
        assert!(n_sent < 58 * PER_SECOND * 101 / 100, "{strategy}: {n_sent} requests are sent");
        assert_eq!(failed(&day[70..]), 0.0, "{strategy}: nobody notices that it is back");
        let (before, after) = (share(&day[..10], "p0"), share(&day[130..], "p0"));
        assert!(
            after > before * 0.8,
            "{strategy}: a minute later it has {after:.2} of the traffic, {before:.2} before"
        );
    }
}

#[test]
fn all_fail_and_the_first_that_is_back_ends_it() {
    for strategy in STRATEGIES {
        let day = seconds(strategy, 70, |provider, at| (10..60).contains(&at) && (provider != "p2" || at < 40));
        // Whoever asks is passed on to somebody: an outage is found to be over by those who wait for that.
        assert!(day[12..40].iter().all(|second| second.n_sent >= PER_SECOND), "{strategy}");
        assert!(failed(&day[42..60]) < 0.01, "{strategy}: {} fail though one is back", failed(&day[42..60]));
        assert_eq!(failed(&day[62..]), 0.0, "{strategy}");
    }
}
