//! Figures to Markdown: first the promises with their limits, then every scenario in full.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::run::Results;
use crate::scenario::{EVENTS, SCENARIOS, Scenario};
use crate::start::{LARGE, Start};
use crate::window::Window;

/// Everything of one run; written as JSON too.
#[derive(Debug, Serialize)]
pub struct Report {
    pub results: Results,
    pub starts: BTreeMap<String, Start>,
}

/// A promise: what, the limit, how to read it for a target.
struct Promise {
    what: &'static str,
    limit: f64,
    unit: &'static str,
    read: fn(&Report, &str) -> Option<f64>,
}

const PROMISES: &[Promise] = &[
    Promise { what: "CPU per request, concurrency 64", limit: 2.5, unit: "x bare", read: |r, t| r.cpu_ratio("S2", t) },
    Promise { what: "CPU per stream event", limit: 1.6, unit: "x bare", read: |r, t| r.cpu_ratio("S3", t) },
    Promise { what: "CPU per request of 200 KB", limit: 4.0, unit: "x bare", read: |r, t| r.cpu_ratio("S4", t) },
    Promise {
        what: "memory at rest",
        limit: 25.0,
        unit: "MiB",
        read: |r, t| Some(r.start(t)?.idle_pss as f64 / 1024.0),
    },
    Promise { what: "memory per open stream", limit: 64.0, unit: "KiB", read: Report::per_stream },
    Promise { what: "second start until ready", limit: 300.0, unit: "ms", read: |r, t| Some(r.start(t)?.second_ms) },
    Promise {
        what: "ready with 1,500 providers and models",
        limit: 5.0,
        unit: "s",
        read: |r, t| Some(r.start(t)?.large_first_ms.max(r.start(t)?.large_second_ms) / 1e3),
    },
];

/// The target that the promises are about, and the one that is told beside it: `up` is charged with its control plane too.
const PROMISED: &str = "node";
const REPORTED: &str = "up";

// === impl Report ===

impl Report {
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        self.promises(&mut out);
        for scenario in SCENARIOS {
            match self.results.get(scenario.id) {
                Some(targets) if scenario.is_held() => self.held(&mut out, scenario, targets),
                Some(targets) => self.scenario(&mut out, scenario, targets),
                None => {}
            }
        }
        if !self.starts.is_empty() {
            self.start_table(&mut out);
        }
        out
    }

    fn promises(&self, out: &mut String) {
        line(out, format_args!("| promise | limit | node | fed by a control plane |\n|---|---|---|---|"));
        for promise in PROMISES {
            let node = match (promise.read)(self, PROMISED) {
                Some(value) if value <= promise.limit => format!("{} ok", number(value)),
                Some(value) => format!("{} **over**", number(value)),
                None => "-".to_owned(),
            };
            let fed = optional((promise.read)(self, REPORTED));
            let (what, limit, unit) = (promise.what, number(promise.limit), promise.unit);
            line(out, format_args!("| {what} | {limit} {unit} | {node} | {fed} |"));
        }
    }

    fn scenario(&self, out: &mut String, scenario: &Scenario, targets: &BTreeMap<String, Vec<Window>>) {
        line(out, format_args!("\n{} {}\n", scenario.id, scenario.title));
        let (timed, per) = if scenario.stream { ("first byte", "event") } else { ("latency", "request") };
        line(
            out,
            format_args!(
                "| target | req/s | x bare | {timed} p50 us | p99 us | added p50 | CPU us/{per} | min-max | x bare |"
            ),
        );
        line(out, format_args!("|---|---|---|---|---|---|---|---|---|"));
        let quantiles = |window: &Window| if scenario.stream { window.first_byte } else { window.latency };
        let p50 = |windows: &[Window]| median(windows.iter().map(|window| quantiles(window).p50 as f64));
        let n_per_request = if scenario.stream { EVENTS as f64 } else { 1.0 };
        for (target, windows) in ordered(targets) {
            let rate = median(windows.iter().map(Window::requests_per_second));
            let bare_rate = targets.get("bare").map(|bare| median(bare.iter().map(Window::requests_per_second)));
            let p99 = median(windows.iter().map(|window| quantiles(window).p99 as f64));
            let added = targets.get("direct").map(|direct| p50(windows) - p50(direct));
            let cpu = windows.iter().map(|window| window.cpu_per_request() / n_per_request);
            let (least, most) = cpu.clone().fold((f64::MAX, 0.0f64), |(least, most), us| (least.min(us), most.max(us)));
            let measured = target != "direct";
            let cpu = [number(median(cpu)), format!("{}-{}", number(least), number(most))];
            let [cpu, range] = if measured { cpu } else { ["-".to_owned(), "-".to_owned()] };
            line(
                out,
                format_args!(
                    "| {target} | {} | {} | {} | {} | {} | {cpu} | {range} | {} |",
                    number(rate),
                    optional(bare_rate.map(|bare| rate / bare)),
                    number(p50(windows)),
                    number(p99),
                    optional(added),
                    optional(self.cpu_ratio(scenario.id, target).filter(|_| measured)),
                ),
            );
        }
        let others = targets.values().flatten().map(|window| window.other_cores).fold(0.0, f64::max);
        line(out, format_args!("\nOther processes used at most {} cores during a window.", number(others)));
    }

    fn held(&self, out: &mut String, scenario: &Scenario, targets: &BTreeMap<String, Vec<Window>>) {
        line(out, format_args!("\n{} {}\n", scenario.id, scenario.title));
        line(
            out,
            format_args!(
                "| target | open | PSS before MiB | PSS held MiB | KiB per stream | x bare |\n|---|---|---|---|---|---|"
            ),
        );
        let bare = self.per_stream("bare");
        for (target, windows) in ordered(targets).filter(|(target, _)| *target != "direct") {
            let each = self.per_stream(target);
            let ratio = each.zip(bare).map(|(each, bare)| each / bare);
            let mib =
                |read: fn(&Window) -> u64| number(median(windows.iter().map(|window| read(window) as f64 / 1024.0)));
            let (before, held) = (mib(|window| window.pss_before), mib(|window| window.pss_after));
            let open = windows[0].n_open;
            line(
                out,
                format_args!("| {target} | {open} | {before} | {held} | {} | {} |", optional(each), optional(ratio)),
            );
        }
    }

    fn start_table(&self, out: &mut String) {
        line(out, format_args!("\nStart-up\n"));
        line(
            out,
            format_args!(
                "| target | first ms | second ms | {LARGE} providers: first ms | second ms | PSS at rest MiB | binary MiB |"
            ),
        );
        line(out, format_args!("|---|---|---|---|---|---|---|"));
        for (target, start) in &self.starts {
            line(
                out,
                format_args!(
                    "| {target} | {} | {} | {} | {} | {} | {} |",
                    number(start.first_ms),
                    number(start.second_ms),
                    number(start.large_first_ms),
                    number(start.large_second_ms),
                    number(start.idle_pss as f64 / 1024.0),
                    number(start.binary_bytes as f64 / f64::from(1 << 20)),
                ),
            );
        }
    }

    fn start(&self, target: &str) -> Option<&Start> {
        self.starts.get(target)
    }

    /// CPU per request relative to the plain proxy of the same run.
    fn cpu_ratio(&self, scenario: &str, target: &str) -> Option<f64> {
        let targets = self.results.get(scenario)?;
        let cpu = |name| targets.get(name).map(|windows| median(windows.iter().map(Window::cpu_per_request)));
        Some(cpu(target)? / cpu("bare")?)
    }

    fn per_stream(&self, target: &str) -> Option<f64> {
        let held = SCENARIOS.iter().find(|scenario| scenario.is_held())?;
        let window = self.results.get(held.id)?.get(target)?.first()?;
        Some(window.pss_after.saturating_sub(window.pss_before) as f64 / window.n_open as f64)
    }
}

/// From the least to the most that happens on the way.
fn ordered(targets: &BTreeMap<String, Vec<Window>>) -> impl Iterator<Item = (&str, &[Window])> {
    let all = crate::target::Kind::ALL.map(crate::target::Kind::name);
    all.into_iter().filter_map(|name| targets.get(name).map(|windows| (name, windows.as_slice())))
}

fn line(out: &mut String, args: std::fmt::Arguments<'_>) {
    writeln!(out, "{args}").expect("writing to a String cannot fail");
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(cpu_us: u64, n_requests: u64) -> Window {
        Window { seconds: 1.0, cpu_us, n_requests, n_open: 10, pss_before: 100, pss_after: 740, ..Window::default() }
    }

    #[test]
    fn promises_are_judged_against_the_bare_proxy() {
        let of = |bare: u64, node: u64| {
            let targets = [("bare", bare), ("node", node)];
            BTreeMap::from(targets.map(|(name, cpu)| (name.to_owned(), vec![window(cpu, 10), window(cpu, 10)])))
        };
        let results = BTreeMap::from([
            ("S2".to_owned(), of(100, 249)),
            ("S3".to_owned(), of(100, 161)),
            ("S7".to_owned(), of(1, 1)),
        ]);
        let markdown = Report { results, starts: BTreeMap::new() }.markdown();
        for row in [
            "| CPU per request, concurrency 64 | 2.50 x bare | 2.49 ok | - |",
            "| CPU per stream event | 1.60 x bare | 1.61 **over** | - |",
            "| memory per open stream | 64.0 KiB | 64.0 ok | - |",
        ] {
            assert!(markdown.contains(row), "{row} is not in:\n{markdown}");
        }
    }

    #[test]
    fn median_is_the_middle() {
        for (values, expected) in [(vec![3.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0], 2.5)] {
            assert_eq!(median(values.into_iter()), expected);
        }
    }
}
