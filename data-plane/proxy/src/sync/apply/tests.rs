//! All or nothing for topology, one by one for keys, and nothing of either without a reason that names the field.

use bytes::Bytes;
use gateway_engine::identity::identify;
use gateway_model::limits::WhenAway;
use gateway_model::policy::Unpriced;
use gateway_wire::v1::{Key, KeyLimits, Pepper};
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "sk-test-0123456789abcdef";

fn document(kind: &str, id: &str, value: &Value) -> Item {
    let body = Some(Body::Document(Bytes::from(value.to_string())));
    Item { kind: kind.to_owned(), id: id.to_owned(), body, ..Item::default() }
}

fn topology(provider: &Value) -> Vec<Item> {
    let model = json!({"name": "m", "targets": [{"provider": "up", "model": "x"}]});
    vec![document("provider", "1", provider), document("model", "2", &model)]
}

fn provider() -> Value {
    json!({"name": "up", "kind": "openai", "base_url": "https://api.example.com/v1"})
}

fn pepper(version: u32) -> Item {
    let body = Some(Body::Pepper(Pepper { version, value: vec![7; 32] }));
    Item { kind: "pepper".to_owned(), id: version.to_string(), body, ..Item::default() }
}

fn key(id: &str, name: &str, secret: &str) -> Item {
    let peppers = Peppers::new([(1, [7; 32])]).expect("a pepper");
    let (pepper_version, digest) = peppers.digest(secret).expect("a pepper");
    let key = Key {
        name: name.to_owned(),
        pepper_version,
        digest: digest.to_vec(),
        enabled: true,
        models: vec!["*".to_owned()],
        limits: Some(KeyLimits { rpm: Some(60), ..KeyLimits::default() }),
        ..Key::default()
    };
    Item { kind: "key".to_owned(), id: id.to_owned(), body: Some(Body::Key(key)), ..Item::default() }
}

fn applier() -> (Applier, Arc<Live>) {
    let live = Arc::new(Live::empty());
    (Applier::new(Arc::clone(&live)), live)
}

fn serve(applier: &mut Applier, items: &[Item], revision: u64) -> Result<(), Vec<ConfigError>> {
    applier.checked(items, revision).map(|checked| applier.serve(checked))
}

fn is_known(live: &Live, secret: &str) -> bool {
    identify(secret, &live.keys, &live.load().peppers, 0).is_ok()
}

#[test]
fn a_topology_serves_whole_or_the_old_one_does() {
    let (mut applier, live) = applier();
    assert_eq!(serve(&mut applier, &topology(&provider()), 1), Ok(()));
    assert_eq!(live.load().snapshot.revision, 1);
    let mut with_typo = provider();
    with_typo["timeouts"] = json!({"idel": "1s"});
    let cases = [
        (topology(&with_typo), "provider", "up", "timeouts.idel", "unknown_field"),
        (topology(&json!({"name": "up", "kind": "no-such-kind"})), "provider", "up", "kind", ""),
        (vec![topology(&provider()).remove(1)], "model", "m", "targets[0].provider", "unknown_reference"),
        (vec![document("guardrail", "9", &json!({"name": "b"}))], "guardrail", "b", "", "unsupported_yet"),
        (
            vec![Item { kind: "model".to_owned(), id: "3".to_owned(), ..Item::default() }],
            "model",
            "3",
            "",
            "invalid_value",
        ),
        (
            vec![Item { body: Some(Body::Document(Bytes::from("{"))), ..document("model", "3", &json!({})) }],
            "model",
            "3",
            "",
            "syntax",
        ),
    ];
    for (items, kind, name, field_path, code) in cases {
        let errors = serve(&mut applier, &items, 2).expect_err(kind);
        let error = &errors[0];
        assert_eq!(
            (error.kind.as_str(), error.name.as_str(), error.field_path.as_str()),
            (kind, name, field_path),
            "{error:?}"
        );
        assert!(code.is_empty() || error.code == code, "{error:?}");
        assert!(!error.message.is_empty(), "{error:?}");
    }
    assert_eq!(live.load().snapshot.revision, 1, "the old one serves");
}

#[test]
fn secrets_come_apart_from_the_document_and_never_show() {
    let (mut applier, live) = applier();
    let mut items = topology(&provider());
    items[0].secrets.insert("api_key".to_owned(), SECRET.as_bytes().to_vec());
    assert_eq!(serve(&mut applier, &items, 1), Ok(()));
    assert!(!format!("{:?}", live.load().snapshot).contains(SECRET));
    items[0].secrets.insert("no_such_field".to_owned(), SECRET.as_bytes().to_vec());
    let errors = serve(&mut applier, &items, 2).expect_err("an unknown field");
    assert!(!format!("{errors:?}").contains(SECRET), "{errors:?}");
    items[0].secrets.insert("api_key".to_owned(), vec![0xff]);
    assert_eq!(serve(&mut applier, &items, 2).expect_err("no text")[0].field_path, "api_key");
}

#[test]
fn a_bad_key_is_denied_and_holds_nobody_up() {
    let (mut applier, live) = applier();
    let keys =
        [pepper(1), key("vk_1", "one", "sk-one-0123456789abcdef"), key("vk_2", "two", "sk-two-0123456789abcdef")];
    assert_eq!(applier.identity(&keys, &[]), []);
    assert!(is_known(&live, "sk-one-0123456789abcdef") && is_known(&live, "sk-two-0123456789abcdef"));

    let mut bad = key("vk_1", "one", "sk-one-0123456789abcdef");
    if let Some(Body::Key(key)) = &mut bad.body {
        key.digest = b"short".to_vec();
    }
    let removed = [ItemId { kind: "key".to_owned(), id: "vk_2".to_owned() }];
    let quarantined = applier.identity(&[bad, key("vk_3", "three", "sk-three-0123456789abcd")], &removed);
    assert_eq!(quarantined.len(), 1);
    assert_eq!((quarantined[0].name.as_str(), quarantined[0].field_path.as_str()), ("one", "digest"));
    assert!(!is_known(&live, "sk-one-0123456789abcdef"), "denied");
    assert!(!is_known(&live, "sk-two-0123456789abcdef"), "revoked in the same change");
    assert!(is_known(&live, "sk-three-0123456789abcd"));

    let mut unknown_pepper = key("vk_3", "three", "sk-three-0123456789abcd");
    if let Some(Body::Key(key)) = &mut unknown_pepper.body {
        key.pepper_version = 9;
    }
    assert_eq!(applier.identity(&[unknown_pepper], &[])[0].field_path, "pepper_version");
    let empty = Item { body: Some(Body::Pepper(Pepper { version: 2, value: Vec::new() })), ..pepper(2) };
    assert_eq!(applier.identity(&[empty], &[])[0].kind, "pepper");
}

type Step = Box<dyn Fn(&mut Applier)>;

/// What is not known is not ignored: a limit that is open to all would be none.
#[test]
fn policies_of_a_key_come_through_both_ways_or_deny_it() {
    let policed = |when_away: &str, unpriced: &str| {
        let mut item = key("vk_1", "k", SECRET);
        if let Some(Body::Key(key)) = &mut item.body {
            unpriced.clone_into(&mut key.unpriced);
            let when_away = when_away.to_owned();
            key.limits = Some(KeyLimits { rpm: Some(60), when_away, ..KeyLimits::default() });
        }
        item
    };
    let item = policed("closed", "refuse");
    let entry = keys::entry(&item, |_| true).expect("a key");
    assert_eq!((entry.limits.when_away, entry.access.unpriced), (Some(WhenAway::Closed), Some(Unpriced::Refuse)));
    assert_eq!(keys::item(entry), item);
    for (unknown, field) in [(policed("maybe", ""), "limits.when_away"), (policed("", "sometimes"), "unpriced")] {
        let error = keys::entry(&unknown, |_| true).expect_err("a word that nobody knows");
        assert_eq!((error.field_path.as_str(), error.code.as_str()), (field, "unsupported_yet"));
    }
}

#[test]
fn ready_takes_both_classes() {
    for topology_first in [true, false] {
        let (mut applier, live) = applier();
        let mut both: Vec<Step> = vec![
            Box::new(|applier| serve(applier, &topology(&provider()), 1).expect("valid")),
            Box::new(|applier| drop(applier.identity(&[pepper(1), key("vk_1", "one", SECRET)], &[]))),
        ];
        if !topology_first {
            both.reverse();
        }
        assert!(!live.load().ready);
        both[0](&mut applier);
        assert!(!live.load().ready);
        both[1](&mut applier);
        assert!(live.load().ready && is_known(&live, SECRET));
        assert_eq!(live.load().snapshot.revision, 1);
    }
}
