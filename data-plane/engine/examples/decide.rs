//! How long a decision takes: the route, the order of targets, the breaker of the first. `make bench` runs it; by hand:
//! `cargo run --release -p gateway-engine --example decide`. Ends with 1 where the limit is not kept.
//!
//! One configuration of 1,000 routes and 200 targets, twenty models with ten targets each; requests that match routes of every
//! sort, early and late, and some that match none. Each decision is timed by itself, the clock's own time included. Models of
//! 200 targets each are measured beside it and have no limit: strategies that judge each request cost a number per target.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on should stop where it is")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use gateway_engine::compile::compile;
use gateway_engine::identity::Caller;
use gateway_engine::resolve::{Ask, resolve};
use gateway_engine::routing::{Shape, plan};
use gateway_engine::snapshot::Snapshot;
use gateway_ir::needs::Needs;
use gateway_model::file;
use http::{HeaderMap, HeaderName, HeaderValue};

const LIMIT: Duration = Duration::from_micros(2);
const N_ROUTES: usize = 1000;
const N_MODELS: usize = 20;
const N_TARGETS: usize = 10;
const ROUNDS: usize = 20_000;

const STRATEGIES: [&str; 9] =
    ["weighted", "priority", "round-robin", "random", "least-latency", "least-busy", "cheapest", "balanced", "sticky"];

/// What a request shows of itself.
struct Request {
    model: String,
    headers: HeaderMap,
}

fn main() -> ExitCode {
    let requests = requests();
    println!("{:<34} {:>8} {:>8} {:>8}", "", "p50", "p99", "p99.9");
    let small = snapshot(&models(N_MODELS, N_TARGETS, "weighted"));
    let limited = measured(&small, &requests);
    line("1,000 routes, 200 targets", &limited);
    for strategy in STRATEGIES {
        let snapshot = snapshot(&models(N_MODELS, N_TARGETS, strategy));
        line(&format!("  {strategy}, 10 targets a model"), &measured(&snapshot, &requests));
    }
    for strategy in STRATEGIES {
        let snapshot = snapshot(&models(N_MODELS, N_MODELS * N_TARGETS, strategy));
        line(&format!("  {strategy}, 200 targets a model"), &measured(&snapshot, &requests));
    }
    let p99 = at(&limited, 99.0);
    println!("limit: p99 under {LIMIT:?} at 1,000 routes and 200 targets; it is {p99:?}");
    if p99 < LIMIT { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn line(what: &str, sorted: &[Duration]) {
    println!("{what:<34} {:>8?} {:>8?} {:>8?}", at(sorted, 50.0), at(sorted, 99.0), at(sorted, 99.9));
}

fn at(sorted: &[Duration], percent: f64) -> Duration {
    let place = (sorted.len() as f64 * percent / 100.0) as usize;
    sorted[place.min(sorted.len() - 1)]
}

/// Times of all decisions, the shortest first.
fn measured(snapshot: &Snapshot, requests: &[Request]) -> Vec<Duration> {
    let caller = Caller::anonymous();
    let mut times = Vec::with_capacity(ROUNDS * requests.len());
    // The first tenth warms up.
    for round in 0..ROUNDS + ROUNDS / 10 {
        for request in requests {
            let began = Instant::now();
            let ask = Ask {
                needs: Needs::TOOLS,
                n_input: 1000,
                unix_ms: 1_800_000_000_000,
                ..Ask::new("/v1/chat/completions", &request.headers, &request.model)
            };
            let resolved = resolve(snapshot, &ask, &caller).unwrap();
            let shape = Shape::new(1000, 500).needing(Needs::TOOLS);
            let choice = plan(&resolved, shape, began).next().unwrap();
            let took = began.elapsed();
            drop(choice);
            if round >= ROUNDS / 10 {
                times.push(took);
            }
        }
    }
    times.sort_unstable();
    times
}

fn snapshot(models: &str) -> Snapshot {
    let mut yaml = String::from("providers:\n");
    for n in 0..N_MODELS {
        writeln!(yaml, "  - {{name: p{n}, kind: openai, api_key: k}}").unwrap();
    }
    yaml += models;
    yaml += "routes:\n";
    for n in 0..N_ROUTES {
        // Of every sort, one after the other; of a hundred six cannot be looked up.
        let wanted = match n % 20 {
            _ if n % 100 == 1 => {
                format!("{{path: '/v1/chat/*', headers: {{x-tier: {{regex: '^t{n}(gold|silver)$'}}}}}}")
            }
            0 => format!("{{model: 'family-{n}-*'}}"),
            1..8 => format!("{{headers: {{x-tenant: tenant-{n}}}}}"),
            8..13 => format!("{{model: name-{n}}}"),
            13..16 => format!("{{keys: [key-{n}], needs: [tools]}}"),
            _ => format!("{{path: /v1/chat/completions, headers: {{x-tenant: tenant-{n}, x-app: {{prefix: app}}}}}}"),
        };
        writeln!(yaml, "  - {{name: r{n}, match: {wanted}, model: m{}}}", n % N_MODELS).unwrap();
    }
    let parsed = file::parse("bench.yaml", &yaml, &|_| None, &|_: &Path| Err(std::io::ErrorKind::NotFound.into()));
    compile(&parsed.unwrap().set, 1).unwrap()
}

fn models(n_models: usize, n_targets: usize, strategy: &str) -> String {
    let mut yaml = String::from("models:\n");
    for n in 0..n_models {
        let target = |place: usize| {
            let weight = 1 + place % 7;
            format!("{{provider: p{}, model: u{n}-{place}, weight: {weight}}}", place % N_MODELS)
        };
        let targets = (0..n_targets).map(target).collect::<Vec<_>>().join(", ");
        writeln!(yaml, "  - {{name: m{n}, strategy: {strategy}, targets: [{targets}]}}").unwrap();
    }
    yaml + "prices:\n  - {provider: p0, model: '*', input_per_1m: 1, output_per_1m: 2}\n"
}

fn requests() -> Vec<Request> {
    let request = |model: &str, headers: &[(&'static str, &str)]| Request {
        model: model.to_owned(),
        headers: headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .chain([(HeaderName::from_static("user-agent"), HeaderValue::from_static("client/1"))])
            .collect(),
    };
    vec![
        request("m3", &[]),
        request("name-8", &[]),
        request("name-992", &[]),
        request("family-980-large", &[]),
        request("m4", &[("x-tenant", "tenant-2")]),
        request("m5", &[("x-tenant", "tenant-987")]),
        request("m6", &[("x-tenant", "tenant-999"), ("x-app", "app-1")]),
        request("m7", &[("x-tier", "t901gold")]),
    ]
}
