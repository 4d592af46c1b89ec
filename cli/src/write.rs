//! A change on its way: sent, then followed until the nodes run it or the time is over. On a terminal a line shows how far it is.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::time::Instant;

use crate::args::Wait;
use crate::change;
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::host;
use crate::host::terminal::Progress;
use crate::output::items;

/// How often the line moves.
const PACE: Duration = Duration::from_millis(200);

/// Sends a change and waits as long as `wait` says. The answer's rollout is the last one that was seen. A change that was stored and
/// could not be followed ends as [`Exit::Partly`].
pub(crate) async fn send(
    client: &Client,
    method: Method,
    target: &str,
    wait: Wait,
    body: Option<&Value>,
) -> Result<Value, Failure> {
    client.say_target();
    let progress = if wait.no_wait { None } else { Progress::start() };
    let Some(mut progress) = progress else {
        return client.send(method, target, &wait.query(), body, wait.longest()).await;
    };
    let deadline = Instant::now() + wait.timeout;
    progress.show("storing the change");
    // What the nodes think is asked for apart, bit by bit; waiting for a moment makes even a deletion answer with its revision.
    let query = waiting("1ms".to_owned());
    let mut answer = client.send(method, target, &query, body, Duration::ZERO).await?;
    let at = if answer.get("rollout").is_some() { "" } else { "/change" };
    let revision = answer.pointer(&format!("{at}/revision")).cloned().unwrap_or_default();
    let Some(rollout) = answer.pointer_mut(&format!("{at}/rollout")) else { return Ok(answer) };
    while !items(rollout, "/pending").is_empty() && Instant::now() < deadline {
        progress.show(&line(rollout, deadline.saturating_duration_since(Instant::now())));
        *rollout = look(client, &revision, PACE.min(deadline.saturating_duration_since(Instant::now()))).await?;
    }
    Ok(answer)
}

fn waiting(timeout: String) -> Query {
    vec![("wait", "applied".to_owned()), ("timeout", timeout)]
}

/// How the nodes take `revision`, after waiting for them a little.
async fn look(client: &Client, revision: &Value, timeout: Duration) -> Result<Value, Failure> {
    let number = |class: &str| revision.get(class).and_then(Value::as_u64).unwrap_or(0).to_string();
    let timeout_ms = timeout.as_millis().max(1);
    let query = vec![
        ("topology", number("topology")),
        ("identity", number("identity")),
        ("timeout", format!("{timeout_ms}ms")),
    ];
    client.send(Method::GET, &path(&["rollout"]), &query, None, timeout).await.map_err(|failure| {
        let reason = failure.message();
        let stored = change::revision(revision);
        Failure::new(Exit::Partly, format!("stored as {stored}, but whether the nodes run it is not known: {reason}"))
            .hint("`gatewayctl nodes` shows what each of them runs")
    })
}

/// `applied 3/5, 1 rejected, 2 offline; up to 7 s more`
fn line(rollout: &Value, left: Duration) -> String {
    let count = |list: &str| items(rollout, list).len();
    let (applied, rejected, offline) = (count("/applied"), count("/rejected"), count("/offline"));
    let mut line = format!("applied {applied}/{}", applied + rejected + count("/pending"));
    for (count, word) in [(rejected, "rejected"), (offline, "offline")] {
        if count > 0 {
            line.push_str(&format!(", {count} {word}"));
        }
    }
    line.push_str(&format!("; up to {} s more", left.as_secs() + 1));
    line
}

/// What a change did, the same for every command that makes one: `headline`, the revision, where it runs.
pub(crate) fn outcome(headline: &str, change: &Value) -> String {
    let revision = match change::revision(change.get("revision").unwrap_or(&Value::Null)) {
        none if none.is_empty() => String::new(),
        revision => format!("revision {revision}\n"),
    };
    let headline = if headline.is_empty() { String::new() } else { format!("{headline}\n") };
    format!("{headline}{revision}{}", change::rollout(change.get("rollout").unwrap_or(&Value::Null)))
}

/// Says to whoever waits for data only where the change runs.
pub(crate) fn say_rollout(rollout: &Value) {
    match change::rollout(rollout) {
        nothing if nothing.is_empty() => {}
        told => host::say(told.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_line_counts_those_that_are_connected_and_names_the_rest() {
        for (rollout, expected) in [
            (json!({"applied": ["a", "b", "c"], "pending": ["d", "e"]}), "applied 3/5; up to 8 s more"),
            (
                json!({"applied": [], "rejected": [{"node": "a"}], "pending": ["b"], "offline": ["c", "d"]}),
                "applied 0/2, 1 rejected, 2 offline; up to 8 s more",
            ),
        ] {
            assert_eq!(line(&rollout, Duration::from_millis(7_500)), expected);
        }
    }
}
