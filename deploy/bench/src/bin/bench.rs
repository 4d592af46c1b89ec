//! The benchmark: starts the mock upstream, the plain proxy and the gateway, measures them in turn, prints the tables and
//! writes them beside the raw figures. Builds nothing; `make bench` does.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Parser;
use gateway_bench::process::{Process, Side};
use gateway_bench::report::Report;
use gateway_bench::run::{self, Effort};
use gateway_bench::start;
use gateway_bench::target::{Kind, Places, config};

/// Measures the gateway against a plain proxy and the upstream alone, interleaved in one run.
#[derive(Parser)]
struct Args {
    /// Shorter windows, fewer rounds, no fixed-rate scenario: about a minute.
    #[arg(long)]
    quick: bool,
    /// Only these scenarios, e.g. `S2,S3`; start-up is measured only when none is named.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these targets beside `bare`: `direct`, `node`, `up`.
    #[arg(long, value_delimiter = ',')]
    targets: Vec<String>,
    /// The program under test. Default: beside this one.
    #[arg(long)]
    gatewayctl: Option<PathBuf>,
    /// Where the tables and figures go.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/out"))]
    out: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let tools = std::env::current_exe()?.parent().context("a program is in a folder")?.to_owned();
    let gatewayctl = args.gatewayctl.unwrap_or_else(|| tools.join("gatewayctl"));
    if !gatewayctl.exists() {
        bail!("{} is not there; build it first: cargo build --release -p gatewayctl", gatewayctl.display());
    }
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| is_wanted(*kind, &args.targets)).collect();
    let scratch = tempfile::tempdir()?;
    let mock = tools.join("mock-upstream");
    let mock = mock.to_str().context("the path is not UTF-8")?;
    let (mock, addr) = Process::start_and_read("mock-upstream", Side::Harness, &[mock])?;
    let places = Places { gatewayctl, tools, scratch: scratch.path().to_owned(), mock: addr.parse()? };
    fs::write(places.scratch.join("gateway.yaml"), config(places.mock))?;

    let effort = if args.quick { Effort::quick() } else { Effort::full() };
    let measured = run::run(&places, mock.pid(), effort, &kinds, &args.only).and_then(|results| {
        let starts = if args.only.is_empty() { start::run(&places, &kinds)? } else { Default::default() };
        Ok(Report { results, starts })
    });
    let report = match measured {
        Ok(report) => report,
        Err(error) => {
            // The logs tell why; they would go with the scratch folder.
            let kept = scratch.keep();
            return Err(error.context(format!("the benchmark broke off; logs are in {}", kept.display())));
        }
    };
    let markdown = report.markdown();
    println!("{markdown}");
    fs::create_dir_all(&args.out)?;
    fs::write(args.out.join("bench.md"), markdown)?;
    fs::write(args.out.join("bench.json"), serde_json::to_string_pretty(&report)?)?;
    Ok(())
}

/// The plain proxy is always there: every ratio is against it.
fn is_wanted(kind: Kind, names: &[String]) -> bool {
    names.is_empty() || kind == Kind::Bare || names.iter().any(|name| name == kind.name())
}
