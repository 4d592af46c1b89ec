//! `explain`: one request told in words: who asked, where it went and why, how long each step took, what it cost. With
//! `--dry-run` one that has not been sent: where it would go.

mod dry_run;

use clap::Args;
use serde_json::Value;

use super::logs::{read_tokens, units};
use crate::args::{Gateway, Output};
use crate::client::{Client, Query, path};
use crate::exit::{Exit, Failure};
use crate::output::{dollars, items, number, text, time};

/// Tell what happened to one request, or what would
#[derive(Args, Debug)]
#[command(
    after_help = "The id is in the reply's x-gateway-request-id header, in every error, and in `gatewayctl logs`.

With --dry-run nothing is sent: the control plane works out which route would match and whom the request would be sent to, in which order. Open \
circuits and latencies are known at the nodes only and are not part of it.

Examples:
  gatewayctl explain 01JD0Q6S0Z6QK1GZ0YV4M8T9XA
  gatewayctl explain --dry-run -d '{\"model\": \"auto\", \"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}'
  gatewayctl explain --dry-run -d request.json --header 'x-tenant: acme' --key search
  gatewayctl explain --dry-run -d request.json --key 'jwt:id?team=search&user=ada' --token-model smart"
)]
pub(crate) struct Explain {
    /// Request id
    #[arg(required_unless_present = "dry_run")]
    id: Option<String>,
    #[command(flatten)]
    described: dry_run::Described,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    gateway: Gateway,
}

pub(crate) async fn run(explain: Explain) -> Result<Exit, Failure> {
    let client = Client::new(&explain.gateway)?;
    let Some(id) = &explain.id else { return dry_run::run(&client, &explain.described, explain.output.format).await };
    let record = client.get(&path(&["logs", id]), &Query::new()).await?;
    explain.output.format.print(&record, story)?;
    Ok(Exit::Done)
}

fn story(record: &Value) -> String {
    let mut lines = vec![asked(record), allowed(record), judged(record), routed(record), tried(record), cached(record)];
    lines.extend(items(record, "/passed_over").iter().map(passed_over));
    lines.extend(items(record, "/attempts").iter().enumerate().map(|(index, attempt)| attempted(index + 1, attempt)));
    lines.push(broken_off(record));
    lines.push(pinned(record));
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

/// What automatic choice made of the prompt, where the client left the model to it.
fn judged(record: &Value) -> String {
    let Some(choice) = record.get("auto_choice").filter(|choice| choice.is_object()) else { return String::new() };
    let percent = number(choice, "/percent");
    let signals: Vec<&str> = items(choice, "/signals").iter().filter_map(Value::as_str).collect();
    let by = if signals.is_empty() { String::new() } else { format!(" by its {}", signals.join(", ")) };
    format!(
        "judged {} ({}.{:02}), tier {} with a score of {}{by}, skill {}; so it went to model {}",
        text(choice, "/bucket"),
        percent / 100,
        percent % 100,
        text(choice, "/tier"),
        number(choice, "/score"),
        text(choice, "/skill"),
        text(choice, "/model")
    )
}

/// Whether it was part of an experiment, or somebody's shadow.
fn tried(record: &Value) -> String {
    let shadow_of = text(record, "/shadow_of");
    if !shadow_of.is_empty() {
        return format!("a shadow of request {shadow_of}: its answer went to nobody, and it was charged to nobody");
    }
    match text(record, "/experiment/name") {
        name if name.is_empty() => String::new(),
        name => format!(
            "experiment {name} gave it to variant {}, which is model {}",
            text(record, "/experiment/variant"),
            text(record, "/experiment/model")
        ),
    }
}

fn routed(record: &Value) -> String {
    // Refused before it got that far.
    if items(record, "/attempts").is_empty() && text(record, "/route").is_empty() {
        return String::new();
    }
    let rule = match text(record, "/route") {
        name if name.is_empty() && record.get("auto_choice").is_some_and(Value::is_object) => {
            "no route matched".to_owned()
        }
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

/// What the cache of replies had to do with it, where it is on.
fn cached(record: &Value) -> String {
    let Some(cache) = record.get("cache").filter(|cache| cache.is_object()) else { return String::new() };
    match text(cache, "/verdict").as_str() {
        "hit" => {
            let age = match cache.get("waited") {
                Some(Value::Bool(true)) => "made by another request that it waited for".to_owned(),
                _ => format!("made {} before", time::length_us(number(cache, "/age_ms").saturating_mul(1000))),
            };
            let saved = cache.get("saved_nano_usd").and_then(Value::as_i64).unwrap_or(0);
            let (provider, model) = (text(cache, "/provider"), text(cache, "/upstream_model"));
            format!("answered from the cache: a reply of {provider}/{model}, {age}; {} saved", dollars(saved))
        }
        "miss" => "not in the cache".to_owned(),
        "bypass" => "not looked for in the cache, as the client asked".to_owned(),
        "unfit" => "not looked for in the cache: it depends on what is kept elsewhere, or is of no kind that is kept"
            .to_owned(),
        other => format!("cache: {other}"),
    }
}

fn passed_over(target: &Value) -> String {
    let why = match text(target, "/reason").as_str() {
        "breaker_open" => "its breaker was open after too many failures".to_owned(),
        "breaker_on_trial" => "another request was trying it after an outage".to_owned(),
        "full" => "the limits set to its provider left no room".to_owned(),
        "cooling_down" => "it had asked for a pause, or refused the credential".to_owned(),
        "busy" => "as many requests waited for a place there as may".to_owned(),
        "budget" => "the budget of its credential is spent".to_owned(),
        "budget_unavailable" => "what its credential may still spend is not known to the node".to_owned(),
        "queue_timeout" => "no place there became free in time".to_owned(),
        other => other.to_owned(),
    };
    let left = match number(target, "/left_ms") {
        0 => String::new(),
        left => format!(", for another {}", time::length_us(left.saturating_mul(1000))),
    };
    format!("not asked: {}/{}, because {why}{left}", account(target), text(target, "/model"))
}

/// The provider, with its key where it has several: `openai#main`.
fn account(asked: &Value) -> String {
    match text(asked, "/provider_key") {
        key if key.is_empty() => text(asked, "/provider"),
        key => format!("{}#{key}", text(asked, "/provider")),
    }
}

fn attempted(index: usize, attempt: &Value) -> String {
    let (provider, model) = (account(attempt), text(attempt, "/model"));
    let (started, ended) = (number(attempt, "/started_us"), number(attempt, "/ended_us"));
    let outcome = match (number(attempt, "/status"), text(attempt, "/error_code")) {
        (0, error) if error == "hedge_lost" => "let go, another one was faster".to_owned(),
        (0, error) => format!("no answer ({error})"),
        (status, error) if error.is_empty() => format!("answered {status}"),
        (status, error) => format!("answered {status} ({error})"),
    };
    let length = time::length_us(ended.saturating_sub(started));
    let provider = match number(attempt, "/queued_us") {
        0..1000 => provider,
        queued => format!("after {} in its queue {provider}", time::length_us(queued)),
    };
    let provider = match attempt.get("continuation") {
        Some(Value::Bool(true)) => format!("to go on with the reply {provider}"),
        _ => provider,
    };
    format!("attempt {index}: {provider}/{model} at {}, {outcome} after {length}", time::length_us(started))
}

/// Why nobody went on with a reply that broke off, where somebody might have.
fn broken_off(record: &Value) -> String {
    let said = text(record, "/not_continued");
    let why = match said.as_str() {
        "" => return String::new(),
        "tool_call" => "a tool call had begun",
        "reasoning" | "refusal" | "more_than_text" => "it was more than text",
        "finished" => "it had said why it stops",
        "several_choices" => "it has several choices",
        "schema" => "it has to keep to a schema",
        "acts" => "the provider keeps it or does something for it",
        "too_long" => "it was too long",
        "no_room" => "its limit of tokens was used up",
        "not_retryable" => "what ended it was no fault of the provider",
        "no_time" => "its time was over",
        "shutting_down" => "the node was shutting down",
        "continued_before" => "that had been done as often as it may",
        "no_other_target" => "there was no other target",
        "no_retries_left" => "the node had no second attempts left",
        "failed_again" => "whoever was asked failed",
        other => other,
    };
    format!("nobody went on with it, because {why}")
}

/// Whether it stayed with the target that its session has always had.
fn pinned(record: &Value) -> String {
    match text(record, "/pin").as_str() {
        "kept" => "its session kept to its target".to_owned(),
        "failover" => {
            "its session's own target was not the one that served; it goes back there when that is well".to_owned()
        }
        _ => String::new(),
    }
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
            let row = text(record, "/price");
            let by = if row.is_empty() { row } else { format!(" by `{row}`") };
            format!(", {}{by}", dollars(nano))
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
                {"provider": "b", "provider_key": "spare", "model": "n", "status": 200, "started_us": 21_000, "ended_us": 1_340_000}]});
        assert_eq!(
            story(&record),
            "2027-01-15 08:00:00Z  POST /v1/chat/completions for model smart, as a stream on node_a (900 bytes)\n\
             by key demo (vk_1), admitted after 80us\n\
             no route matched, so it went to the model it names, under topology revision 7; the conversation was translated between dialects\n\
             not asked: z/m, because its breaker was open after too many failures, for another 12.0s\n\
             attempt 1: a/m at 90us, answered 503 (upstream_error) after 20ms\n\
             attempt 2: b#spare/n at 21ms, answered 200 after 1.3s\n\
             finished; status 200, first byte after 240ms, 1.3s in all, 300us of it in the gateway, 4000 bytes\n\
             15 tokens in (5 from the provider's cache), 7 out, as the provider counted, $0.0015\n"
        );
    }

    #[test]
    fn a_continuation_is_told_with_what_became_of_it() {
        let attempt = |name: &str, error: &str, continuation: bool| {
            json!({"provider": name, "model": "m", "status": 200, "error_code": error, "started_us": 1, "ended_us": 2,
                "continuation": continuation})
        };
        let attempts = [attempt("a", "upstream_stream_error", false), attempt("b", "", true)];
        let told = story(
            &json!({"method": "POST", "path": "/", "status": 200, "attempts": attempts, "not_continued": "tool_call"}),
        );
        assert!(told.contains("attempt 1: a/m at 1us, answered 200 (upstream_stream_error)"), "{told}");
        assert!(told.contains("attempt 2: to go on with the reply b/m at 1us, answered 200"), "{told}");
        assert!(told.contains("nobody went on with it, because a tool call had begun\n"), "{told}");
    }

    #[test]
    fn an_automatic_choice_tells_what_it_saw() {
        let record = json!({"method": "POST", "path": "/v1/chat/completions", "model": "lunargate/auto", "status": 200,
            "auto_choice": {"model": "big", "bucket": "complex", "percent": 75, "tier": "6+", "score": 6, "skill": "coding",
            "signals": ["code", "maths"]}, "attempts": [{"provider": "a", "model": "m", "status": 200}]});
        let told = story(&record);
        let expected = "judged complex (0.75), tier 6+ with a score of 6 by its code, maths, skill coding; so it went to model big\n\
             no route matched, under";
        assert!(told.contains(expected), "{told}");
    }

    #[test]
    fn what_was_tried_out_is_said() {
        let arm = json!({"name": "cheaper", "variant": "treatment", "model": "small"});
        assert_eq!(
            tried(&json!({"experiment": arm, "shadow_of": ""})),
            "experiment cheaper gave it to variant treatment, which is model small"
        );
        assert!(tried(&json!({"experiment": null, "shadow_of": "r1"})).starts_with("a shadow of request r1"));
        assert_eq!(tried(&json!({"experiment": null})), "");
    }

    #[test]
    fn a_reply_from_the_cache_says_whose_it_was() {
        let record = json!({"method": "POST", "path": "/v1/chat/completions", "status": 200, "attempts": [], "cache": {
            "verdict": "hit", "age_ms": 3000, "waited": false, "provider": "a", "upstream_model": "m", "saved_nano_usd": 1_500_000}});
        let told = story(&record);
        let expected = "answered from the cache: a reply of a/m, made 3.0s before; $0.0015 saved\n";
        assert!(told.contains(expected) && told.ends_with("nothing was used\n"), "{told}");
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
