//! `explain`: one request told in words: who asked, where it went and why, how long each step took, what it cost.

use clap::Args;
use serde_json::Value;

use super::logs::{read_tokens, units};
use crate::args::{Gateway, Output};
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::output::{dollars, items, number, text, time};

/// Tell what happened to one request
#[derive(Args, Debug)]
#[command(
    after_help = "The id is in the reply's x-gateway-request-id header, in every error, and in `gatewayctl logs`.

Example:
  gatewayctl explain 01JD0Q6S0Z6QK1GZ0YV4M8T9XA"
)]
pub(crate) struct Explain {
    /// Request id
    id: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

pub(crate) async fn run(explain: Explain) -> Result<Exit, Failure> {
    let client = Client::new(&explain.gateway)?;
    let record = client.get(&path(&["logs", &explain.id]), &Query::new()).await?;
    explain.output.format.print(&record, story)?;
    Ok(Exit::Done)
}

fn story(record: &Value) -> String {
    let mut lines = vec![asked(record), allowed(record), routed(record)];
    lines.extend(items(record, "/passed_over").iter().map(passed_over));
    lines.extend(items(record, "/attempts").iter().enumerate().map(|(index, attempt)| attempted(index + 1, attempt)));
    lines.push(ended(record));
    lines.push(used(record));
    lines.retain(|line| !line.is_empty());
    lines.join("\n") + "\n"
}

fn asked(record: &Value) -> String {
    let started = record.get("started_unix_ms").and_then(time::unix_ms).map(time::clock).unwrap_or_default();
    let (method, path, node) = (text(record, "/method"), text(record, "/path"), text(record, "/node_id"));
    let how = if record.get("stream") == Some(&Value::Bool(true)) { "as a stream" } else { "as one reply" };
    let model = text(record, "/model");
    let wish = if model.is_empty() { String::new() } else { format!(" for model {model}, {how}") };
    let node = if node.is_empty() { String::new() } else { format!(" on {node}") };
    format!("{started}  {method} {path}{wish}{node} ({} bytes)", number(record, "/request_bytes"))
}

fn allowed(record: &Value) -> String {
    match text(record, "/key_name") {
        name if name.is_empty() => "by nobody known: no key, or one that is not valid".to_owned(),
        name => format!(
            "by key {name} ({}), admitted after {}",
            text(record, "/key_id"),
            time::length_us(number(record, "/admitted_us"))
        ),
    }
}

fn routed(record: &Value) -> String {
    // Refused before it got that far.
    if items(record, "/attempts").is_empty() && text(record, "/route").is_empty() {
        return String::new();
    }
    let rule = match text(record, "/route") {
        name if name.is_empty() => "no route matched, so it went to the model it names".to_owned(),
        name => format!("route {name} matched"),
    };
    let lane = match text(record, "/lane").as_str() {
        "pass" => "; bytes were passed through as they came",
        "translate" => "; the conversation was translated between dialects",
        _ => "",
    };
    format!("{rule}, under topology revision {}{lane}", number(record, "/topology_revision"))
}

fn passed_over(target: &Value) -> String {
    let why = match text(target, "/reason").as_str() {
        "breaker_open" => "its breaker was open after too many failures".to_owned(),
        "breaker_on_trial" => "another request was trying it after an outage".to_owned(),
        "cooling_down" => "it had asked for a pause, or refused the credential".to_owned(),
        other => other.to_owned(),
    };
    let left = match number(target, "/left_ms") {
        0 => String::new(),
        left => format!(", for another {}", time::length_us(left.saturating_mul(1000))),
    };
    format!("not asked: {}/{}, because {why}{left}", text(target, "/provider"), text(target, "/model"))
}

fn attempted(index: usize, attempt: &Value) -> String {
    let (provider, model) = (text(attempt, "/provider"), text(attempt, "/model"));
    let (started, ended) = (number(attempt, "/started_us"), number(attempt, "/ended_us"));
    let outcome = match (number(attempt, "/status"), text(attempt, "/error_code")) {
        (0, error) => format!("no answer ({error})"),
        (status, error) if error.is_empty() => format!("answered {status}"),
        (status, error) => format!("answered {status} ({error})"),
    };
    let length = time::length_us(ended.saturating_sub(started));
    format!("attempt {index}: {provider}/{model} at {}, {outcome} after {length}", time::length_us(started))
}

fn ended(record: &Value) -> String {
    let ending = match text(record, "/ending").as_str() {
        "finished" => "finished".to_owned(),
        "client_gone" => "the client left before the end".to_owned(),
        "upstream_cut" => "the provider broke off before the end".to_owned(),
        "refused" => "refused by the gateway".to_owned(),
        "failed" => "failed".to_owned(),
        "timeout" => "ran out of time".to_owned(),
        other => other.to_owned(),
    };
    let reason = match (text(record, "/error_message"), text(record, "/error_code")) {
        (message, _) if message.is_empty() => String::new(),
        (message, code) => format!(": {message} ({code})"),
    };
    let first = match number(record, "/first_byte_us") {
        0 => String::new(),
        first => format!(", first byte after {}", time::length_us(first)),
    };
    let (total, overhead) = (number(record, "/total_us"), number(record, "/overhead_us"));
    format!(
        "{ending}{reason}; status {}{first}, {} in all, {} of it in the gateway, {} bytes",
        text(record, "/status"),
        time::length_us(total),
        time::length_us(overhead),
        number(record, "/response_bytes")
    )
}

fn used(record: &Value) -> String {
    let source = match text(record, "/settled_by").as_str() {
        "exact" => "as the provider counted",
        "estimated" => "as the gateway estimated",
        "recovery" => "as known when the node died",
        _ => return "nothing was used".to_owned(),
    };
    let cost = match record.get("priced") {
        Some(Value::Bool(true)) => {
            let nano = record.get("cost_nano_usd").and_then(Value::as_i64).unwrap_or(0);
            format!(", {}", dollars(nano))
        }
        _ => ", no price known".to_owned(),
    };
    let (read, cached) = (read_tokens(record), number(record, "/tokens/cache_read"));
    let cached = if cached > 0 { format!(" ({cached} from the provider's cache)") } else { String::new() };
    let units = units(record);
    let units = if units.is_empty() { units } else { format!(", {units}") };
    format!("{read} tokens in{cached}, {} out{units}, {source}{cost}", number(record, "/tokens/output"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fallback_is_told_attempt_by_attempt() {
        let record = json!({"id": "r1", "started_unix_ms": 1_800_000_000_000_i64, "node_id": "node_a", "key_id": "vk_1", "key_name": "demo",
            "method": "POST", "path": "/v1/chat/completions", "model": "smart", "route": "", "topology_revision": 7, "status": 200,
            "ending": "finished", "stream": true, "lane": "translate", "settled_by": "exact", "priced": true, "cost_nano_usd": 1_500_000,
            "tokens": {"input": 10, "cache_read": 5, "output": 7}, "admitted_us": 80, "first_byte_us": 240_000, "total_us": 1_340_000,
            "overhead_us": 300, "request_bytes": 900, "response_bytes": 4000,
            "passed_over": [{"provider": "z", "model": "m", "reason": "breaker_open", "left_ms": 12_000}], "attempts": [
                {"provider": "a", "model": "m", "status": 503, "error_code": "upstream_error", "started_us": 90, "ended_us": 20_090},
                {"provider": "b", "model": "n", "status": 200, "started_us": 21_000, "ended_us": 1_340_000}]});
        assert_eq!(
            story(&record),
            "2027-01-15 08:00:00Z  POST /v1/chat/completions for model smart, as a stream on node_a (900 bytes)\n\
             by key demo (vk_1), admitted after 80us\n\
             no route matched, so it went to the model it names, under topology revision 7; the conversation was translated between dialects\n\
             not asked: z/m, because its breaker was open after too many failures, for another 12.0s\n\
             attempt 1: a/m at 90us, answered 503 (upstream_error) after 20ms\n\
             attempt 2: b/n at 21ms, answered 200 after 1.3s\n\
             finished; status 200, first byte after 240ms, 1.3s in all, 300us of it in the gateway, 4000 bytes\n\
             15 tokens in (5 from the provider's cache), 7 out, as the provider counted, $0.0015\n"
        );
    }

    #[test]
    fn a_refusal_names_its_reason() {
        let record = json!({"method": "POST", "path": "/v1/chat/completions", "status": 401, "ending": "refused",
            "error_code": "invalid_api_key", "error_message": "the key is not known"});
        let told = story(&record);
        assert!(told.contains("by nobody known"), "{told}");
        assert!(told.contains("refused by the gateway: the key is not known (invalid_api_key); status 401"), "{told}");
        assert!(told.ends_with("nothing was used\n"), "{told}");
    }
}
