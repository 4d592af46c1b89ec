//! Ports for programs that cannot be told to take any, and for those that must come back on the one they had.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what systems give to outgoing connections: a port that a stopped program comes back to must not be taken by the
/// client that tries to reach it.
const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A loopback port that was free a moment ago. No other call in this process gets it.
pub fn free_port() -> u16 {
    // Processes that run at the same time begin at different places.
    let start = (std::process::id() % u32::from(COUNT) * 97 % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + step) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("loopback has no free port from {FIRST} on")
}
