//! What is to be hidden is nowhere in what is kept, wherever it stands and wherever the body is cut.

use serde_json::{Value, json};

use super::*;

const CANARY: &str = "canary-7f3a";

fn keeping(rule: Value) -> Arc<Keeping> {
    Keeping::compile(&serde_json::from_value(rule).expect("a rule"))
}

fn hidden(rule: Value, media: Media, body: &str) -> (String, u32) {
    let kept = keeping(rule).hide(media, body.as_bytes(), false, &[]);
    assert!(!kept.withheld, "{body}");
    (String::from_utf8(kept.content).expect("UTF-8"), kept.n_hidden)
}

#[test]
fn a_member_is_hidden_by_name_wherever_it_is() {
    let inner = json!({"deep": [{"password": CANARY}]}).to_string();
    for body in [
        json!({"password": CANARY}),
        json!({"a": [{"PassWord": {"x": [CANARY, "]", "}"]}}], "b": 1}),
        json!({"password": [1, 2, [CANARY]], "b": "c"}),
        json!({"arguments": inner}),
        json!({"messages": [{"tool_calls": [{"function": {"arguments": json!({"password": CANARY}).to_string()}}]}]}),
    ] {
        let (kept, n_hidden) = hidden(json!({"request": true, "redact": ["password"]}), Media::Json, &body.to_string());
        assert!(!kept.contains(CANARY) && n_hidden == 1, "{kept}");
        serde_json::from_str::<Value>(&kept).expect("still JSON");
    }
    let escaped = r#"{"p\u0061ssword":"canary-7f3a"}"#;
    assert!(!hidden(json!({"redact": ["password"]}), Media::Json, escaped).0.contains(CANARY));
}

#[test]
fn a_member_is_hidden_by_place() {
    let body = json!({"messages": [{"role": "user", "content": CANARY}, {"content": "b"}], "content": "kept"});
    let (kept, n_hidden) = hidden(json!({"redact": ["/messages/*/content"]}), Media::Json, &body.to_string());
    assert_eq!(n_hidden, 2);
    assert!(!kept.contains(CANARY) && kept.contains("kept") && kept.contains("user"), "{kept}");
    let (kept, _) = hidden(json!({"redact": ["/messages/1/content"]}), Media::Json, &body.to_string());
    assert!(kept.contains(CANARY) && !kept.contains("\"b\""), "{kept}");
}

#[test]
fn what_is_cut_at_any_byte_shows_nothing_that_is_hidden() {
    let inner = json!({"password": CANARY}).to_string();
    let body = json!({"a": inner, "password": {"x": CANARY}, "mail": "canary-7f3a@example.com", "z": [1, 2]});
    let text = body.to_string();
    let keeping = keeping(json!({"redact": ["password"]}));
    for cut in 0..=text.len() {
        let kept = keeping.hide(Media::Json, &text.as_bytes()[..cut], true, &[]);
        let kept = String::from_utf8(kept.content).expect("UTF-8");
        assert!(!kept.contains("canary"), "cut at {cut}: {kept}");
        assert!(cut < 30 || !kept.is_empty());
    }
}

#[test]
fn what_cannot_be_read_is_withheld_where_members_are_hidden() {
    let keeping = keeping(json!({"redact": ["password"]}));
    for body in
        ["{password: canary-7f3a}", "{\"a\": \"password canary", "]", "{\"password\": {\"a\": \"canary-7f3a\"", "{]"]
    {
        let kept = keeping.hide(Media::Json, body.as_bytes(), false, &[]);
        assert!(kept.withheld && kept.content.is_empty(), "{body}: {kept:?}");
    }
    assert!(keeping.hide(Media::Other, b"password=canary", false, &[]).withheld);
    assert!(keeping.hide(Media::Events, b"data: password=canary\n\n", false, &[]).withheld);
}

#[test]
fn secrets_are_known_by_how_they_look() {
    let off = json!({"patterns": []});
    for (secret, is_ours) in [
        (concat!("sk-", "proj-abcdefghijklmnop1234"), false),
        ("AKIAIOSFODNN7EXAMPLE", false),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", false),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", false),
        (concat!("-----BEGIN ", "PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----"), false),
        ("somebody.else+x@mail.example.com", false),
        ("4111 1111 1111 1111", false),
        ("5500-0000-0000-0004", false),
        ("gw_virt_0123456789abcdefghijklmnopqrstuvwxyz0123456789ABCDEF", true),
    ] {
        let body = json!({"content": format!("it is {secret}, or not"), "n": [secret]}).to_string();
        let (kept, n_hidden) = hidden(json!({}), Media::Json, &body);
        assert_eq!((kept.matches(HIDDEN).count(), n_hidden), (2, 2), "{secret}: {kept}");
        assert!(kept.contains("it is ") && kept.contains("or not"), "{kept}");
        assert_eq!(hidden(off.clone(), Media::Json, &body).1 > 0, is_ours, "{secret}");
        let plain = hidden(json!({}), Media::Other, secret);
        assert_eq!(plain, (HIDDEN.to_owned(), 1));
    }
    let (kept, n_hidden) = hidden(json!({}), Media::Json, r#"{"card":4111111111111111,"order":4111111111111112}"#);
    assert_eq!((kept.as_str(), n_hidden), (r#"{"card":"[redacted]","order":4111111111111112}"#, 1));
}

#[test]
fn events_are_read_one_by_one() {
    let stream = format!(
        "event: a\ndata: {}\n\ndata: {}\n\ndata: [DONE]\n\n",
        json!({"delta": {"content": "hello", "password": CANARY}}),
        json!({"delta": {"tool_calls": [{"function": {"arguments": "{\"pass"}}]}}),
    );
    let (kept, n_hidden) = hidden(json!({"redact": ["password"]}), Media::Events, &stream);
    assert_eq!(n_hidden, 2, "the member, and a piece of what a tool is called with");
    assert!(!kept.contains(CANARY) && kept.contains("hello") && kept.ends_with("data: [DONE]\n\n"), "{kept}");
    let (kept, n_hidden) = hidden(json!({}), Media::Events, &stream);
    assert_eq!((kept, n_hidden), (stream, 0), "nothing else is touched");
}

#[test]
fn our_credentials_are_taken_out_whatever_the_rule_says() {
    let body = br#"{"error":"your key provider-secret-1 is wrong"}"#;
    let kept = keeping(json!({"patterns": []})).hide(Media::Json, body, false, &[b"provider-secret-1"]);
    assert_eq!(kept.content, br#"{"error":"your key [redacted] is wrong"}"#);
}

#[test]
fn a_sample_is_as_large_as_it_says_and_the_same_for_all() {
    let ids: Vec<String> = (0..20_000).map(|n| format!("0198c0de-0000-7000-8000-{n:012x}")).collect();
    for (sample, expected) in [(0.0, 0..=0), (0.25, 4700..=5300), (1.0, 20_000..=20_000)] {
        let one = keeping(json!({"request": true, "sample": sample}));
        let n_taken = ids.iter().filter(|id| one.takes(id)).count();
        assert!(expected.contains(&n_taken), "{sample}: {n_taken}");
        let again = keeping(json!({"request": true, "sample": sample}));
        assert!(ids.iter().all(|id| one.takes(id) == again.takes(id)));
    }
    assert!(!keeping(json!({})).takes("a"), "nothing is kept unless it is asked for");
}

#[test]
fn bodies_are_what_they_say() {
    for (kind, media) in [
        ("application/json; charset=utf-8", Media::Json),
        ("", Media::Json),
        ("application/problem+json", Media::Json),
        ("Text/Event-Stream", Media::Events),
        ("multipart/form-data; boundary=x", Media::Other),
        ("audio/mpeg", Media::Other),
    ] {
        assert_eq!(Media::of(kind), media, "{kind}");
    }
}
