//! `gateway-data-plane`: one node.

use std::process::ExitCode;

use clap::Parser as _;
use gateway_proxy::command::DataPlane;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    DataPlane::parse().run()
}
