//! Keys, as the seed's API has them: on the public listener beside `/v1`, in force when it is answered; and what strangers are told.

use reqwest::Method;
use serde_json::{Value, json};

use crate::deployments::World;

const PLACES: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

/// Asks the model with the credential in these headers.
async fn ask(world: &World, headers: &[(&str, &[u8])]) -> (u16, Value) {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    let mut request = world.client.post(format!("{}/v1/chat/completions", world.gateway.base_url())).json(&body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.expect("an answer");
    (response.status().as_u16(), response.json().await.expect("JSON"))
}

async fn status(world: &World, key: &str) -> u16 {
    ask(world, &[("x-api-key", key.as_bytes())]).await.0
}

fn presented(place: &str, key: &str) -> String {
    if place == "authorization" { format!("Bearer {key}") } else { key.to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_made_changed_and_deleted_beside_v1_and_in_force_at_once() {
    let world = World::new().await;
    let (made, key) =
        world.call(Method::POST, "/admin/keys", json!({"name": "ci", "models": ["m"], "limits": {"rpm": 1000}})).await;
    assert_eq!(made, 201, "{key}");
    let (id, secret) = (key["id"].as_str().expect("an id"), key["key"].as_str().expect("a secret"));
    let one = format!("/admin/keys/{id}");
    assert_eq!(status(&world, secret).await, 200);
    for path in ["/admin/keys", &one, "/admin/spend?group_by=key"] {
        let (status, answer) = world.call(Method::GET, path, Value::Null).await;
        assert_eq!((status, answer.to_string().contains(secret)), (200, false), "{path}");
    }
    for (patch, expected) in [
        (json!({"enabled": false}), 401),
        (json!({"enabled": true}), 200),
        (json!({"models": ["other"]}), 403),
        (json!({"models": ["*"], "limits": {"rpm": 900}}), 200),
        (json!({"expires_at": "2020-01-01T00:00:00Z"}), 401),
        (json!({"expires_at": null}), 200),
    ] {
        let (patched, answer) = world.call(Method::PATCH, &one, patch.clone()).await;
        assert_eq!((patched, status(&world, secret).await), (200, expected), "{patch}: {answer}");
    }
    let (_, rotated) = world.call(Method::POST, &format!("{one}/rotate"), json!({"overlap": "1h"})).await;
    let second = rotated["key"].as_str().expect("a secret");
    assert_eq!((status(&world, secret).await, status(&world, second).await), (200, 200));
    let (_, again) = world.call(Method::POST, &format!("{one}/rotate"), json!({"overlap": "0s"})).await;
    let third = again["key"].as_str().expect("a secret");
    assert_eq!(
        (status(&world, secret).await, status(&world, second).await, status(&world, third).await),
        (401, 401, 200)
    );
    assert_eq!(world.call(Method::DELETE, &one, Value::Null).await.0, 204);
    assert_eq!(status(&world, third).await, 401, "the very next request");
    assert_eq!(world.call(Method::GET, &one, Value::Null).await.0, 404);

    let (generated, answer) = world.call(Method::POST, "/key/generate", json!({"key_alias": "alias"})).await;
    assert_eq!((generated, status(&world, answer["key"].as_str().expect("a secret")).await), (200, 200), "{answer}");
    for path in ["/admin/keys", "/key/info?key=ci", "/v1/management/keys", "/admin/spend"] {
        let base = world.gateway.base_url();
        let with = async |key: &str| world.call_with(&base, key, Method::GET, path, Value::Null).await.0;
        assert_eq!((with("nobody").await, with(&world.key).await), (401, 403), "{path}");
    }
    world.gateway.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_header_equivalence() {
    let world = World::new().await;
    let (_, off) = world.call(Method::POST, "/admin/keys", json!({"name": "off", "enabled": false})).await;
    let (_, narrow) = world.call(Method::POST, "/admin/keys", json!({"name": "narrow", "models": ["other"]})).await;
    let (off, narrow) = (off["key"].as_str().expect("a secret"), narrow["key"].as_str().expect("a secret"));
    for (key, expected) in
        [(world.key.as_str(), 200), (off, 401), (narrow, 403), ("gw_virt_nobody", 401), ("short", 401)]
    {
        let mut answers = Vec::new();
        for place in PLACES {
            let (status, answer) = ask(&world, &[(place, presented(place, key).as_bytes())]).await;
            assert_eq!(status, expected, "{place}: {answer}");
            answers.push(answer["error"].clone());
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    }
    // In two places: the same one is fine, different ones are nobody's, whichever is good.
    for first in PLACES {
        for second in PLACES.into_iter().filter(|second| *second != first) {
            let good = (presented(first, &world.key), presented(second, &world.key));
            assert_eq!(ask(&world, &[(first, good.0.as_bytes()), (second, good.1.as_bytes())]).await.0, 200);
            let other = presented(second, off);
            assert_eq!(
                ask(&world, &[(first, good.0.as_bytes()), (second, other.as_bytes())]).await.0,
                400,
                "{first} {second}"
            );
        }
    }
    world.gateway.shutdown().await;
}

/// A thousand of them: what has opened databases elsewhere, in pieces and put together.
fn payloads() -> Vec<Vec<u8>> {
    let opens = ["'", "\"", "')", "\\'", "%27", "1", "gw_virt_", "`", "'/**/", "\u{2019}"];
    let middles = [
        " OR 1=1",
        " OR 'a'='a",
        " UNION SELECT digest FROM config_item",
        "; DROP TABLE config_item",
        " AND SLEEP(5)",
        "||pg_sleep(5)",
        " AND 1=CAST((SELECT 1) AS INT)",
        "${jndi:ldap://x}",
        "{{7*7}}",
        "$1",
    ];
    let ends = ["", "--", "#", "/*", ";", " -- -", "'", "\")", "\u{0}", "\u{ff}"];
    let mut all = Vec::new();
    for open in opens {
        for middle in middles {
            // A header holds no NUL.
            all.extend(ends.map(|end| format!("{open}{middle}{end}").replace('\0', "\t").into_bytes()));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auth_sql_injection() {
    let world = World::new().await;
    let payloads = payloads();
    assert_eq!(payloads.len(), 1000);
    let mut seen = std::collections::BTreeMap::<(u16, String), usize>::new();
    for (number, payload) in payloads.iter().enumerate() {
        let place = PLACES[number % PLACES.len()];
        let mut value = if place == "authorization" { b"Bearer ".to_vec() } else { Vec::new() };
        value.extend(payload);
        let (status, answer) = ask(&world, &[(place, &value)]).await;
        *seen.entry((status, answer["error"]["message"].as_str().unwrap_or_default().to_owned())).or_default() += 1;
        let admin = world.client.get(format!("{}/admin/keys", world.gateway.admin_url()));
        let admin =
            admin.header("authorization", [b"Bearer ", payload.as_slice()].concat()).send().await.expect("an answer");
        let (status, body) = (admin.status().as_u16(), admin.text().await.expect("text"));
        *seen.entry((status, body)).or_default() += 1;
    }
    // One answer on each listener for all that is text, one more where it is none or a mistyped key of ours.
    assert!(seen.keys().all(|(status, _)| *status == 401), "{seen:?}");
    assert!(seen.len() <= 4, "{seen:?}");
    assert_eq!(status(&world, &world.key).await, 200, "nothing has come of it");
    assert_eq!(world.call(Method::GET, "/admin/keys", Value::Null).await.1["data"].as_array().map(Vec::len), Some(1));
    world.gateway.shutdown().await;
}
