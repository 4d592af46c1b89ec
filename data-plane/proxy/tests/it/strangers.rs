//! What is somebody else's, and what is no credential though it looks like one.

use gateway_engine::identity::Peppers;
use gateway_fake::{Gate, Upstream};
use gateway_proxy::config::{Options, Source};
use gateway_proxy::start;
use gateway_testing::figure;
use gateway_wire::v1::Class;
use gateway_wire::v1::item::Body;
use serde_json::{Value, json};

use crate::batches::{echo, line, made, uploaded, when};
use crate::control::{Control, identity, topology};
use crate::gateway::{Gateway, KEY, client, read};
use crate::pass::{OTHER, PLAIN, asked, config};

/// Every route with an id in it.
const ROUTES: [(&str, &str); 17] = [
    ("GET", "/v1/files/{file}"),
    ("GET", "/v1/files/{file}/content"),
    ("DELETE", "/v1/files/{file}"),
    ("GET", "/v1/files/{answers}/content"),
    ("GET", "/v1/batches/{batch}"),
    ("POST", "/v1/batches/{batch}/cancel"),
    ("GET", "/v1/responses/{response}"),
    ("GET", "/v1/responses/{response}/input_items"),
    ("POST", "/v1/responses/{response}/cancel"),
    ("DELETE", "/v1/responses/{response}"),
    ("GET", "/v1/conversations/{conversation}"),
    ("POST", "/v1/conversations/{conversation}"),
    ("GET", "/v1/conversations/{conversation}/items"),
    ("POST", "/v1/conversations/{conversation}/items"),
    ("GET", "/v1/conversations/{conversation}/items/{item}"),
    ("DELETE", "/v1/conversations/{conversation}/items/{item}"),
    ("DELETE", "/v1/conversations/{conversation}"),
];

fn id(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no id: {value}")).to_owned()
}

/// One of each, which belong to [`PLAIN`].
async fn belongings(gateway: &Gateway) -> Vec<(&'static str, String)> {
    let batch = made(gateway, &[line("a", "hello")], "24h").await;
    let done = when(gateway, &batch, "completed").await;
    let file = uploaded(gateway, PLAIN, "batch", &line("b", "hello")).await.json();
    let response = asked(gateway, PLAIN, "POST", "/v1/responses", Some(json!({"model": "m", "input": "hi"}))).await;
    let items = json!({"items": [{"role": "user", "content": "one"}]});
    let conversation = asked(gateway, PLAIN, "POST", "/v1/conversations", Some(items)).await.json();
    let conversation = id(&conversation["id"]);
    let listed = asked(gateway, PLAIN, "GET", &format!("/v1/conversations/{conversation}/items"), None).await.json();
    vec![
        ("{batch}", batch),
        ("{answers}", id(&done["output_file_id"])),
        ("{file}", id(&file["id"])),
        ("{response}", id(&response.json()["id"])),
        ("{conversation}", conversation),
        ("{item}", id(&listed["data"][0]["id"])),
    ]
}

fn body(method: &str, path: &str) -> Option<Value> {
    let items = json!({"items": [{"role": "user", "content": "mine now"}], "metadata": {"a": "b"}});
    (method == "POST").then(|| if path.contains("conversations") { items } else { json!({}) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idor_matrix() {
    let upstream = Upstream::start().await;
    echo(&upstream, &Gate::new());
    let gateway = Gateway::start(&config("anthropic", &upstream.url(), "")).await;
    let belongings = belongings(&gateway).await;
    let of = |route: &str| belongings.iter().fold(route.to_owned(), |path, (name, id)| path.replace(name, id));
    // [`KEY`] may use the provider's whole account, and still nothing of what the gateway keeps for somebody else.
    for key in [OTHER, KEY] {
        for (method, route) in ROUTES {
            let path = of(route);
            let theirs = asked(&gateway, key, method, &path, body(method, &path)).await;
            assert_eq!(theirs.status, 404, "{method} {route}: {}", theirs.text);
            // An id that never was is told in the same words.
            let nobodys = belongings.iter().fold(route.to_owned(), |path, (name, id)| {
                let end = id.len() - 4;
                path.replace(name, &format!("{}{}", &id[..end], id[end..].chars().rev().collect::<String>()))
            });
            let nobodys = asked(&gateway, key, method, &nobodys, body(method, &path)).await;
            assert_eq!(nobodys.status, 404, "{method} {route}: {}", nobodys.text);
        }
        for list in ["/v1/files", "/v1/batches"] {
            let listed = asked(&gateway, key, "GET", list, None).await.text;
            assert!(!belongings.iter().any(|(_, id)| listed.contains(id.as_str())), "{list}: {listed}");
        }
        // Nor may they be built upon.
        let chained = json!({"model": "m", "input": "and then?", "previous_response_id": of("{response}")});
        let chained = asked(&gateway, key, "POST", "/v1/responses", Some(chained)).await;
        assert!(matches!(chained.status, 400 | 404), "{}: {}", chained.status, chained.text);
        let batch =
            json!({"input_file_id": of("{file}"), "endpoint": "/v1/chat/completions", "completion_window": "24h"});
        let batch = asked(&gateway, key, "POST", "/v1/batches", Some(batch)).await;
        assert!(matches!(batch.status, 400 | 404), "{}: {}", batch.status, batch.text);
    }
    figure::note_at_least(
        "idor_matrix",
        "routes with an id, each asked by two others",
        ROUTES.len() as f64,
        "routes",
        17.0,
    );
    // Whose they are still has all of them: nobody changed or deleted anything.
    for (method, route) in ROUTES {
        let path = of(route);
        let own = asked(&gateway, PLAIN, method, &path, body(method, &path)).await;
        assert_ne!(own.status, 404, "{method} {route}: {}", own.text);
    }
    gateway.stop().await;
}

/// What is stored of a key opens nothing: whoever reads a backup has no key (GHSA-69x8-hrgq-fjj8).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hash_is_not_a_credential() {
    let upstream = Upstream::start().await;
    let (mut control, keys) = (Control::start(), identity(KEY));
    let options = Options {
        listen: Some("127.0.0.1:0".parse().expect("an address")),
        workers: Some(1),
        ..Options::new(Source::Fleet(control.endpoint()))
    };
    let feed = async {
        let (stream, _) = control.stream().await;
        stream.snapshot(Class::Topology, 1, &topology(upstream.addr())).await;
        stream.snapshot(Class::Identity, 1, &keys).await;
        stream
    };
    let (node, _stream) = tokio::join!(start(options), feed);
    let node = node.expect("the node starts");
    node.ready().await;
    let digest = keys.iter().find_map(|item| match &item.body {
        Some(Body::Key(key)) => Some(key.digest.clone()),
        _ => None,
    });
    let digest = digest.expect("a key");
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let pepper: String = "07".repeat(32);
    let (_, twice) = Peppers::new([(1, [7; 32])]).expect("a pepper").digest(&hex).expect("a digest");
    let twice: String = twice.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut shown = vec![hex.clone(), hex.to_uppercase(), format!("p1:{hex}"), format!("1:{hex}"), pepper, twice];
    shown.extend(["vk_1".to_owned(), "test".to_owned(), format!("sk-{hex}"), format!("gw_virt_{hex}")]);
    shown.push(KEY[..KEY.len() - 1].to_owned());
    shown.push(KEY.to_uppercase());
    for place in ["authorization", "x-api-key", "api-key", "x-goog-api-key"] {
        for credential in &shown {
            let value = if place == "authorization" { format!("Bearer {credential}") } else { credential.clone() };
            let request = client().get(format!("http://{}/v1/models", node.addr())).header(place, value);
            assert_eq!(read(request).await.status, 401, "{place}: {credential}");
        }
    }
    let good = read(client().get(format!("http://{}/v1/models", node.addr())).bearer_auth(KEY)).await;
    assert_eq!(good.status, 200);
}

/// Somebody who tries keys is seen in the log, and does not fill it: some records, and the others are counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_keys_leave_no_flood_of_records() {
    const N_TRIES: usize = 2_000;
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.url(), "")).await;
    let body = json!({"model": "m", "messages": []});
    let began = std::time::Instant::now();
    for n in 0..N_TRIES {
        let answer =
            asked(&gateway, &format!("sk-guess-{n:020}"), "POST", "/v1/chat/completions", Some(body.clone())).await;
        assert_eq!(answer.status, 401, "{}", answer.text);
    }
    let took = began.elapsed();
    assert!(upstream.requests().is_empty());
    // Whoever is known is logged as ever, behind all of that.
    let known = asked(&gateway, KEY, "GET", "/v1/files/none", None).await.status;
    assert_ne!(known, 401);
    gateway.records_of(1, |record| record["status"] == known).await;
    let records = gateway.records_of(1, |record| record["status"] == 401).await;
    let bound = 51 + usize::try_from(took.as_millis() / 100).expect("a short time");
    figure::note(
        "wrong_keys_leave_no_flood_of_records",
        "records of 2,000 wrong keys",
        records.len() as f64,
        "records",
        bound as f64,
    );
    assert!(records.len() <= bound, "{} records in {took:?}", records.len());
    assert!(bound < N_TRIES, "{took:?} is too long to tell");
    gateway.stop().await;
}
