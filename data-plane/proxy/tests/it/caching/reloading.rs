//! Another configuration: what has not changed is still there, what has is not.

use gateway_fake::Upstream;
use gateway_fake::reply::openai;

use super::{ON, question, status};
use crate::gateway::{Gateway, openai_at, read, within};

async fn revision(gateway: &Gateway) -> u64 {
    read(gateway.client().get(gateway.url("/health"))).await.json()["revision"].as_u64().expect("a revision")
}

async fn change(gateway: &Gateway, yaml: &str) {
    let before = revision(gateway).await;
    gateway.rewrite(yaml);
    within("the new revision", || async { (revision(gateway).await > before).then_some(()) }).await;
}

#[tokio::test]
async fn what_has_not_changed_is_still_there() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|received| openai::answer(received, "hello"));
    let plain = openai_at(&upstream.url());
    let on = |config: &str| format!("{config}{ON}");
    let gateway = Gateway::start(&on(&plain)).await;
    assert_eq!(status(&gateway.chat(&question()).await), Some("MISS"));
    let other = "  - {name: other, targets: [{provider: up, model: x}]}\n";
    let short = "settings: {cache: {enabled: true, ttl: 1ms}}\n";
    for (yaml, expected) in [
        (on(&format!("{plain}{other}")), Some("HIT")),
        (on(&plain.replace("upstream-credential-0001", "upstream-credential-0002")), Some("HIT")),
        (on(&plain.replace("retry: {max_attempts: 1}", "retry: {max_attempts: 2}")), Some("HIT")),
        (on(&plain.replace("own-name", "renamed")), Some("MISS")),
        (on(&plain), Some("HIT")),
        (on(&plain.replace("/v1\"", "/v1/\"")), Some("MISS")),
        (plain.clone(), None),
        // How old a reply may be is what holds now, and not what held then.
        (format!("{plain}{short}"), Some("MISS")),
    ] {
        change(&gateway, &yaml).await;
        let answer = gateway.chat(&question()).await;
        assert_eq!((answer.status, status(&answer)), (200, expected), "{yaml}: {}", answer.text);
    }
    gateway.stop().await;
}
