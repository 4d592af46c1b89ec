//! What `/proc` says of processes: CPU time, memory, and how busy the machine is.

use std::fs;

/// Clock ticks of `/proc` are 100 Hz on every Linux that runs us.
const TICK_US: u64 = 10_000;

/// User and system time so far in microseconds; 0 for a process that is gone.
pub fn cpu_us(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The command in parentheses may contain spaces: fields are counted from behind it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    (ticks(11) + ticks(12)) * TICK_US
}

/// Proportional set size in KiB; 0 for a process that is gone.
pub fn pss_kib(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// CPU time that the whole machine spent working, in microseconds.
pub fn busy_us() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    let fields = first.split_whitespace().skip(1).map(|field| field.parse::<u64>().unwrap_or(0));
    // user nice system | idle iowait | irq softirq steal
    fields.enumerate().filter(|(at, _)| matches!(at, 0..=2 | 5..=7)).map(|(_, ticks)| ticks).sum::<u64>() * TICK_US
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_process() {
        assert!(pss_kib(std::process::id()) > 100);
        assert!(busy_us() > cpu_us(std::process::id()));
        assert_eq!((cpu_us(u32::MAX), pss_kib(u32::MAX)), (0, 0));
    }
}
