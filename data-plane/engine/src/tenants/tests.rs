//! Whose account a request is on, and whose limits it takes.

use std::time::Instant;

use crate::identity::{Access, Belongs, Caller, KeyEntry, KeyTable, Peppers, identify};
use crate::limits::{Asked, Permit, admit};
use crate::snapshot::Snapshot;
use crate::{compile, testing};

use super::*;

const SECRET: &str = "a-key-of-some-other-system";

fn caller(user: Option<&str>, team: Option<&str>) -> Arc<Caller> {
    let peppers = Peppers::new([(1, "pepper")]).expect("not empty");
    let belongs = Belongs { user: user.map(Arc::from), team: team.map(Arc::from) };
    let access = Access { belongs, ..Access::default() };
    let digest = peppers.digest(SECRET).expect("a pepper").1;
    let keys = KeyTable::default();
    keys.upsert(&KeyEntry { id: "vk_1".into(), digest, enabled: true, access, ..KeyEntry::default() });
    identify(SECRET, &keys, &peppers, 0).expect("the key")
}

const CONFIG: &str = "
organizations:
  - {name: acme, limits: {rpm: 5}}
  - {name: shut, enabled: false}
teams:
  - {name: search, organization: acme, limits: {rpm: 3}}
  - {name: closed, enabled: false}
  - {name: of-shut, organization: shut}
users:
  - {name: ann, organization: acme}
";

fn ask(snapshot: &Snapshot, caller: &Caller, now: Instant) -> Result<Permit, Box<Failure>> {
    admit(snapshot.tenants.standing(caller)?.scopes(caller), Asked::default(), now).map_err(|refused| refused.failure)
}

#[test]
fn a_key_does_not_outlive_whom_it_is_for() {
    let snapshot = testing::snapshot(CONFIG);
    let cases = [
        (None, None, Ok(())),
        (Some("ann"), Some("search"), Ok(())),
        (Some("bob"), None, Err("the user `bob` that this API key is for is gone")),
        (Some("ann"), Some("closed"), Err("the team `closed` that this API key is for is disabled")),
        (None, Some("of-shut"), Err("the organization `shut` that this API key is for is disabled")),
    ];
    for (user, team, expected) in cases {
        let found = snapshot.tenants.standing(&caller(user, team));
        match (found, expected) {
            (Ok(_), Ok(())) => {}
            (Err(failure), Err(message)) => assert_eq!((&*failure.message, failure.status), (message, 401)),
            (found, expected) => panic!("{found:?} {expected:?}"),
        }
    }
}

#[test]
fn keys_of_a_team_share_its_limits_and_teams_those_of_their_organization() {
    let (snapshot, now) = (testing::snapshot(CONFIG), Instant::now());
    let (one, other, ann) = (caller(None, Some("search")), caller(None, Some("search")), caller(Some("ann"), None));
    for caller in [&one, &other, &one] {
        drop(ask(&snapshot, caller, now).expect("three of the team"));
    }
    let refused = ask(&snapshot, &other, now).expect_err("the team's fourth");
    assert_eq!((&*refused.message, refused.limit_kind), ("Team search exceeded its 3 req/min limit.", Some("rpm")));
    drop([ask(&snapshot, &ann, now).expect("the fourth"), ask(&snapshot, &ann, now).expect("the fifth")]);
    let refused = ask(&snapshot, &ann, now).expect_err("the organization's sixth");
    assert_eq!(refused.message, "Organization acme exceeded its 5 req/min limit.");
}

#[test]
fn what_was_used_stays_used_until_the_limit_changes() {
    let (first, now) = (testing::snapshot(CONFIG), Instant::now());
    let one = caller(None, Some("search"));
    (0..3).for_each(|_| drop(ask(&first, &one, now).expect("within the limit")));
    let set = testing::parsed(CONFIG);
    let same = compile::compile_over(&set, 2, &first).expect("it compiles");
    assert!(ask(&same, &one, now).is_err(), "a new revision forgives nothing");
    let wider = testing::parsed(&CONFIG.replace("rpm: 3", "rpm: 4"));
    let wider = compile::compile_over(&wider, 3, &same).expect("it compiles");
    assert!(ask(&wider, &one, now).is_ok());
}
