//! What clients send that cannot be served: told before an upstream is asked.

use gateway_fake::Upstream;

use super::{BOUNDARY, Content, ENDPOINTS, Endpoint, FORM, Lane, Streams, form_of};
use crate::gateway::{Gateway, KEY, openai_at, read};

const MAX_BODY: usize = 64 * 1024;

type Case = (&'static str, &'static str, Vec<u8>, u16);

fn json_cases(endpoint: &Endpoint, good: &str) -> Vec<Case> {
    const JSON: &str = "application/json";
    let deep = format!("\"x\":{}{}", "[".repeat(200), "]".repeat(200));
    let mut cases = vec![
        ("another type", "text/csv", good.into(), 415),
        ("a form", FORM, form_of(&[("model", "m")], "file"), 415),
        ("nothing", JSON, vec![], 400),
        ("half of it", JSON, good[..good.len() - 1].into(), 400),
        ("no object", JSON, b"[]".to_vec(), 400),
        ("a text", JSON, b"\"model\"".to_vec(), 400),
        ("null", JSON, b"null".to_vec(), 400),
        ("two of it", JSON, [good, good].concat().into(), 400),
        ("too deep", JSON, endpoint.with(&deep), 400),
        ("no UTF-8", JSON, [b"{\"x\":\"".as_slice(), b"\xff\"}"].concat(), 400),
        ("too large", JSON, endpoint.with(&format!("\"x\":\"{}\"", "x".repeat(MAX_BODY))), 413),
    ];
    if !endpoint.is_named() {
        let without = good.replace("\"model\":\"m\",", "");
        cases.extend([
            ("no model", JSON, without.clone().into_bytes(), 400),
            ("a number for a model", JSON, good.replace("\"m\"", "7").into_bytes(), 400),
            ("no name for a model", JSON, good.replace("\"m\"", "\"\"").into_bytes(), 400),
            ("a model twice", JSON, endpoint.with("\"model\":\"m\""), 400),
            ("a model twice, once in other letters", JSON, endpoint.with("\"mod\\u0065l\":\"n\""), 400),
            ("a model nobody has", JSON, good.replace("\"m\"", "\"nobody-has-it\"").into_bytes(), 404),
        ]);
    }
    if endpoint.streams == Streams::Asked {
        cases.push(("a text for `stream`", JSON, endpoint.with("\"stream\":\"yes\""), 400));
    }
    if endpoint.lane == Lane::Translated {
        for name in ["messages", "contents", "query"] {
            let wrong = good.replacen(&format!("\"{name}\":"), &format!("\"{name}\":7,\"_\":"), 1);
            if wrong != good {
                cases.push(("a number where there is more to say", JSON, wrong.into_bytes(), 400));
            }
        }
    }
    cases
}

fn form_cases(file: &str) -> Vec<Case> {
    let good = form_of(&[("model", "m")], file);
    let huge = format!("--{BOUNDARY}\r\nX-Filler: {}\r\n\r\n\r\n--{BOUNDARY}--\r\n", "x".repeat(9000));
    vec![
        ("another type", "text/csv", good.clone(), 415),
        ("no boundary", "multipart/form-data", good.clone(), 400),
        ("another boundary", "multipart/form-data; boundary=y", good.clone(), 400),
        ("nothing", FORM, vec![], 400),
        ("no end", FORM, good[..good.len() - 12].into(), 400),
        ("no model", FORM, form_of(&[], file), 400),
        ("a model twice", FORM, form_of(&[("model", "m"), ("model", "n")], file), 400),
        ("a model nobody has", FORM, form_of(&[("model", "nobody-has-it")], file), 404),
        ("too many parts", FORM, form_of(&[("a", "b"); 300], file), 400),
        ("a huge part header", FORM, huge.into(), 400),
    ]
}

#[tokio::test]
async fn no_fault_reaches_an_upstream() {
    let upstream = Upstream::start().await;
    let config = format!("settings: {{server: {{max_body: {MAX_BODY}}}}}\n{}", openai_at(&upstream.url()));
    let gateway = Gateway::start(&config).await;
    let mut wrong = Vec::new();
    for endpoint in ENDPOINTS {
        let cases = match endpoint.content {
            Content::Json(good) => json_cases(endpoint, good),
            Content::Form(file) => form_cases(file),
        };
        for (case, kind, body, status) in cases {
            let answer = endpoint.send(&gateway, kind, body).await;
            if answer.status != status {
                wrong.push(format!("{}, {case}: {} and not {status}: {}", endpoint.path, answer.status, answer.text));
                continue;
            }
            endpoint.check(case, &answer, &upstream);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(upstream.requests().len(), 0, "an upstream was asked");
}

/// Bodies whose length is not told beforehand are read up to the limit.
#[tokio::test]
async fn what_is_too_large_is_noticed_while_it_comes() {
    let upstream = Upstream::start().await;
    let config = format!("settings: {{server: {{max_body: {MAX_BODY}}}}}\n{}", openai_at(&upstream.url()));
    let gateway = Gateway::start(&config).await;
    for endpoint in ENDPOINTS.iter().filter(|endpoint| matches!(endpoint.content, Content::Json(_))) {
        let large = endpoint.with(&format!("\"x\":\"{}\"", "x".repeat(2 * MAX_BODY)));
        let pieces: Vec<_> = large.chunks(8192).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
        let request = gateway.client().post(gateway.url(endpoint.path)).bearer_auth(KEY);
        let answer = read(request.header("content-type", "application/json").body(body)).await;
        assert_eq!(answer.status, 413, "{}: {}", endpoint.path, answer.text);
        endpoint.check("too large, in chunks", &answer, &upstream);
    }
    assert_eq!(upstream.requests().len(), 0, "an upstream was asked");
}

#[tokio::test]
async fn what_is_not_known_passes() {
    let upstream = Upstream::start().await;
    // The replies, which are no answers, are not looked at.
    let config = openai_at(&upstream.url()).replace("retry:", "breaker: {enabled: false}, retry:");
    let gateway = Gateway::start(&config).await;
    let passing = ENDPOINTS.iter().filter(|endpoint| endpoint.lane == Lane::Passes);
    for (index, endpoint) in passing.filter(|endpoint| matches!(endpoint.content, Content::Json(_))).enumerate() {
        let added = r#""x_own":{"a":[1,2.50,"é"]}"#;
        endpoint.send(&gateway, "application/json", endpoint.with(added)).await;
        let received = upstream.request(index).await;
        let received = String::from_utf8(received.body.to_vec()).expect("text");
        assert!(received.contains(added) && received.contains("own-name"), "{}: {received}", endpoint.path);
    }
}
