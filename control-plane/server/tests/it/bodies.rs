//! What was asked and answered: stored as nodes send it, read by who may, each time with a trace.

use bytes::Bytes;
use gateway_wire::v1::fleet_client::FleetClient;
use gateway_wire::v1::{BodyBatch, BodyPart, LogBody};
use serde_json::{Value, json};

use crate::node::channel;
use crate::world::World;

const HOSTILE: &str = "<script>alert(1)</script>\u{1b}[31m \"&lt;\"";

fn part(content: &[u8], content_type: &str) -> BodyPart {
    BodyPart {
        content: Bytes::copy_from_slice(content),
        content_type: content_type.to_owned(),
        total_bytes: 2000,
        truncated: true,
        redacted: 3,
        withheld: false,
    }
}

fn batch() -> BodyBatch {
    let cut = "ü".as_bytes()[..1].to_vec();
    let one = LogBody {
        id: "r1".to_owned(),
        started_unix_ms: 4_000_000_000_000,
        request: Some(part(&[HOSTILE.as_bytes(), &cut].concat(), "text/html")),
        response: Some(part(&[0, 255, 1], "audio/mpeg")),
    };
    let other = LogBody { id: "r2".to_owned(), response: None, ..one.clone() };
    BodyBatch {
        node_id: "node_1".to_owned(),
        boot_id: "boot1".to_owned(),
        first_seq: 1,
        bodies: vec![one, other],
        dropped_total: 4,
    }
}

#[tokio::test]
async fn bodies_are_stored_once_and_each_reading_is_audited() {
    let world = World::new().await;
    let mut client = FleetClient::new(channel(&world.control).await);
    let mut acks = client.bodies(tokio_stream::iter([batch(), batch()])).await.unwrap().into_inner();
    for _ in 0..2 {
        assert_eq!(acks.message().await.unwrap().unwrap().up_to_seq, 2);
    }
    let store = &world.control.app().store;
    assert_eq!(store.bodies().await.unwrap(), (2, 4), "sent = stored + dropped");
    let shown = world.get("/admin/logs/r1/body").await.expect(200);
    let expected = json!({
        "id": "r1", "started_unix_ms": 4_000_000_000_000_i64,
        "request": {"content_type": "text/html", "bytes": 2000, "truncated": true, "redacted": 3, "withheld": false, "text": HOSTILE, "base64": null},
        "response": {"content_type": "audio/mpeg", "bytes": 2000, "truncated": true, "redacted": 3, "withheld": false, "text": null, "base64": "AP8B"},
    });
    assert_eq!(shown, expected);
    assert_eq!(world.get("/admin/logs/r2/body").await.expect(200)["response"], Value::Null);
    let told = world.get("/admin/logs/none/body").await.refused(404, "not_found");
    assert!(told.to_string().contains("log_bodies"), "{told}");
    let audit = world.get("/admin/audit?limit=3").await.expect(200);
    let read = |row: &Value| (row["action"] == "read" && row["kind"] == "log_body").then(|| row["name"].clone());
    let names: Vec<Value> = audit["data"].as_array().unwrap().iter().filter_map(read).collect();
    assert_eq!(names, [json!("r2"), json!("r1")], "{audit}");
    assert!(!audit.to_string().contains("alert(1)"), "what was read is not in it");
}

#[tokio::test]
async fn a_rule_that_makes_no_sense_is_refused_by_its_field() {
    let world = World::new().await;
    for (rule, field) in [
        (json!({"sample": 1.5}), "log_bodies.sample"),
        (json!({"max_bytes": "2MiB"}), "log_bodies.max_bytes"),
        (json!({"max_bytes": 0}), "log_bodies.max_bytes"),
        (json!({"redact": [""]}), "log_bodies.redact"),
        (json!({"patterns": ["faces"]}), "log_bodies.patterns"),
        (json!({"requests": true}), "log_bodies"),
    ] {
        let answer = world.call("POST", "/admin/keys", json!({"name": "k", "log_bodies": rule})).await;
        assert!(answer.status.is_client_error() && answer.text.contains(field), "{rule}: {}", answer.text);
    }
    let rule = json!({"request": true, "sample": 0.5, "max_bytes": "1MiB", "redact": ["password"], "patterns": []});
    world.call("POST", "/admin/keys", json!({"name": "k", "log_bodies": rule})).await.expect(201);
    assert_eq!(world.get("/admin/keys/k").await.expect(200)["log_bodies"]["redact"], json!(["password"]));
}
