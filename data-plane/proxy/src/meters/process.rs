//! The process and its runtimes, as of the moment in which somebody asks. From `/proc`; what is not there is not told.

use std::fmt::Write as _;

use super::row;

/// Ticks per second of `/proc/self/stat`: the kernel's interface has it at 100 on every architecture that we build for.
const TICKS_PER_SECOND: f64 = 100.0;
const PAGE: u64 = 4096;

/// What the process has, and each runtime by its name, in the text format of Prometheus.
pub(crate) fn metrics(runtimes: &[(String, tokio::runtime::Handle)], started_unix_ms: i64) -> String {
    let mut text = String::new();
    let mut tell = |name: &str, samples: &[(String, f64)]| {
        if samples.is_empty() {
            return;
        }
        text += &row(name).head();
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    let single = |value: Option<f64>| value.map(|value| (String::new(), value)).into_iter().collect::<Vec<_>>();
    let of = |what: fn(&tokio::runtime::RuntimeMetrics) -> f64| {
        let runtimes =
            runtimes.iter().map(|(name, handle)| (format!("{{runtime=\"{name}\"}}"), what(&handle.metrics())));
        runtimes.collect::<Vec<_>>()
    };
    tell("gateway_build_info", &[(format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1.0)]);
    tell("gateway_runtime_tasks", &of(|runtime| runtime.num_alive_tasks() as f64));
    tell("gateway_runtime_busy_seconds_total", &of(busy_seconds));
    tell("process_cpu_seconds_total", &single(cpu_seconds()));
    tell("process_resident_memory_bytes", &single(Some(resident_bytes() as f64).filter(|bytes| *bytes > 0.0)));
    tell("process_open_fds", &single(open_files()));
    tell("process_start_time_seconds", &single(Some(started_unix_ms as f64 / 1000.0)));
    text
}

fn busy_seconds(runtime: &tokio::runtime::RuntimeMetrics) -> f64 {
    (0..runtime.num_workers()).map(|worker| runtime.worker_total_busy_duration(worker).as_secs_f64()).sum()
}

fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The command's name is in parentheses and may hold blanks; after it come `state` and the numbers, of which these are 14 and 15.
    let mut rest = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut ticks = || rest.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

fn open_files() -> Option<f64> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}

/// 0 where there is no `/proc`.
pub(crate) fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * PAGE
}
