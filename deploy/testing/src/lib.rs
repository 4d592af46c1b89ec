//! What tests of several crates need: the built program, a real Postgres, a real ClickHouse, a real Redis and a real balancer of their own,
//! Prometheus' tool, and a place for the figures that they measure. It starts only what it ends again, and listens on loopback only.

mod binary;
mod ports;
pub mod clickhouse;
pub mod figure;
pub mod generated;
pub mod haproxy;
pub mod postgres;
pub mod promtool;
pub mod redis;

pub use binary::gatewayctl;
pub use clickhouse::ClickHouse;
pub use haproxy::Haproxy;
pub use ports::free_port;
pub use postgres::Postgres;
pub use redis::Redis;

/// What a test needs is not installed: said loudly, and a failure where `CI` is set.
pub fn missing(what: &str) {
    assert!(std::env::var_os("CI").is_none(), "{what}");
    eprintln!("SKIPPED: {what}");
}
