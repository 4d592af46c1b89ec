//! The rounds: short windows, targets in turn, their order reversed every round, so that what the machine does meanwhile
//! hits all of them alike.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, bail};

use crate::process;
use crate::scenario::{SCENARIOS, Scenario};
use crate::target::{KEY, Kind, Places, Running};
use crate::window::Window;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub quick: bool,
    pub n_rounds: usize,
    pub seconds: f64,
    pub warm: f64,
    /// A window beside which strangers used more than this (in cores) is measured again …
    pub max_other_cores: f64,
    /// … this often at most.
    pub n_repeats: usize,
}

/// Windows by scenario and target.
pub type Results = BTreeMap<String, BTreeMap<String, Vec<Window>>>;

// === impl Effort ===

impl Effort {
    pub fn full() -> Self {
        Self { quick: false, n_rounds: 4, seconds: 2.5, warm: 0.5, max_other_cores: 0.3, n_repeats: 1 }
    }

    pub fn quick() -> Self {
        Self { quick: true, n_rounds: 2, seconds: 1.0, warm: 0.3, max_other_cores: 0.5, n_repeats: 1 }
    }
}

/// Runs the scenarios over the targets; those named in `only`, all when it is empty.
pub fn run(
    places: &Places,
    upstream_pid: u32,
    effort: Effort,
    kinds: &[Kind],
    only: &[String],
) -> anyhow::Result<Results> {
    let config = places.scratch.join("gateway.yaml");
    let mut targets = Vec::new();
    for kind in kinds {
        targets.push(kind.start(places, kind.name(), &config)?);
    }
    let mut results = Results::new();
    for scenario in SCENARIOS {
        let wanted =
            if only.is_empty() { scenario.in_quick || !effort.quick } else { only.iter().any(|id| id == scenario.id) };
        if !wanted {
            continue;
        }
        eprintln!("{} {}", scenario.id, scenario.title);
        let of_scenario = results.entry(scenario.id.to_owned()).or_default();
        for round in 0..if scenario.is_held() { 1 } else { effort.n_rounds } {
            if round % 2 == 1 {
                targets.reverse();
            }
            for target in &mut targets {
                if scenario.is_held() && target.process.is_some() {
                    // Memory per stream counts from a process that has done little.
                    *target = target.kind.start(places, &format!("{}-held", target.kind.name()), &config)?;
                    warm_up(places, target)?;
                }
                control(places.mock, &scenario.control())?;
                let window = window(places, upstream_pid, effort, scenario, target)?;
                of_scenario.entry(target.kind.name().to_owned()).or_default().push(window);
            }
            if round % 2 == 1 {
                targets.reverse();
            }
        }
    }
    // As people end them: a program that counts what it does writes that down then.
    for process in targets.into_iter().filter_map(|target| target.process) {
        process.stop()?;
    }
    Ok(results)
}

fn window(
    places: &Places,
    upstream_pid: u32,
    effort: Effort,
    scenario: &Scenario,
    target: &Running,
) -> anyhow::Result<Window> {
    let mut n_left = effort.n_repeats;
    loop {
        let window = load(places, Some(upstream_pid), (effort.seconds, effort.warm), scenario, target)?;
        if !window.is_sound() || scenario.is_held() && window.n_open < scenario.n as u64 {
            let error = window.error.as_deref().unwrap_or("no error told");
            bail!("{} on {}: {} errors: {error}", scenario.id, target.kind.name(), window.n_errors);
        }
        // Held streams leave memory behind that a second try would take for the target's own.
        if scenario.is_held() || window.other_cores <= effort.max_other_cores || n_left == 0 {
            return Ok(window);
        }
        n_left -= 1;
    }
}

/// A little of everything, so that what is made on first use exists.
fn warm_up(places: &Places, target: &Running) -> anyhow::Result<()> {
    let streaming = SCENARIOS.iter().find(|scenario| scenario.id == "S3").context("S3 is in the table")?;
    control(places.mock, &streaming.control())?;
    load(places, None, (0.1, 0.1), &Scenario { n: 4, ..*streaming }, target).map(drop)
}

fn load(
    places: &Places,
    upstream_pid: Option<u32>,
    (seconds, warm): (f64, f64),
    scenario: &Scenario,
    target: &Running,
) -> anyhow::Result<Window> {
    let request = places.scratch.join("request");
    fs::write(&request, scenario.request(target.addr, KEY))?;
    let program = places.tools.join("loadgen");
    let mut command: Vec<String> = [program.display().to_string(), "--addr".to_owned(), target.addr.to_string()].into();
    let mut flag = |name: &str, value: String| command.extend([format!("--{name}"), value]);
    flag("request", request.display().to_string());
    flag("mode", scenario.mode.to_owned());
    flag("n", scenario.n.to_string());
    flag("seconds", seconds.to_string());
    flag("warm", warm.to_string());
    flag("min-events", scenario.min_events().to_string());
    if let Some(process) = &target.process {
        flag("pid", process.pid().to_string());
    }
    if let Some(pid) = upstream_pid {
        flag("upstream-pid", pid.to_string());
    }
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    Ok(serde_json::from_str(&process::output(&command)?)?)
}

/// Sets the mock's behaviour.
pub fn control(mock: SocketAddr, query: &str) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(mock).context("the mock upstream is gone")?;
    write!(stream, "GET /control?{query} HTTP/1.1\r\nhost: mock\r\nconnection: close\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    if !reply.starts_with("HTTP/1.1 200") {
        bail!("the mock upstream refused `{query}`: {reply}");
    }
    Ok(())
}
