//! Deployments, as the seed's API has them: on the public listener beside `/v1`, with the master key, in force when it is answered.

use gateway_fake::Upstream;
use gateway_fake::reply::openai;
use gateway_model::document::decode;
use gateway_model::kind::Kind;
use gateway_standalone::{File, Options, Seed, Standalone};
use reqwest::Method;
use serde_json::{Value, json};

pub(crate) struct World {
    pub(crate) gateway: Standalone,
    upstreams: [Upstream; 2],
    pub(crate) client: reqwest::Client,
    pub(crate) key: String,
    _dir: tempfile::TempDir,
}

// === impl World ===

impl World {
    /// A model `m` over two upstreams, which share its requests.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let upstreams = [Upstream::start().await, Upstream::start().await];
        upstreams.iter().for_each(|upstream| upstream.respond_with(|received| openai::answer(received, "hello")));
        let provider = |name: &str, upstream: &Upstream| {
            let url = format!("{}/v1", upstream.url());
            let document =
                json!({"name": name, "kind": "openai-compatible", "base_url": url, "allow_private_networks": true});
            decode(Kind::Provider, document).expect("a provider")
        };
        let targets = json!([{"provider": "a", "model": "up"}, {"provider": "b", "model": "org/up"}]);
        let resources = vec![
            provider("a", &upstreams[0]),
            provider("b", &upstreams[1]),
            decode(Kind::Model, json!({"name": "m", "targets": targets})).expect("a model"),
        ];
        let dir = tempfile::tempdir().expect("a directory");
        let any = "127.0.0.1:0".parse().expect("an address");
        let mut options = Options {
            data_dir: dir.path().join("up"),
            listen: Some(any),
            tls: None,
            ops_listen: None,
            ops_key_file: None,
            pprof: false,
            ops_tls: None,
            admin_listen: any,
            admin_tls: None,
            fleet_listen: Some(any),
            fleet_hosts: Vec::new(),
            database_url: None,
            logs_database: None,
            kek_file: None,
            master_key_file: None,
            otlp: None,
            workers: Some(1),
            seed: Seed::File(File { owner: "test".to_owned(), resources }),
        };
        change(&mut options);
        let gateway = gateway_standalone::start(options).await.expect("it starts");
        // Installed by another test, it is the same one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let key = gateway.minted_key().expect("a key").expose().to_owned();
        Self { gateway, upstreams, client, key, _dir: dir }
    }

    /// On the public listener, with the master key.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let key = self.gateway.master_key().expose().to_owned();
        self.call_with(&self.gateway.base_url(), &key, method, path, body).await
    }

    pub(crate) async fn call_with(
        &self,
        base: &str,
        key: &str,
        method: Method,
        path: &str,
        body: Value,
    ) -> (u16, Value) {
        let request = self.client.request(method, format!("{base}{path}")).bearer_auth(key);
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
    }

    /// Asks so many times; how often each upstream was asked by that.
    async fn ask(&self, n_times: usize) -> [usize; 2] {
        let before = self.upstreams.each_ref().map(|upstream| upstream.requests().len());
        let question = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
        for _ in 0..n_times {
            let asked = self.client.post(format!("{}/v1/chat/completions", self.gateway.base_url()));
            let answer = asked.bearer_auth(&self.key).json(&question).send().await.expect("an answer");
            assert_eq!(answer.status(), 200);
        }
        [0, 1].map(|at| self.upstreams[at].requests().len() - before[at])
    }
}

fn states(answer: &Value) -> Vec<(&str, bool)> {
    let rows = answer["data"].as_array().expect("a list").iter();
    rows.map(|row| (row["provider"].as_str().unwrap_or_default(), row["is_active"] == true)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deployments_list_disable_enable() {
    let world = World::new().await;
    let (status, listed) = world.call(Method::GET, "/admin/deployments", Value::Null).await;
    assert_eq!((status, states(&listed)), (200, vec![("a", true), ("b", true)]), "{listed}");
    assert_eq!(world.ask(20).await, [10, 10]);

    let which = json!({"model_alias": "m", "provider": "a"});
    let (status, switched) = world.call(Method::POST, "/admin/deployments/disable", which).await;
    assert_eq!((status, states(&switched)), (200, vec![("a", false)]), "{switched}");
    assert_eq!(world.ask(20).await, [0, 20], "no request after the answer");

    // The other one by its id; then nobody is left.
    let id = json!({"id": listed["data"][1]["id"]});
    assert_eq!(world.call(Method::POST, "/admin/deployments/disable", id.clone()).await.0, 200);
    let asked = world.client.post(format!("{}/v1/chat/completions", world.gateway.base_url()));
    let asked =
        asked.bearer_auth(&world.key).json(&json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}));
    let refused: Value = asked.send().await.expect("an answer").json().await.expect("JSON");
    let message = refused["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("is disabled"), "{refused}");
    assert_eq!(world.call(Method::POST, "/admin/deployments/enable", id).await.0, 200);
    let (_, again) = world.call(Method::POST, "/admin/deployments/enable", json!({"model": "m"})).await;
    assert_eq!(states(&again), [("a", true), ("b", true)], "{again}");
    assert_eq!(world.ask(20).await, [10, 10]);

    let admin = world.gateway.admin_url();
    let key = world.gateway.master_key().expose().to_owned();
    let (_, audit) = world.call_with(&admin, &key, Method::GET, "/admin/audit", Value::Null).await;
    let actions: Vec<_> = audit["data"].as_array().expect("a list").iter().map(|row| row["action"].clone()).collect();
    assert_eq!(actions[..4], ["enable", "enable", "disable", "disable"], "{audit}");
    world.gateway.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deployments_are_the_operators_business() {
    let world = World::new().await;
    let disable = "/admin/deployments/disable";
    let all = json!({"model_alias": "m"});
    let base = world.gateway.base_url();
    for (key, path, body, expected) in [
        ("nobody", disable, &all, 401),
        (&world.key, disable, &all, 403),
        (world.gateway.master_key().expose(), disable, &json!({}), 400),
        (world.gateway.master_key().expose(), disable, &json!({"modle": "m"}), 400),
        (world.gateway.master_key().expose(), disable, &json!({"model_alias": "nobody"}), 404),
        // Nothing else of the admin API is to be had here.
        (world.gateway.master_key().expose(), "/admin/providers", &all, 404),
        (world.gateway.master_key().expose(), "/admin/deploymentsx", &all, 404),
    ] {
        let (status, answer) = world.call_with(&base, key, Method::POST, path, body.clone()).await;
        assert_eq!(status, expected, "{path} {body}: {answer}");
    }
    assert_eq!(world.ask(2).await, [1, 1]);
    world.gateway.shutdown().await;
}
