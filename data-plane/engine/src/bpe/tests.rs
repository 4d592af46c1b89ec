//! Counts held against those of `tiktoken`, and what counting costs at worst.

use super::*;

/// Texts, and their tokens in both vocabularies as `tiktoken` 0.x counts them (`encode` without special tokens).
const COUNTED: [(&str, u64, u64); 30] = [
    ("", 0, 0),
    ("hello world", 2, 2),
    ("Hello, World! It's 2024-11-05, isn't it?", 16, 18),
    ("WE'RE I'LL you'd THEY'VE don'T cſ's 'ſ x'ſt", 20, 24),
    ("  leading and trailing  \n\n  \t tabs\r\n\r\nend   ", 10, 10),
    ("   \n   ", 2, 2),
    ("\n\n\n   ", 2, 2),
    ("a\n \n b", 3, 3),
    ("x   ", 2, 2),
    ("// path/to/file.rs\n///\n", 7, 7),
    ("1234567890 12 3.14159 ½ ² Ⅷ ٣٤٥٦", 23, 27),
    ("fn main() {\n    println!(\"{:?}\", vec![1, 2, 3]);\n}\n", 20, 20),
    ("camelCaseWordsAndHTTPServer XMLHttpRequest iOS", 10, 8),
    ("漢字かな交じり文とカタカナ。漢A漢B漢CDE", 20, 25),
    ("Ünïcödé naïve café résumé e\u{301}a\u{308} \u{301}\u{301}x \u{301}X", 20, 25),
    ("Привет, мир! Здравствуйте", 7, 13),
    ("مرحبا بالعالم", 4, 10),
    ("हिन्दी में पाठ", 5, 12),
    ("한국어 텍스트", 5, 7),
    ("👍🏽👨\u{200d}👩\u{200d}👧\u{200d}👦🏳\u{fe0f}\u{200d}🌈", 20, 33),
    ("𝒜𝓑𝓒 𐐀𐐨 ǅ ʰ ª", 26, 26),
    ("<|endoftext|> <|im_start|>", 13, 12),
    ("\u{a0}\u{2003}\u{3000} nbsp\u{2028}line", 6, 9),
    ("\u{0}\u{1}\u{7f}", 3, 3),
    ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 9, 9),
    ("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}}", 14, 14),
    ("!!!???...---===***___", 7, 7),
    ("\t\tindented\n\t\t\tmore\n", 9, 9),
    ("ALLCAPS lowerUPPERlower A'S B'Ll", 12, 12),
    ("https://example.com/a/b?c=d&e=f#g", 12, 12),
];

fn counts(text: &str) -> (u64, u64) {
    let n_tokens = |vocabulary| count(vocabulary, text).n_tokens;
    (n_tokens(Vocabulary::O200k), n_tokens(Vocabulary::Cl100k))
}

#[test]
fn texts_have_the_tokens_that_their_vendor_counts() {
    for (text, o200k, cl100k) in COUNTED {
        assert_eq!(counts(text), (o200k, cl100k), "{text:?}");
    }
}

/// Letters that the patterns tell apart, in any order: sums of what the vendor's program counts of the same texts.
#[test]
fn texts_of_any_letters_have_the_tokens_that_their_vendor_counts() {
    const LETTERS: [&str; 27] = [
        "a", "B", "é", "Ǆ", "ǅ", "ʰ", "漢", "\u{301}", "1", "Ⅷ", " ", "  ", "\n", "\r", "\t", "\u{a0}", "'", "'s",
        "'LL", "ſ", "/", "!", "👍", "𐐀", "𐐨", "\u{903}", "K",
    ];
    for (n_texts, n_letters, expected) in [(2_000, 12, (32_835, 37_200)), (200, 200, (54_670, 61_851))] {
        let (mut state, mut sums) = (1_u64, (0, 0));
        for _ in 0..n_texts {
            let mut text = String::new();
            for _ in 0..n_letters {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(LETTERS[(state >> 33) as usize % LETTERS.len()]);
            }
            let (o200k, cl100k) = counts(&text);
            sums = (sums.0 + o200k, sums.1 + cl100k);
        }
        assert_eq!(sums, expected, "{n_texts} texts of {n_letters} letters");
    }
}

/// In steps and not in time, so that it holds on any machine; a quadratic merge would take 10,000 times as many.
#[test]
fn hostile_texts_take_time_in_proportion() {
    const N_BYTES: usize = 200_000;
    for unit in
        ["a", "A", " ", "\n", "\r\n ", "1", "!", "'", "漢", "漢A", "A漢", "\u{301}", "\u{301}A", "aaaaaaaab", "/"]
    {
        for vocabulary in [Vocabulary::O200k, Vocabulary::Cl100k] {
            let counted = count(vocabulary, &unit.repeat(N_BYTES / unit.len()));
            assert!(counted.n_tokens > 0 && counted.n_steps <= 10 * N_BYTES as u64, "{unit:?}: {counted:?}");
        }
    }
}
