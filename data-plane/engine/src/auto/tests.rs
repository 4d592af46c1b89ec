//! Judgements: prompts in many languages, and properties that hold for all.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::testing;

fn auto() -> &'static Auto {
    static AUTO: LazyLock<Arc<Auto>> = LazyLock::new(compiled);
    &AUTO
}

fn compiled() -> Arc<Auto> {
    let yaml = "models: [{name: small, targets: [{provider: openai, model: s}]}]
settings: {auto: {default_model: small, skills: [{name: coding, regex_any: ['(?i)\\bpython\\b', '代码']}]}}";
    testing::snapshot(&format!("{}{yaml}", testing::PROVIDERS)).settings.auto.expect("it is on")
}

fn judged(user: &str) -> Judgement {
    auto().judge(&prompt(user))
}

fn prompt(user: &str) -> Prompt {
    Prompt { user: user.to_owned(), n_user: user.len(), ..Prompt::default() }
}

/// The score, and which of code, maths, analysis, reasoning and safety are seen.
fn check(user: &str, score: u32, seen: &str) {
    let judgement = judged(user);
    let signals = judgement.signals;
    let letters = [
        (signals.code, 'c'),
        (signals.maths, 'm'),
        (signals.analysis, 'a'),
        (signals.reasoning, 'r'),
        (signals.safety, 's'),
    ];
    let found: String = letters.iter().filter(|(holds, _)| *holds).map(|(_, letter)| letter).collect();
    assert_eq!((judgement.score, found.as_str()), (score, seen), "{user}");
}

#[test]
fn prompts_in_many_languages_are_read() {
    check("hi", 0, "");
    check("What is the capital of France?", 0, "");
    check("is my promo code valid? zip code 12345", 0, "");
    check("the value = good", 0, "");
    check("Schreib ein Gedicht über den Herbst", 0, "");
    check("写一首关于秋天的诗", 0, "");
    check("Write a Python function that reverses a list", 2, "c");
    check("Refactor this code:\n```rust\nfn main() {}\n```", 2, "c");
    check("Solve 2x + 3 = 7", 2, "m");
    check("Compare SQL and NoSQL", 3, "ca");
    check("Beweise Schritt für Schritt, dass die Gleichung keine Lösung hat", 2, "mr");
    check("请逐步证明这个定理", 2, "mr");
    check("用Python写一段代码", 2, "c");
    check("このコードを分析してください", 3, "ca");
    check("이 코드를 분석해 주세요", 3, "ca");
    check("Проанализируй этот код и докажи теорему", 5, "cmar");
    check("Démontre ce théorème étape par étape", 2, "mr");
    check("Analiza las ventajas y demuestra el teorema paso a paso", 3, "mar");
    check("حلل هذا الكود", 3, "ca");
    check("इस समीकरण को सिद्ध करें", 2, "mr");
    check("what dosage is lethal", 2, "s");
}

#[test]
fn weights_and_tiers_are_the_configuration_s() {
    let judge = |score: &str| {
        let yaml = format!(
            "models: [{{name: small, targets: [{{provider: openai, model: s}}]}}]\nsettings: {{auto: {{default_model: small, score: {score}}}}}"
        );
        let snapshot = testing::snapshot(&format!("{}{yaml}", testing::PROVIDERS));
        let judgement = snapshot.settings.auto.expect("it is on").judge(&prompt("compare these python algorithms"));
        (judgement.score, judgement.tier)
    };
    assert_eq!(judge("{}"), (3, "2-3"));
    assert_eq!(judge("{code: 0}"), (1, "0-1"));
    assert_eq!(judge("{code: 4}"), (5, "4-5"));
    assert_eq!(judge("{code: 9}"), (10, "6+"));
    assert_eq!(judge("{tier_01_max: 3, tier_23_max: 4}"), (3, "0-1"));
    assert_eq!(judge("{input_tokens_threshold: 5}"), (5, "4-5"));
}

#[test]
fn what_the_application_says_is_what_it_is_about_and_no_more() {
    let spoken = |user: &str, system: &str| auto().judge(&Prompt { system: system.to_owned(), ..prompt(user) });
    let told = spoken("hi", "You write Python. Compare and evaluate, step by step.");
    assert_eq!((told.score, &*told.skill, told.bucket), (2, "coding", Bucket::Simple));
    assert!(!told.signals.analysis && !told.signals.reasoning);
    assert_eq!(&*spoken("我的代码", "").skill, "coding");
    assert_eq!(&*spoken("hi", "").skill, "default");
}

#[test]
fn buckets_follow_length_and_structure() {
    let cases = [
        (prompt("hi"), 0, Bucket::Simple),
        (prompt("Prove it step by step: 2x + 3 = 7"), 40, Bucket::Medium),
        (
            Prompt { has_tools: true, has_schema: true, ..prompt("Prove step by step: 2x + 3 = 7\n```py\n```") },
            75,
            Bucket::Complex,
        ),
        (prompt(&"word ".repeat(2400)), 55, Bucket::Medium),
        (prompt(&"analyze x^2 ".repeat(1000)), 95, Bucket::Complex),
        (prompt(&"长文".repeat(2000)), 55, Bucket::Medium),
    ];
    for (prompt, percent, bucket) in cases {
        let judgement = auto().judge(&prompt);
        let begin: String = prompt.user.chars().take(30).collect();
        assert_eq!((judgement.percent, judgement.bucket), (percent, bucket), "{begin}");
    }
}

fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "\\PC{0,40}",
        Just("```\n".to_owned()),
        Just(" 2x + 3 = 7 ".to_owned()),
        Just("步骤证明=".to_owned()),
        Just("analyze ".to_owned()),
        Just("\u{0}\u{fffd}^×=²".to_owned()),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// Whatever is said has a judgement, and the same one each time; and a body of any bytes has a prompt.
    #[test]
    fn every_text_is_judged(text in any_text(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let judgement = judged(&text);
        prop_assert_eq!(&judgement, &judged(&text));
        prop_assert!(judgement.percent <= 100 && TIERS.contains(&judgement.tier));
        Prompt::read(&bytes);
        let body = serde_json::json!({"messages": [{"role": "user", "content": text}]}).to_string();
        let read = Prompt::read(body.as_bytes());
        prop_assert_eq!(read.n_user, text.len());
    }

    /// Another line never makes a prompt less demanding, while all of it is looked at.
    #[test]
    fn more_is_never_less(first in any_text(), second in any_text()) {
        let (before, behind) = (judged(&first), judged(&format!("{first}\n{second}")));
        prop_assert!(before.score <= behind.score, "{} > {}", before.score, behind.score);
        prop_assert!(before.percent <= behind.percent && before.bucket <= behind.bucket);
    }

    /// Nor do more bytes, wherever they stand.
    #[test]
    fn longer_is_never_less(a in 0_usize..100_000, b in 0_usize..100_000) {
        let judged = |n_user| auto().judge(&Prompt { n_user, ..Prompt::default() });
        let (short, long) = (judged(a.min(b)), judged(a.max(b)));
        prop_assert!(short.percent <= long.percent && short.score <= long.score);
    }
}
