//! Conditions that are put together as somebody asks. On Postgres one index answers for all terms and words; SQLite looks at each row.

use std::ops::RangeInclusive;

use super::Engine;

/// Letters of a value that count, in a record and in a question alike: a lexeme of Postgres has 2,046 bytes.
pub(crate) const HEAD: usize = 200;

/// The expression of the index `log_record_terms`, letter by letter.
const POSTGRES_TERMS: &str = "array_to_tsvector(ARRAY['key=' || left(key_id, 200), 'key=' || left(key_name, 200), \
     'model=' || left(model, 200), 'provider=' || left(provider, 200), 'status=' || CAST(status AS TEXT), \
     'status=' || CAST(status / 100 AS TEXT) || 'xx', \
     'total_us=' || length(CAST(total_us AS TEXT)), \
     'total_us=' || length(CAST(total_us AS TEXT)) || '.' || left(CAST(total_us AS TEXT), 1), \
     'total_us=' || length(CAST(total_us AS TEXT)) || '.' || left(CAST(total_us AS TEXT), 2), \
     'cost_nano_usd=' || length(CAST(cost_nano_usd AS TEXT)), \
     'cost_nano_usd=' || length(CAST(cost_nano_usd AS TEXT)) || '.' || left(CAST(cost_nano_usd AS TEXT), 1), \
     'cost_nano_usd=' || length(CAST(cost_nano_usd AS TEXT)) || '.' || left(CAST(cost_nano_usd AS TEXT), 2)] \
     || string_to_array(terms, chr(10)))";
/// The digits of the greatest number.
const MOST_DIGITS: usize = 19;
/// Leading digits that the index knows.
const KNOWN_DIGITS: usize = 2;

/// What a record is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// In one of the columns that are terms of this name.
    Column(&'static str, String),
    Status(RangeInclusive<u32>),
    /// In a column of numbers, so much or more.
    AtLeast(&'static str, i64),
    /// `team=core`
    Term(String),
    /// One that begins like this.
    Word(String),
    All(Vec<Self>),
    Any(Vec<Self>),
}

/// A value of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Number(i64),
}

/// Texts of ours and the values that they refer to; nothing from outside is ever in the text.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    engine: Engine,
    text: String,
    values: Vec<Value>,
}

// === impl Condition ===

impl Condition {
    /// What follows `values`, which the statement has already.
    pub(crate) fn after(engine: Engine, values: Vec<Value>) -> Self {
        Self { engine, text: String::new(), values }
    }

    /// ` AND left $n`.
    pub(crate) fn and(&mut self, left: &'static str, value: Value) {
        let mark = self.mark(value);
        self.put(" AND ");
        self.put(left);
        self.put(&mark);
    }

    pub(crate) fn and_all(&mut self, wanted: &[Wanted]) {
        if wanted.is_empty() {
            return;
        }
        if self.engine == Engine::Sqlite {
            for one in wanted {
                self.put(" AND ");
                self.wants(one);
            }
            return;
        }
        let terms: Vec<String> = wanted.iter().map(tsquery).collect();
        let mark = self.mark(Value::Text(terms.join(" & ")));
        self.put(" AND ");
        self.put(POSTGRES_TERMS);
        self.put(" @@ CAST(");
        self.put(&mark);
        self.put(" AS tsquery)");
        // What the index does not tell from its neighbours.
        for one in wanted {
            match one {
                Wanted::Status(range) if range.start() != range.end() => self.wants_status(range),
                Wanted::AtLeast(column, least) => {
                    self.put(" AND ");
                    self.wants_at_least(column, *least);
                }
                _ => {}
            }
        }
    }

    /// The text, which begins with ` AND`, and all values.
    pub(crate) fn into_parts(self) -> (String, Vec<Value>) {
        (self.text, self.values)
    }

    /// The next value, as the text refers to it.
    pub(crate) fn mark(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    fn wants(&mut self, wanted: &Wanted) {
        match wanted {
            Wanted::Column(name, value) => {
                let mark = self.mark(Value::Text(value.clone()));
                let columns = columns(name).iter().map(|column| format!("substr({column}, 1, {HEAD}) = {mark}"));
                self.put(&format!("({})", columns.collect::<Vec<_>>().join(" OR ")));
            }
            Wanted::Status(range) => {
                self.put("(1 = 1");
                self.wants_status(range);
                self.put(")");
            }
            Wanted::AtLeast(column, least) => self.wants_at_least(column, *least),
            Wanted::Term(term) => self.holds(format!("\n{term}\n")),
            Wanted::Word(word) => self.holds(format!("\n~{word}")),
            Wanted::All(parts) => self.joined(parts, " AND "),
            Wanted::Any(parts) => self.joined(parts, " OR "),
        }
    }

    fn wants_status(&mut self, range: &RangeInclusive<u32>) {
        self.and("status >= ", Value::Number(i64::from(*range.start())));
        self.and("status <= ", Value::Number(i64::from(*range.end())));
    }

    fn wants_at_least(&mut self, column: &'static str, least: i64) {
        let mark = self.mark(Value::Number(least));
        self.put(&format!("{column} >= {mark}"));
    }

    fn holds(&mut self, part: String) {
        let mark = self.mark(Value::Text(part));
        self.put(&format!("instr(char(10) || terms || char(10), {mark}) > 0"));
    }

    fn joined(&mut self, parts: &[Wanted], by: &'static str) {
        self.put("(");
        for (position, part) in parts.iter().enumerate() {
            self.put(if position == 0 { "" } else { by });
            self.wants(part);
        }
        self.put(")");
    }

    fn put(&mut self, text: &str) {
        self.text.push_str(text);
    }
}

/// As much of a value as counts, on one line.
pub(crate) fn line(value: &str) -> String {
    value.chars().take(HEAD).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// The columns that a name stands for.
pub(crate) fn columns(name: &str) -> &'static [&'static str] {
    match name {
        "key" => &["key_id", "key_name"],
        "model" => &["model"],
        _ => &["provider"],
    }
}

/// As Postgres reads it; each lexeme is quoted, whatever is in it.
fn tsquery(wanted: &Wanted) -> String {
    let joined = |parts: &[Wanted], by: &str| {
        let parts: Vec<String> = parts.iter().map(tsquery).collect();
        format!("({})", parts.join(by))
    };
    match wanted {
        Wanted::Column(name, value) => lexeme(&format!("{name}={value}")),
        Wanted::Status(range) if range.start() == range.end() => lexeme(&format!("status={}", range.start())),
        Wanted::Status(range) => either(&statuses(range)),
        Wanted::AtLeast(column, least) => either(&at_least(column, *least)),
        Wanted::Term(term) => lexeme(term),
        Wanted::Word(word) => format!("{}:*", lexeme(&format!("~{word}"))),
        Wanted::All(parts) => joined(parts, " & "),
        Wanted::Any(parts) => joined(parts, " | "),
    }
}

fn either(terms: &[String]) -> String {
    let terms: Vec<String> = terms.iter().map(|term| lexeme(term)).collect();
    format!("({})", terms.join(" | "))
}

/// Whole classes as such, and each status of one of which only some are wanted.
fn statuses(range: &RangeInclusive<u32>) -> Vec<String> {
    // Nothing ends with more, and 0 is a status of records that have none.
    let (first, last) = ((*range.start()).min(999), (*range.end()).min(999));
    let mut terms = Vec::new();
    for class in first / 100..=last / 100 {
        let all = class * 100..=class * 100 + 99;
        if first <= *all.start() && last >= *all.end() {
            terms.push(format!("status={class}xx"));
        } else {
            terms.extend(all.filter(|status| (first..=last).contains(status)).map(|status| format!("status={status}")));
        }
    }
    if terms.is_empty() {
        // From more than there is to less: nothing, as the condition beside it says.
        terms.push(format!("status={first}"));
    }
    terms
}

/// What numbers begin with that are so great, and few that are not: 2,345 asks for numbers of four digits that begin with 23 to 29
/// or with 3 to 9, and for numbers of more.
fn at_least(column: &str, least: i64) -> Vec<String> {
    let digits = least.max(1).to_string();
    let n_digits = digits.len();
    // What follows the last of these is of no account, or not known.
    let leading = digits.trim_end_matches('0');
    let leading = &leading[..leading.len().min(KNOWN_DIGITS)];
    let mut terms = Vec::new();
    let all_of_its_length = digits.trim_end_matches('0') == "1";
    if all_of_its_length {
        terms.push(format!("{column}={n_digits}"));
    } else {
        for (position, digit) in leading.bytes().enumerate() {
            let from = if position + 1 == leading.len() { digit } else { digit + 1 };
            let before = &leading[..position];
            terms.extend((from..=b'9').map(|digit| format!("{column}={n_digits}.{before}{}", char::from(digit))));
        }
    }
    terms.extend((n_digits + 1..=MOST_DIGITS).map(|n_digits| format!("{column}={n_digits}")));
    terms
}

fn lexeme(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lexeme_is_quoted_whatever_is_in_it() {
        for (text, expected) in [("a=b", "'a=b'"), ("a='b' | c", "'a=''b'' | c'"), (r"a=\", r"'a=\\'")] {
            assert_eq!(lexeme(text), expected);
        }
    }

    #[test]
    fn both_engines_are_asked_the_same() {
        let wanted = [
            Wanted::Column("key", "k".to_owned()),
            Wanted::Status(500..=599),
            Wanted::Any(vec![Wanted::Term("a=b".to_owned()), Wanted::Word("w".to_owned())]),
            Wanted::AtLeast("cost_nano_usd", 8_000_000_000_000_000_000),
        ];
        let asked = |engine| {
            let mut condition = Condition::after(engine, vec![Value::Number(1)]);
            condition.and_all(&wanted);
            condition.into_parts()
        };
        let (text, values) = asked(Engine::Postgres);
        assert!(
            text.ends_with(" @@ CAST($2 AS tsquery) AND status >= $3 AND status <= $4 AND cost_nano_usd >= $5"),
            "{text}"
        );
        assert_eq!(
            values[1],
            Value::Text(
                "'key=k' & ('status=5xx') & ('a=b' | '~w':*) & ('cost_nano_usd=19.8' | 'cost_nano_usd=19.9')"
                    .to_owned()
            )
        );
        let (text, _) = asked(Engine::Sqlite);
        assert_eq!(
            text,
            " AND (substr(key_id, 1, 200) = $2 OR substr(key_name, 1, 200) = $2) AND (1 = 1 AND status >= $3 AND status <= $4) \
             AND (instr(char(10) || terms || char(10), $5) > 0 OR instr(char(10) || terms || char(10), $6) > 0) \
             AND cost_nano_usd >= $7"
        );
    }

    #[test]
    fn a_class_is_asked_for_as_a_whole_and_a_part_by_each() {
        for (range, expected) in [
            (500..=599, "5xx"),
            (0..=299, "0xx 1xx 2xx"),
            (498..=u32::MAX, "498 499 5xx 6xx 7xx 8xx 9xx"),
            (430..=432, "430 431 432"),
            (1000..=u32::MAX, "999"),
        ] {
            let expected: Vec<String> = expected.split(' ').map(|status| format!("status={status}")).collect();
            assert_eq!(statuses(&range), expected, "{range:?}");
        }
        #[expect(clippy::reversed_empty_ranges, reason = "whoever asks may ask so")]
        let nothing = statuses(&(500..=400));
        assert_eq!(nothing, ["status=500"]);
    }

    /// The terms that the index has of a number.
    fn terms(number: i64) -> [String; 3] {
        let digits = number.to_string();
        let n_digits = digits.len();
        let begins = |n: usize| digits.get(..n).unwrap_or(&digits).to_owned();
        [format!("n={n_digits}"), format!("n={n_digits}.{}", begins(1)), format!("n={n_digits}.{}", begins(2))]
    }

    #[test]
    fn numbers_that_are_as_great_are_found_and_few_others() {
        assert_eq!(at_least("n", 1000)[0], "n=4");
        assert_eq!(
            at_least("n", i64::MAX),
            ["n=19.92", "n=19.93", "n=19.94", "n=19.95", "n=19.96", "n=19.97", "n=19.98", "n=19.99"]
        );
        let somewhere = (0..19).flat_map(|power| [1, 2, 15, 19, 99, 234].map(|n| 10_i64.pow(power).saturating_mul(n)));
        let numbers: Vec<i64> = somewhere.flat_map(|n| [n.saturating_sub(1), n, n.saturating_add(1)]).collect();
        for least in &numbers {
            let asked = at_least("n", *least);
            assert!(asked.len() <= 36, "{asked:?}");
            for number in &numbers {
                let found = terms(*number).iter().any(|term| asked.contains(term));
                assert!(found || number < least, "{number} of {least}");
                // Of two digits it is never wrong, of more by a tenth.
                assert!(!found || *number >= least / 10 * 9 || *least < 10, "{number} of {least}");
            }
        }
        assert!([i64::MIN, -5, 0].iter().all(|least| at_least("n", *least).len() == MOST_DIGITS));
    }

    #[test]
    fn the_index_is_of_the_expression_that_is_asked() {
        let step = include_str!("../../../../migrations/0020_numbers.postgres.sql");
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed(step).contains(&squeezed(POSTGRES_TERMS)), "{step}");
    }
}
