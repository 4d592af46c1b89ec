//! Credentials, keys and callers.

use std::time::Instant;

use gateway_model::limits::Limits as Document;

use super::*;
use crate::limits::{Asked, Scopes, admit};

const SECRET: &str = "a-key-of-some-other-system";

type Pairs<'a> = &'a [(&'static str, &'a str)];

fn headers(pairs: Pairs<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_str(value).expect("a header value"));
    }
    headers
}

fn entry(id: &str, secret: &str, peppers: &Peppers) -> KeyEntry {
    let (_, digest) = peppers.digest(secret).expect("a pepper");
    KeyEntry {
        id: id.into(),
        name: format!("name of {id}"),
        digest,
        models: vec!["*".to_owned()],
        enabled: true,
        ..KeyEntry::default()
    }
}

fn peppers(versions: &[u32]) -> Peppers {
    Peppers::new(versions.iter().map(|version| (*version, format!("pepper {version}")))).expect("none is empty")
}

#[test]
fn one_credential_from_four_places() {
    let found: &[(Pairs<'_>, Option<&str>)] = &[
        (&[], None),
        (&[("authorization", "Bearer k")], Some("k")),
        (&[("authorization", "bearer   k ")], Some("k")),
        (&[("x-api-key", "k")], Some("k")),
        (&[("api-key", " k ")], Some("k")),
        (&[("authorization", "Bearer k"), ("x-api-key", "k"), ("api-key", "k")], Some("k")),
        (&[("authorization", "Basic abc")], None),
        (&[("authorization", "Basic abc"), ("x-api-key", "k")], Some("k")),
        (&[("authorization", "Bearer ")], None),
        (&[("authorization", "Bearer"), ("api-key", "k")], Some("k")),
        (&[("x-api-key", "")], None),
        (&[("cookie", "k")], None),
        (&[("x-goog-api-key", "k")], Some("k")),
    ];
    for (presented, expected) in found {
        assert_eq!(credential(&headers(presented)).expect("no conflict"), *expected, "{presented:?}");
    }
    let conflicts: &[Pairs<'_>] = &[
        &[("authorization", "Bearer a"), ("x-api-key", "b")],
        &[("x-api-key", "a"), ("api-key", "b")],
        &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
        &[("x-api-key", "a"), ("x-api-key", "b")],
    ];
    for presented in conflicts {
        let failure = credential(&headers(presented)).expect_err("a conflict");
        assert_eq!((failure.code, failure.status), (Code::ConflictingCredentials, 400), "{presented:?}");
    }
    let mut strange = HeaderMap::new();
    strange.insert("x-api-key", HeaderValue::from_bytes(b"k\xff").expect("opaque bytes"));
    assert_eq!(credential(&strange).expect_err("no text").code, Code::InvalidCredential);
}

#[test]
fn who_is_let_in() {
    let peppers = peppers(&[1]);
    let keys = KeyTable::default();
    keys.upsert(&entry("vk_good", SECRET, &peppers));
    keys.upsert(&KeyEntry { enabled: false, ..entry("vk_off", "key-that-is-off", &peppers) });
    keys.upsert(&KeyEntry { expires_at_ms: Some(1000), ..entry("vk_old", "key-that-ends", &peppers) });
    let at = |secret: &str, now_ms| identify(secret, &keys, &peppers, now_ms).map(|caller| caller.id.to_string());
    assert_eq!(at(SECRET, 5000).expect("known"), "vk_good");
    assert_eq!(at("key-that-ends", 999).expect("not expired yet"), "vk_old");
    let unknown = at("unknown", 0).expect_err("unknown").message;
    let refused = [("unknown", 0), ("key-that-is-off", 0), ("key-that-ends", 1000), ("gw_virt_typo", 0), ("", 0)];
    for (secret, now_ms) in refused {
        let failure = at(secret, now_ms).expect_err(secret);
        assert_eq!((failure.code, failure.status), (Code::InvalidCredential, 401), "{secret}");
        assert!(secret.is_empty() || !failure.message.contains(secret));
    }
    keys.remove("vk_good");
    assert_eq!(at(SECRET, 0).expect_err("revoked").message, unknown, "a revoked key looks like one that never was");
    assert!(identify(SECRET, &keys, &Peppers::default(), 0).is_err());
}

#[test]
fn keys_are_found_under_older_peppers() {
    let keys = KeyTable::default();
    keys.upsert(&entry("vk_1", SECRET, &peppers(&[1])));
    for (versions, known) in [(&[1][..], true), (&[2, 1], true), (&[3, 1, 2], true), (&[2], false)] {
        assert_eq!(identify(SECRET, &keys, &peppers(versions), 0).is_ok(), known, "{versions:?}");
    }
    assert_eq!(peppers(&[1, 3, 2]).digest(SECRET).map(|(version, _)| version), Some(3), "the newest is current");
    assert_eq!(Peppers::new([(7, "")]).err(), Some(EmptyPepper { version: 7 }));
}

#[test]
fn a_changed_key_replaces_itself() {
    let peppers = peppers(&[1]);
    let keys = KeyTable::default();
    keys.upsert(&entry("vk_1", SECRET, &peppers));
    keys.upsert(&entry("vk_1", "another-secret", &peppers));
    assert!(identify(SECRET, &keys, &peppers, 0).is_err(), "the old secret is gone");
    assert!(identify("another-secret", &keys, &peppers, 0).is_ok());
    // The same secret under a second id; removing the first leaves the second.
    keys.upsert(&entry("vk_2", "another-secret", &peppers));
    assert!(keys.remove("vk_1") && !keys.remove("vk_1"));
    assert_eq!(identify("another-secret", &keys, &peppers, 0).expect("known").id.as_ref(), "vk_2");
    keys.upsert(&entry("vk_3", SECRET, &peppers));
    keys.retain(|id| id == "vk_3");
    assert_eq!((keys.len(), identify("another-secret", &keys, &peppers, 0).is_err()), (1, true));
}

#[test]
fn a_rotated_key_has_two_secrets_until_the_overlap_ends() {
    let peppers = peppers(&[1]);
    let keys = KeyTable::default();
    let digest = |secret: &str| peppers.digest(secret).expect("a pepper").1;
    let limited = |secret: &str| KeyEntry {
        limits: Document { rpm: Some(1), ..Document::default() },
        ..entry("vk_1", secret, &peppers)
    };
    let earlier = |secret: &str, until_ms| Earlier { digest: digest(secret), pepper_version: 1, until_ms };
    let who = |secret: &str, now_ms| identify(secret, &keys, &peppers, now_ms).ok().map(|caller| caller.id.to_string());
    let known = Some("vk_1".to_owned());
    keys.upsert(&limited("the-first-secret"));
    let rotated = KeyEntry { earlier: vec![earlier("the-first-secret", 1000)], ..limited("the-second-secret") };
    keys.upsert(&rotated);
    for (secret, now_ms, expected) in [
        ("the-first-secret", 999, &known),
        ("the-first-secret", 1000, &None),
        ("the-second-secret", 5000, &known),
        ("the-third-secret", 0, &None),
    ] {
        assert_eq!(&who(secret, now_ms), expected, "{secret} at {now_ms}");
    }
    // One key: what it uses by either secret counts once, and it is there once.
    let caller = |secret: &str| identify(secret, &keys, &peppers, 0).expect("known");
    assert!(Arc::ptr_eq(caller("the-first-secret").limits(), caller("the-second-secret").limits()));
    assert_eq!((keys.entries(), keys.len()), (vec![rotated.clone()], 1));
    // Disabled, ended or rotated without overlap it is so for all of its secrets.
    keys.upsert(&KeyEntry { enabled: false, ..rotated.clone() });
    assert_eq!((who("the-first-secret", 0), who("the-second-secret", 0)), (None, None));
    keys.upsert(&KeyEntry { expires_at_ms: Some(10), ..rotated.clone() });
    assert_eq!((who("the-first-secret", 9), who("the-first-secret", 10)), (known.clone(), None));
    keys.upsert(&limited("the-third-secret"));
    assert_eq!(
        (who("the-first-secret", 0), who("the-second-secret", 0), who("the-third-secret", 0)),
        (None, None, known)
    );
    // What another key has imported since stays theirs.
    keys.upsert(&KeyEntry { id: "vk_2".into(), ..limited("the-first-secret") });
    keys.upsert(&rotated);
    assert_eq!(who("the-first-secret", 0).as_deref(), Some("vk_2"));
    assert!(keys.remove("vk_1"));
    assert_eq!(
        (who("the-first-secret", 0).as_deref(), who("the-second-secret", 0), keys.len()),
        (Some("vk_2"), None, 1)
    );
    keys.upsert(&KeyEntry { earlier: vec![earlier("the-fourth-secret", 1000)], ..limited("the-second-secret") });
    assert!(keys.remove("vk_1"));
    assert_eq!((who("the-fourth-secret", 0), keys.entries().len()), (None, 1));
}

#[test]
fn what_was_used_stays_used_until_the_limit_changes() {
    let peppers = peppers(&[1]);
    let keys = KeyTable::default();
    let now = Instant::now();
    let limits = |rpm| Document { rpm: Some(rpm), ..Document::default() };
    let limited = |rpm| KeyEntry { limits: limits(rpm), ..entry("vk_1", SECRET, &peppers) };
    let fits = || {
        let caller = identify(SECRET, &keys, &peppers, 0).expect("known");
        admit(Scopes::of_key(Arc::clone(caller.limits())), Asked::default(), now).is_ok()
    };
    keys.upsert(&limited(1));
    assert_eq!((fits(), fits()), (true, false));
    keys.upsert(&KeyEntry { models: vec!["m".to_owned()], tags: vec!["t".to_owned()], ..limited(1) });
    assert!(!fits(), "an edit of something else is no fresh start");
    keys.upsert(&KeyEntry { digest: peppers.digest(SECRET).expect("a pepper").1, ..limited(2) });
    assert_eq!((fits(), fits(), fits()), (true, true, false));
}

#[test]
fn callers_know_what_they_may_use() {
    let caller = crate::testing::caller(&["gpt-*", "openai/*", "exact"]);
    for (model, allowed) in
        [("gpt-4o", true), ("openai/a/b", true), ("exact", true), ("exact-not", false), ("claude", false)]
    {
        assert_eq!(caller.may_use(model), allowed, "{model}");
    }
    assert!(!crate::testing::caller(&[]).may_use("anything"));
    assert!(Caller::anonymous().may_use("anything/at all"));
}
