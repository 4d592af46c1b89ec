//! Every kind of resource, written and read back.

use gateway_model::kind::Kind;
use serde_json::{Value, json};

use crate::world::World;

fn provider(name: &str) -> Value {
    json!({"name": name, "kind": "openai", "api_key": "sk-first-0123456789"})
}

fn model(name: &str, provider: &str) -> Value {
    json!({"name": name, "targets": [{"provider": provider, "model": "gpt-x"}]})
}

#[tokio::test]
async fn each_kind_is_made_read_changed_and_deleted() {
    let world = World::new().await;
    world.call("POST", "/admin/providers", provider("openai")).await.expect(201);
    world.call("POST", "/admin/models", model("base", "openai")).await.expect(201);
    let price = json!({"provider": "openai", "model": "gpt-x", "input_per_1m": "1.25", "output_per_1m": "10"});
    for (kind, name, document, patch, expected) in [
        (
            Kind::Provider,
            "groq",
            json!({"name": "groq", "kind": "groq", "api_key": "gsk-0123456789abc"}),
            json!({"headers": {"x-a": "b"}}),
            json!({"x-a": "b"}),
        ),
        (Kind::Model, "a/b:c", model("a/b:c", "openai"), json!({"description": "d"}), json!("d")),
        (
            Kind::Route,
            "r",
            json!({"name": "r", "match": {"path": "/v1/*"}, "model": "base"}),
            json!({"match": {"model": "gpt-*"}}),
            json!({"path": "/v1/*", "model": "gpt-*"}),
        ),
        (Kind::Price, "openai/gpt-x", price, json!({"output_per_1m": "11"}), json!("11")),
    ] {
        let plural = kind.plural();
        let made = world.call("POST", &format!("/admin/{plural}"), document.clone()).await.expect(201);
        assert_eq!(
            (&made["kind"], &made["name"], &made["change"]["op"]),
            (&json!(kind), &json!(name), &json!("create")),
            "{made}"
        );
        let path = format!("/admin/{plural}/{}", name.replace('/', "%2F"));
        let got = world.get(&path).await.expect(200);
        assert_eq!(
            (&got["id"], &got["revision"], &got["owner"]),
            (&made["id"], &made["change"]["revision"]["topology"], &Value::Null)
        );
        world.call("POST", &format!("/admin/{plural}"), document.clone()).await.refused(409, "exists");

        let field = patch.as_object().unwrap().keys().next().unwrap().clone();
        let patched = world.call("PATCH", &path, patch.clone()).await.expect(200);
        assert_eq!((&patched["spec"][&field], &patched["change"]["op"]), (&expected, &json!("update")), "{patched}");
        let again = world.call("PATCH", &path, patch).await.expect(200);
        assert_eq!((&again["change"]["op"], &again["revision"]), (&json!("unchanged"), &patched["revision"]));

        let put = world.call("PUT", &path, document).await.expect(200);
        assert_eq!((&put["id"], &put["created_at"]), (&made["id"], &made["created_at"]), "{put}");
        let listed = world.get(&format!("/admin/{plural}")).await.expect(200);
        assert!(listed["data"].as_array().unwrap().iter().any(|item| item["name"] == name), "{listed}");
        world.call("DELETE", &path, Value::Null).await.expect(204);
        world.get(&path).await.refused(404, "not_found");
        world.call("DELETE", &path, Value::Null).await.refused(404, "not_found");
        world.call("PATCH", &path, json!({})).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn settings_are_one_map() {
    let world = World::new().await;
    let none = world.get("/admin/settings").await.expect(200);
    assert_eq!((&none["spec"], &none["revision"]), (&json!({}), &json!(0)));
    let set = world
        .call("PATCH", "/admin/settings", json!({"chat": {"default_stream": true}, "retry": {"max_attempts": 2}}))
        .await
        .expect(201);
    assert_eq!(set["spec"], json!({"chat": {"default_stream": true}, "retry": {"max_attempts": 2}}));
    let less = world.call("PATCH", "/admin/settings", json!({"retry": null})).await.expect(200);
    assert_eq!(less["spec"], json!({"chat": {"default_stream": true}}));
    world.call("PUT", "/admin/settings", json!({})).await.expect(200);
    assert_eq!(world.get("/admin/settings").await.expect(200)["spec"], json!({}));
    let refused = world.call("PUT", "/admin/settings", json!({"guardrails": {}})).await.refused(422, "invalid");
    assert_eq!(refused["problems"][0]["code"], "unsupported_yet");
}

#[tokio::test]
async fn secrets_go_in_and_never_come_out() {
    let world = World::new().await;
    let made = world.call("POST", "/admin/providers", provider("p")).await;
    assert!(!made.text.contains("sk-first"), "{}", made.text);
    let first = made.expect(201)["secrets"]["api_key"].clone();
    assert_eq!((&first["set"], &first["last4"]), (&json!(true), &json!("6789")));

    // Not mentioned, it stays, whatever else changes.
    let put =
        world.call("PUT", "/admin/providers/p", json!({"kind": "openai", "headers": {"x-a": "b"}})).await.expect(200);
    assert_eq!(put["secrets"]["api_key"], first);
    let patched = world.call("PATCH", "/admin/providers/p", json!({"headers": null})).await.expect(200);
    assert_eq!(patched["secrets"]["api_key"], first);
    // The same again is no change.
    let same = world.call("PATCH", "/admin/providers/p", json!({"api_key": "sk-first-0123456789"})).await.expect(200);
    assert_eq!(same["change"]["op"], "unchanged");
    // Another one is, although the document is the same.
    let other = world.call("PATCH", "/admin/providers/p", json!({"api_key": "sk-second-abcdefgh"})).await;
    assert!(!other.text.contains("sk-second"));
    let other = other.expect(200);
    assert_eq!((&other["secrets"]["api_key"]["last4"], &other["change"]["op"]), (&json!("efgh"), &json!("update")));
    // Null takes it away.
    let local = json!({"kind": "ollama", "base_url": "http://127.0.0.1:11434", "allow_private_networks": true, "api_key": null});
    let cleared = world.call("PUT", "/admin/providers/p", local).await.expect(200);
    assert_eq!(cleared["secrets"], json!({}));
    assert!(!world.get("/admin/providers").await.text.contains("sk-"));
}

#[tokio::test]
async fn a_dry_run_does_everything_but_the_writing() {
    let world = World::new().await;
    let before = world.control.app().store.heads().await.unwrap();
    let dry = world.call("POST", "/admin/providers?dry_run=true", provider("p")).await.expect(201);
    assert_eq!(dry["change"]["op"], "create");
    world.get("/admin/providers/p").await.expect(404);
    world.call("POST", "/admin/models?dry_run=true", model("m", "nobody")).await.refused(422, "invalid");
    let key = world.call("POST", "/admin/keys?dry_run=true", json!({"name": "k"})).await.expect(201);
    assert_eq!(key.get("key"), None, "a key that was not stored must not look usable");
    world.call("POST", "/admin/providers", provider("p")).await.expect(201);
    let gone = world.call("DELETE", "/admin/providers/p?dry_run=true", Value::Null).await.expect(200);
    assert_eq!(gone["change"]["op"], "delete");
    world.get("/admin/providers/p").await.expect(200);
    assert_eq!(world.control.app().store.heads().await.unwrap().topology, before.topology + 1);
}

#[tokio::test]
async fn an_expected_revision_is_held_to() {
    let world = World::new().await;
    world.call("POST", "/admin/providers?expected_revision=0", provider("p")).await.expect(201);
    let refused =
        world.call("POST", "/admin/providers?expected_revision=0", provider("q")).await.refused(409, "conflict");
    assert!(refused["message"].as_str().unwrap().contains("at revision 1, not at 0"), "{refused}");
    world.call("PATCH", "/admin/providers/p?expected_revision=1", json!({"kind": "groq"})).await.expect(200);
}

#[tokio::test]
async fn a_waiting_write_says_what_the_nodes_did() {
    let world = World::new().await;
    let made = world.call("POST", "/admin/providers?wait=applied&timeout=1s", provider("p")).await.expect(201);
    assert_eq!(made["change"]["rollout"], json!({"applied": [], "rejected": [], "offline": [], "pending": []}));
    let gone = world.call("DELETE", "/admin/providers/p?wait=applied", Value::Null).await.expect(200);
    assert_eq!((&gone["change"]["op"], &gone["change"]["revision"]["topology"]), (&json!("delete"), &json!(2)));
}

#[tokio::test]
async fn what_others_refer_to_stays() {
    let world = World::new().await;
    world.call("POST", "/admin/providers", provider("p")).await.expect(201);
    world.call("POST", "/admin/models", model("m", "p")).await.expect(201);
    let refused = world.call("DELETE", "/admin/providers/p", Value::Null).await.refused(422, "invalid");
    assert_eq!(refused["message"], "provider `p` cannot be deleted while others refer to it");
    assert_eq!(refused["problems"][0]["path"], "models[m].targets[0].provider");
    world.get("/admin/providers/p").await.expect(200);
}

#[tokio::test]
async fn a_refusal_names_the_field_and_changes_nothing() {
    let world = World::new().await;
    for (plural, document, code, path) in [
        ("providers", json!({"name": "p", "kind": "openai", "api_ky": "x"}), "unknown_field", "providers[p].api_ky"),
        ("providers", json!({"name": "p", "kind": "openai", "capture": {}}), "unsupported_yet", "providers[p].capture"),
        (
            "providers",
            json!({"name": "p", "kind": "openai", "base_url": "http://example.com/v1"}),
            "insecure_destination",
            "providers[p].base_url",
        ),
        ("models", model("m", "nobody"), "unknown_reference", "models[m].targets[0].provider"),
        ("keys", json!({"name": "k", "limits": {"rpm": "many"}}), "invalid_value", "keys[k].limits.rpm"),
        ("keys", json!({"name": "k", "secret": "short"}), "invalid_value", "keys[k].secret"),
    ] {
        let answer = world.call("POST", &format!("/admin/{plural}"), document).await.refused(422, "invalid");
        let problem = &answer["problems"][0];
        assert_eq!((&problem["code"], &problem["path"]), (&json!(code), &json!(path)), "{answer}");
    }
    assert_eq!(world.control.app().store.heads().await.unwrap().topology, 0);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let world = World::new().await;
    for name in ["c", "a", "e", "b", "d"] {
        world.call("POST", "/admin/providers", provider(name)).await.expect(201);
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("/admin/providers?limit=2{after}")).await.expect(200);
        seen.extend(page["data"].as_array().unwrap().iter().map(|item| item["name"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn routes_without_a_place_go_to_the_end() {
    let world = World::new().await;
    world.call("POST", "/admin/providers", provider("p")).await.expect(201);
    let order = |answer: Value| answer["spec"]["order"].clone();
    let route = |name: &str| json!({"name": name, "model": "p/gpt-x"});
    assert_eq!(order(world.call("POST", "/admin/routes", route("a")).await.expect(201)), 10);
    assert_eq!(order(world.call("POST", "/admin/routes", route("b")).await.expect(201)), 20);
    assert_eq!(order(world.call("PATCH", "/admin/routes/a", json!({"order": 25})).await.expect(200)), 25);
    assert_eq!(order(world.call("PUT", "/admin/routes/b", route("b")).await.expect(200)), 20);
    assert_eq!(order(world.call("POST", "/admin/routes", route("c")).await.expect(201)), 35);
}

/// Many at once: each change is made from the one before it, none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_the_same_time_all_get_their_turn() {
    let world = std::sync::Arc::new(World::new().await);
    let writers: Vec<_> = (0..16)
        .map(|n| {
            let world = std::sync::Arc::clone(&world);
            tokio::spawn(async move {
                let made = world.call("POST", "/admin/providers", provider(&format!("p{n}"))).await.expect(201);
                made["revision"].as_u64().unwrap()
            })
        })
        .collect();
    let mut revisions = Vec::new();
    for writer in writers {
        revisions.push(writer.await.unwrap());
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=16).collect::<Vec<_>>());
    assert_eq!(world.get("/admin/providers").await.expect(200)["data"].as_array().unwrap().len(), 16);
}

#[tokio::test]
async fn warnings_come_with_the_answer() {
    let world = World::new().await;
    let doubtful = json!({"name": "p", "kind": "anthropic", "api_key": "sk-ant-0123456789", "base_url": "https://api.anthropic.com/v1"});
    let made = world.call("POST", "/admin/providers", doubtful).await.expect(201);
    let problem = &made["change"]["problems"][0];
    assert_eq!(
        (&problem["severity"], &problem["path"]),
        (&json!("warning"), &json!("providers[p].base_url")),
        "{made}"
    );
}
