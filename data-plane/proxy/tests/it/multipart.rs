//! Forms of several parts: recordings to be written down, pictures to be changed.

use gateway_fake::{Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Answer, Gateway, KEY, openai_at, provider_at, read};

pub(crate) const BOUNDARY: &str = "----x";

/// A form of fields and one file, in the order given; a field whose value is `None` is the file.
pub(crate) fn form(fields: &[(&str, Option<&str>)], file: &[u8]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, value) in fields {
        let named = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"");
        form.extend_from_slice(named.as_bytes());
        match value {
            Some(value) => form.extend_from_slice(format!("\r\n\r\n{value}").as_bytes()),
            None => {
                form.extend_from_slice(b"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n");
                form.extend_from_slice(file);
            }
        }
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    form
}

async fn sent(gateway: &Gateway, path: &str, form: Vec<u8>) -> Answer {
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    read(gateway.client().post(gateway.url(path)).bearer_auth(KEY).header("content-type", kind).body(form)).await
}

#[tokio::test]
async fn transcription_multipart() {
    let said = json!({"text": "hello", "usage": {"type": "tokens", "input_tokens": 37,
        "input_token_details": {"audio_tokens": 30}, "output_tokens": 9}});
    let file = [b"RIFF\r\n--".as_slice(), &[0, 255, 13, 10], b"model"].concat();
    for (order, path) in [
        ([("model", Some("m")), ("file", None)], "/v1/audio/transcriptions"),
        ([("file", None), ("model", Some("m"))], "/v1/audio/translations"),
        ([("image", None), ("model", Some("m"))], "/v1/images/edits"),
        ([("image", None), ("model", Some("m"))], "/v1/images/variations"),
    ] {
        let upstream = Upstream::start().await;
        upstream.push(Script::json(200, &said));
        let gateway = Gateway::start(&openai_at(&upstream.url())).await;
        let answer = sent(&gateway, path, form(&order, &file)).await;
        assert_eq!((answer.status, answer.json()), (200, said.clone()), "{path}: {}", answer.text);
        let received = upstream.request(0).await;
        assert_eq!(received.target, path);
        assert_eq!(received.header("content-type"), Some("multipart/form-data; boundary=----x"));
        let named = order.map(|(name, value)| (name, value.map(|_| "own-name")));
        assert_eq!(received.body, form(&named, &file), "{path}: nothing but the model differs");
        let record = &gateway.records(1).await[0];
        let tokens = [&record["tokens"]["input"], &record["tokens"]["input_audio"], &record["tokens"]["output"]];
        assert_eq!((&record["settled_by"], tokens), (&json!("exact"), [&json!(37), &json!(30), &json!(9)]), "{record}");
    }
}

/// By the minute where the reply says how long the recording was; where it does not, the cost is not known.
#[tokio::test]
async fn transcriptions_are_charged_by_time() {
    let price = "prices:\n  - {provider: up, model: own-name, per_audio_minute: 0.006}\nmodels:";
    let duration = json!({"text": "hello", "usage": {"type": "duration", "seconds": 9}});
    let verbose = json!({"task": "transcribe", "duration": 3.7, "text": "hello", "segments": []});
    for (said, ms, cost) in [
        (Script::json(200, &duration), json!(9_000), Some(900_000)),
        (Script::json(200, &verbose), json!(3_700), Some(370_000)),
        (Script::json(200, &json!({"text": "hello"})), Value::Null, None),
        (Script::text(200, "text/plain", "hello"), Value::Null, None),
    ] {
        let upstream = Upstream::start().await;
        upstream.push(said);
        let gateway = Gateway::start(&openai_at(&upstream.url()).replace("models:", price)).await;
        let body = form(&[("model", Some("m")), ("file", None)], b"RIFF");
        assert_eq!(sent(&gateway, "/v1/audio/transcriptions", body).await.status, 200);
        let record = &gateway.records(1).await[0];
        assert_eq!((&record["units"]["audio_ms"], &record["priced"]), (&ms, &json!(cost.is_some())), "{record}");
        let settled_by = if cost.is_some() { "exact" } else { "estimated" };
        let expected = (&json!(cost.unwrap_or(0)), &json!(settled_by));
        assert_eq!((&record["cost_nano_usd"], &record["settled_by"]), expected, "{record}");
    }
}

#[tokio::test]
async fn transcription_text_srt_formats() {
    let srt = "1\n00:00:00,000 --> 00:00:01,000\nhello\n\n";
    let upstream = Upstream::start().await;
    upstream.push(Script::text(200, "text/plain; charset=utf-8", srt));
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let body = form(&[("file", None), ("model", Some("m")), ("response_format", Some("srt"))], b"RIFF");
    let answer = sent(&gateway, "/v1/audio/transcriptions", body).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, srt));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    let record = &gateway.records(1).await[0];
    assert_eq!(record["tokens"]["input"], 0, "the bytes of a recording are no tokens: {record}");
}

#[tokio::test]
async fn transcripts_stream_as_they_come() {
    let events = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"hel\"}\n\n\
        data: {\"type\":\"transcript.text.done\",\"text\":\"hello\",\"usage\":{\"input_tokens\":3,\"output_tokens\":2}}\n\n";
    let upstream = Upstream::start().await;
    upstream.push(Script::text(200, "text/event-stream", events));
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let body = form(&[("model", Some("m")), ("stream", Some("true")), ("file", None)], b"RIFF");
    let answer = sent(&gateway, "/v1/audio/transcriptions", body).await;
    assert_eq!((answer.status, answer.text.as_str()), (200, events));
    assert_eq!(gateway.records(1).await[0]["tokens"]["output"], 2);
    // The same without its end is told to be half of one.
    let half = events.split_inclusive("\n\n").next().expect("an event");
    upstream.push(Script::text(200, "text/event-stream", half.to_owned()));
    let body = form(&[("model", Some("m")), ("stream", Some("true")), ("file", None)], b"RIFF");
    let cut = sent(&gateway, "/v1/audio/transcriptions", body).await;
    assert!(cut.text.starts_with(half) && cut.text.contains("\"error\""), "{}", cut.text);
    assert_eq!(gateway.records(2).await[1]["ending"], "upstream_cut");
}

/// What is larger than a body that is held goes on while it comes.
#[tokio::test]
async fn large_files_pass() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|_| Script::json(200, &json!({"text": "hello"})));
    let config = format!("{}settings: {{server: {{max_body: 65536}}}}\n", openai_at(&upstream.url()));
    let gateway = Gateway::start(&config).await;
    let file: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let fields = [("model", Some("m")), ("file", None)];
    let answer = sent(&gateway, "/v1/audio/transcriptions", form(&fields, &file)).await;
    assert_eq!((answer.status, &answer.json()["text"]), (200, &json!("hello")), "{}", answer.text);
    let received = upstream.request(0).await;
    let expected = form(&[("model", Some("own-name")), ("file", None)], &file);
    assert!(received.body == expected, "{} of {} bytes", received.body.len(), expected.len());
    assert_eq!(received.header("content-length"), Some(expected.len().to_string().as_str()));
    // A second name behind the file: the upstream might take that one.
    let twice = form(&[("model", Some("m")), ("file", None), ("model", Some("other"))], &file);
    let refused = sent(&gateway, "/v1/audio/transcriptions", twice).await;
    assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (400, Some("model")), "{}", refused.text);
    let behind = form(&[("file", None), ("model", Some("m"))], &file);
    let refused = sent(&gateway, "/v1/audio/transcriptions", behind).await;
    assert!(refused.status == 400 && refused.text.contains("must stand before the files"), "{}", refused.text);
    assert_eq!(upstream.requests().len(), 1, "what was refused did not arrive whole");
}

/// However large a body an operator allows, no form of such a size is held: it could be if its model stood behind the file.
#[tokio::test]
async fn what_may_be_sent_is_not_what_is_held() {
    let upstream = Upstream::start().await;
    upstream.respond_with(|_| Script::json(200, &json!({"text": "hello"})));
    let config = format!("{}settings: {{server: {{max_body: 1GiB}}}}\n", openai_at(&upstream.url()));
    let gateway = Gateway::start(&config).await;
    let file = vec![b'x'; 33 * 1024 * 1024];
    let behind = form(&[("file", None), ("model", Some("m"))], &file);
    let refused = sent(&gateway, "/v1/audio/transcriptions", behind).await;
    assert!(refused.status == 400 && refused.text.contains("must stand before the files"), "{}", refused.text);
    let before = form(&[("model", Some("m")), ("file", None)], &file);
    assert_eq!(sent(&gateway, "/v1/audio/transcriptions", before).await.status, 200);
}

#[tokio::test]
async fn forms_that_are_broken() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&openai_at(&upstream.url())).await;
    let fields = [("model", Some("m")), ("file", None)];
    let whole = form(&fields, b"RIFF");
    let cases = [
        (form(&[("file", None)], b"RIFF"), "`model` is missing"),
        (whole[..whole.len() - 12].to_vec(), "breaks off"),
        (form(&[("model", Some("m")), ("model", Some("n"))], b""), "given twice"),
        (vec![b'x'; 100], "breaks off"),
        (vec![], "breaks off"),
        (form(&vec![("a", Some("b")); 300], b""), "too many parts"),
    ];
    for (body, told) in cases {
        let refused = sent(&gateway, "/v1/audio/transcriptions", body).await;
        assert!(refused.status == 400 && refused.text.contains(told), "{told}: {}", refused.text);
    }
    // Where no form is taken, and where nobody has the operation.
    assert_eq!(sent(&gateway, "/v1/embeddings", whole.clone()).await.status, 415);
    let anthropic = Gateway::start(&provider_at("anthropic", &upstream.url(), "")).await;
    let none = sent(&anthropic, "/v1/audio/transcriptions", whole).await;
    assert_eq!((none.status, none.json()["error"]["param"].as_str()), (400, Some("model")), "{}", none.text);
    assert_eq!(upstream.requests().len(), 0);
}
