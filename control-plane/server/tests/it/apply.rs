//! A file's whole configuration in one go.

use serde_json::{Value, json};

use crate::world::World;

fn resource(kind: &str, spec: Value) -> Value {
    json!({"kind": kind, "spec": spec})
}

fn file() -> Vec<Value> {
    vec![
        resource("model", json!({"name": "smart", "targets": [{"provider": "p", "model": "m"}]})),
        resource("provider", json!({"name": "p", "kind": "openai", "api_key": "sk-apply-0123456789"})),
        resource("route", json!({"name": "z", "model": "smart"})),
        resource("route", json!({"name": "a", "model": "smart"})),
        resource("key", json!({"name": "demo"})),
        resource("key", json!({"name": "imported", "secret": "an-imported-key-0123456789"})),
        resource("setting", json!({"chat": {"default_stream": true}})),
    ]
}

fn body(resources: Vec<Value>, prune: bool) -> Value {
    json!({"source": "gateway.yaml", "prune": prune, "resources": resources})
}

fn ops(answer: &Value) -> Vec<(String, String)> {
    let text = |change: &Value, field: &str| change[field].as_str().unwrap().to_owned();
    answer["changes"].as_array().unwrap().iter().map(|change| (text(change, "op"), text(change, "name"))).collect()
}

#[tokio::test]
async fn applying_twice_changes_nothing() {
    let world = World::new().await;
    let first = world.call("POST", "/admin/apply", body(file(), false)).await;
    assert!(!first.text.contains("sk-apply") && !first.text.contains("an-imported"), "{}", first.text);
    let first = first.expect(200);
    assert!(ops(&first).iter().all(|(op, _)| op == "create"), "{first}");
    let minted: Vec<&Value> = first["minted"].as_array().unwrap().iter().map(|minted| &minted["name"]).collect();
    assert_eq!(minted, ["demo"]);
    let again = world.call("POST", "/admin/apply", body(file(), true)).await.expect(200);
    assert!(ops(&again).iter().all(|(op, _)| op == "unchanged"), "{again}");
    assert_eq!((&again["revision"], &again["minted"]), (&first["revision"], &json!([])));
    assert_eq!(world.get("/admin/providers/p").await.expect(200)["owner"], "gateway.yaml");
}

#[tokio::test]
async fn the_order_of_routes_is_that_of_the_file() {
    let world = World::new().await;
    world.call("POST", "/admin/apply", body(file(), false)).await.expect(200);
    let mut resources = file();
    resources.swap(2, 3);
    let swapped = world.call("POST", "/admin/apply", body(resources, false)).await.expect(200);
    let changed: Vec<&Value> =
        swapped["changes"].as_array().unwrap().iter().filter(|change| change["op"] == "update").collect();
    assert_eq!(changed[0]["diff"], json!([{"path": "order", "before": 20, "after": 10}]));
    assert_eq!(world.get("/admin/routes/z").await.expect(200)["spec"]["order"], 20);
}

#[tokio::test]
async fn pruning_takes_only_what_the_file_owns() {
    let world = World::new().await;
    world
        .call("POST", "/admin/providers", json!({"name": "by-hand", "kind": "groq", "api_key": "gsk-0123456789"}))
        .await
        .expect(201);
    world.call("POST", "/admin/apply", body(file(), false)).await.expect(200);
    let rest: Vec<Value> = file().into_iter().take(2).collect();
    let kept = world.call("POST", "/admin/apply", body(rest.clone(), false)).await.expect(200);
    assert!(ops(&kept).iter().all(|(op, _)| op == "unchanged"));
    let dry = world.call("POST", "/admin/apply?dry_run=true", body(rest.clone(), true)).await.expect(200);
    world.get("/admin/routes/z").await.expect(200);
    let pruned = world.call("POST", "/admin/apply", body(rest, true)).await.expect(200);
    assert_eq!(dry["changes"], pruned["changes"]);
    let mut deleted: Vec<String> =
        ops(&pruned).into_iter().filter(|(op, _)| op == "delete").map(|(_, name)| name).collect();
    deleted.sort();
    assert_eq!(deleted, ["a", "demo", "imported", "settings", "z"]);
    for (path, status) in [("providers/by-hand", 200), ("keys/default", 200), ("providers/p", 200), ("routes/z", 404)] {
        world.get(&format!("/admin/{path}")).await.expect(status);
    }
    assert_eq!(world.get("/admin/settings").await.expect(200)["spec"], json!({}));
}

#[tokio::test]
async fn a_bad_file_is_refused_as_a_whole_with_all_that_is_wrong() {
    let world = World::new().await;
    let mut resources = file();
    resources.push(resource("provider", json!({"name": "q", "kind": "openai", "bogus": 1})));
    resources.push(resource("model", json!({"name": "n", "targets": "none"})));
    let refused = world.call("POST", "/admin/apply", body(resources, false)).await.refused(422, "invalid");
    let paths: Vec<&str> =
        refused["problems"].as_array().unwrap().iter().map(|problem| problem["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["providers[q].bogus", "models[n].targets"]);

    let mut resources = file();
    resources[0]["spec"]["targets"][0]["provider"] = json!("nobody");
    let refused = world.call("POST", "/admin/apply", body(resources, false)).await.refused(422, "invalid");
    assert_eq!(refused["problems"][0]["path"], "models[smart].targets[0].provider");

    let mut resources = file();
    resources.push(resources[1].clone());
    let refused = world.call("POST", "/admin/apply", body(resources, false)).await.refused(422, "invalid");
    assert_eq!(refused["problems"][0]["code"], "duplicate_name");
    assert_eq!(world.control.app().store.heads().await.unwrap().topology, 0);
}

#[tokio::test]
async fn a_secret_that_is_left_out_stays_and_a_new_one_shows_as_changed() {
    let world = World::new().await;
    world.call("POST", "/admin/apply", body(file(), false)).await.expect(200);
    let mut resources = file();
    resources[1]["spec"].as_object_mut().unwrap().remove("api_key");
    resources[5]["spec"].as_object_mut().unwrap().remove("secret");
    let kept = world.call("POST", "/admin/apply", body(resources.clone(), false)).await.expect(200);
    assert!(ops(&kept).iter().all(|(op, _)| op == "unchanged"), "{kept}");
    resources[1]["spec"]["api_key"] = json!("sk-other-abcdefghij");
    resources[5]["spec"]["secret"] = json!("another-imported-key-0123");
    let changed = world.call("POST", "/admin/apply", body(resources, false)).await;
    assert!(!changed.text.contains("sk-other") && !changed.text.contains("another-imported"));
    let changed = changed.expect(200);
    let diffs: Vec<&Value> = changed["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| change["op"] == "update")
        .map(|change| &change["diff"])
        .collect();
    assert_eq!((&diffs[0][0]["path"], &diffs[0][0]["after"]["last4"]), (&json!("api_key"), &json!("ghij")));
    assert_eq!(diffs[1][0]["path"], "secret");
}

#[tokio::test]
async fn a_large_file_is_applied_in_one_go() {
    let world = World::new().await;
    let providers = (0..1500).map(|n| {
        resource("provider", json!({"name": format!("p{n}"), "kind": "openai", "api_key": format!("sk-{n:016}")}))
    });
    let models = (0..1500).map(|n| {
        resource("model", json!({"name": format!("m{n}"), "targets": [{"provider": format!("p{n}"), "model": "x"}]}))
    });
    let resources: Vec<Value> = providers.chain(models).collect();
    let first = world.call("POST", "/admin/apply", body(resources.clone(), false)).await.expect(200);
    assert_eq!(first["revision"]["topology"], 1);
    let again = world.call("POST", "/admin/apply", body(resources, false)).await.expect(200);
    assert_eq!(again["revision"]["topology"], 1);
}
