//! What replies cost while they are told: a budget that cuts, and one that both halves of a continued stream are charged to.

use super::*;

/// Told in the words of OpenAI's chat, whatever the client speaks.
const CHAT: &str = "kind: openai-compatible, quirks: [no_completions]";

/// A key with this budget; prices so that 1,024 tokens are reserved for $0.1024.
fn with_budget(upstreams: (&Upstream, &Upstream), continuation: &str, budget: &str) -> String {
    let yaml = config((CHAT, upstreams.0), (CHAT, upstreams.1), continuation);
    let yaml = yaml.replace("input_per_1m: 1000, output_per_1m: 2000", "input_per_1m: 100, output_per_1m: 100");
    let yaml = yaml.replace("input_per_1m: 3000, output_per_1m: 5000", "input_per_1m: 100, output_per_1m: 100");
    yaml.replace(&format!("secret: {KEY}}}"), &format!("secret: {KEY}, budget: {budget}}}"))
}

fn charged(log: &Value) -> i64 {
    log["cost_nano_usd"].as_i64().expect("a cost")
}

#[tokio::test]
async fn a_budget_that_cuts_ends_streams_legally() {
    const NANO: i64 = 1_000_000_000;
    // 9,000 tokens by its bytes, 90 cents; nothing at the end says so.
    let text = "alpha ".repeat(6_000);
    for (policy, is_cut) in [("cut", true), ("refuse", false)] {
        let (first, second) = pair().await;
        first.respond_with(move |_| Script::sse(&openai::stream("up", &text_of(6_000), 7)));
        let budget = format!("{{amount_usd: \"0.2\", window: once, on_exhausted: {policy}}}");
        for (dialect, path, mut question) in questions() {
            let gateway = Gateway::start(&with_budget((&first, &second), "{enabled: false}", &budget)).await;
            let path = if path.is_empty() { "/v1beta/models/m:streamGenerateContent?alt=sse" } else { path };
            if dialect != Dialect::GeminiGenerate {
                (question["model"], question["stream"]) = ("m".into(), true.into());
            }
            let case = format!("{policy} {dialect:?}");
            let answer = read(gateway.post(path, &question)).await;
            assert_eq!(answer.status, 200, "{case}: {}", answer.text);
            let (told, ending) = checked(dialect, &answer, &case);
            let log = gateway.records(1).await.remove(0);
            if is_cut {
                assert_eq!((ending, log["ending"].as_str()), (Told::Failed, Some("budget")), "{case}: {log}");
                assert!(text.starts_with(&told) && told.len() > 4_000, "{case}: {} bytes", told.len());
                assert!(answer.text.contains("has no budget left"), "{case}");
                // What one read of the upstream holds is what it may be too much.
                assert!(charged(&log) < NANO * 2 / 5, "{case}: {}", charged(&log));
            } else {
                assert_eq!((ending, told.len()), (Told::Finished, text.len()), "{case}");
                let refused = read(gateway.post(path, &question)).await;
                assert_eq!(refused.status, 429, "{case}: what was spent beyond the reservation counts at once");
            }
            gateway.stop().await;
        }
    }
}

fn text_of(n_words: usize) -> String {
    "alpha ".repeat(n_words)
}

/// To the nano-dollar: with one less, the next request is refused.
#[tokio::test]
async fn both_halves_of_a_continued_stream_are_charged_to_its_budget() {
    const PLENTY: i64 = 1_000_000_000;
    let spent = spent_then(PLENTY).await.0;
    // What is reserved for the same question: 8 tokens, and 1,024 for its reply.
    let next = (8 + 1_024) * 100_000;
    for (amount, status) in [(spent + next, 200), (spent + next - 1, 429)] {
        let (again, told) = spent_then(amount).await;
        assert_eq!((again, told), (spent, status), "{amount}");
    }
}

/// As [`cut`], but so that all that was sent arrives.
fn ended_early(text: &str) -> Script {
    let events = openai::stream("up", text, 7);
    let n_said = text.split_inclusive(' ').count();
    events[..=n_said].iter().fold(Script::sse_head(), |script, event| script.chunk(event)).close()
}

/// What a continued stream has cost, and what the next request is told, of a budget of so much.
async fn spent_then(amount: i64) -> (i64, u16) {
    let (first, second) = pair().await;
    first.push(ended_early(&text_of(400)));
    second.push(whole(&text_of(500)));
    first.push(whole("short"));
    let budget = format!("{{amount_usd: \"{}.{:09}\", window: once}}", amount / 1_000_000_000, amount % 1_000_000_000);
    let gateway = Gateway::start(&with_budget((&first, &second), ON, &budget)).await;
    let answer = gateway.chat(&ask()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.text.contains(MARK), "{}", answer.text);
    let log = gateway.records(1).await.remove(0);
    let halves: i64 = log["attempts"].as_array().into_iter().flatten().map(charged).sum();
    assert!(
        log["attempts"].as_array().is_some_and(|attempts| attempts.iter().all(|attempt| charged(attempt) > 0)),
        "{log}"
    );
    let next = gateway.chat(&ask()).await;
    gateway.stop().await;
    (halves, next.status)
}
