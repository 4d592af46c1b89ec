//! A second target asked beside the first.

use gateway_fake::reply::openai;
use gateway_fake::{Ending, Gate, Script, Upstream};
use serde_json::{Value, json};

use crate::gateway::{Gateway, KEY, read, within};

fn question() -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]})
}

fn config(first: &Upstream, second: &Upstream, hedge: &str) -> String {
    let provider = |name: &str, upstream: &Upstream| {
        let url = upstream.url();
        format!("  - {{name: {name}, kind: openai-compatible, base_url: \"{url}/v1\", allow_private_networks: true}}\n")
    };
    format!(
        "providers:\n{}{}prices:\n  - {{provider: a, model: up, input_per_1m: 1000, output_per_1m: 1000}}\n\
         models:\n  - {{name: m, strategy: priority, hedge: {hedge}, retry: {{max_attempts: 2}}, \
         targets: [{{provider: a, model: up}}, {{provider: b, model: up}}]}}\n\
         keys:\n  - {{name: test, secret: {KEY}}}\n",
        provider("a", first),
        provider("b", second)
    )
}

async fn pair() -> (Upstream, Upstream) {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    first.respond_with(|_| Script::new().hang());
    second.respond_with(|received| openai::answer(received, "from the second"));
    (first, second)
}

#[tokio::test]
async fn a_late_target_loses_to_the_one_beside_it_and_is_charged() {
    let (first, second) = pair().await;
    let gateway = Gateway::start(&config(&first, &second, "{after: 100ms, max_percent: 100}")).await;
    for stream in [false, true] {
        let mut question = question();
        question["stream"] = json!(stream);
        let answer = gateway.chat(&question).await;
        assert!(answer.status == 200 && answer.text.contains("second"), "{}", answer.text);
        assert_eq!(answer.header("x-gateway-provider"), Some("b"));
        assert_eq!(first.ending(usize::from(stream)).await, Ending::ClientLeft, "the loser is let go");
    }
    for log in gateway.records(2).await {
        let (lost, won) = (&log["attempts"][0], &log["attempts"][1]);
        assert_eq!((&lost["provider"], &lost["error_code"]), (&json!("a"), &json!("hedge_lost")), "{log}");
        assert!(lost["tokens"]["input"].as_u64() > Some(0) && lost["cost_nano_usd"].as_u64() > Some(0), "{log}");
        assert_eq!(
            (&won["provider"], &won["hedge"], &won["status"]),
            (&json!("b"), &json!(true), &json!(200)),
            "{log}"
        );
        assert_eq!((&log["provider"], &log["ending"]), (&json!("b"), &json!("finished")), "{log}");
        assert!(log["overhead_us"].as_u64() < Some(90_000), "the wait for the first is not ours: {log}");
    }
    gateway.stop().await;
}

/// Where the prompt was counted, for a budget, the loser is charged by what was counted and not by its bytes.
#[tokio::test]
async fn a_late_target_is_charged_by_its_tokens_where_they_were_counted() {
    let (first, second) = pair().await;
    let yaml = config(&first, &second, "{after: 100ms, max_percent: 100}");
    let secret = format!("secret: {KEY}");
    let yaml = yaml.replace(&secret, &format!("{secret}, limits: {{input_tpm: 100000}}"));
    let gateway = Gateway::start(&yaml).await;
    // A hundred words of five bytes are far fewer tokens than bytes by four with the JSON around them, or the other way round.
    let mut question = question();
    question["messages"][0]["content"] = json!("zq!x ".repeat(100));
    let answer = gateway.chat(&question).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let log = gateway.records(1).await.remove(0);
    let by_bytes = question.to_string().len().div_ceil(4) as u64;
    let lost = log["attempts"][0]["tokens"]["input"].as_u64().expect("charged");
    assert!(lost > 100 && lost != by_bytes, "{lost} tokens, {by_bytes} by bytes: {log}");
    assert_eq!(log["attempts"][0]["cost_nano_usd"], lost * 1_000_000);
    gateway.stop().await;
}

/// One of the two that fails leaves the other.
#[tokio::test]
async fn a_failure_of_one_leaves_the_other() {
    let (first, second) = pair().await;
    let broken = || Script::json(500, &openai::error("server_error", "out of order"));
    let gate = Gate::new();
    let late = Script {
        steps: [Script::new().wait(&gate).steps, Script::json(200, &openai::reply("up", "from the first", 3)).steps]
            .concat(),
    };
    let gateway = Gateway::start(&config(&first, &second, "{after: 100ms, max_percent: 100}")).await;
    first.push(late);
    second.push(broken());
    let question = question();
    let opens = async {
        within("the second's failure to be known", || async {
            let told = read(gateway.client().get(gateway.url("/statsz"))).await.json();
            (told["circuit_breakers"]["circuits"]["b/up"]["failure_count"] == 1).then_some(())
        })
        .await;
        gate.open();
    };
    let (answer, ()) = tokio::join!(gateway.chat(&question), opens);
    assert!(answer.text.contains("from the first"), "{}", answer.text);
    let log = gateway.records(1).await.remove(0);
    assert_eq!(log["attempts"][1]["error_code"], "upstream_error", "{log}");
    gateway.stop().await;
}

#[tokio::test]
async fn few_are_asked_twice_and_none_that_do_something() {
    let (first, second) = pair().await;
    let gateway = Gateway::start(&config(&first, &second, "{after: 50ms, max_percent: 10}")).await;
    let answered = || Script::json(200, &openai::reply("up", "from the first", 3));
    // Each earns a tenth: the tenth may.
    for _ in 0..9 {
        first.push(answered());
        assert!(gateway.chat(&question()).await.text.contains("from the first"));
    }
    assert!(gateway.chat(&question()).await.text.contains("from the second"));
    assert_eq!(second.requests().len(), 1);
    let mut acting = question();
    acting["web_search_options"] = json!({"search_context_size": "low"});
    let gateway_of_all = Gateway::start(&config(&first, &second, "{after: 50ms, max_percent: 100}")).await;
    let n_before = first.requests().len();
    let asked = gateway_of_all.post("/v1/chat/completions", &acting).send();
    tokio::select! {
        _ = asked => panic!("the first hangs"),
        () = async {
            first.request(n_before).await;
            // Others are asked twice meanwhile.
            for n in 2..5 {
                assert!(gateway_of_all.chat(&question()).await.text.contains("from the second"), "{n}");
            }
        } => {}
    }
    assert_eq!(second.requests().len(), 4);
    gateway.stop().await;
    gateway_of_all.stop().await;
}
