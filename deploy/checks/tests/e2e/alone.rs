//! A node alone from a file, without a control plane.

use gateway_fake::Upstream;
use gateway_fake::reply::openai;

use crate::eventually;
use crate::gateway::{Place, config};

const KEYS: &str = "keys: [{name: app, secret: a-key-for-the-test-0123456789}]\n";

#[tokio::test]
async fn an_edited_file_serves_the_next_request_and_a_broken_one_keeps_the_old() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    first.respond_with(|received| openai::answer(received, "first upstream"));
    second.respond_with(|received| openai::answer(received, "second upstream"));
    let place = Place::new();
    place.write("gateway.yaml", &(config(&first.url()) + KEYS));
    let mut node = place.node(&[]).await;
    "a-key-for-the-test-0123456789".clone_into(&mut node.key);
    assert!(node.chat("m").await.text().contains("first upstream"));

    place.write("gateway.yaml", &(config(&second.url()) + KEYS));
    eventually("the edited file to serve", || async {
        node.chat("m").await.text().contains("second upstream").then_some(())
    })
    .await;

    place.write("gateway.yaml", "providers:\n  - nmae: x\n");
    eventually("the broken file to be reported", || async {
        place.read("node.log").contains("gateway.yaml:2").then_some(())
    })
    .await;
    assert!(node.chat("m").await.text().contains("second upstream"));

    let restart = format!("{}{KEYS}settings: {{server: {{idle_timeout: 5s}}}}\n", config(&second.url()));
    place.write("gateway.yaml", &restart);
    eventually("a word on what needs a restart", || async { place.read("node.log").contains("restart").then_some(()) })
        .await;
}

#[tokio::test]
async fn a_request_is_logged_without_its_prompt() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "words of the answer"));
    let place = Place::new();
    place.write("gateway.yaml", &(config(&upstream.url()) + KEYS));
    let mut node = place.node(&[]).await;
    "a-key-for-the-test-0123456789".clone_into(&mut node.key);
    let reply = node.chat("m").await;
    let id = reply.headers["x-request-id"].to_str().expect("a request has an id").to_owned();
    let log = eventually("the log record", || async {
        let log = place.read("node.log");
        log.contains(&id).then_some(log)
    })
    .await;
    for hidden in ["Say hello", "words of the answer", "a-key-for-the-test", "upstream-key-of-the-test"] {
        assert!(!log.contains(hidden), "{hidden:?} is in the log:\n{log}");
    }
}
