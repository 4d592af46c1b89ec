//! How many nodes share the limits, kept on disk: a node that starts while no control plane answers takes no more than its part.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::private_file;
use crate::state::Live;

const FILE: &str = "fleet-size";

/// Says what was known when the node ended, and keeps what it hears from now on. Never returns.
pub(crate) fn keep(data_dir: &Path, live: Arc<Live>) -> impl Future<Output = ()> + Send + use<> {
    let path = data_dir.join(FILE);
    if let Some(n_nodes) = read(&path) {
        live.standing.shares_with(n_nodes);
    }
    follow(path, live)
}

async fn follow(path: PathBuf, live: Arc<Live>) {
    loop {
        live.standing.n_nodes_moved().await;
        let (path, text) = (path.clone(), live.standing.n_nodes().to_string());
        let written = tokio::task::spawn_blocking(move || private_file::write(&path, text.as_bytes())).await;
        // A disk that takes nothing says so elsewhere, and this is of no use before the next start.
        if let Ok(Err(error)) = written {
            tracing::debug!("how many nodes share the limits is not kept: {error}");
        }
    }
}

/// `None` where nothing is kept, or what is there is no number.
fn read(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok().filter(|n_nodes| *n_nodes > 0)
}
