//! A request sees one revision from its start to its end, however often the configuration changes meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gateway_fake::reply::openai;
use gateway_fake::{Script, Upstream};
use gateway_proxy::config::{Options, Source};
use gateway_proxy::start;
use gateway_testing::figure;
use gateway_wire::v1::{Class, Item};
use serde_json::json;

use crate::control::{Control, document, identity};
use crate::gateway::{KEY, client, read};

const N_CLIENTS: usize = 4;
const N_REQUESTS: usize = 60;

/// Three targets of which the first two fail, each named after the revision.
fn topology(revision: u64, upstream: &Upstream) -> Vec<Item> {
    let provider = json!({
        "name": "up", "kind": "openai-compatible", "base_url": format!("http://{}/v1", upstream.addr()),
        "allow_private_networks": true, "breaker": {"enabled": false}, "retry": {"max_attempts": 6},
    });
    let mut provider = document("provider", "p1", &provider);
    provider.secrets.insert("api_key".to_owned(), b"upstream-credential".to_vec());
    let target = |name: &str| json!({"provider": "up", "model": format!("{name}-{revision}")});
    let model = json!({
        "name": "m", "strategy": "priority",
        "targets": [target("fails"), target("fails-too"), target("works")],
    });
    vec![provider, document("model", "m1", &model)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_sees_one_revision() {
    const TEST: &str = "request_sees_one_revision";
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| {
        let works = received.json()["model"].as_str().is_some_and(|model| model.starts_with("works"));
        if works {
            openai::answer(received, "hello")
        } else {
            Script::json(503, &openai::error("server_error", "not now"))
        }
    });
    let mut control = Control::start();
    control.take_usage();
    let options = Options {
        listen: Some("127.0.0.1:0".parse().expect("an address")),
        workers: Some(2),
        ..Options::new(Source::Fleet(control.endpoint()))
    };
    let node = tokio::spawn(start(options));
    let (mut stream, _) = control.stream().await;
    stream.snapshot(Class::Topology, 1, &topology(1, &upstream)).await;
    stream.snapshot(Class::Identity, 1, &identity(KEY)).await;
    for _ in 0..2 {
        stream.ack().await;
    }
    let node = node.await.expect("no panic").expect("the node starts");
    node.ready().await;

    let is_over = Arc::new(AtomicBool::new(false));
    let url = format!("http://{}/v1/chat/completions", node.addr());
    let clients: Vec<_> = (0..N_CLIENTS)
        .map(|_| {
            let (client, url) = (client(), url.clone());
            tokio::spawn(async move {
                for _ in 0..N_REQUESTS {
                    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
                    let answer = read(client.post(&url).bearer_auth(KEY).json(&body)).await;
                    assert_eq!(answer.status, 200, "{}", answer.text);
                }
            })
        })
        .collect();
    let swapping = async {
        let mut revision = 1;
        while !is_over.load(Ordering::Relaxed) {
            let items = topology(revision + 1, &upstream);
            stream.delta(Class::Topology, revision, revision + 1, vec![items[1].clone()], &items).await;
            revision += 1;
            assert_eq!(stream.ack().await.revision, revision);
        }
        revision
    };
    let serving = async {
        for client in clients {
            client.await.expect("every request is answered");
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let (n_revisions, ()) = tokio::join!(swapping, serving);

    let (mut n_mixed, mut n_spanned) = (0, 0);
    let mut revisions = std::collections::BTreeSet::new();
    for _ in 0..N_CLIENTS * N_REQUESTS {
        let record = tokio::time::timeout(gateway_fake::PATIENCE, control.records.recv()).await;
        let record = record.expect("every request has a record").expect("the node sends them");
        let of_revision = format!("-{}", record.topology_revision);
        n_mixed += usize::from(!record.attempts.iter().all(|attempt| attempt.model.ends_with(&of_revision)));
        n_spanned += usize::from(record.attempts.len() == 3);
        revisions.insert(record.topology_revision);
    }
    figure::note(TEST, "requests that saw two revisions", n_mixed as f64, "requests", 0.0);
    figure::note_at_least(TEST, "revisions that served during the test", n_revisions as f64, "revisions", 2.0);
    assert_eq!(n_mixed, 0);
    assert_eq!(n_spanned, N_CLIENTS * N_REQUESTS, "every request tried all targets");
    assert!(revisions.len() > 5, "requests were served by {} of {n_revisions} revisions", revisions.len());
    node.shutdown().await;
}
