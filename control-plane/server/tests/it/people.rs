//! People who sign in: what each role may do, what a team-admin never sees, passwords and invitations.

use gateway_server::admin::{Need, ROUTES};
use serde_json::{Value, json};

use crate::world::{Answer, World};

const HOST: (&str, &str) = ("host", "localhost:8081");
const OWN: (&str, &str) = ("origin", "http://localhost:8081");
const CSRF: (&str, &str) = ("x-gateway-csrf", "1");
const PASSWORD: &str = "correct horse battery";

/// Somebody who is signed in.
pub(crate) struct Person<'a> {
    world: &'a World,
    cookie: String,
}

/// A user of this role, with a password.
pub(crate) async fn user(world: &World, name: &str, role: &str, leads: &[&str]) {
    let email = format!("{name}@example.com");
    let user = json!({"name": name, "email": email, "role": role, "leads": leads});
    world.call("POST", "/admin/users", user).await.expect(201);
    let path = format!("/admin/users/{name}/password");
    world.call("PUT", &path, json!({"password": PASSWORD})).await.expect(204);
}

async fn try_sign_in(world: &World, email: &str, password: &str) -> Answer {
    let body = json!({"email": email, "password": password}).to_string().into_bytes();
    world.send("POST", "/admin/session", &[HOST, OWN, CSRF], body).await
}

pub(crate) async fn sign_in<'a>(world: &'a World, name: &str) -> Person<'a> {
    let body = json!({"email": format!("{name}@example.com"), "password": PASSWORD}).to_string().into_bytes();
    let response = world.open("POST", "/admin/session", &[HOST, OWN, CSRF], body).await;
    assert_eq!(response.status(), 201, "{name} signs in");
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    Person { world, cookie: cookie.split(';').next().unwrap().to_owned() }
}

// === impl Person ===

impl Person<'_> {
    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let headers = [HOST, OWN, CSRF, ("cookie", self.cookie.as_str())];
        self.world.send(method, path, &headers, body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, Value::Null).await
    }
}

/// Two organizations with a team, a key, a user and spending each; the second is `foreign`.
async fn two_tenants(world: &World) {
    for name in ["own", "foreign"] {
        world.call("POST", "/admin/organizations", json!({"name": format!("{name}-org")})).await.expect(201);
        let budget = json!({"amount_usd": 5, "window": "monthly"});
        let team = json!({"name": format!("{name}-team"), "organization": format!("{name}-org"), "budget": budget});
        world.call("POST", "/admin/teams", team).await.expect(201);
        let user = json!({"name": format!("{name}-user"), "organization": format!("{name}-org")});
        world.call("POST", "/admin/users", user).await.expect(201);
        let key = json!({"name": format!("{name}-key"), "team": format!("{name}-team"), "budget": budget});
        world.call("POST", "/admin/keys", key).await.expect(201);
    }
}

#[tokio::test]
async fn roles_of_people() {
    let world = World::new().await;
    two_tenants(&world).await;
    let setting = json!({"server": {"max_body": "4MiB"}});
    let limit = json!({"source": "f", "resources": [{"kind": "limit", "spec": {"name": "l", "match": {"teams": ["own-team"]}, "limits": {"rpm": 9}}}]});
    let cases: [(&str, &str, Value, &[&str]); 13] = [
        ("GET", "/admin/status", Value::Null, &["owner", "admin", "operator", "billing", "viewer"]),
        ("GET", "/admin/models", Value::Null, &["owner", "admin", "operator", "viewer"]),
        ("GET", "/admin/keys", Value::Null, &["owner", "admin", "operator", "billing", "viewer", "team-admin"]),
        ("GET", "/admin/logs", Value::Null, &["owner", "admin", "operator", "viewer"]),
        ("GET", "/admin/spend", Value::Null, &["owner", "admin", "operator", "billing", "viewer", "team-admin"]),
        ("GET", "/admin/audit", Value::Null, &["owner", "admin", "operator"]),
        ("GET", "/admin/sessions", Value::Null, &["owner", "admin", "operator"]),
        ("PATCH", "/admin/settings?dry_run=true", setting, &["owner", "admin", "operator"]),
        ("PATCH", "/admin/keys/own-key", json!({"tags": ["t"]}), &["owner", "admin", "team-admin"]),
        ("PATCH", "/admin/teams/own-team", json!({"metadata": {"a": "b"}}), &["owner", "admin"]),
        (
            "POST",
            "/admin/budgets?dry_run=true",
            json!({"name": "b", "match": {"teams": ["own-team"]}, "amount_usd": 1, "window": "daily"}),
            &["owner", "admin", "billing"],
        ),
        ("POST", "/admin/apply?dry_run=true", limit, &["owner", "admin", "operator"]),
        ("POST", "/admin/epoch", Value::Null, &["owner"]),
    ];
    for role in ["owner", "admin", "operator", "billing", "viewer", "team-admin"] {
        let leads: &[&str] = if role == "team-admin" { &["own-team"] } else { &[] };
        user(&world, role, role, leads).await;
        let person = sign_in(&world, role).await;
        let session = person.get("/admin/session").await.expect(200);
        assert_eq!((&session["actor"], &session["role"]), (&json!(format!("user:{role}")), &json!(role)));
        for (method, path, body, allowed) in &cases {
            let answer = person.call(method, path, body.clone()).await;
            let (status, is_allowed) = (answer.status.as_u16(), allowed.contains(&role));
            assert_eq!(status == 403, !is_allowed, "{role}: {method} {path}: {status} {}", answer.text);
            assert!(!is_allowed || status < 300, "{role}: {method} {path}: {}", answer.text);
            assert!(is_allowed || answer.text.contains("takes the permission `"), "it says which: {}", answer.text);
        }
    }
    let told = world.get("/admin/audit?limit=20").await.expect(200);
    let actors: Vec<&str> = told["data"].as_array().unwrap().iter().filter_map(|row| row["actor"].as_str()).collect();
    assert!(actors.contains(&"user:owner") && actors.contains(&"user:team-admin"), "writes name people: {actors:?}");
}

/// A file, a roll-back and a role itself are no ways around.
#[tokio::test]
async fn nobody_gives_themselves_more() {
    let world = World::new().await;
    for role in ["owner", "admin", "operator"] {
        user(&world, role, role, &[]).await;
    }
    let (owner, admin) = (sign_in(&world, "owner").await, sign_in(&world, "admin").await);
    let operator = sign_in(&world, "operator").await;
    let resource = |kind: &str, spec: Value| json!({"source": "f", "resources": [{"kind": kind, "spec": spec}]});
    let me = json!({"name": "operator", "email": "operator@example.com", "role": "owner"});
    for (person, method, path, body) in [
        (&operator, "POST", "/admin/apply", resource("user", me)),
        (&operator, "POST", "/admin/apply", resource("key", json!({"name": "mine"}))),
        (&operator, "PATCH", "/admin/users/operator", json!({"role": "owner"})),
        (&operator, "POST", "/admin/config/rollback", json!({"to": "previous"})),
        (&operator, "PUT", "/admin/users/owner/password", json!({"password": PASSWORD})),
        (&admin, "PATCH", "/admin/users/admin", json!({"role": "owner"})),
        (&admin, "PATCH", "/admin/users/owner", json!({"email": "admin2@example.com"})),
        (&admin, "DELETE", "/admin/users/owner", Value::Null),
        (&admin, "PUT", "/admin/users/owner/password", json!({"password": PASSWORD})),
        (&admin, "POST", "/admin/users/owner/invitation", Value::Null),
        (&admin, "POST", "/admin/snapshot", json!({"state_key": "0123456789abcdef"})),
    ] {
        person.call(method, path, body.clone()).await.refused(403, "forbidden");
    }
    owner.call("PATCH", "/admin/users/operator", json!({"role": "viewer"})).await.expect(200);
    // Whose role has changed signs in anew, whatever it is now.
    operator.call("PATCH", "/admin/settings", json!({})).await.refused(401, "unauthorized");
    let operator = sign_in(&world, "operator").await;
    operator.call("PATCH", "/admin/settings", json!({})).await.refused(403, "forbidden");
    owner.call("PATCH", "/admin/users/operator", json!({"role": null})).await.expect(200);
    operator.get("/admin/status").await.refused(401, "unauthorized");
}

/// What somebody might send who wants this for himself.
fn grabs(method: &str, name: &str) -> Vec<Value> {
    if method == "GET" {
        return vec![Value::Null];
    }
    vec![
        json!({"name": "taken-over", "team": "foreign-team"}),
        json!({"overlap": "0s"}),
        json!({"team": "own-team"}),
        json!({"tags": ["mine"]}),
        json!({"key": name, "tags": ["mine"]}),
        json!({"keys": [name]}),
        json!({"team_id": "foreign-team"}),
    ]
}

/// Every route, asked by who leads one team, for what belongs to another.
#[tokio::test]
async fn idor_matrix() {
    let world = World::new().await;
    two_tenants(&world).await;
    user(&world, "lead", "team-admin", &["own-team"]).await;
    let lead = sign_in(&world, "lead").await;
    let foreign_id = world.get("/admin/keys/foreign-key").await.expect(200)["id"].as_str().unwrap().to_owned();
    let before = world.get("/admin/keys/foreign-key").await.body;
    let mut n_asked = 0;
    for route in ROUTES.iter().filter(|route| !matches!(route.need, Need::Nothing | Need::Greeting)) {
        if route.path.starts_with("/admin/session") && !route.path.starts_with("/admin/sessions") {
            continue;
        }
        let kinds: &[(&str, &[&str])] = if route.path.contains("{kind}") {
            &[
                ("keys", &["foreign-key", &foreign_id]),
                ("teams", &["foreign-team"]),
                ("users", &["foreign-user"]),
                ("organizations", &["foreign-org"]),
                ("budgets", &["foreign"]),
            ]
        } else if route.path.contains("teams") {
            &[("", &["foreign-team"])]
        } else if route.path.contains("users") {
            &[("", &["foreign-user"])]
        } else {
            &[("", &["foreign-key", &foreign_id])]
        };
        for (kind, names) in kinds {
            for name in *names {
                let path = route.path.replace("{kind}", kind).replace("{name}", name).replace("{id}", name);
                let query = match path.as_str() {
                    "/key/info" => format!("?key={name}"),
                    "/team/info" => "?team_id=foreign-team".to_owned(),
                    "/user/info" => "?user_id=foreign-user".to_owned(),
                    "/admin/spend" => "?team=foreign-team".to_owned(),
                    _ => String::new(),
                };
                let method = route.method.as_str();
                for body in grabs(method, name) {
                    n_asked += 1;
                    let answer = lead.call(method, &format!("{path}{query}"), body.clone()).await;
                    let status = answer.status.as_u16();
                    // Lists, and keys of one's own, are what a team-admin has.
                    let is_own = status < 300 && !answer.text.contains("foreign");
                    let is_refused = matches!(status, 400 | 403 | 404 | 405 | 422);
                    assert!(is_own || is_refused, "{method} {path}{query} {body}: {status} {}", answer.text);
                    let told = ["\"organization\":\"foreign-org\"", "\"team\":\"foreign-team\"", "amount"];
                    assert!(!told.iter().any(|part| answer.text.contains(part)) || is_own, "{path}: {}", answer.text);
                }
            }
        }
    }
    assert!(n_asked > 150, "the table was walked: {n_asked}");
    assert_eq!(world.get("/admin/keys/foreign-key").await.body, before, "nothing of it has changed");
    // What is there of one's own is seen, made and changed.
    let keys = lead.get("/admin/keys").await.expect(200);
    let names: Vec<&str> = keys["data"].as_array().unwrap().iter().filter_map(|key| key["name"].as_str()).collect();
    assert!(names.contains(&"own-key") && !names.contains(&"foreign-key"), "{names:?}");
    lead.call("POST", "/admin/keys", json!({"name": "new-key", "team": "own-team"})).await.expect(201);
    lead.call("POST", "/admin/keys/new-key/rotate", json!({})).await.expect(200);
    lead.call("DELETE", "/admin/keys/new-key", Value::Null).await.expect(204);
    for (body, expected) in [
        (json!({"name": "k1"}), 403),
        (json!({"name": "k1", "team": "own-team", "passthrough": ["*"]}), 403),
        (json!({"name": "k1", "team": "own-team", "user": "foreign-user"}), 404),
        (json!({"name": "k1", "team": "own-team", "user": "own-user"}), 201),
    ] {
        let answer = lead.call("POST", "/admin/keys", body.clone()).await;
        assert_eq!(answer.status.as_u16(), expected, "{body}: {}", answer.text);
    }
    lead.call("PATCH", "/admin/keys/own-key", json!({"team": "foreign-team"})).await.refused(403, "forbidden");
    lead.call("PATCH", "/admin/keys/own-key", json!({"team": null})).await.refused(403, "forbidden");
    let budgets = lead.get("/admin/usage/budgets").await.expect(200);
    assert_eq!(budgets["data"].as_array().unwrap().len(), 2, "its team's and its key's: {budgets}");
    let spend = lead.get("/admin/spend?group_by=team").await.expect(200);
    assert_eq!(spend["total"]["requests"], 0);
}

#[tokio::test]
async fn passwords_and_invitations() {
    let world = World::new().await;
    user(&world, "ada", "viewer", &[]).await;
    for (email, password, expected) in [
        ("ada@example.com", PASSWORD, 201),
        ("Ada@Example.com", PASSWORD, 201),
        ("ada@example.com", "correct horse batterz", 401),
        ("a%@example.com", PASSWORD, 401),
        ("nobody@example.com", PASSWORD, 401),
        ("", "", 401),
    ] {
        let answer = try_sign_in(&world, email, password).await;
        assert_eq!(answer.status.as_u16(), expected, "{email}: {}", answer.text);
    }
    // Nothing of it shows, and another password ends what was begun.
    let ada = sign_in(&world, "ada").await;
    let shown = world.get("/admin/users/ada").await.text + &world.get("/admin/audit").await.text;
    assert!(!shown.contains("argon2") && !shown.contains(PASSWORD));
    world.call("PUT", "/admin/users/ada/password", json!({"password": "short"})).await.refused(400, "malformed");
    let invitation = world.call("POST", "/admin/users/ada/invitation", Value::Null).await.expect(201);
    let accept = |token: &Value, password: &str| json!({"token": token, "password": password}).to_string().into_bytes();
    let chosen = "another horse battery";
    for (token, expected) in
        [(json!("x".repeat(43)), 404), (invitation["token"].clone(), 204), (invitation["token"].clone(), 404)]
    {
        let answer = world.send("POST", "/admin/invitation", &[HOST, OWN], accept(&token, chosen)).await;
        assert_eq!(answer.status.as_u16(), expected, "{}", answer.text);
    }
    ada.get("/admin/status").await.refused(401, "unauthorized");
    try_sign_in(&world, "ada@example.com", PASSWORD).await.refused(401, "unauthorized");
    try_sign_in(&world, "ada@example.com", chosen).await.expect(201);
    // Sessions are listed and ended.
    let sessions = world.get("/admin/sessions").await.expect(200);
    let mine = sessions["data"].as_array().unwrap().iter().find(|row| row["user"] == "ada").unwrap().clone();
    let path = format!("/admin/sessions/{}", mine["id"].as_str().unwrap());
    world.call("DELETE", &path, Value::Null).await.expect(204);
    world.call("DELETE", &path, Value::Null).await.refused(404, "not_found");
    // Who has the name later is somebody else.
    world.call("DELETE", "/admin/users/ada", Value::Null).await.expect(204);
    let user = json!({"name": "ada", "email": "ada@example.com", "role": "owner"});
    world.call("POST", "/admin/users", user).await.expect(201);
    try_sign_in(&world, "ada@example.com", chosen).await.refused(401, "unauthorized");
    // A program has keys and no password; whoever has no role does not sign in.
    let program = json!({"name": "ci", "email": "ci@example.com", "service_account": true, "role": "viewer"});
    world.call("POST", "/admin/users", program).await.refused(422, "invalid");
    world.call("POST", "/admin/users", json!({"name": "ci", "service_account": true})).await.expect(201);
    world.call("PUT", "/admin/users/ci/password", json!({"password": PASSWORD})).await.refused(409, "conflict");
    world.call("POST", "/admin/keys", json!({"name": "ci-key", "user": "ci"})).await.expect(201);
}

/// It takes no permission; those of others are not there, whatever their ids.
#[tokio::test]
async fn people_see_and_end_their_own_sessions() {
    let world = World::new().await;
    user(&world, "ada", "viewer", &[]).await;
    user(&world, "bob", "billing", &[]).await;
    let (here, bob) = (sign_in(&world, "ada").await, sign_in(&world, "bob").await);
    let ids = |answer: Value| -> Vec<String> {
        let rows = answer["data"].as_array().unwrap().clone();
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    let first = ids(here.get("/admin/session/own").await.expect(200));
    assert_eq!(first.len(), 1);
    let there = sign_in(&world, "ada").await;
    let own = ids(here.get("/admin/session/own").await.expect(200));
    let second = own.iter().find(|id| **id != first[0]).expect("where they signed in after");
    let of_bob = ids(bob.get("/admin/session/own").await.expect(200));
    assert_eq!(of_bob.len(), 1);
    let path = |id: &str| format!("/admin/session/own/{id}");
    here.call("DELETE", &path(&of_bob[0]), Value::Null).await.refused(404, "not_found");
    for other in [&bob, &sign_in(&world, "bob").await] {
        other.call("DELETE", &path(second), Value::Null).await.refused(404, "not_found");
    }
    world.call("DELETE", &path(second), Value::Null).await.refused(404, "not_found");
    here.call("DELETE", &path(second), Value::Null).await.expect(204);
    assert_eq!(ids(here.get("/admin/session/own").await.expect(200)), first);
    there.get("/admin/session").await.refused(401, "unauthorized");
    bob.get("/admin/session").await.expect(200);
    let told = world.get("/admin/audit").await.expect(200);
    assert!(told["data"].as_array().unwrap().iter().any(|row| row["action"] == "revoke" && row["actor"] == "user:ada"));
}

#[tokio::test]
async fn a_team_admin_is_told_who_leads_their_team() {
    let world = World::new().await;
    two_tenants(&world).await;
    user(&world, "lead", "team-admin", &["own-team"]).await;
    user(&world, "second", "team-admin", &["foreign-team", "own-team"]).await;
    user(&world, "other", "team-admin", &["foreign-team"]).await;
    world.call("PATCH", "/admin/users/other", json!({"enabled": false})).await.expect(200);
    let lead = sign_in(&world, "lead").await;
    assert_eq!(lead.get("/admin/teams/own-team/leaders").await.expect(200)["data"], json!(["lead", "second"]));
    lead.get("/admin/teams/foreign-team/leaders").await.refused(404, "not_found");
    assert_eq!(world.get("/admin/teams/foreign-team/leaders").await.expect(200)["data"], json!(["second"]));
    world.get("/admin/teams/nobody/leaders").await.refused(404, "not_found");
}

/// With the password before; every other session of theirs ends, and nobody else's.
#[tokio::test]
async fn people_change_their_own_password() {
    const OWN_PASSWORD: &str = "/admin/session/password";
    let world = World::new().await;
    user(&world, "ada", "viewer", &[]).await;
    user(&world, "bob", "viewer", &[]).await;
    let (here, elsewhere) = (sign_in(&world, "ada").await, sign_in(&world, "ada").await);
    let bob = sign_in(&world, "bob").await;
    let chosen = "a password of her own";
    let body = |current: &str, password: &str| json!({"current": current, "password": password});
    for (body, expected, code) in [
        (body("not the one she has", chosen), 403, "forbidden"),
        (body("", chosen), 403, "forbidden"),
        (body(PASSWORD, "short"), 400, "malformed"),
        (body(PASSWORD, &"x".repeat(257)), 400, "malformed"),
        (json!({"password": chosen}), 400, "malformed"),
        (json!({"current": PASSWORD, "password": chosen, "user": "bob"}), 400, "malformed"),
    ] {
        here.call("PUT", OWN_PASSWORD, body).await.refused(expected, code);
    }
    elsewhere.get("/admin/status").await.expect(200);
    // Who has no password has none to change: nobody, the master key, and a page of somebody else.
    let stranger = world.send("PUT", OWN_PASSWORD, &[HOST, OWN, CSRF], body(PASSWORD, chosen).to_string().into()).await;
    stranger.refused(401, "unauthorized");
    world.call("PUT", OWN_PASSWORD, body(PASSWORD, chosen)).await.refused(409, "conflict");
    let headers = [HOST, ("cookie", here.cookie.as_str())];
    let forged = world.send("PUT", OWN_PASSWORD, &headers, body(PASSWORD, chosen).to_string().into()).await;
    forged.refused(403, "forbidden");

    let invitation = world.call("POST", "/admin/users/ada/invitation", Value::Null).await.expect(201);
    here.call("PUT", OWN_PASSWORD, body(PASSWORD, chosen)).await.expect(204);
    here.get("/admin/status").await.expect(200);
    bob.get("/admin/status").await.expect(200);
    elsewhere.get("/admin/status").await.refused(401, "unauthorized");
    try_sign_in(&world, "ada@example.com", PASSWORD).await.refused(401, "unauthorized");
    try_sign_in(&world, "ada@example.com", chosen).await.expect(201);
    let accept = json!({"token": invitation["token"], "password": PASSWORD}).to_string().into_bytes();
    world.send("POST", "/admin/invitation", &[HOST, OWN], accept).await.refused(404, "not_found");
    let told = world.get("/admin/audit?limit=20").await;
    assert!(!told.text.contains(chosen) && !told.text.contains(PASSWORD));
    let told = told.expect(200);
    let row = told["data"].as_array().unwrap().iter().find(|row| row["action"] == "change_password").cloned().unwrap();
    assert_eq!((&row["actor"], &row["name"]), (&json!("user:ada"), &json!("ada")));
}

#[tokio::test]
async fn tries_to_change_a_password_are_counted() {
    let world = World::new().await;
    user(&world, "ada", "viewer", &[]).await;
    let ada = sign_in(&world, "ada").await;
    let guess = json!({"current": "a guess of somebody", "password": "a password of theirs"});
    for _ in 0..10 {
        ada.call("PUT", "/admin/session/password", guess.clone()).await.refused(403, "forbidden");
    }
    ada.call("PUT", "/admin/session/password", guess).await.refused(429, "too_many");
    ada.get("/admin/status").await.expect(200);
}

#[tokio::test]
async fn tries_to_sign_in_are_counted() {
    let world = World::new().await;
    user(&world, "ada", "viewer", &[]).await;
    let mut refused = None;
    for n_try in 0..20 {
        let answer = try_sign_in(&world, "ada@example.com", "not hers at all").await;
        if answer.status == 429 {
            refused = Some((n_try, answer));
            break;
        }
        answer.refused(401, "unauthorized");
    }
    let (n_tries, answer) = refused.expect("it ends");
    assert_eq!(n_tries, 10);
    answer.refused(429, "too_many");
    try_sign_in(&world, "ada@example.com", PASSWORD).await.refused(429, "too_many");
}
