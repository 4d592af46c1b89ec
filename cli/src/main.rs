//! The binary `gatewayctl`; everything is in the library beside it.

use std::process::ExitCode;

// As in the node's own binary: `up` and `data-plane` serve traffic from this process.
#[cfg(feature = "server")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    gatewayctl::main()
}
