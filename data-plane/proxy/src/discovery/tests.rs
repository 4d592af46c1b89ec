//! Rounds of questions, and what becomes of the answers.

use gateway_engine::compile::compile;
use gateway_fake::{Script, Upstream};
use gateway_model::file;
use serde_json::json;

use super::*;
use crate::upstream::tls_client_config;

/// Who asks whenever it is told to.
fn discovery() -> Discovery {
    let tls = tls_client_config();
    let asker = Asker::new(Arc::clone(&tls), Arc::new(Tokens::new(tls)));
    Discovery { live: Arc::new(Live::empty()), warnings: Arc::default(), asker, kept: HashMap::new() }
}

/// Providers with names and addresses, all of which are asked in each round.
fn snapshot(providers: &[(&str, &str)]) -> Snapshot {
    let mut yaml = String::from("settings: {discovery: {enabled: true}}\nproviders:\n");
    for (name, url) in providers {
        yaml.push_str(&format!(
            "  - {{name: {name}, kind: openai-compatible, base_url: \"{url}/v1\", allow_private_networks: true}}\n"
        ));
    }
    let no_file = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
    let set =
        file::parse("test.yaml", &yaml, &|_| None, &no_file).unwrap_or_else(|problems| panic!("{problems:?}")).set;
    let mut snapshot = compile(&set, 1).unwrap_or_else(|problems| panic!("{problems:?}"));
    snapshot.settings.discovery_interval = Duration::ZERO;
    snapshot
}

fn models(discovery: &Discovery, provider: &str) -> Vec<String> {
    let snapshot = Arc::clone(&discovery.live.load().snapshot);
    snapshot.discovered.of(provider).iter().map(|offer| offer.model.clone()).collect()
}

fn list(names: &[&str]) -> Script {
    let data: Vec<_> = names.iter().map(|name| json!({"id": name})).collect();
    Script::json(200, &json!({"data": data}))
}

#[tokio::test]
async fn a_provider_that_fails_is_skipped_with_a_warning_and_keeps_its_last_list() {
    let many: Vec<String> = (0..5001).map(|n| format!("m{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let cases = [
        (Script::json(500, &json!({})), "status 500"),
        (Script::json(401, &json!({"error": "who are you"})), "status 401"),
        (Script::text(200, "text/html", "<html>log in</html>"), "is not JSON"),
        (Script::text(200, "application/json", "<html>"), "holds no list"),
        (Script::json(200, &json!({"data": "none"})), "holds no list"),
        (Script::text(200, "application/json", vec![b' '; 11 << 20]), "larger than 10 MiB"),
        (list(&many), "more than 5000 models"),
        (Script::new().reset(), "broke"),
    ];
    let (good, bad) = (Upstream::start().await, Upstream::start().await);
    good.respond_with(|_| list(&["b", "a", "a", "not a name"]));
    let mut discovery = discovery();
    let snapshot = snapshot(&[("bad", &bad.url()), ("good", &good.url())]);
    bad.push(list(&["before"]));
    discovery.round(&snapshot).await;
    assert_eq!(
        (models(&discovery, "good"), models(&discovery, "bad")),
        (vec!["a".into(), "b".into()], vec!["before".into()])
    );
    assert!(discovery.warnings.list().is_empty());
    for (script, reason) in cases {
        bad.push(script);
        discovery.round(&snapshot).await;
        let warnings = discovery.warnings.list().join("");
        assert!(
            warnings.contains("`bad`: ") && warnings.contains(reason) && !warnings.contains("good"),
            "{reason}: {warnings}"
        );
        assert_eq!(
            (models(&discovery, "bad"), models(&discovery, "good").len()),
            (vec!["before".into()], 2),
            "{reason}"
        );
    }
    bad.push(list(&["after"]));
    discovery.round(&snapshot).await;
    assert_eq!(models(&discovery, "bad"), ["after"]);
    assert!(discovery.warnings.list().is_empty(), "all is well again");
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_not_waited_for() {
    let slow = Upstream::start().await;
    slow.push(Script::new().head(200, &[("content-type", "application/json"), ("content-length", "100")]).hang());
    let mut discovery = discovery();
    let snapshot = snapshot(&[("slow", &slow.url())]);
    let late = async {
        slow.request(0).await;
        // From here on nothing else is underway: time runs to the next timer.
        tokio::time::pause();
    };
    tokio::join!(discovery.round(&snapshot), late);
    let warnings = discovery.warnings.list().join("");
    assert!(warnings.contains("`slow`: no whole answer within 10s"), "{warnings}");
}

#[tokio::test]
async fn who_is_gone_or_another_has_no_list_any_more() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|_| list(&["m"]));
    let url = upstream.url();
    let mut discovery = discovery();
    discovery.round(&snapshot(&[("a", &url), ("b", &url)])).await;
    assert_eq!((models(&discovery, "a").len(), models(&discovery, "b").len()), (1, 1));
    let next = discovery.round(&snapshot(&[("b", &url)])).await;
    assert_eq!((models(&discovery, "a").len(), models(&discovery, "b").len()), (0, 1));
    assert!(next.is_some());
    // Another address: what the old one said is not said of it.
    discovery.round(&snapshot(&[("b", "http://127.0.0.1:1")])).await;
    assert_eq!(models(&discovery, "b").len(), 0);
    assert_eq!(discovery.round(&snapshot(&[])).await, None, "nobody is due");
}
