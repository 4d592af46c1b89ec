//! People who are signed in, on two control planes over one Postgres: what ends a session ends it on both.

use std::time::{Duration, Instant};

use gateway_testing::figure;
use serde_json::{Value, json};

use crate::http::Reply;
use crate::world::Fleet;
use crate::{eventually, http};

const PASSWORD: &str = "correct horse battery";
/// From the answer to the change until the session is dead everywhere.
const LIMIT: Duration = Duration::from_secs(1);

/// Asks one control plane as a browser with this cookie.
async fn ask(fleet: &Fleet, control: usize, method: &str, path: &str, cookie: &str, body: Value) -> Reply {
    let addr = fleet.control[control].address("admin_url");
    let headers = [("cookie", cookie), ("x-gateway-csrf", "1")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    http::send_with(addr, method, path, &headers, body).await.unwrap_or_else(|error| panic!("{path}: {error}"))
}

async fn sign_in(fleet: &Fleet, control: usize, password: &str) -> String {
    let body = json!({"email": "ada@example.com", "password": password});
    let reply = ask(fleet, control, "POST", "/admin/session", "", body).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let cookie = reply.headers["set-cookie"].to_str().expect("text");
    cookie.split(';').next().expect("name=value").to_owned()
}

async fn is_alive(fleet: &Fleet, control: usize, cookie: &str) -> bool {
    match ask(fleet, control, "GET", "/admin/session", cookie, Value::Null).await.status {
        200 => true,
        401 => false,
        status => panic!("control plane {control} answers {status}"),
    }
}

/// How long after its end was answered a session is dead on every control plane.
async fn dead(fleet: &Fleet, cookie: &str, ended: Instant) -> Duration {
    for control in 0..fleet.control.len() {
        eventually("the session to be dead", || async { (!is_alive(fleet, control, cookie).await).then_some(()) })
            .await;
    }
    ended.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_lifecycle() {
    const TEST: &str = "session_lifecycle";
    const USER: &str = "/admin/users/ada";
    let Some(fleet) = Fleet::start(2, 0).await else { return };
    fleet.admin("POST", "/admin/users", json!({"name": "ada", "email": "ada@example.com", "role": "viewer"})).await;
    let password = |password: &str| json!({"password": password});
    fleet.admin("PUT", "/admin/users/ada/password", password(PASSWORD)).await;

    let mut slowest = Duration::ZERO;
    for (what, n_kept) in [
        ("sign-out", 1),
        ("another role", 0),
        ("a password that was set for them", 0),
        ("a password of their own", 1),
        ("an end by somebody else", 1),
        ("a user who is disabled", 0),
    ] {
        let (here, there) = (sign_in(&fleet, 0, PASSWORD).await, sign_in(&fleet, 1, PASSWORD).await);
        for control in 0..2 {
            for cookie in [&here, &there] {
                assert!(is_alive(&fleet, control, cookie).await, "{what}: each knows what the other has begun");
            }
        }
        match what {
            "sign-out" => {
                let reply = ask(&fleet, 0, "DELETE", "/admin/session", &here, Value::Null).await;
                assert_eq!(reply.status, 204, "{}", reply.text());
            }
            "another role" => drop(fleet.admin("PATCH", USER, json!({"role": "operator"})).await),
            "a password that was set for them" => {
                drop(fleet.admin("PUT", "/admin/users/ada/password", password(PASSWORD)).await);
            }
            "a password of their own" => {
                let body = json!({"current": PASSWORD, "password": PASSWORD});
                // The other one ends by it.
                let reply = ask(&fleet, 1, "PUT", "/admin/session/password", &there, body).await;
                assert_eq!(reply.status, 204, "{}", reply.text());
            }
            "an end by somebody else" => {
                let sessions = fleet.admin("GET", "/admin/sessions", Value::Null).await;
                // The newest first: `there` began after `here`.
                let id = sessions["data"][1]["id"].as_str().expect("an id").to_owned();
                drop(fleet.admin("DELETE", &format!("/admin/sessions/{id}"), Value::Null).await);
            }
            _ => drop(fleet.admin("PATCH", USER, json!({"enabled": false})).await),
        }
        let ended = Instant::now();
        slowest = slowest.max(dead(&fleet, &here, ended).await);
        for control in 0..2 {
            assert_eq!(is_alive(&fleet, control, &there).await, n_kept == 1, "{what}: the other session, at {control}");
        }
        if n_kept == 1 {
            let reply = ask(&fleet, 0, "DELETE", "/admin/session", &there, Value::Null).await;
            assert_eq!(reply.status, 204);
        }
    }
    figure::note(TEST, "slowest end of a session on all replicas", slowest.as_secs_f64(), "s", LIMIT.as_secs_f64());
    assert!(slowest <= LIMIT, "{slowest:?}");
}
