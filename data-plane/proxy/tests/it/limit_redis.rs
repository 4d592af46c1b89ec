//! Limits that a Redis counts for three nodes, whatever befalls it.

use std::time::{Duration, Instant};

use gateway_fake::reply::openai;
use gateway_fake::{Conditions, Link, Upstream};
use gateway_model::secret::Secret;
use gateway_testing::{Redis, figure};
use serde_json::json;

use crate::gateway::{Gateway, client, openai_at, read};

const TEST: &str = "limit_redis";
const N_NODES: usize = 3;
const LIMIT: usize = 60;

/// Nodes that know of each other as those of a fleet do, with a key `sk-<name>-…` for each of `names`, of so many requests a day.
async fn nodes(upstream: &Upstream, redis: &str, deadline: &str, names: &[&str]) -> Vec<Gateway> {
    let keys = names
        .iter()
        .map(|name| format!("  - {{name: {name}, secret: sk-{name}-0123456789abcdef, limits: {{rpd: {LIMIT}}}}}\n"));
    let config = format!(
        "{}settings: {{limit_store: {{kind: redis, deadline: {deadline}}}}}\nkeys:\n{}",
        openai_at(&upstream.url()),
        keys.collect::<String>()
    );
    let mut nodes = Vec::new();
    for _ in 0..N_NODES {
        nodes.push(node(&config, redis).await);
    }
    nodes
}

/// One of them.
async fn node(config: &str, redis: &str) -> Gateway {
    let started = Gateway::start_with(config, |options| {
        let folder = options.data_dir.clone().expect("a folder");
        std::fs::create_dir_all(&folder).expect("the folder is ours");
        std::fs::write(folder.join("fleet-size"), N_NODES.to_string()).expect("the folder is ours");
        options.redis_url = Some(Secret::new(redis));
    });
    started.await
}

/// Asks `n` times, and tells how often it was answered and how long that took.
async fn ask(node: &Gateway, name: &str, n: usize) -> (usize, Vec<Duration>) {
    let body = json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]});
    let (client, mut n_passed, mut times) = (client(), 0, Vec::new());
    for _ in 0..n {
        let request = client.post(node.url("/v1/chat/completions")).bearer_auth(format!("sk-{name}-0123456789abcdef"));
        let began = Instant::now();
        let answer = read(request.json(&body)).await;
        times.push(began.elapsed());
        match answer.status {
            200 => n_passed += 1,
            429 => assert_eq!(answer.header("x-gateway-limit-kind"), Some("rpd"), "{}", answer.text),
            other => panic!("{other}: {}", answer.text),
        }
    }
    (n_passed, times)
}

/// By all nodes at once.
async fn ask_all(nodes: &[Gateway], name: &str, n_each: usize) -> usize {
    let asked = futures_util::future::join_all(nodes.iter().map(|node| ask(node, name, n_each))).await;
    asked.iter().map(|(n_passed, _)| n_passed).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_limit_says_what_holds_while_the_store_is_away() {
    let Some(mut redis) = Redis::launch() else { return };
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let key = |name: &str, policy: &str| {
        format!("  - {{name: {name}, secret: sk-{name}-0123456789abcdef, limits: {{rpd: 60{policy}}}}}\n")
    };
    let keys =
        [key("local", ""), key("open", ", when_away: open"), key("closed", ", when_away: closed"), key("ruled", "")];
    let config = format!(
        "{}settings: {{limit_store: {{kind: redis, deadline: 1s}}}}\nlimits:\n  - {{name: strict, match: {{keys: [ruled]}}, per: key, \
         limits: {{rpd: 60, when_away: closed}}}}\nkeys:\n{}",
        openai_at(&upstream.url()),
        keys.concat()
    );
    let node = node(&config, &redis.url()).await;
    let status = async |name: &str| {
        let body = json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]});
        let request = client().post(node.url("/v1/chat/completions"));
        read(request.bearer_auth(format!("sk-{name}-0123456789abcdef")).json(&body)).await
    };
    for name in ["local", "open", "closed", "ruled"] {
        assert_eq!(status(name).await.status, 200, "{name}");
    }
    redis.stop();
    for (name, whose) in [("closed", "Key "), ("ruled", "Limit strict for key ")] {
        let refused = status(name).await;
        assert_eq!((refused.status, refused.header("x-gateway-limit-kind")), (429, Some("limit_store")), "{name}");
        assert!(refused.text.contains(whose), "{}", refused.text);
    }
    // One of three nodes.
    let (n_local, _) = ask(&node, "local", LIMIT).await;
    assert!((1..=LIMIT / N_NODES).contains(&n_local), "{n_local}");
    assert_eq!(ask(&node, "open", LIMIT + 5).await.0, LIMIT + 5);
    redis.start();
    let mut n_refused = 0;
    while status("closed").await.status == 429 {
        n_refused += 1;
        assert!(n_refused < 100, "the store is back, and nobody asks it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    node.stop().await;
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

fn note(what: &str, value: usize, limit: usize) {
    figure::note(TEST, what, value as f64, "requests", limit as f64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limit_redis() {
    let Some(mut redis) = Redis::launch() else { return };
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello"));

    // Whoever is patient has one limit for all nodes, also over the loss of all counters.
    let patient = nodes(&upstream, &redis.url(), "1s", &["well", "flushed", "restarted"]).await;
    let n_well = ask_all(&patient, "well", LIMIT / 2).await;
    note("admitted by three nodes of 60", n_well, LIMIT);
    assert_eq!(n_well, LIMIT);
    let mut n_flushed = ask_all(&patient, "flushed", LIMIT / 6).await;
    redis.flush();
    n_flushed += ask_all(&patient, "flushed", LIMIT / 2).await;
    note("admitted of 60 where all counters are lost on the way", n_flushed, LIMIT);
    assert_eq!(n_flushed, LIMIT);
    let mut n_restarted = ask_all(&patient, "restarted", LIMIT / 6).await;
    redis.stop();
    redis.start();
    n_restarted += ask_all(&patient, "restarted", LIMIT / 2).await;
    note("admitted of 60 over a restart of the server", n_restarted, LIMIT);
    assert!(n_restarted <= LIMIT, "{n_restarted}");
    for node in patient {
        node.stop().await;
    }

    // A server that takes too long, and then is gone.
    let address = redis.url().trim_start_matches("redis://").trim_end_matches('/').parse().expect("an address");
    let link = Link::start(address).await;
    let nodes = nodes(&upstream, &link.url().replace("http", "redis"), "5ms", &["quick", "slow", "killed"]).await;
    let (n_quick, before) = ask(&nodes[0], "quick", LIMIT / 2).await;
    link.set(Conditions { latency: Duration::from_millis(100), ..Conditions::default() });
    let (n_slow, after) = ask(&nodes[0], "slow", LIMIT).await;
    let added = median(after) - median(before);
    figure::note(TEST, "added to a request by a server that takes 200 ms", added, "ms (median)", 5.0);
    assert!(added <= 5.0, "{added} ms");
    note("admitted of 60 by one of three nodes meanwhile", n_slow, LIMIT / N_NODES);
    assert!(n_slow <= LIMIT / N_NODES, "{n_slow}");
    link.set(Conditions::default());
    let n_before = ask_all(&nodes, "killed", LIMIT / 6).await;
    redis.stop();
    let n_after = ask_all(&nodes, "killed", LIMIT).await;
    note("admitted of 60 before the server was killed, and after", n_before + n_after, LIMIT * 2 - LIMIT / N_NODES);
    note("of these, after", n_after, LIMIT);
    assert!(n_after <= LIMIT && n_after > 0, "each its part of what it knew to be left: {n_after}");
    let n_answered = n_well + n_flushed + n_restarted + n_quick + n_slow + n_before + n_after;
    assert_eq!(upstream.requests().len(), n_answered, "what the provider was asked for is what was let through");
    for node in nodes {
        node.stop().await;
    }
}
