//! Which routes take which requests.

use std::sync::Arc;

use gateway_ir::needs::Needs;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use crate::ask::Ask;
use crate::identity::{Caller, KeyEntry, KeyTable, still};
use crate::snapshot::Snapshot;
use crate::testing;

/// A key of the search team.
fn caller() -> Arc<Caller> {
    let keys = KeyTable::default();
    let entry = KeyEntry {
        id: "vk_1".into(),
        name: "search-prod".to_owned(),
        enabled: true,
        tags: vec!["gold".to_owned(), "eu".to_owned()],
        metadata: [("team".to_owned(), "search".to_owned())].into(),
        ..KeyEntry::default()
    };
    keys.upsert(&entry);
    still("vk_1", &keys, 0).expect("a known key")
}

/// A request in words: `name=value` pairs, of which those that are not named here are headers.
struct Words<'a> {
    path: &'a str,
    method: &'a str,
    model: &'a str,
    needs: Needs,
    n_input: u64,
    headers: HeaderMap,
}

impl<'a> Words<'a> {
    fn read(words: &'a str) -> Self {
        let needs = Needs::NONE;
        let mut read = Self {
            path: "/v1/chat/completions",
            method: "POST",
            model: "m",
            needs,
            n_input: 0,
            headers: HeaderMap::new(),
        };
        for word in words.split_whitespace() {
            let (name, value) = word.split_once('=').expect("a pair");
            match name {
                "path" => read.path = value,
                "method" => read.method = value,
                "model" => read.model = value,
                "tokens" => read.n_input = value.parse().expect("a number"),
                "needs" => {
                    for need in value.split(',') {
                        read.needs = read.needs.with(match need {
                            "tools" => Needs::TOOLS,
                            "vision" => Needs::VISION,
                            other => panic!("{other}"),
                        });
                    }
                }
                header => {
                    let name = HeaderName::try_from(header).expect("a header");
                    read.headers.append(name, HeaderValue::from_str(value).expect("a value"));
                }
            }
        }
        read
    }

    fn ask(&self) -> Ask<'_> {
        let Self { path, method, model, needs, n_input, ref headers } = *self;
        // A Friday, noon in UTC.
        Ask { method, needs, n_input, unix_ms: 1_800_014_400_000, ..Ask::new(path, headers, model) }
    }
}

fn first(snapshot: &Snapshot, ask: &Ask<'_>) -> Option<String> {
    let indexed = snapshot.route_index.first(&snapshot.routes, ask, &caller()).map(|route| route.name.to_string());
    let caller = caller();
    let in_turn = snapshot.routes.iter().find(|route| route.wants.hold(ask, &caller));
    assert_eq!(indexed, in_turn.map(|route| route.name.to_string()), "the index and the order disagree on {ask:?}");
    indexed
}

fn routes(matches: &[&str]) -> Snapshot {
    let lines = (0..).zip(matches).map(|(n, wanted): (usize, _)| format!("  - {{name: r{n}, match: {wanted}}}\n"));
    testing::snapshot(&format!("{}routes:\n{}", testing::PROVIDERS, lines.collect::<String>()))
}

#[test]
fn each_demand_by_itself() {
    // What is demanded, what meets it, what does not.
    let cases: [(&str, &[&str], &[&str]); 17] = [
        ("{methods: [get, PUT]}", &["method=GET", "method=PUT"], &["method=POST"]),
        ("{kinds: [messages, audio]}", &["path=/anthropic/v1/messages", "path=/v1/audio/speech"], &["path=/v1/rerank"]),
        ("{kinds: [messages]}", &["path=/v1/messages/count_tokens"], &["path=/v1/chat/completions"]),
        ("{path: /v1/chat/*}", &["path=/v1/chat/completions"], &["path=/v1/chat"]),
        ("{model: 'gpt-*'}", &["model=gpt-5"], &["model=opus"]),
        ("{headers: {x-a: {prefix: b}}}", &["x-a=bc", "x-a=c x-a=b"], &["x-a=cb", "x-b=b"]),
        ("{headers: {X-Tenant: acme}}", &["x-tenant=acme"], &["x-tenant=ACME", "model=x"]),
        ("{keys: [search-prod]}", &["model=x"], &[]),
        ("{keys: ['search-*', other]}", &["model=x"], &[]),
        ("{keys: [other, vk_1]}", &["model=x"], &[]),
        ("{keys: [search]}", &[], &["model=x"]),
        ("{key_tags: [silver, eu]}", &["model=x"], &[]),
        ("{key_metadata: {team: search}}", &["model=x"], &[]),
        ("{key_metadata: {team: search, stage: prod}}", &[], &["model=x"]),
        ("{tags: [batch, night]}", &["x-gateway-tags=a,night", "x-lunargate-tags=batch"], &["x-gateway-tags=nightly"]),
        ("{needs: [tools, vision]}", &["needs=tools,vision"], &["needs=tools", "model=x"]),
        ("{tokens: {min: 10, max: 20}}", &["tokens=10", "tokens=20"], &["tokens=9", "tokens=21"]),
    ];
    for (wanted, met, missed) in cases {
        let snapshot = routes(&[wanted]);
        for (words, expected) in
            met.iter().map(|words| (*words, true)).chain(missed.iter().map(|words| (*words, false)))
        {
            assert_eq!(first(&snapshot, &Words::read(words).ask()).is_some(), expected, "{wanted}: {words}");
        }
    }
}

#[test]
fn times_are_those_of_the_request() {
    let cases = [
        ("{days: [fri], from: '12:00', to: '12:01'}", true),
        ("{days: [fri], from: '12:01'}", false),
        ("{days: [sat, sun]}", false),
        ("{from: '14:00', to: '15:00', utc_offset: '+02:00'}", true),
    ];
    for (times, expected) in cases {
        let snapshot = routes(&[&format!("{{times: {times}}}")]);
        assert_eq!(first(&snapshot, &Words::read("model=x").ask()).is_some(), expected, "{times}");
    }
}

#[test]
fn path_and_header_match_order() {
    let snapshot = routes(&[
        "{path: /v1/messages}",
        "{path: /v1/chat/completions, headers: {x-team: search}}",
        "{model: gpt-5}",
        "{path: '/v1/*'}",
        "{headers: {x-team: search}}",
    ]);
    for (words, expected) in [
        ("model=gpt-5 x-team=search", Some("r1")),
        ("model=gpt-5", Some("r2")),
        ("path=/v1/messages model=gpt-5 x-team=search", Some("r0")),
        ("path=/v1/rerank x-team=search", Some("r3")),
        ("path=/v2/rerank x-team=search", Some("r4")),
        ("path=/v2/rerank", None),
    ] {
        assert_eq!(first(&snapshot, &Words::read(words).ask()).as_deref(), expected, "{words}");
    }
}

proptest! {
    /// What is looked up is what comes first in order, whatever the routes: `first` holds the two against each other.
    #[test]
    fn the_index_is_the_order(
        wanted in prop::collection::vec(
            prop::sample::select(vec![
                "{model: a}", "{model: b}", "{model: 'a*'}", "{headers: {x: '1'}}", "{headers: {x: '1', y: '2'}, model: a}",
                "{headers: {y: {prefix: '2'}}}", "{path: /p}", "{path: '/*'}", "{keys: [search-prod, vk_1]}", "{keys: [no]}",
                "{keys: ['*prod']}", "{needs: [tools]}", "{tags: [t]}", "{headers: {x: '1'}, keys: [vk_1]}",
            ]),
            0..12,
        ),
        model in prop::sample::select(vec!["a", "b", "ab"]),
        rest in prop::sample::select(vec!["x=1", "x=1 x=2 y=2", "y=23", "path=/p", "needs=tools x-gateway-tags=t", "path=/q"]),
    ) {
        let snapshot = routes(&wanted);
        first(&snapshot, &Words::read(&format!("model={model} {rest}")).ask());
    }
}
