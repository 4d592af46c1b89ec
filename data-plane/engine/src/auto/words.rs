//! Words that tell what a prompt asks for, in a dozen languages, found in one pass.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::Signals;

/// What words are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Code,
    Maths,
    Analysis,
    Reasoning,
    Safety,
}

/// Words in lower case, a space apart; `_` stands for a space within one. A `*` at an end: any letters may follow there, or
/// come before. Words of scripts without spaces are found anywhere.
const WORDS: &[(About, &str)] = &[
    (
        About::Code,
        "python javascript typescript golang kotlin fortran haskell c++ c# sql html css regex regexp traceback segfault \
         stack_trace refactor* debug* compil* unit_test* pull_request code_review codebase source_code coding write_code \
         some_code this_code my_code code_for code_that code_to programming programmer algorithm* data_structure* dockerfile \
         kubernetes quicksort def_*( fn_main #include public_static console.log std:: (); =>_{ )_{ select_*_from #!/",
    ),
    (
        About::Code,
        "programmier* quellcode quelltext* code_source programmation algorithme* programación código* algoritmo*",
    ),
    (
        About::Code,
        "programação codice programmazione программир* код кода коде алгоритм* функцию programowani* algorytm*",
    ),
    (
        About::Code,
        "kodu yazılım algoritma* kode pemrograman lập_trình mã_nguồn कोड प्रोग्राम* *برمجة *كود *خوارزمي* โค้ด โปรแกรม",
    ),
    (
        About::Code,
        "代码 代碼 编程 編程 程序 程式 算法 演算法 コード プログラム アルゴリズム 코드* 프로그래밍* 프로그램* 알고리즘*",
    ),
    (
        About::Maths,
        "theorem* lemma integral* derivative* equation* matrix matrices probabilit* calculus algebra* eigenvalue* \
         polynomial* logarithm* geometry trigonometr* differentiate solve_for prime_number* factorial mathemat* maths \\frac \
         \\sqrt \\sum \\int_ \\lim \\partial \\mathbb \\begin{equation \\begin{align \\begin{pmatrix $$",
    ),
    (
        About::Maths,
        "gleichung* ableitung* wahrscheinlichkeit* matrizen beweis* mathe* équation* dérivée* intégrale* théorème*",
    ),
    (
        About::Maths,
        "probabilité* ecuación* ecuaciones derivada* teorema* matemátic* equação equações probabilidad* equazion*",
    ),
    (
        About::Maths,
        "matematic* probabilità уравнени* интеграл* производн* теорем* вероятност* матриц* математик* równani*",
    ),
    (About::Maths, "denklem* olasılık* phương_trình persamaan समीकरण* गणित* *معادلة *معادلات *تكامل *احتمال* สมการ"),
    (
        About::Maths,
        "方程 积分 積分 导数 導數 微分 概率 確率 定理 矩阵 矩陣 行列式 数学 數學 방정식* 적분* 미분* 확률* 수학*",
    ),
    (
        About::Analysis,
        "analyze analyse analyzing analysis compare comparison contrast evaluate assess synthesize synthesise critique \
         trade-off* tradeoff* pros_and_cons implications in_depth",
    ),
    (
        About::Analysis,
        "analysier* vergleich* bewerte* beurteil* analyser analysez comparer comparez évalue* analiza* analizar",
    ),
    (
        About::Analysis,
        "comparar evalúa* evaluar analisar avalie avaliar analizza* confronta* проанализ* сравни* оцени* анализ*",
    ),
    (About::Analysis, "przeanalizuj* porównaj* analiz karşılaştır* değerlendir* phân_tích so_sánh analisis bandingkan"),
    (About::Analysis, "विश्लेषण तुलना *حلل *تحليل *قارن *مقارنة วิเคราะห์ เปรียบเทียบ"),
    (About::Analysis, "分析 比较 比較 对比 對比 评估 評估 評価 综合 綜合 분석* 비교* 평가*"),
    (
        About::Reasoning,
        "step_by_step step-by-step prove proof derive deduce justify reasoning reason_about explain_why root_cause \
         think_through rigorous* hypothes*",
    ),
    (
        About::Reasoning,
        "schritt_für_schritt begründe* beweise* herleit* étape_par_étape démontre* justifie* paso_a_paso demuestra*",
    ),
    (
        About::Reasoning,
        "passo_a_passo demonstre* dimostra* passo_dopo_passo пошагов* шаг_за_шагом докаж* доказа* обоснуй*",
    ),
    (About::Reasoning, "krok_po_kroku udowodni* adım_adım kanıtla* từng_bước chứng_minh langkah_demi_langkah buktikan"),
    (About::Reasoning, "कदम_दर_कदम सिद्ध *خطوة_بخطوة *أثبت *اثبت *برهن ทีละขั้นตอน พิสูจน์"),
    (
        About::Reasoning,
        "一步一步 逐步 证明 證明 推理 推导 推導 証明 段階的 ステップバイステップ 推論 증명* 단계별* 추론*",
    ),
    (
        About::Safety,
        "suicid* self-harm weapon* bomb bombs explosive* overdos* malware ransomware poison* lethal dosage chest_pain \
         medication* lawsuit",
    ),
    (
        About::Safety,
        "selbstmord* waffe waffen sprengstoff* überdosis gift arme armes explosif* surdose veneno arma armas",
    ),
    (
        About::Safety,
        "explosivo* sobredosis esplosiv* suicidi* самоубийств* оружи* взрывчат* яд отравлени* broń samobójstw*",
    ),
    (
        About::Safety,
        "intihar* silah* patlayıcı* tự_tử vũ_khí bunuh_diri senjata आत्महत्या हथियार* *انتحار *سلاح *متفجرات ฆ่าตัวตาย",
    ),
    (About::Safety, "自杀 自殺 武器 炸弹 炸彈 爆弾 毒药 毒藥 毒薬 자살* 폭탄* 무기*"),
];

struct Word {
    about: About,
    /// Letters may come before it.
    open_before: bool,
    open_behind: bool,
}

struct Table {
    finder: AhoCorasick,
    words: Vec<Word>,
}

/// Built once, at the first prompt that is judged.
static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let (mut texts, mut words) = (Vec::new(), Vec::new());
    for (about, line) in WORDS {
        for written in line.split_whitespace() {
            let text = written.strip_prefix('*').unwrap_or(written);
            let text = text.strip_suffix('*').unwrap_or(text).replace('_', " ");
            let open_before = written.starts_with('*') || text.chars().next().is_none_or(stands_alone);
            let open_behind = written.ends_with('*') || text.chars().next_back().is_none_or(stands_alone);
            words.push(Word { about: *about, open_before, open_behind });
            texts.push(text);
        }
    }
    let finder = AhoCorasick::builder().match_kind(MatchKind::Standard).build(texts);
    Table { finder: finder.expect("a table of short words is far below every limit"), words }
});

/// Notes what the words of a text are about.
pub(super) fn read(text: &str, signals: &mut Signals) {
    let text = text.to_lowercase();
    let table = &*TABLE;
    for found in table.finder.find_overlapping_iter(text.as_str()) {
        let word = &table.words[found.pattern().as_usize()];
        let is_apart = (word.open_before || text[..found.start()].chars().next_back().is_none_or(stands_alone))
            && (word.open_behind || text[found.end()..].chars().next().is_none_or(stands_alone));
        if !is_apart {
            continue;
        }
        match word.about {
            About::Code => signals.code = true,
            About::Maths => signals.maths = true,
            About::Analysis => signals.analysis = true,
            About::Reasoning => signals.reasoning = true,
            About::Safety => signals.safety = true,
        }
        if signals.code && signals.maths && signals.analysis && signals.reasoning && signals.safety {
            return;
        }
    }
}

/// Whether a word may begin or end beside this character: it is no letter or digit, or one of a script without spaces.
fn stands_alone(c: char) -> bool {
    let is_spaceless = matches!(c,
        '\u{0e00}'..='\u{0eff}'        // Thai, Lao
        | '\u{1000}'..='\u{109f}'      // Myanmar
        | '\u{1780}'..='\u{17ff}'      // Khmer
        | '\u{3040}'..='\u{30ff}'      // Kana
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}');
    !c.is_alphanumeric() || is_spaceless
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_in_lower_case_and_no_word_is_empty() {
        for (about, line) in WORDS {
            assert_eq!(line.to_lowercase(), **line, "{about:?}");
            assert!(line.split_whitespace().all(|word| word.trim_matches('*').chars().count() >= 2), "{line}");
        }
    }
}
