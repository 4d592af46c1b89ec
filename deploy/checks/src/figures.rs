//! What the tests measured, as a table for people, each figure beside the limit that it is held to.

use serde_json::Value;

/// One line of `figures.jsonl`, as `gateway_testing::figure` writes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    pub test: String,
    pub what: String,
    pub value: f64,
    pub unit: String,
    pub limit: Limit,
}

/// What a figure may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    Most(f64),
    Least(f64),
}

/// The figures of a file that were noted at `since` (Unix seconds) or later, in the order of their tests' names. A line that
/// cannot be read is an error: a figure that does not count must not go unseen.
pub fn read(lines: &str, since: u64) -> Result<Vec<Figure>, String> {
    let mut figures = Vec::new();
    for (at, line) in lines.lines().enumerate() {
        let noted: Value = serde_json::from_str(line).map_err(|error| format!("line {}: {error}", at + 1))?;
        let text = |field: &str| noted[field].as_str().map(str::to_owned);
        let number = |field: &str| noted[field].as_f64();
        let limit = || number("most").map(Limit::Most).or_else(|| number("least").map(Limit::Least));
        let figure = || {
            Some(Figure {
                test: text("test")?,
                what: text("what")?,
                value: number("value")?,
                unit: text("unit")?,
                limit: limit()?,
            })
        };
        let figure = figure().ok_or_else(|| format!("line {}: not a figure: {line}", at + 1))?;
        if noted["unix_s"].as_u64().is_some_and(|noted_at| noted_at >= since) {
            figures.push(figure);
        }
    }
    figures.sort_by(|a, b| a.test.cmp(&b.test));
    Ok(figures)
}

/// One row for each figure, then how many are over their limits.
pub fn table(figures: &[Figure]) -> String {
    let width =
        |cell: fn(&Figure) -> &str| figures.iter().map(|figure| cell(figure).chars().count()).max().unwrap_or(0);
    let (test_width, what_width) = (width(|figure| &figure.test), width(|figure| &figure.what));
    let row = |figure: &Figure| {
        let (bound, limit) = match figure.limit {
            Limit::Most(limit) => ("of", number(limit)),
            Limit::Least(limit) => (">=", number(limit)),
        };
        let value = number(figure.value);
        let mark = if figure.is_broken() { "  BROKEN" } else { "" };
        format!(
            "{:test_width$}  {:what_width$}  {value:>10}  {bound} {limit:>8} {}{mark}\n",
            figure.test, figure.what, figure.unit
        )
    };
    let n_broken = figures.iter().filter(|figure| figure.is_broken()).count();
    let rows: String = figures.iter().map(row).collect();
    format!("{rows}{} figures, {n_broken} break their limits\n", figures.len())
}

// === impl Figure ===

impl Figure {
    /// A value that is not a number keeps no limit.
    pub fn is_broken(&self) -> bool {
        self.value.is_nan()
            || match self.limit {
                Limit::Most(most) => self.value > most,
                Limit::Least(least) => self.value < least,
            }
    }
}

/// Whole where it is, else three digits that count.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        value if value.fract() == 0.0 => 0,
        value if value < 1.0 => 3,
        value if value < 100.0 => 2,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"test":"b","what":"failed requests","value":0.0,"unit":"requests","most":0.0,"unix_s":100}
{"test":"a","what":"back after","value":41.5,"unit":"s","most":35.0,"unix_s":101}
{"test":"a","what":"of an earlier run","value":1.0,"unit":"s","most":2.0,"unix_s":99}
{"test":"c","what":"crashes tried","value":3.0,"unit":"cases","least":4.0,"unix_s":101}
"#;

    #[test]
    fn figures_of_this_run_are_shown_and_held_to_their_limits() {
        let figures = read(LINES, 100).expect("all lines are figures");
        assert_eq!(figures.iter().map(Figure::is_broken).collect::<Vec<_>>(), [true, false, true]);
        let expected = "a  back after            41.50  of       35 s  BROKEN\n\
                        b  failed requests           0  of        0 requests\n\
                        c  crashes tried             3  >=        4 cases  BROKEN\n\
                        3 figures, 2 break their limits\n";
        assert_eq!(table(&figures), expected);
    }

    #[test]
    fn what_is_not_a_figure_is_an_error() {
        for line in ["not json", "{}", r#"{"test":"t","what":"w","value":"1","unit":"s","most":2.0,"unix_s":1}"#] {
            assert!(read(line, 0).is_err(), "{line}");
        }
        let figure = Figure {
            test: String::new(),
            what: String::new(),
            value: f64::NAN,
            unit: String::new(),
            limit: Limit::Most(1.0),
        };
        assert!(figure.is_broken());
    }
}
