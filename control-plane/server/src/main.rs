//! `gateway-control-plane`: the source of truth of a fleet.

use std::process::ExitCode;

use clap::Parser as _;
use gateway_server::command::ControlPlane;

fn main() -> ExitCode {
    ControlPlane::parse().run()
}
