//! Conditions that are put together as somebody asks. On Postgres one index answers for all terms and words; SQLite looks at each row.

use std::ops::RangeInclusive;

use super::Engine;

/// Letters of a value that count, in a record and in a question alike: a lexeme of Postgres has 2,046 bytes.
pub(crate) const HEAD: usize = 200;

/// The expression of the index `log_record_terms`, letter by letter.
const POSTGRES_TERMS: &str = "array_to_tsvector(ARRAY['key=' || left(key_id, 200), 'key=' || left(key_name, 200), \
     'model=' || left(model, 200), 'provider=' || left(provider, 200), 'status=' || CAST(status AS TEXT), \
     'status=' || CAST(status / 100 AS TEXT) || 'xx'] || string_to_array(terms, chr(10)))";

/// What a record is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// In one of the columns that are terms of this name.
    Column(&'static str, String),
    Status(RangeInclusive<u32>),
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
        for status in wanted.iter().filter_map(Wanted::partly_of_classes) {
            self.wants_status(status);
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

// === impl Wanted ===

impl Wanted {
    /// Statuses that the index does not tell from their neighbours.
    fn partly_of_classes(&self) -> Option<&RangeInclusive<u32>> {
        match self {
            Self::Status(range) if range.start() != range.end() => Some(range),
            _ => None,
        }
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
        Wanted::Status(range) => {
            // Nothing ends with more, and 0 is a status of records that have none.
            let classes = (range.start() / 100).min(9)..=(range.end() / 100).min(9);
            let classes: Vec<String> = classes.map(|class| lexeme(&format!("status={class}xx"))).collect();
            format!("({})", classes.join(" | "))
        }
        Wanted::Term(term) => lexeme(term),
        Wanted::Word(word) => format!("{}:*", lexeme(&format!("~{word}"))),
        Wanted::All(parts) => joined(parts, " & "),
        Wanted::Any(parts) => joined(parts, " | "),
    }
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
        ];
        let asked = |engine| {
            let mut condition = Condition::after(engine, vec![Value::Number(1)]);
            condition.and_all(&wanted);
            condition.into_parts()
        };
        let (text, values) = asked(Engine::Postgres);
        assert!(text.ends_with(" @@ CAST($2 AS tsquery) AND status >= $3 AND status <= $4"), "{text}");
        assert_eq!(values[1], Value::Text("'key=k' & ('status=5xx') & ('a=b' | '~w':*)".to_owned()));
        let (text, _) = asked(Engine::Sqlite);
        assert_eq!(
            text,
            " AND (substr(key_id, 1, 200) = $2 OR substr(key_name, 1, 200) = $2) AND (1 = 1 AND status >= $3 AND status <= $4) \
             AND (instr(char(10) || terms || char(10), $5) > 0 OR instr(char(10) || terms || char(10), $6) > 0)"
        );
    }

    #[test]
    fn the_index_is_of_the_expression_that_is_asked() {
        let step = include_str!("../../../../migrations/0016_search.postgres.sql");
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed(step).contains(&squeezed(POSTGRES_TERMS)), "{step}");
    }
}
