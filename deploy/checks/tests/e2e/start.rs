//! The first hour: start in an empty folder, paste the printed line, start again.

use std::os::unix::fs::PermissionsExt;

use tokio::process::Command;

use crate::gateway::{Place, config};
use crate::http;

#[tokio::test]
async fn a_first_start_prints_a_line_that_answers_when_pasted() {
    let place = Place::new();
    let gateway = place.up(&[]).await;
    let screen = place.read("up.log");
    let key = gateway.ready["virtual_key"].as_str().expect("a fresh data directory mints a key");
    assert!(screen.contains(key), "the key is shown once:\n{screen}");
    let line = pasted(&screen);
    let output = Command::new("sh").args(["-c", &line]).output().await.expect("sh is there");
    let answer = String::from_utf8_lossy(&output.stdout);
    assert!(answer.matches("data: ").count() > 3 && answer.contains("data: [DONE]"), "{line}\n{answer}");
}

#[tokio::test]
async fn the_ready_file_is_private_and_complete() {
    let place = Place::new();
    let gateway = place.up(&[]).await;
    let mode = std::fs::metadata(place.path("up-ready.json")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for field in ["admin_url", "master_key", "virtual_key", "base_url"] {
        assert!(gateway.ready[field].is_string(), "`{field}` is missing: {}", gateway.ready);
    }
    assert!(gateway.ready["pid"].is_u64());
    for path in ["/health", "/healthz", "/ready", "/metrics"] {
        assert_eq!(http::send(gateway.addr, "GET", path, &[], "").await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_second_start_keeps_the_key_and_shows_it_no_more() {
    let place = Place::new();
    let gateway = place.up(&[]).await;
    let key = gateway.key.clone();
    gateway.stop().await;
    let mut gateway = place.up(&[]).await;
    assert!(gateway.ready["virtual_key"].is_null());
    assert!(!place.read("up.log").contains(&key));
    gateway.key = key;
    let models = http::send(gateway.addr, "GET", "/v1/models", &[("x-api-key", &gateway.key)], "").await;
    let model = models.json()["data"][0]["id"].as_str().expect("a model is offered").to_owned();
    assert_eq!(gateway.chat(&model).await.status, 200);
}

#[tokio::test]
async fn a_file_replaces_detection_and_the_demo() {
    let place = Place::new();
    place.write("gateway.yaml", &config("http://127.0.0.1:9"));
    let gateway = place.up(&["-f", "gateway.yaml"]).await;
    let models = http::send(gateway.addr, "GET", "/v1/models", &[("api-key", &gateway.key)], "").await.json();
    let ids: Vec<_> = models["data"].as_array().expect("a list").iter().map(|model| model["id"].clone()).collect();
    assert_eq!(ids, ["m"], "{models}");
}

/// The printed curl command: from `curl` to the first line that is not continued.
fn pasted(screen: &str) -> String {
    let start = screen.lines().skip_while(|line| !line.trim_start().starts_with("curl "));
    let mut command = Vec::new();
    for line in start {
        command.push(line);
        if !line.trim_end().ends_with('\\') {
            return command.join("\n");
        }
    }
    panic!("no curl line on the screen:\n{screen}")
}
