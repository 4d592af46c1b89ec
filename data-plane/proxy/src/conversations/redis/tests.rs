//! The store over a real server: two nodes share what they keep, each with its own connection.

use gateway_testing::Redis as Server;

use super::*;
use crate::clock::unix_ms;
use crate::task::spawn_job;

fn key(owner: &str, id: &str) -> Key {
    Key::new(&owner.into(), id)
}

fn turn(response: &'static str, until_ms: i64) -> Entry {
    let turn = Turn { response: Bytes::from_static(response.as_bytes()), input: Bytes::from_static(b"[\"\\n\"]") };
    Entry { kept: Kept::Here(turn), until_ms }
}

/// A node that has written what it was given when the handle ends.
fn node(server: &Server) -> (Redis, tokio::task::JoinHandle<()>) {
    let (redis, writing) = Redis::open(&server.url()).expect("a URL");
    (redis, spawn_job(writing.run()))
}

async fn found(redis: &Redis, key: &Key, now_ms: i64) -> Option<Arc<Entry>> {
    redis.get(key, now_ms).await.expect("the server is there")
}

#[tokio::test]
async fn what_one_node_keeps_every_node_finds() {
    let Some(server) = Server::launch() else { return };
    let soon = unix_ms() + 60_000;
    let at = Entry { kept: Kept::At { provider: "openai".into() }, until_ms: soon };
    let (first, writing) = node(&server);
    first.put(key("a", "1"), turn("{\"status\":\"queued\"}", soon));
    assert!(found(&first, &key("a", "1"), 0).await.is_some(), "it is found before it is written");
    first.put(key("a", "1"), turn("{\n\"id\":1}", soon));
    first.put(key("a", "2"), at.clone());
    first.put(key("a", "2").beside("alive"), turn("{}", soon));
    first.put(key("b", "odd/id \r\n\0"), turn("{}", soon));
    first.put(key("a", "late"), turn("{}", unix_ms() - 1));
    drop(first);
    writing.await.expect("everything is written");

    let (second, writing) = node(&server);
    for (owner, id, now_ms, expected) in [
        ("a", "1", 0, Some(turn("{\n\"id\":1}", soon))),
        ("a", "2", 0, Some(at)),
        ("b", "odd/id \r\n\0", 0, Some(turn("{}", soon))),
        ("a", "late", 0, None),
        ("a", "1", soon, None),
        ("b", "1", 0, None),
        ("a", "3", 0, None),
    ] {
        let found = found(&second, &key(owner, id), now_ms).await;
        assert_eq!(found.as_deref(), expected.as_ref(), "{owner} {id} at {now_ms}");
    }
    second.remove(&key("a", "1")).await;
    second.remove(&key("a", "3")).await;
    let (third, _writing) = node(&server);
    assert_eq!(found(&third, &key("a", "1"), 0).await, None, "removed for all");
    assert!(found(&third, &key("a", "2"), 0).await.is_some());
    drop(second);
    writing.await.expect("it ends");
}

#[tokio::test]
async fn a_server_that_comes_back_gets_what_was_kept_meanwhile() {
    let Some(mut server) = Server::launch() else { return };
    let (redis, writing) = node(&server);
    let soon = unix_ms() + 60_000;
    redis.put(key("a", "1"), turn("{}", soon));
    redis.remove(&key("a", "none")).await;
    server.stop();
    redis.put(key("a", "2"), turn("{}", soon));
    assert!(found(&redis, &key("a", "2"), 0).await.is_some(), "this node has it still");
    let failure = redis.get(&key("a", "1"), 0).await.expect_err("nobody knows whether it is there");
    assert_eq!((failure.code, failure.status), (Code::StoreAway, 503));
    server.start();
    let (other, _writing) = node(&server);
    let mut there = None;
    // Changes go in order, and each of these waits for its turn.
    for _ in 0..30 {
        redis.remove(&key("a", "none")).await;
        there = found(&other, &key("a", "2"), 0).await;
        if there.is_some() {
            break;
        }
    }
    assert_eq!(there.as_deref(), Some(&turn("{}", soon)));
    drop(redis);
    writing.await.expect("it ends");
}

#[test]
fn what_is_not_ours_is_not_there() {
    let entry = turn("{}", 7);
    assert_eq!(decoded(encoded(&entry)), Some(entry));
    for text in [
        "",
        "\n",
        "{}\n",
        "{\"version\":2,\"until_ms\":1,\"n_response\":0}\n",
        "{\"version\":1,\"until_ms\":1,\"n_response\":9}\nx",
    ] {
        assert_eq!(decoded(text.into()), None, "{text}");
    }
}

#[tokio::test]
async fn an_error_about_the_url_keeps_its_password() {
    let Err(error) = Redis::open("http://user:hidden-word@localhost") else { panic!("that is no Redis") };
    assert!(!format!("{error} {error:?}").contains("hidden-word"), "{error:?}");
}
