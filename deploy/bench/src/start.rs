//! Starts: time until ready, first and second, with a small and a very large file, and memory at rest.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::procfs;
use crate::target::{Kind, Places, large_config};

/// What starting a target costs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Start {
    /// Empty data directory, milliseconds.
    pub first_ms: f64,
    /// The same data directory again: the fastest of some, because a start is short and a neighbour's work is not.
    pub second_ms: f64,
    /// Memory two seconds after the start, before any request, KiB of PSS.
    pub idle_pss: u64,
    /// First and second start with the large file.
    pub large_first_ms: f64,
    pub large_second_ms: f64,
    /// The program on disk.
    pub binary_bytes: u64,
}

/// Providers in the large file, and as many models.
pub const LARGE: usize = 1_500;
const SECOND_STARTS: usize = 3;
/// After this a start's own work is over.
const AT_REST: Duration = Duration::from_secs(2);

/// Measures the starts of the targets that are processes.
pub fn run(places: &Places, kinds: &[Kind]) -> anyhow::Result<BTreeMap<String, Start>> {
    let small = places.scratch.join("gateway.yaml");
    let large = places.scratch.join("large.yaml");
    fs::write(&large, large_config(places.mock, LARGE))?;
    let mut starts = BTreeMap::new();
    for kind in kinds.iter().filter(|kind| **kind != Kind::Direct) {
        eprintln!("start-up of {}", kind.name());
        let mut start = Start::default();
        let once = |data: &str, config| -> anyhow::Result<f64> {
            let running = kind.start(places, data, config)?;
            let ready_ms = running.ready_in.as_secs_f64() * 1e3;
            running.process.context("a target that starts is a process")?.stop()?;
            Ok(ready_ms)
        };
        let data = format!("{}-start", kind.name());
        start.first_ms = once(&data, &small)?;
        start.second_ms = f64::INFINITY;
        for _ in 0..SECOND_STARTS {
            start.second_ms = start.second_ms.min(once(&data, &small)?);
        }
        if *kind != Kind::Bare {
            let data = format!("{}-large", kind.name());
            start.large_first_ms = once(&data, &large)?;
            start.large_second_ms = once(&data, &large)?;
        }
        let running = kind.start(places, &data, &small)?;
        std::thread::sleep(AT_REST);
        let process = running.process.context("a target that starts is a process")?;
        start.idle_pss = procfs::pss_kib(process.pid());
        start.binary_bytes = fs::metadata(format!("/proc/{}/exe", process.pid())).map_or(0, |file| file.len());
        process.stop()?;
        starts.insert(kind.name().to_owned(), start);
    }
    Ok(starts)
}
