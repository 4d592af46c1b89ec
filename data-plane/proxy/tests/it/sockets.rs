//! The WebSocket mode of the Responses API, with a real client.

use futures_util::{SinkExt as _, StreamExt as _};
use gateway_fake::reply::anthropic;
use gateway_fake::{Gate, PATIENCE, Script, Upstream};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::gateway::{Gateway, KEY, anthropic_at, read};
use crate::pass::OTHER;
use crate::stored::{counting, texts, two_tenants};

pub(crate) struct Client(WebSocketStream<TcpStream>);

/// Connects with a key and further headers; the status where it is refused.
pub(crate) async fn connect(gateway: &Gateway, key: &str, more: &[(&'static str, &str)]) -> Result<Client, u16> {
    let url = gateway.url("/v1/responses").replacen("http", "ws", 1);
    let mut request = url.as_str().into_client_request().expect("a request");
    let headers = [("authorization", format!("Bearer {key}"))];
    let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
    for (name, value) in headers.into_iter().chain(more) {
        request.headers_mut().insert(name, value.parse().expect("a value"));
    }
    let address = gateway.url("");
    let stream = TcpStream::connect(address.trim_start_matches("http://")).await.expect("it listens");
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((stream, _)) => Ok(Client(stream)),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("no handshake: {error}"),
    }
}

// === impl Client ===

impl Client {
    async fn send(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).await.expect("it reads");
    }

    async fn next(&mut self) -> Message {
        let next = tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a message in time");
        next.expect("an open connection").expect("a whole message")
    }

    /// The next event.
    async fn event(&mut self) -> Value {
        let message = self.next().await;
        serde_json::from_str(message.to_text().expect("text")).expect("JSON")
    }

    /// The events of one answer.
    async fn answer(&mut self) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let event = self.event().await;
            let is_last = matches!(event["type"].as_str(), Some("response.completed" | "error"));
            events.push(event);
            if is_last {
                return events;
            }
        }
    }

    /// Asks, and gives back the last event of the answer.
    async fn ask(&mut self, message: Value) -> Value {
        self.send(&message).await;
        self.answer().await.pop().expect("events")
    }

    /// Asks for a text behind `previous` and gives back the id of the answer.
    pub(crate) async fn said(&mut self, input: &str, previous: Option<&str>) -> String {
        let last = self.ask(create(input, previous)).await;
        assert_eq!(last["type"], "response.completed", "{last}");
        last["response"]["id"].as_str().expect("an id").to_owned()
    }

    pub(crate) async fn code(&mut self) -> CloseCode {
        loop {
            if let Message::Close(frame) = self.next().await {
                return frame.expect("a reason").code;
            }
        }
    }
}

fn create(input: &str, previous: Option<&str>) -> Value {
    json!({"type": "response.create", "model": "m", "input": input, "store": false, "previous_response_id": previous})
}

async fn started() -> (Upstream, Gateway) {
    let upstream = Upstream::start().await;
    counting(&upstream);
    let gateway = Gateway::start(&two_tenants(anthropic_at(&upstream.url()))).await;
    (upstream, gateway)
}

#[tokio::test]
async fn responses_websocket() {
    let (upstream, gateway) = started().await;
    let mut client = connect(&gateway, KEY, &[]).await.expect("a socket");
    for message in [
        json!({"type": "response.create", "model": "m", "input": "hi", "stream": false}),
        json!({"type": "response.create", "response": {"model": "m", "input": "hi"}}),
    ] {
        client.send(&message).await;
        let events = client.answer().await;
        let names: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
        assert_eq!(
            (names[0], names[1], names[2]),
            ("response.created", "response.in_progress", "response.output_item.added")
        );
        assert!(names.contains(&"response.output_text.delta"), "{names:?}");
        let numbers: Vec<u64> = events.iter().filter_map(|event| event["sequence_number"].as_u64()).collect();
        assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    }
    // What is wrong is told, and the connection goes on.
    for (message, status, code) in [
        (json!({"type": "response.create", "model": "none", "input": "x"}), 404, "model_not_found"),
        (json!({"type": "response.create", "input": "x"}), 400, "invalid_request"),
        (json!({"type": "session.update"}), 400, "invalid_request"),
    ] {
        let error = client.ask(message).await;
        assert_eq!(
            (&error["type"], &error["status"], &error["error"]["code"]),
            (&json!("error"), &json!(status), &json!(code))
        );
        assert!(error["error"]["message"].is_string() && error["error"]["type"].is_string(), "{error}");
    }
    // Two requests, each with its record.
    assert_eq!(upstream.requests().len(), 2);
    let records = gateway.records(4).await;
    let endings: Vec<&str> = records.iter().filter_map(|record| record["ending"].as_str()).collect();
    assert_eq!(endings, ["finished", "finished", "refused", "refused"]);
    assert_eq!(records[0]["tokens"]["output"], records[1]["tokens"]["output"]);
    assert!(records[0]["tokens"]["output"].as_u64() > Some(0), "{}", records[0]);
    // An answer is there for others to see where `store` says so.
    let id =
        client.ask(json!({"type": "response.create", "model": "m", "input": "kept"})).await["response"]["id"].take();
    let path = format!("/v1/responses/{}", id.as_str().expect("an id"));
    assert_eq!(read(gateway.client().get(gateway.url(&path)).bearer_auth(KEY)).await.status, 200);
}

/// Who is let in, and what ends a connection.
#[tokio::test]
async fn a_socket_is_for_who_may_and_ends_with_a_reason() {
    let (_upstream, gateway) = started().await;
    assert_eq!(connect(&gateway, "sk-nobody", &[]).await.err(), Some(401));
    assert_eq!(connect(&gateway, KEY, &[("sec-websocket-version", "12")]).await.err(), Some(426));
    let plain = read(gateway.client().get(gateway.url("/v1/responses")).bearer_auth(KEY)).await;
    assert_eq!((plain.status, plain.header("upgrade")), (426, Some("websocket")));
    let mut binary = connect(&gateway, KEY, &[("origin", "https://any.example.com")]).await.expect("a socket");
    binary.0.send(Message::binary(vec![1])).await.expect("sent");
    assert_eq!(binary.code().await, CloseCode::Unsupported);
    let mut large = connect(&gateway, KEY, &[]).await.expect("a socket");
    large.0.feed(Message::text("x".repeat(11 * 1024 * 1024))).await.expect("taken");
    let _ = large.0.flush().await;
    assert_eq!(large.code().await, CloseCode::Size);
    let mut pinged = connect(&gateway, KEY, &[]).await.expect("a socket");
    pinged.0.send(Message::Ping("a".into())).await.expect("sent");
    assert_eq!(pinged.next().await, Message::Pong("a".into()));
    let closing = tokio::spawn(gateway.stop());
    assert_eq!(pinged.code().await, CloseCode::Away);
    closing.await.expect("stopped");

    let upstream = Upstream::start().await;
    let config = format!(
        "{}settings: {{server: {{cors_origins: [\"https://app.example.com\"]}}}}\n",
        anthropic_at(&upstream.url())
    );
    let gateway = Gateway::start(&two_tenants(config)).await;
    assert_eq!(connect(&gateway, KEY, &[("origin", "https://evil.example.com")]).await.err(), Some(403));
    assert!(connect(&gateway, KEY, &[("origin", "https://app.example.com")]).await.is_ok());
}

#[tokio::test]
async fn ws_one_at_a_time() {
    let upstream = Upstream::start().await;
    let gate = Gate::new();
    upstream.push(Script::sse_gated(&anthropic::stream("own-name", "first", 7), &gate));
    upstream.push(Script::sse(&anthropic::stream("own-name", "second", 7)));
    let gateway = Gateway::start(&anthropic_at(&upstream.url())).await;
    let mut client = connect(&gateway, KEY, &[]).await.expect("a socket");
    client.send(&create("one", None)).await;
    client.send(&create("two", None)).await;
    // The answer to this comes behind the frames before it: both have been read.
    client.0.send(Message::Ping("read".into())).await.expect("sent");
    upstream.request(0).await;
    while client.next().await != Message::Pong("read".into()) {}
    assert_eq!(upstream.requests().len(), 1, "the second waits for the first");
    gate.open();
    let first = client.answer().await.pop().expect("events");
    assert_eq!(first["response"]["output"][0]["content"][0]["text"], "first", "{first}");
    let second = client.answer().await;
    assert_eq!(second[0]["type"], "response.created", "whole, behind the first");
    assert_eq!(second.last().expect("events")["response"]["output"][0]["content"][0]["text"], "second");
    assert_eq!(texts(&upstream.request(1).await.json()["messages"]), "user: two");
    // Who leaves in the middle of an answer leaves the upstream too.
    let hanging = Script::sse_head().chunk(&anthropic::stream("own-name", "x", 7)[0]).hang();
    upstream.push(hanging);
    client.send(&create("three", None)).await;
    assert_eq!(client.event().await["type"], "response.created");
    drop(client);
    upstream.ending(2).await;
    assert_eq!(gateway.records(3).await[2]["ending"], "client_gone");
}

#[tokio::test]
async fn ws_previous_id_same_connection() {
    let (upstream, gateway) = started().await;
    let mut client = connect(&gateway, KEY, &[]).await.expect("a socket");
    let first = client.said("one", None).await;
    let second = client.said("two", Some(&first)).await;
    assert_eq!(texts(&upstream.request(1).await.json()["messages"]), "user: one; assistant: answer 1; user: two");
    // From elsewhere it is not there, also for the same key, and the connection stays open.
    for key in [KEY, OTHER] {
        let mut other = connect(&gateway, key, &[]).await.expect("a socket");
        let error = other.ask(create("x", Some(&second))).await;
        let told = (&error["status"], &error["error"]["code"], &error["error"]["param"]);
        assert_eq!(
            told,
            (&json!(400), &json!("previous_response_not_found"), &json!("previous_response_id")),
            "{error}"
        );
        other.said("y", None).await;
    }
    // Nothing is asked to warm up, and what it said is gone on from.
    let n_asked = upstream.requests().len();
    let warm = json!({"type": "response.create", "model": "m", "generate": false, "input": "warm"});
    let warm = client.ask(warm).await["response"].take();
    let id = warm["id"].as_str().expect("an id");
    assert!(id.starts_with("resp_ws_") && warm["status"] == "completed", "{warm}");
    assert_eq!(upstream.requests().len(), n_asked);
    client.said("next", Some(id)).await;
    assert_eq!(texts(&upstream.request(n_asked).await.json()["messages"]), "user: warm next");
    // What failed to go on is forgotten.
    upstream.push(Script::json(400, &anthropic::error("invalid_request_error", "no")));
    assert_eq!(client.ask(create("x", Some(&second))).await["status"], 400);
    let error = client.ask(create("x", Some(&second))).await;
    assert_eq!(error["error"]["code"], "previous_response_not_found", "{error}");
}

#[tokio::test]
async fn ws_all_earlier_ids_not_only_last() {
    let (upstream, gateway) = started().await;
    let mut client = connect(&gateway, KEY, &[]).await.expect("a socket");
    let mut ids = Vec::new();
    for input in ["one", "two", "three"] {
        ids.push(client.said(input, None).await);
    }
    for (n, id) in ids.iter().enumerate() {
        client.said("again", Some(id)).await;
        let sent = texts(&upstream.request(3 + n).await.json()["messages"]);
        let first = ["one", "two", "three"][n];
        assert_eq!(sent, format!("user: {first}; assistant: answer {}; user: again", n + 1));
    }
}

#[tokio::test]
async fn ws_session_id_generated() {
    let (upstream, gateway) = started().await;
    let mut sessions = Vec::new();
    for given in [None, None, Some("mine")] {
        let headers: Vec<_> = given.into_iter().map(|session| ("x-lunargate-sessionid", session)).collect();
        let mut client = connect(&gateway, KEY, &headers).await.expect("a socket");
        for input in ["one", "two"] {
            client.said(input, None).await;
            let received = upstream.requests().pop().expect("a request");
            sessions.push(received.header("x-lunargate-sessionid").expect("a session").to_owned());
        }
    }
    for pair in sessions.chunks(2) {
        assert_eq!(pair[0], pair[1], "one for the whole connection");
    }
    assert!(sessions[0].strip_prefix("wsresp_").is_some_and(|id| id.len() == 36), "{}", sessions[0]);
    assert_ne!(sessions[0], sessions[2]);
    assert_eq!(sessions[4], "mine");
    let records = gateway.records(6).await;
    let logged: Vec<&str> = records.iter().filter_map(|record| record["session_id"].as_str()).collect();
    assert_eq!(logged, sessions);
}
