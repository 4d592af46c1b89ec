//! What upstreams answer in place of a reply: each class has its status, in the caller's words, and gives nothing away.

use gateway_fake::reply::openai;
use gateway_fake::{Script, Upstream};

use super::{ENDPOINTS, Lane, Streams};
use crate::gateway::{Gateway, UPSTREAM_KEY, openai_at};

/// An upstream's own error that repeats our credential, as some do.
fn error(status: u16) -> Script {
    let message = format!("request failed for key {UPSTREAM_KEY}");
    Script::json(status, &openai::error("some_type", &message))
}

fn with_retry_after(status: u16) -> Script {
    let body = openai::error("some_type", "slow down").to_string();
    let length = body.len().to_string();
    let head = [("content-type", "application/json"), ("retry-after", "7"), ("content-length", length.as_str())];
    Script::new().head(status, &head).write(body)
}

/// Name, what the upstream does, the status that callers see.
fn cases() -> Vec<(String, Script, u16)> {
    let mut cases = Vec::new();
    for status in [400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529] {
        cases.push((format!("{status}"), error(status), status));
        cases.push((format!("{status} as HTML"), Script::text(status, "text/html", "<html>no</html>"), status));
        cases.push((format!("{status} and nothing"), Script::text(status, "application/json", ""), status));
    }
    for status in [429, 503] {
        cases.push((format!("{status}, later"), with_retry_after(status), status));
    }
    cases.push(("a reset".to_owned(), Script::new().reset(), 502));
    cases.push(("an end".to_owned(), Script::new().close(), 502));
    cases.push(("garbage".to_owned(), Script::new().write("what is this\r\n\r\n").close(), 502));
    cases.push(("nothing in time".to_owned(), Script::new().hang(), 504));
    cases
}

/// What is no reply although the status says so. What passes as it comes (sound, pictures) is the upstream's word.
fn senseless() -> Vec<(&'static str, Script)> {
    vec![
        ("HTML", Script::text(200, "text/html", "<html>login</html>")),
        ("nothing", Script::text(200, "application/json", "")),
        ("half", Script::text(200, "application/json", "{\"half\":")),
    ]
}

#[tokio::test]
async fn each_class_of_error_is_told_as_what_it_is() {
    let mut wrong = Vec::new();
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.lane != Lane::Answered) {
        let upstream = Upstream::start().await;
        let config = openai_at(&upstream.url()).replace("retry:", "timeouts: {first_byte: 200ms}, retry:");
        let gateway = Gateway::start(&config).await;
        let (kind, good) = endpoint.good();
        let senseless = senseless().into_iter().map(|(name, script)| (format!("200 and {name}"), script, 502));
        let translated = endpoint.lane == Lane::Translated || endpoint.streams != Streams::Never;
        for (case, script, status) in cases().into_iter().chain(senseless.filter(|_| translated)) {
            upstream.push(script);
            let answer = endpoint.send(&gateway, kind, good.clone()).await;
            if answer.status != status {
                wrong.push(format!("{}, {case}: {} and not {status}: {}", endpoint.path, answer.status, answer.text));
                continue;
            }
            endpoint.check(&case, &answer, &upstream);
            assert!(!answer.text.contains("<html>"), "{}, {case}: {}", endpoint.path, answer.text);
            let later = case.ends_with("later").then_some("7");
            assert_eq!(answer.header("retry-after"), later, "{}, {case}", endpoint.path);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
