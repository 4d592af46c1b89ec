//! Agents behind the gateway, by the Agent2Agent protocol.

use futures_util::StreamExt as _;
use gateway_fake::{Gate, PATIENCE, Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Gateway, KEY, read};

const NARROW: &str = "sk-narrow-0123456789abcdef";

fn config(url: &str, more: &str) -> String {
    format!(
        "a2a_agents:\n  - {{name: one, url: \"{url}/rpc/one\", api_key: agent-credential, methods: [\"message/*\", tasks/get], \
         headers: {{x-team: search}}, allow_private_networks: true}}\n{more}\
         keys:\n  - {{name: all, secret: {KEY}}}\n  - {{name: narrow, secret: {NARROW}, models: [a2a/two, m]}}\n"
    )
}

fn call(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

#[tokio::test]
async fn a2a() {
    let upstream = Upstream::start().await;
    let result = json!({"jsonrpc": "2.0", "id": 1, "result": {"kind": "message"}});
    upstream.push(Script::json(200, &result));
    let gateway = Gateway::start(&config(&upstream.url(), "")).await;
    let body = call("message/send", &json!({"message": {"role": "user"}}));
    let answer = read(gateway.post("/v1/a2a", &body).header("a2a-version", "0.3").header("cookie", "a=b")).await;
    assert_eq!((answer.status, answer.json()), (200, result), "{}", answer.text);
    let received = upstream.request(0).await;
    assert_eq!((received.method.as_str(), received.target.as_str()), ("POST", "/rpc/one"));
    assert_eq!(received.json(), body);
    let named = ["authorization", "x-team", "a2a-version", "cookie"].map(|name| received.header(name));
    assert_eq!(named, [Some("Bearer agent-credential"), Some("search"), Some("0.3"), None]);
    let record = &gateway.records(1).await[0];
    assert_eq!(
        [&record["model"], &record["provider"], &record["ending"]],
        ["a2a:one", "a2a:one", "finished"],
        "{record}"
    );
    // Its card leads back here.
    let card = json!({"name": "one", "url": format!("{}/rpc/one", upstream.url()), "skills": []});
    upstream.push(Script::json(200, &card));
    let path = "/v1/a2a/one/.well-known/agent-card.json";
    let told = read(gateway.client().get(gateway.url(path)).bearer_auth(KEY)).await;
    assert_eq!(told.json(), json!({"name": "one", "url": gateway.url("/v1/a2a/one"), "skills": []}));
    assert_eq!(upstream.request(1).await.target, "/.well-known/agent-card.json");
}

#[tokio::test]
async fn agents_stream_event_by_event() {
    let event =
        |n: u32| bytes::Bytes::from(format!("data: {{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{\"n\":{n}}}}}\n\n"));
    let (upstream, gate) = (Upstream::start().await, Gate::new());
    upstream.push(Script::sse_gated(&[event(1), event(2)], &gate));
    let gateway = Gateway::start(&config(&upstream.url(), "")).await;
    let reading = async {
        let asked = gateway.post("/v1/a2a/one", &call("message/stream", &json!({})));
        let mut stream = asked.send().await.expect("a head").bytes_stream();
        for n in 1..=2 {
            gate.release(1);
            assert_eq!(stream.next().await.expect("an event").expect("bytes"), event(n));
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("an event was held back");
}

#[tokio::test]
async fn agents_are_chosen_and_guarded() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| Script::json(200, &json!({"at": received.target})));
    let two = format!("  - {{name: two, url: \"{}\", allow_private_networks: true}}\n", upstream.url());
    let gateway = Gateway::start(&config(&upstream.url(), &two)).await;
    let send = call("message/send", &json!({}));
    let by_params = call("message/send", &json!({"metadata": {"agent": "two"}}));
    let cases = [
        (KEY, "/v1/a2a", None, &send, Err(400)),
        (KEY, "/v1/a2a/one", None, &send, Ok("/rpc/one")),
        (KEY, "/v1/a2a", Some("two"), &send, Ok("/")),
        (KEY, "/v1/a2a", None, &by_params, Ok("/")),
        (KEY, "/v1/a2a/one", Some("two"), &by_params, Ok("/rpc/one")),
        (NARROW, "/v1/a2a", None, &send, Ok("/")),
        (NARROW, "/v1/a2a/one", None, &send, Err(404)),
        (KEY, "/v1/a2a/three", None, &send, Err(404)),
        (KEY, "/v1/a2a/one", None, &call("tasks/cancel", &json!({})), Err(403)),
        (KEY, "/v1/a2a/two", None, &call("tasks/cancel", &json!({})), Ok("/")),
        (KEY, "/v1/a2a/two", None, &json!([send]), Err(400)),
        (KEY, "/v1/a2a/two", None, &json!({"jsonrpc": "2.0", "Method": "message/send"}), Err(400)),
        ("sk-nobody-0123456789abcdef", "/v1/a2a", None, &send, Err(401)),
    ];
    let mut n_asked = 0;
    for (key, path, header, body, expected) in cases {
        let request = gateway.client().post(gateway.url(path)).bearer_auth(key).json(body);
        let request = header.into_iter().fold(request, |request, name| request.header("x-gateway-agent", name));
        let answer = read(request).await;
        match expected {
            Ok(at) => {
                n_asked += 1;
                assert_eq!((answer.status, answer.json()), (200, json!({"at": at})), "{path}: {}", answer.text);
            }
            Err(status) => assert_eq!(answer.status, status, "{path} {body}: {}", answer.text),
        }
    }
    assert_eq!(upstream.requests().len(), n_asked);
}
