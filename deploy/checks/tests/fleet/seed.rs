//! The admin API that people's scripts know already, path by path and with the program that those scripts call: `curl`, at the admin listener
//! and under the one public name of the balancer that we ship. And what budgets answer there when they are spent.

use std::net::SocketAddr;
use std::process::Stdio;

use gateway_testing::missing;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::balancer::Balancer;
use crate::eventually;
use crate::world::{Fleet, MASTER_KEY};

/// What one call answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: String,
    text: String,
}

/// A row of the table: `{id}`, `{key}` and `{at}` stand for what the walk has made.
struct Row {
    method: &'static str,
    path: &'static str,
    body: Value,
    expected: u16,
    /// What of the answer has to be so, by JSON pointer; `*` is anything that is there.
    holds: &'static [(&'static str, &'static str)],
}

fn row(
    method: &'static str,
    path: &'static str,
    body: Value,
    expected: u16,
    holds: &'static [(&'static str, &'static str)],
) -> Row {
    Row { method, path, body, expected, holds }
}

/// In the order in which somebody would call them: a key is made, looked at, changed and used before it is gone.
fn table() -> Vec<Row> {
    let none = || Value::Null;
    let target = || json!({"model_alias": "m", "provider": "fake"});
    vec![
        row("GET", "/admin/keys", none(), 200, &[("/data/0/id", "*")]),
        row("POST", "/admin/keys", json!({"name": "seed-{at}", "models": ["m"]}), 201, &[("/id", "*"), ("/key", "*")]),
        row("GET", "/admin/keys/{id}", none(), 200, &[("/name", "seed-{at}"), ("/models/0", "m")]),
        row("PATCH", "/admin/keys/{id}", json!({"limits": {"rpm": 50}}), 200, &[("/limits/rpm", "50")]),
        row("GET", "/admin/deployments", none(), 200, &[("/data/0/provider", "fake"), ("/data/0/is_active", "true")]),
        row("POST", "/admin/deployments/disable", target(), 200, &[("/data/0/is_active", "false")]),
        row("POST", "/admin/deployments/enable", target(), 200, &[("/data/0/is_active", "true")]),
        row("GET", "/admin/spend", none(), 200, &[("/total", "*")]),
        row("GET", "/admin/spend?group_by=key", none(), 200, &[("/data", "*")]),
        row("GET", "/admin/spend?group_by=team", none(), 200, &[("/data", "*")]),
        row("GET", "/admin/spend?group_by=model", none(), 200, &[("/data", "*")]),
        row("GET", "/admin/spend?group_by=user", none(), 200, &[("/data", "*")]),
        row("GET", "/admin/spend?group_by=tag", none(), 200, &[("/data", "*")]),
        row("GET", "/admin/spend?group_by=provider", none(), 200, &[("/data", "*")]),
        row("GET", "/admin/spend?group_by=day", none(), 200, &[("/data", "*")]),
        row("GET", "/v1/management/keys", none(), 200, &[("/data/0/id", "*")]),
        row("GET", "/v1/management/keys/{id}", none(), 200, &[("/rpm_limit", "50"), ("/is_active", "true")]),
        row("PUT", "/v1/management/keys/{id}", json!({"rpm_limit": 40}), 200, &[("/rpm_limit", "40")]),
        row("GET", "/v1/management/keys/{id}/usage", none(), 200, &[("/requests", "*")]),
        row("GET", "/v1/management/keys/{id}/usage/daily", none(), 200, &[("/data", "*")]),
        row("GET", "/v1/management/deployments", none(), 200, &[("/data/0/provider", "fake")]),
        row("GET", "/v1/management/usage", none(), 200, &[("/data", "*")]),
        row("GET", "/v1/management/usage/daily", none(), 200, &[("/data", "*")]),
        row("GET", "/v1/management/savings", none(), 200, &[("/data", "*")]),
        row("GET", "/v1/management/savings/daily", none(), 200, &[("/data", "*")]),
        row("GET", "/v1/management/pricing", none(), 200, &[("/data", "*")]),
        row("GET", "/v1/management/providers", none(), 200, &[("/data/0/name", "fake")]),
        row("POST", "/v1/management/organizations", json!({"name": "org-{at}"}), 201, &[]),
        row("GET", "/v1/management/organizations/org-{at}", none(), 200, &[]),
        row("DELETE", "/v1/management/organizations/org-{at}", none(), 204, &[]),
        row("POST", "/v1/management/teams", json!({"name": "red-{at}"}), 201, &[]),
        row("GET", "/v1/management/teams/red-{at}", none(), 200, &[]),
        row("DELETE", "/v1/management/teams/red-{at}", none(), 204, &[]),
        row("POST", "/v1/management/users", json!({"name": "ada-{at}"}), 201, &[]),
        row("GET", "/v1/management/users/ada-{at}", none(), 200, &[]),
        row("DELETE", "/v1/management/users/ada-{at}", none(), 204, &[]),
        row("POST", "/v1/management/keys", json!({"name": "other-{at}"}), 201, &[("/key", "*")]),
        row("DELETE", "/v1/management/keys/other-{at}", none(), 204, &[]),
        row("POST", "/key/generate", json!({"key_alias": "generated-{at}"}), 200, &[("/key", "*")]),
        row("GET", "/key/info?key=generated-{at}", none(), 200, &[("/info/key_alias", "generated-{at}")]),
        row("POST", "/key/update", json!({"key": "generated-{at}", "rpm_limit": 7}), 200, &[("/rpm_limit", "7")]),
        row("POST", "/key/delete", json!({"keys": ["generated-{at}"]}), 200, &[("/deleted_keys/0", "*")]),
        row("POST", "/team/new", json!({"team_alias": "blue-{at}"}), 200, &[("/team_id", "blue-{at}")]),
        row("GET", "/team/info?team_id=blue-{at}", none(), 200, &[("/team_info/team_alias", "blue-{at}")]),
        row("POST", "/user/new", json!({"user_id": "eve-{at}"}), 200, &[("/key", "*")]),
        row("GET", "/user/info?user_id=eve-{at}", none(), 200, &[("/user_info", "*")]),
        row("GET", "/model/info", none(), 200, &[("/data", "*")]),
        row("GET", "/spend/logs", none(), 200, &[]),
        row("DELETE", "/admin/keys/{id}", none(), 204, &[]),
        row("GET", "/admin/keys/{id}", none(), 404, &[("/error/code", "not_found")]),
    ]
}

/// `None`, said loudly, where curl is not installed.
async fn curl(addr: SocketAddr, method: &str, path: &str, bearer: Option<&str>, body: &Value) -> Option<Answer> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--include", "--max-time", "60", "--noproxy", "*", "--request", method]);
    if let Some(bearer) = bearer {
        command.args(["--header", &format!("Authorization: Bearer {bearer}")]);
    }
    if !body.is_null() {
        command.args(["--header", "Content-Type: application/json", "--data", &body.to_string()]);
    }
    command.arg(format!("http://{addr}{path}")).stdin(Stdio::null()).kill_on_drop(true);
    let output = match command.output().await {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            missing("curl is not installed (package curl)");
            return None;
        }
        Err(error) => panic!("curl: {error}"),
    };
    let text = String::from_utf8(output.stdout).expect("text");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {method} {path}: {said}");
    let (headers, text) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {path}: no head in {text:?}"));
    let status = headers.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("{method} {path}: no status in {headers}"));
    Some(Answer { status, headers: headers.to_ascii_lowercase(), text: text.to_owned() })
}

// === impl Answer ===

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }
}

fn text(value: Option<&Value>) -> Option<String> {
    value.filter(|value| !value.is_null()).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// Everybody who may not, and then the one who may.
async fn walk(addr: SocketAddr, at: &str, virtual_key: &str) -> Option<usize> {
    let (mut id, mut n_rows) = (String::new(), 0);
    for row in table() {
        let fill = |text: &str| text.replace("{id}", &id).replace("{at}", at);
        let (path, body) = (fill(row.path), serde_json::from_str(&fill(&row.body.to_string())).expect("JSON"));
        let place = format!("{at}: {} {path}", row.method);
        for (bearer, expected) in [
            (None, 401),
            (Some("gw_master_nobody"), 401),
            (Some("sk-unknown-0123456789abcdef"), 401),
            (Some(virtual_key), 403),
        ] {
            let answer = curl(addr, row.method, &path, bearer, &body).await?;
            assert_eq!(answer.status, expected, "{place} with {bearer:?}: {}", answer.text);
        }
        let answer = curl(addr, row.method, &path, Some(MASTER_KEY), &body).await?;
        assert_eq!(answer.status, row.expected, "{place}: {}", answer.text);
        let told = answer.json();
        for (pointer, expected) in row.holds {
            let (found, expected) = (text(told.pointer(pointer)), fill(expected));
            let holds = found.as_ref().is_some_and(|found| expected == "*" || *found == expected);
            assert!(holds, "{place}: {pointer} is {found:?}, not {expected}: {told}");
        }
        let secret = text(told.pointer("/key")).filter(|key| key.starts_with("gw_virt_"));
        assert!(row.method == "POST" || secret.is_none(), "{place}: a secret is shown once: {told}");
        if row.path == "/admin/keys" && row.method == "POST" {
            id = text(told.get("id")).expect("an id");
        }
        n_rows += 1;
    }
    Some(n_rows)
}

async fn chat(addr: SocketAddr, key: &str) -> Option<Answer> {
    let body = json!({"model": "m", "max_tokens": 3, "messages": [{"role": "user", "content": "short"}]});
    curl(addr, "POST", "/v1/chat/completions", Some(key), &body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_seeds_admin_tables_by_curl() {
    let Some(fleet) = Fleet::start(2, 1).await else { return };
    let Some(balancer) = Balancer::start(&fleet) else { return };
    balancer.until_up(1).await;
    for (addr, at) in [(fleet.control[0].address("admin_url"), "direct"), (balancer.public, "balanced")] {
        let Some(n_rows) = walk(addr, at, &fleet.key).await else { return };
        assert_eq!(n_rows, table().len());
    }
    // The same name serves the API: what is made there is good here, and what is deleted there is good no more.
    let (addr, keys) = (balancer.public, "/admin/keys");
    let Some(made) = curl(addr, "POST", keys, Some(MASTER_KEY), &json!({"name": "app"})).await else { return };
    let key = text(made.json().get("key")).expect("a key");
    let status = async |expected: u16| {
        let look = || async { chat(addr, &key).await.filter(|answer| answer.status == expected) };
        eventually(&format!("status {expected}"), look).await
    };
    status(200).await;
    curl(addr, "DELETE", "/admin/keys/app", Some(MASTER_KEY), &Value::Null).await;
    status(401).await;
}

/// Of a key, of its team, and of the team's organization.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exhausted_budget_is_429_kind_budget() {
    let Some(fleet) = Fleet::start(1, 1).await else { return };
    let Some(balancer) = Balancer::start(&fleet) else { return };
    balancer.until_up(1).await;
    let price = json!({"provider": "fake", "model": "upstream-model", "input_per_1m": 0, "output_per_1m": 10000});
    fleet.admin("POST", "/admin/prices", price).await;
    let budget = json!({"amount_usd": "0.01", "window": "monthly"});
    fleet.admin("POST", "/admin/organizations", json!({"name": "poor-org", "budget": budget})).await;
    fleet.admin("POST", "/admin/organizations", json!({"name": "rich-org"})).await;
    for (team, organization, own) in
        [("a", "poor-org", Value::Null), ("b", "rich-org", budget.clone()), ("c", "rich-org", Value::Null)]
    {
        fleet.admin("POST", "/admin/teams", json!({"name": team, "organization": organization, "budget": own})).await;
    }
    for (team, own) in [("a", Value::Null), ("b", Value::Null), ("c", budget.clone())] {
        let spec = json!({"name": format!("key-{team}"), "team": team, "budget": own});
        let made = fleet.admin("POST", "/admin/keys", spec).await;
        let key = made["key"].as_str().expect("a key").to_owned();
        let look = || async { chat(balancer.public, &key).await.filter(|answer| answer.status == 429) };
        let (refused, _) = eventually(&format!("the budget above key-{team} to be spent"), look).await;
        let told = refused.json();
        assert_eq!(told["error"]["kind"], "budget", "key-{team}: {told}");
        assert!(refused.headers.contains("x-gateway-limit-kind: budget"), "{}", refused.headers);
        assert!(refused.headers.contains("retry-after: "), "{}", refused.headers);
    }
}
