//! Every way in which a request can end: nothing stays reserved, and what is counted is what the records say, once.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use gateway_fake::reply::openai;
use gateway_fake::{Dead, Ending, Script, Upstream};
use gateway_testing::figure;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::gateway::{Gateway, KEY, client, openai_at, read, within};

/// When the client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    Never,
    BeforeTheHead,
    AfterTheFirstPiece,
}

/// One way to end.
struct Exit {
    name: &'static str,
    model: &'static str,
    stream: bool,
    scripts: fn() -> Vec<Script>,
    leaves: Leaves,
}

const fn exit(name: &'static str, model: &'static str, stream: bool, scripts: fn() -> Vec<Script>) -> Exit {
    Exit { name, model, stream, scripts, leaves: Leaves::Never }
}

fn error(status: u16) -> Vec<Script> {
    vec![Script::json(status, &openai::error("no", "not today"))]
}

fn begun() -> Script {
    Script::sse_head().chunk(openai::stream("x", "one two", 7)[..2].concat())
}

fn whole() -> Script {
    Script::json(200, &openai::reply("x", "one two", 7))
}

fn half() -> Script {
    Script::new().head(200, &[("content-type", "application/json"), ("content-length", "999")]).write("{\"id\":")
}

const EXITS: [Exit; 24] = [
    exit("success", "m", false, || vec![whole()]),
    exit("success, streamed", "m", true, || vec![Script::sse(&openai::stream("x", "one two", 7))]),
    exit("400", "m", false, || error(400)),
    exit("400, streamed", "m", true, || error(400)),
    exit("401", "m", false, || error(401)),
    exit("429", "m", false, || error(429)),
    exit("500", "m", false, || error(500)),
    exit("503, streamed", "m", true, || error(503)),
    exit("refused connection", "gone", false, Vec::new),
    exit("no first byte", "m", false, || vec![Script::new().hang()]),
    exit("no first byte, streamed", "m", true, || vec![Script::new().hang()]),
    exit("idle inside a reply", "m", false, || vec![half().hang()]),
    exit("idle inside a stream", "m", true, || vec![begun().hang()]),
    exit("closed before a head", "m", false, || vec![Script::new().close()]),
    exit("cut inside a reply", "m", false, || vec![half().close()]),
    exit("cut inside a stream", "m", true, || vec![begun().reset()]),
    exit("an end without a mark", "m", true, || vec![begun().end()]),
    exit("garbage", "m", false, || vec![Script::text(200, "text/html", "<html>")]),
    exit("a retry", "again", false, || vec![error(500).remove(0), whole()]),
    exit("a fallback", "either", false, || error(500)),
    exit("a hedge", "beside", false, || vec![Script::new().hang()]),
    Exit {
        leaves: Leaves::BeforeTheHead,
        ..exit("a client that leaves before the head", "m", false, || vec![Script::new().hang()])
    },
    Exit {
        leaves: Leaves::BeforeTheHead,
        ..exit("a client that leaves before the stream", "m", true, || vec![Script::new().hang()])
    },
    Exit {
        leaves: Leaves::AfterTheFirstPiece,
        ..exit("a client that leaves a stream", "m", true, || vec![begun().hang()])
    },
];

/// The upstream that ends as told, one that is sound, and one that is gone; a key for one request at a time.
fn config(told: &Upstream, sound: &Upstream, gone: &Dead) -> String {
    let more = "allow_private_networks: true, breaker: {enabled: false}, timeouts: {first_byte: 400ms, idle: 400ms}";
    let provider = |name: &str, url: &str| {
        format!("  - {{name: {name}, kind: openai-compatible, base_url: \"{url}/v1\", api_key: k, {more}}}\n")
    };
    let model = |name: &str, fields: &str| format!("  - {{name: {name}, strategy: priority, {fields}}}\n");
    [
        "providers:\n".to_owned(),
        provider("told", &told.url()),
        provider("sound", &sound.url()),
        provider("gone", &gone.url()),
        "models:\n".to_owned(),
        model("m", "retry: {max_attempts: 1}, targets: [{provider: told, model: x}]"),
        model("gone", "retry: {max_attempts: 1}, targets: [{provider: gone, model: x}]"),
        model("again", "retry: {max_attempts: 2}, targets: [{provider: told, model: x}]"),
        model("either", "retry: {max_attempts: 2}, targets: [{provider: told, model: x}, {provider: sound, model: x}]"),
        model(
            "beside",
            "hedge: {after: 50ms, max_percent: 100}, retry: {max_attempts: 2}, \
             targets: [{provider: told, model: x}, {provider: sound, model: x}]",
        ),
        "prices:\n".to_owned(),
        ["told", "sound", "gone"]
            .map(|name| format!("  - {{provider: {name}, model: x, input_per_1m: 1000, output_per_1m: 3000}}\n"))
            .concat(),
        "budgets:
  - {name: all, amount_usd: 1000, window: monthly, match: {models: [\"*\"]}}
  - {name: accounts, amount_usd: 1000, window: monthly, match: {credentials: [\"*\"]}}
"
        .to_owned(),
        format!(
            "keys:\n  - {{name: test, secret: {KEY}, limits: {{concurrency: 1, tpm: 100000000, rpm: 100000}}, \
             budget: {{amount_usd: 1000, window: monthly}}}}\n"
        ),
    ]
    .concat()
}

async fn leave(gateway: &Gateway, told: &Upstream, exit: &Exit, question: &Value, n_asked: usize) -> u16 {
    let asked = gateway.post("/v1/chat/completions", question).send();
    match exit.leaves {
        Leaves::Never => {
            let response = asked.await.expect("an answer");
            let status = response.status().as_u16();
            // Cut streams end in an error, which is no affair of this test.
            let _ = response.bytes().await;
            status
        }
        Leaves::BeforeTheHead => {
            tokio::select! {
                _ = asked => panic!("there is nothing to answer"),
                _ = told.request(n_asked) => 0,
            }
        }
        Leaves::AfterTheFirstPiece => {
            let mut pieces = asked.await.expect("a head").bytes_stream();
            let _ = pieces.next().await;
            200
        }
    }
}

/// What the node says of its budgets, once nothing is open.
async fn settled(gateway: &Gateway, after: &str) -> i64 {
    within(&format!("no open reservation after {after}"), || async {
        let told = read(client().get(gateway.url("/statsz"))).await.json();
        let budgets = &told["budgets"];
        (budgets["open_requests"] == 0).then(|| budgets["spent_nano_usd"].as_i64().expect("a number"))
    })
    .await
}

/// Of a request, with what was asked beside it for nothing.
fn cost(record: &Value) -> i64 {
    let lost = record["attempts"].as_array().into_iter().flatten();
    let lost = lost.filter(|attempt| attempt["error_code"] == "hedge_lost");
    record["cost_nano_usd"].as_i64().unwrap_or(0)
        + lost.map(|attempt| attempt["cost_nano_usd"].as_i64().unwrap_or(0)).sum::<i64>()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settle_every_exit() {
    const TEST: &str = "settle_every_exit";
    let (told, sound, gone) = (Upstream::start().await, Upstream::start().await, Dead::refusing());
    sound.respond_with(|received| openai::answer(received, "one two three"));
    let gateway = Gateway::start(&config(&told, &sound, &gone)).await;
    let mut random = StdRng::seed_from_u64(33);
    let (mut n_ended, mut order) = (0, (0..EXITS.len()).collect::<Vec<_>>());
    // Each after each other in some order: a place that one of them keeps is missed by the next.
    for _ in 0..3 {
        order.shuffle(&mut random);
        for exit in order.iter().map(|at| &EXITS[*at]) {
            let n_asked = told.requests().len();
            (exit.scripts)().into_iter().for_each(|script| told.push(script));
            let question = json!({"model": exit.model, "stream": exit.stream, "max_tokens": 50,
                "messages": [{"role": "user", "content": "hi"}]});
            let status = leave(&gateway, &told, exit, &question, n_asked).await;
            n_ended += 1;
            let records = gateway.records(n_ended).await;
            assert_eq!(records.len(), n_ended, "{}: one record each", exit.name);
            assert_ne!(records[n_ended - 1]["limit_kind"], "parallel", "{}: {}", exit.name, records[n_ended - 1]);
            let spent = settled(&gateway, exit.name).await;
            let counted: i64 = records.iter().map(cost).sum();
            // The key's own budget, the shared one, and that of whoever is asked.
            assert_eq!(spent, 3 * counted, "{} ({status}): {}", exit.name, records[n_ended - 1]);
        }
    }
    let told = read(client().get(gateway.url("/statsz"))).await.json();
    let open = told["budgets"]["open_requests"].as_f64().expect("a number");
    figure::note(TEST, "reservations open after all exits", open, "reservations", 0.0);
    figure::note_at_least(TEST, "exits", n_ended as f64, "requests", (3 * EXITS.len()) as f64);
    gateway.stop().await;
}

/// A word of four bytes, which is one token by the estimate too.
const WORD: &str = "the ";

/// A stream of so many of them, which the client leaves after `after`; what was charged, what the provider had sent, and how long it
/// took until that was let go.
async fn left(n_words: usize, after: usize, drains: bool) -> (u64, u64, Duration) {
    let upstream = Upstream::start().await;
    let events = openai::stream("x", WORD.repeat(n_words).trim_end(), 7);
    // The role, and then a word each.
    let (head, rest) = events.split_at(1 + after);
    let script = Script::sse_head().chunk(head.concat());
    let script = if drains { script.chunk(rest.concat()).end() } else { script.hang() };
    upstream.push(script);
    let config = match drains {
        true => openai_at(&upstream.url()).replace("retry:", "on_client_gone: drain, retry:"),
        false => openai_at(&upstream.url()),
    };
    let gateway = Gateway::start(&config).await;
    let question = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let mut pieces = gateway.post("/v1/chat/completions", &question).send().await.expect("a head").bytes_stream();
    let mut read = Vec::new();
    while read.windows(WORD.len() - 1).filter(|window| *window == b"the").count() < after {
        read.extend(pieces.next().await.expect("more").expect("a piece"));
    }
    let began = Instant::now();
    drop(pieces);
    let ending = upstream.ending(0).await;
    let took = began.elapsed();
    assert_eq!(ending == Ending::Complete, drains, "{ending:?}");
    let record = gateway.records(1).await.remove(0);
    let charged = record["tokens"]["output"].as_u64().expect("a number");
    assert_eq!(record["settled_by"], if drains { "exact" } else { "estimated" }, "{record}");
    gateway.stop().await;
    (charged, if drains { n_words } else { after } as u64, took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disconnect_billing() {
    const TEST: &str = "disconnect_billing";
    let mut random = StdRng::seed_from_u64(34);
    let (mut worst, mut slowest) = (0.0_f64, Duration::ZERO);
    for drains in [false, true] {
        for _ in 0..8 {
            let n_words = random.random_range(60..400);
            let after = random.random_range(50..n_words);
            let (charged, truth, took) = left(n_words, after, drains).await;
            let off = charged.abs_diff(truth) as f64 / truth as f64 * 100.0;
            assert!(off <= 2.0 && (!drains || off == 0.0), "{charged} charged of {truth}, {after} of {n_words} read");
            worst = worst.max(off);
            if !drains {
                slowest = slowest.max(took);
            }
        }
    }
    figure::note(TEST, "charged beside what the provider sent, at most", worst, "%", 2.0);
    figure::note(TEST, "until the provider is let go, at most", slowest.as_secs_f64() * 1000.0, "ms", 100.0);
}
