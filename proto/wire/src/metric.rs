//! What is said of a metric beside its value: name, kind, labels, meaning. Each plane has one table of these; the lines `HELP` and
//! `TYPE`, the tables of docs/metrics.md and the tests are made of it.

use std::fmt::Write as _;

/// A row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// As it is exposed: counters end in `_total`, and the unit is in it.
    pub name: &'static str,
    pub kind: Kind,
    /// Their values are bounded: by the code, or by what the configuration names.
    pub labels: &'static [&'static str],
    pub about: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

// === impl Metric ===

impl Metric {
    pub const fn counter(name: &'static str, labels: &'static [&'static str], about: &'static str) -> Self {
        Self { name, kind: Kind::Counter, labels, about }
    }

    pub const fn gauge(name: &'static str, labels: &'static [&'static str], about: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, labels, about }
    }

    pub const fn histogram(name: &'static str, labels: &'static [&'static str], about: &'static str) -> Self {
        Self { name, kind: Kind::Histogram, labels, about }
    }

    /// The lines before its samples, in the text format of Prometheus.
    pub fn head(&self) -> String {
        let Self { name, kind, about, .. } = self;
        format!("# HELP {name} {about}\n# TYPE {name} {}\n", kind.name())
    }
}

// === impl Kind ===

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A table of metrics as one of Markdown.
pub fn page(metrics: &[Metric]) -> String {
    let mut page = "| metric | kind | labels | what it says |\n|---|---|---|---|\n".to_owned();
    for Metric { name, kind, labels, about } in metrics {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(page, "| `{name}` | {} | {} | {about} |", kind.name(), labels.join(", "));
    }
    page
}
