//! Conversations whose requests name no session are kept together by how they begin.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Instant;

use gateway_engine::compile::compile;
use gateway_engine::identity::Caller;
use gateway_engine::resolve::{Ask, resolve};
use gateway_engine::routing::{self, Shape};
use gateway_engine::snapshot::Snapshot;
use gateway_model::file;
use http::HeaderMap;

fn snapshot(more: &str) -> Snapshot {
    let targets = (0..20).map(|n| format!("{{provider: p, model: t{n}}}")).collect::<Vec<_>>().join(", ");
    let yaml = format!(
        "providers:\n  - {{name: p, kind: openai, api_key: k}}\n\
         models:\n  - {{name: m, strategy: sticky{more}, targets: [{targets}]}}\n"
    );
    let no_file = |_: &Path| Err(ErrorKind::NotFound.into());
    let set = file::parse("sticky.yaml", &yaml, &|_| None, &no_file).expect("a configuration").set;
    compile(&set, 1).expect("a configuration that compiles")
}

fn target(snapshot: &Snapshot, body: &str, session: Option<&str>) -> String {
    let headers = HeaderMap::new();
    let ask = Ask { body: body.as_bytes(), session, ..Ask::new("/v1/chat/completions", &headers, "m") };
    let resolved = resolve(snapshot, &ask, &Caller::anonymous()).expect("a model");
    let first = routing::plan(&resolved, Shape::default(), Instant::now()).next();
    first.expect("a target").target.model.to_string()
}

#[test]
fn a_conversation_stays_where_it_began() {
    let snapshot = snapshot(", sticky_opening: true");
    let of = |body: &str| target(&snapshot, body, None);
    // As each dialect has it: its beginning, and requests of the same conversation later on.
    let conversations: [&[&str]; 4] = [
        &[
            r#"{"messages":[{"role":"system","content":"be terse"},{"role":"user","content":"hello"}]}"#,
            r#"{"temperature":1,"messages":[{"role":"system","content":"be terse"},{"role":"user","content":"hello"},
                {"role":"assistant","content":"hi"},{"role":"user","content":"and now?"}]}"#,
        ],
        &[
            r#"{"system":"be terse","messages":[{"role":"user","content":[{"type":"text","text":"hello","cache_control":{"type":"ephemeral"}}]}]}"#,
            r#"{"system":"be terse","messages":[{"role":"user","content":[{"type":"text","text":"hello"}]},
                {"role":"assistant","content":"hi"},{"role":"user","content":"and now?"}]}"#,
        ],
        &[
            r#"{"instructions":"be terse","input":[{"role":"user","content":"hello"}]}"#,
            r#"{"instructions":"be terse","input":[{"role":"user","content":"hello"},{"type":"function_call","name":"f"},{"role":"user","content":"x"}]}"#,
        ],
        &[
            r#"{"contents":[{"role":"user","parts":[{"text":"hello"}]}]}"#,
            r#"{"contents":[{"role":"user","parts":[{"text":"hello"}]},{"role":"model","parts":[{"text":"hi"}]},{"role":"user","parts":[{"text":"x"}]}]}"#,
        ],
    ];
    for turns in conversations {
        let targets: BTreeSet<String> = turns.iter().map(|body| of(body)).collect();
        assert_eq!(targets.len(), 1, "{turns:?} went to {targets:?}");
    }
    // Others begin otherwise, by what either side says.
    let said = |system: usize, user: usize| {
        of(&format!(r#"{{"system":"s{system}","messages":[{{"role":"user","content":"u{user}"}}]}}"#))
    };
    assert!((0..50).map(|n| said(n, 0)).collect::<BTreeSet<_>>().len() > 10);
    assert!((0..50).map(|n| said(0, n)).collect::<BTreeSet<_>>().len() > 10);
}

#[test]
fn a_session_that_is_named_goes_before_it_and_without_it_the_key_does() {
    let body = |n: usize| format!(r#"{{"messages":[{{"role":"user","content":"hello {n}"}}]}}"#);
    let spread = |snapshot: &Snapshot, session| {
        (0..50).map(|n| target(snapshot, &body(n), session)).collect::<BTreeSet<_>>().len()
    };
    let by_opening = snapshot(", sticky_opening: true");
    assert_eq!(spread(&by_opening, Some("one")), 1);
    assert!(spread(&by_opening, None) > 10);
    assert_eq!(spread(&snapshot(""), None), 1);
}
