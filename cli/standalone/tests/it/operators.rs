//! Profiles and statistics of both planes in one process, for whoever has the operators' key.

use reqwest::Method;
use serde_json::Value;

use crate::deployments::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn profiles_take_the_operators_key_where_there_is_one_and_the_master_key_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("ops.key");
    std::fs::write(&file, "operators-0123456789\n").expect("written");
    for (has_key, pprof, expected) in [
        (true, true, [401, 200, 401]),
        (false, true, [200, 401, 401]),
        (true, false, [404, 404, 404]),
        (false, false, [404, 404, 404]),
    ] {
        let world = World::with(|options| {
            options.pprof = pprof;
            options.ops_key_file = has_key.then(|| file.clone());
        })
        .await;
        let (base, master) = (world.gateway.base_url(), world.gateway.master_key().expose().to_owned());
        let mut found = [0; 3];
        for (status, key) in found.iter_mut().zip([master.as_str(), "operators-0123456789", &world.key]) {
            (*status, _) =
                world.call_with(&base, key, Method::GET, "/debug/pprof/goroutine?debug=1", Value::Null).await;
        }
        assert_eq!(found, expected, "key: {has_key}, profiles: {pprof}");
        let (open, _) = world.call_with(&base, &world.key, Method::GET, "/statsz", Value::Null).await;
        assert_eq!(open, if has_key || pprof { 401 } else { 200 }, "key: {has_key}, profiles: {pprof}");
        world.gateway.shutdown().await;
    }
}
