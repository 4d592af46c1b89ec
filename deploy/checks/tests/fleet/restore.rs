//! A database restored from an older copy: the nodes know better, keep what they have, and say so, until a person declares the
//! copy to be the truth.

use gateway_testing::figure;
use serde_json::{Value, json};

use crate::eventually;
use crate::load::Load;
use crate::world::Fleet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn epoch_restore_regress() {
    const TEST: &str = "epoch_restore_regress";
    let Some(mut fleet) = Fleet::start(1, 2).await else { return };
    fleet.change("before").await;
    fleet.in_step().await;
    let copy = fleet.dump();
    fleet.change("after").await;
    let late = fleet.admin("POST", "/admin/keys", json!({"name": "late", "models": ["*"]})).await;
    let late = late["key"].as_str().expect("a key is shown once").to_owned();
    fleet.in_step().await;
    let address = fleet.nodes[0].address("base_url");
    let load = Load::start(address, &fleet.key, 20);
    let late_load = Load::start(fleet.nodes[1].address("base_url"), &late, 20);
    load.answered(20).await;

    fleet.control[0].stop().await;
    fleet.restore(&copy);
    fleet.control[0].start().await;
    let (_, regressed) = eventually("both nodes to be shown as regressed", || async {
        for node in 0..2 {
            let seen = fleet.seen(node).await;
            let has = |class: &str| seen[class]["status"] == "regressed";
            if seen["connected"] != true || !has("topology") || !has("identity") {
                return None;
            }
        }
        Some(())
    })
    .await;
    let shown = fleet.run(&["nodes"]).await;
    assert!(shown.contains("regressed"), "{shown}");
    // The key that the restored database has never heard of is good: a node never goes back.
    late_load.answered(20).await;
    // And a node that starts again has not forgotten either.
    let tally = load.finish().await;
    fleet.nodes[0].stop().await;
    fleet.nodes[0].start().await;
    let restarted = Load::start(address, &late, 20);
    restarted.answered(20).await;
    let late_tally = late_load.finish().await;
    let restarted = restarted.finish().await;

    fleet.run(&["db", "new-epoch", "--yes"]).await;
    let healed = fleet.in_step().await;
    let (_, forgotten) = eventually("the late key to be refused", || async {
        let reply = crate::http::send(address, "GET", "/v1/models", &late, String::new()).await.ok()?;
        (reply.status == 401).then_some(())
    })
    .await;
    let after = Load::start(address, &fleet.key, 20);
    after.answered(20).await;
    let failed = [&tally, &late_tally, &restarted, &after.finish().await].map(|tally| tally.failures.len());
    let providers = fleet.admin("GET", "/admin/providers", Value::Null).await;
    let names: Vec<_> = providers["data"].as_array().expect("a page").iter().map(|item| item["name"].clone()).collect();
    assert_eq!(names, ["before", "fake"], "the restored content is what counts now");

    figure::note(TEST, "failed requests", failed.iter().sum::<usize>() as f64, "requests", 0.0);
    figure::note(TEST, "regressed nodes shown", regressed.as_secs_f64(), "s", 35.0);
    figure::note(TEST, "nodes current after new-epoch", (healed + forgotten).as_secs_f64(), "s", 35.0);
    assert_eq!(failed, [0; 4], "{tally:?} {late_tally:?}");
    assert!(regressed.as_secs() < 35 && healed.as_secs() < 35, "{regressed:?} {healed:?}");
}
