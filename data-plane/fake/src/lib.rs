//! Test support: an upstream that follows a script to the byte, and a TCP link that fails on command. Dev only: no product
//! crate depends on it.
//!
//! ```no_run
//! # async fn example() {
//! use gateway_fake::{Script, Upstream, reply::openai};
//!
//! let upstream = Upstream::start().await;
//! upstream.push(Script::sse(&openai::stream("gpt-x", "hello world", 3)));
//! // … point a provider at `upstream.url()` + "/v1", send a request through the gateway, then:
//! let received = upstream.request(0).await;
//! assert_eq!(received.header("authorization"), Some("Bearer upstream-key"));
//! # }
//! ```
//!
//! Nothing here sleeps to synchronise: a test opens a [`Gate`], or awaits [`Upstream::request`], [`Upstream::ending`],
//! [`Gate::reached`]. Every wait has a limit ([`PATIENCE`]) after which it panics with what it waited for.

mod patience;
pub mod gate;
pub mod request;
pub mod script;
pub mod reply;
pub mod upstream;
pub mod link;
pub mod dead;

pub use dead::Dead;
pub use gate::Gate;
pub use link::{Conditions, Link};
pub use patience::PATIENCE;
pub use request::Received;
pub use script::{Script, Step};
pub use upstream::{Ending, Upstream};
