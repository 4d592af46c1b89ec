//! Where a stream that breaks off is not gone on with, or no further: it ends as it would have without the policy.

use futures_util::StreamExt as _;
use gateway_dialects::legal::Ending as Told;
use gateway_fake::reply::openai;
use gateway_fake::{Ending, Script};
use gateway_ir::dialect::Dialect;
use serde_json::{Value, json};

use super::{MARK, ON, OPENAI, ask, checked, config, cut, pair, whole};
use crate::gateway::{Answer, Gateway, read};

/// A reply as it breaks off, and what of it, or of its request, stands against going on.
#[tokio::test]
async fn where_it_is_not_safe_the_stream_ends_as_ever() {
    let chunk = |delta: Value, finish: Value| {
        format!(
            "data: {}\n\n",
            json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "up",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
        )
    };
    let said = |deltas: &[Value]| {
        let script = Script::sse_head().chunk(chunk(json!({"role": "assistant", "content": "one "}), Value::Null));
        deltas.iter().fold(script, |script, delta| script.chunk(chunk(delta.clone(), Value::Null))).reset()
    };
    let call = json!({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{\"a\""}}]});
    let finished = Script::sse_head()
        .chunk(chunk(json!({"role": "assistant", "content": "one "}), Value::Null))
        .chunk(chunk(json!({}), json!("stop")))
        .reset();
    let long = "x".repeat(40 * 1024);
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    let cases = [
        (said(&[call]), json!({"tools": [tool]}), "tool_call"),
        (said(&[json!({"reasoning_content": "hm"})]), json!({}), "reasoning"),
        (said(&[json!({"refusal": "no"})]), json!({}), "refusal"),
        (said(&[json!({"content": long}), json!({"content": long})]), json!({}), "too_long"),
        (finished, json!({}), "finished"),
        (said(&[]), json!({"n": 2}), "several_choices"),
        (said(&[]), json!({"response_format": {"type": "json_object"}}), "schema"),
        (said(&[]), json!({"logprobs": true}), "more_than_text"),
        (said(&[]), json!({"web_search_options": {"search_context_size": "low"}}), "acts"),
        (said(&[]), json!({"max_tokens": 1}), "no_room"),
    ];
    for (script, more, why) in cases {
        let (first, second) = pair().await;
        first.push(script);
        second.respond_with(|_| whole("two"));
        let gateway = Gateway::start(&config((OPENAI, &first), (OPENAI, &second), ON)).await;
        let mut question = ask();
        for (name, value) in more.as_object().expect("members") {
            question[name] = value.clone();
        }
        let answer = gateway.chat(&question).await;
        ends_with_an_error(&answer, why);
        let log = gateway.records(1).await.remove(0);
        assert_eq!((&log["not_continued"], &log["ending"]), (&json!(why), &json!("upstream_cut")), "{log}");
        assert_eq!((second.requests().len(), &log["provider"]), (0, &json!("a")), "{why}");
        gateway.stop().await;
    }
}

fn ends_with_an_error(answer: &Answer, case: &str) {
    assert_eq!(answer.text.matches("\"error\"").count(), 1, "{case}: {}", answer.text);
    assert!(!answer.text.contains("[DONE]") && !answer.text.contains(MARK), "{case}: {}", answer.text);
}

/// The nearest level wins; the client may decline, in both families; what is off passes as it came.
#[tokio::test]
async fn it_is_opt_in_and_the_client_may_decline() {
    let (first, second) = pair().await;
    first.respond_with(|_| cut("one two "));
    second.respond_with(|_| whole("three"));
    let on = config((OPENAI, &first), (OPENAI, &second), ON);
    let unset = on.replace(&format!("continuation: {ON}, "), "");
    let of_provider = unset.replacen("breaker:", &format!("continuation: {ON}, breaker:"), 1);
    let of_settings = format!("{unset}settings: {{continuation: {ON}}}\n");
    let of_route = format!("{unset}routes:\n  - {{name: r, match: {{}}, continuation: {ON}}}\n");
    let off = "{enabled: false}";
    let over = |yaml: &str| yaml.replace("strategy: priority, ", &format!("strategy: priority, continuation: {off}, "));
    let cases = [
        (on.clone(), None, true),
        (of_provider.clone(), None, true),
        (of_settings.clone(), None, true),
        (of_route.clone(), None, true),
        (unset, None, false),
        (over(&of_settings), None, false),
        (over(&of_provider), None, false),
        (over(&of_route), None, true),
        (on.clone(), Some("x-gateway-no-continuation"), false),
        (on, Some("x-lunargate-no-continuation"), false),
    ];
    for (at, (yaml, header, goes_on)) in cases.into_iter().enumerate() {
        let gateway = Gateway::start(&yaml).await;
        let request = gateway.post("/v1/chat/completions", &ask());
        let answer = read(match header {
            Some(header) => request.header(header, "true"),
            None => request,
        })
        .await;
        assert_eq!(answer.text.contains(MARK), goes_on, "{at}: {}", answer.text);
        let log = gateway.records(1).await.remove(0);
        assert_eq!(log["lane"], if goes_on { "translate" } else { "pass" }, "{at}: {log}");
        if !goes_on {
            ends_with_an_error(&answer, &at.to_string());
        }
        gateway.stop().await;
    }
}

/// If it breaks off again, or nobody answers, that is the end of it.
#[tokio::test]
async fn a_continuation_that_fails_ends_as_ever() {
    let cases = [
        (cut("three "), "one two three ", "continued_before", "b"),
        (Script::json(500, &openai::error("server_error", "no")), "one two ", "failed_again", "a"),
    ];
    for (script, told, why, provider) in cases {
        let (first, second) = pair().await;
        first.push(cut("one two "));
        second.push(script);
        let yaml =
            config((OPENAI, &first), (OPENAI, &second), ON).replace("strategy:", "retry: {max_attempts: 2}, strategy:");
        let gateway = Gateway::start(&yaml).await;
        let answer = gateway.chat(&ask()).await;
        let (text, ending) = checked(Dialect::OpenAiChat, &answer, why);
        assert_eq!((text.as_str(), ending), (told, Told::Failed), "{why}");
        let log = gateway.records(1).await.remove(0);
        assert_eq!((&log["not_continued"], &log["ending"]), (&json!(why), &json!("upstream_cut")), "{log}");
        assert_eq!((&log["provider"], &log["settled_by"]), (&json!(provider), &json!("estimated")), "{log}");
        assert_eq!(log["tokens"]["output"], 2, "{log}");
        assert_eq!((first.requests().len(), second.requests().len()), (1, 1), "{why}");
        gateway.stop().await;
    }
}

/// The one that broke off is asked only where it is the only one and the policy has it; and twice only where that is allowed.
#[tokio::test]
async fn the_same_target_goes_on_only_where_that_is_said() {
    for (policy, told, n_asked) in [
        ("{enabled: true}", "one ", 1),
        ("{enabled: true, same_target: true}", "one two ", 2),
        ("{enabled: true, same_target: true, max: 2}", "one two three", 3),
    ] {
        let (first, second) = pair().await;
        first.push(cut("one "));
        first.push(cut("two "));
        first.push(whole("three"));
        let yaml = config((OPENAI, &first), (OPENAI, &second), policy).replace(", {provider: b, model: up}", "");
        let gateway = Gateway::start(&yaml).await;
        let answer = gateway.chat(&ask()).await;
        assert_eq!(checked(Dialect::OpenAiChat, &answer, policy).0, told, "{policy}");
        assert_eq!(first.requests().len(), n_asked, "{policy}");
        gateway.stop().await;
    }
}

/// A client that leaves while the second is asked leaves nobody at work, and is charged for what it was told.
#[tokio::test]
async fn a_client_that_leaves_in_between_stops_it() {
    let (first, second) = pair().await;
    first.push(cut("one two "));
    second.respond_with(|_| Script::new().hang());
    let gateway = Gateway::start(&config((OPENAI, &first), (OPENAI, &second), ON)).await;
    let response = gateway.post("/v1/chat/completions", &ask()).send().await.expect("a head");
    let mut stream = response.bytes_stream();
    let _ = stream.next().await;
    let reads_on = async { while stream.next().await.is_some() {} };
    tokio::select! {
        _ = second.request(0) => {}
        () = reads_on => panic!("the second hangs"),
    }
    drop(stream);
    assert!(matches!(second.ending(0).await, Ending::ClientLeft));
    let log = gateway.records(1).await.remove(0);
    assert_eq!((&log["ending"], &log["provider"]), (&json!("client_gone"), &json!("a")), "{log}");
    assert_eq!((&log["tokens"]["output"], &log["settled_by"]), (&json!(2), &json!("estimated")), "{log}");
    gateway.stop().await;
}

/// What all requests of a node may spend on second attempts is spent on these too.
#[tokio::test]
async fn continuations_are_paid_from_the_retry_budget() {
    const MODELS: usize = 200;
    let (first, second) = pair().await;
    first.respond_with(|_| cut("one "));
    second.respond_with(|_| whole("two"));
    // A model each: what fails often would be left alone.
    let own = |at: usize| {
        format!(
            "  - {{name: m{at}, strategy: priority, continuation: {ON}, \
             targets: [{{provider: a, model: up{at}}}, {{provider: b, model: up}}]}}\n"
        )
    };
    let models: String = (0..MODELS).map(own).collect();
    let yaml = config((OPENAI, &first), (OPENAI, &second), ON).replace(", breaker: {enabled: false}", "");
    let gateway = Gateway::start(&yaml.replace("keys:\n", &format!("{models}keys:\n"))).await;
    let asked = (0..MODELS).map(|at| {
        let mut question = ask();
        question["model"] = format!("m{at}").into();
        let gateway = &gateway;
        async move { gateway.chat(&question).await }
    });
    let answers: Vec<Answer> = futures_util::stream::iter(asked).buffered(16).collect().await;
    let n_continued = answers.iter().filter(|answer| answer.text.contains(MARK)).count();
    assert!((50..MODELS).contains(&n_continued), "{n_continued}");
    let records = gateway.records(MODELS).await;
    let n_short = records.iter().filter(|log| log["not_continued"] == "no_retries_left").count();
    assert_eq!(n_continued + n_short, MODELS);
    gateway.stop().await;
}
