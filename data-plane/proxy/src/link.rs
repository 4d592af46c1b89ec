//! The way to the control plane: one channel that all streams of a node share.

use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint};

use crate::config;

const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const PIPE: usize = 256 * 1024;

/// Connects when it is first used, and again after it broke.
pub fn channel(endpoint: config::Endpoint) -> Channel {
    let config::Endpoint::Pipe(pipe) = endpoint;
    // The name is not looked up: the connector knows the way.
    Endpoint::from_static("http://control-plane")
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(tower::service_fn(move |_| {
            let pipe = pipe.clone();
            async move {
                let (ours, theirs) = tokio::io::duplex(PIPE);
                let gone = |_| std::io::Error::other("the control plane of this process has stopped");
                pipe.send(theirs).await.map_err(gone)?;
                Ok::<_, std::io::Error>(TokioIo::new(ours))
            }
        }))
}
