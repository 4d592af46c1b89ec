//! What goes to stdout, and in which form. Stdout is data, stderr is talk; colour never carries a meaning alone.

pub(crate) mod time;
pub(crate) mod table;
pub(crate) mod yaml;

use clap::ValueEnum;
use serde_json::Value;

use crate::exit::Failure;
use crate::host::{self, terminal};

/// Form of the data on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people; the form may change between versions
    #[default]
    Table,
    /// The table with all its columns, however wide
    Wide,
    /// For scripts; fields are only ever added
    Json,
    /// The same as `json`, as YAML
    Yaml,
}

// === impl Format ===

impl Format {
    /// Prints `value` for scripts, or what `table` makes of it for people.
    pub(crate) fn print(self, value: &Value, table: impl FnOnce(&Value) -> String) -> Result<(), Failure> {
        host::print(&match self {
            Self::Table | Self::Wide => table(value),
            Self::Json => json(value),
            Self::Yaml => yaml::emit(value),
        })
    }

    /// Whether people read it.
    pub(crate) fn is_for_people(self) -> bool {
        matches!(self, Self::Table | Self::Wide)
    }

    /// How wide a table may be; `None` for any width.
    pub(crate) fn width(self) -> Option<usize> {
        if self == Self::Table { terminal::width() } else { None }
    }

    /// Prints one record of an endless list: a line of JSON, a YAML document, or a line for people.
    pub(crate) fn print_record(self, value: &Value, line: impl FnOnce(&Value) -> String) -> Result<(), Failure> {
        host::print(&match self {
            Self::Table | Self::Wide => line(value),
            Self::Json => format!("{value}\n"),
            Self::Yaml => format!("---\n{}", yaml::emit(value)),
        })
    }
}

/// Indented JSON with a final newline.
pub(crate) fn json(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The text at `pointer`, empty where there is none; numbers and booleans as text.
pub(crate) fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A cell that is never empty.
pub(crate) fn dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

/// The number at `pointer`, 0 where there is none.
pub(crate) fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

/// Per second at `pointer`: one digit after the point where it matters, a dash where nothing is known.
pub(crate) fn rate(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer).and_then(Value::as_f64) {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(few) if few < 100.0 => format!("{few:.1}"),
        Some(many) => format!("{many:.0}"),
    }
}

/// The list at `pointer`, empty where there is none.
pub(crate) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The texts of the list at `pointer`, joined by commas.
pub(crate) fn joined(value: &Value, pointer: &str) -> String {
    let texts: Vec<String> = items(value, pointer).iter().map(|item| text(item, "")).collect();
    texts.join(", ")
}

/// When the time at `pointer` was or will be, told from now; empty where there is none.
pub(crate) fn when(value: &Value, pointer: &str) -> String {
    let at = value.pointer(pointer).and_then(time::unix_ms);
    at.map(|at| time::relative(at, host::now_ms())).unwrap_or_default()
}

/// Nano-dollars as dollars: `$0.0123`; more digits for small amounts, exact to the nano-dollar.
pub(crate) fn dollars(nano: i64) -> String {
    let sign = if nano < 0 { "-" } else { "" };
    let nano = nano.unsigned_abs();
    let fraction = format!("{:09}", nano % 1_000_000_000);
    let shown = fraction.trim_end_matches('0');
    format!("{sign}${}.{shown:0<2}", nano / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rates_are_short() {
        for (value, expected) in
            [(json!(0.0), "0"), (json!(0.04), "0.0"), (json!(12.34), "12.3"), (json!(1234.5), "1234")]
        {
            assert_eq!(rate(&json!({"r": value}), "/r"), expected);
        }
        assert_eq!(rate(&json!({}), "/r"), "-");
    }

    #[test]
    fn money_is_exact_and_never_shorter_than_cents() {
        for (nano, expected) in [(0, "$0.00"), (1, "$0.000000001"), (1_500_000_000, "$1.50"), (-20_000_000, "-$0.02")] {
            assert_eq!(dollars(nano), expected);
        }
    }
}
