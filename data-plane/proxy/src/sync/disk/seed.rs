//! A configuration that was exported from a fleet, for a node that starts for the first time where no control plane is.

use std::path::Path;

use anyhow::Context as _;
use gateway_model::secret::Secret;
use gateway_wire::seal::{Configuration, Key, Purpose, open};

/// Reads the file whole. Errors name it and say what to do.
pub(crate) fn seed(path: &Path, state_key: Option<&Secret>) -> anyhow::Result<Configuration> {
    let shown = path.display();
    let state_key = state_key.with_context(|| {
        format!(
            "the seed snapshot `{shown}` is sealed; give the state key that it was exported with (GATEWAY_STATE_KEY)"
        )
    })?;
    let sealed = std::fs::read(path).with_context(|| format!("reading the seed snapshot `{shown}`"))?;
    let key = Key::derive(&[state_key.expose().as_bytes()], Purpose::Export);
    open(&key, &sealed).with_context(|| format!("the seed snapshot `{shown}` cannot be used"))
}
