//! The local gateway, found by what `up` leaves on disk.
//!
//! It writes `context.json` (0600: address and master key) into its data directory while it runs, and notes that directory in
//! the user's state directory.

use std::path::{Path, PathBuf};

use gateway_model::secret::Secret;
use serde::Deserialize;

use crate::args;
use crate::exit::{Exit, Failure};
use crate::host::{self, variable};

/// Name of the file in a data directory that tells where its gateway listens.
const FILE: &str = "context.json";

/// A gateway that runs on this machine, or did until it was killed.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) data_dir: PathBuf,
    pub(crate) admin_url: String,
    pub(crate) master_key: Secret,
}

/// What a running local gateway tells its clients.
#[derive(Debug, Deserialize)]
struct Told {
    admin_url: String,
    master_key: Secret,
}

/// The gateway of `data_dir`; without one, that of the usual places.
pub(crate) fn find(data_dir: Option<&Path>) -> Result<Local, Failure> {
    let candidates = candidates(data_dir);
    for data_dir in &candidates {
        let file = data_dir.join(FILE);
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let told: Told = serde_json::from_str(&text).map_err(|error| {
            Failure::new(Exit::Unreachable, format!("`{}` is damaged: {error}", file.display()))
                .hint("restart the gateway, which writes it anew")
        })?;
        return Ok(Local { data_dir: data_dir.clone(), admin_url: told.admin_url, master_key: told.master_key });
    }
    let looked: Vec<String> = candidates.iter().map(|directory| format!("`{}`", directory.display())).collect();
    Err(Failure::new(Exit::Unreachable, format!("no running gateway was found (looked in {})", looked.join(", ")))
        .hint(format!(
            "start one with `gatewayctl up`, or name another: `gatewayctl context add`, or {} and {}",
            variable::ADMIN_URL,
            variable::MASTER_KEY
        )))
}

/// Where a local gateway is looked for, the likeliest first.
pub(crate) fn candidates(data_dir: Option<&Path>) -> Vec<PathBuf> {
    match data_dir {
        Some(directory) => vec![directory.to_owned()],
        None => std::iter::once(PathBuf::from(args::DATA_DIR)).chain(last_directory()).collect(),
    }
}

fn last_directory() -> Option<PathBuf> {
    let text = std::fs::read_to_string(host::last_gateway_file()?).ok()?;
    Some(PathBuf::from(text.trim_end()))
}

/// Announces the gateway that runs in `data_dir` to commands of this user. Failing to note the directory is told, not fatal:
/// commands still find the gateway through `--data-dir`.
#[cfg(feature = "server")]
pub(crate) fn announce(data_dir: &Path, admin_url: &str, master_key: &Secret) -> anyhow::Result<()> {
    use anyhow::Context as _;
    let text = serde_json::json!({"admin_url": admin_url, "master_key": master_key.expose()});
    let file = data_dir.join(FILE);
    host::private::write(&file, format!("{text:#}\n").as_bytes())
        .with_context(|| format!("writing `{}`", file.display()))?;
    if let Some(last) = host::last_gateway_file() {
        let directory = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
        if let Err(error) = remember(&last, &directory) {
            host::say(&format!("warning: commands in other directories will not find this gateway: {error:#}"));
        }
    }
    Ok(())
}

#[cfg(feature = "server")]
fn remember(last: &Path, directory: &Path) -> anyhow::Result<()> {
    use anyhow::Context as _;
    let parent = last.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| format!("making `{}`", parent.display()))?;
    host::private::write(last, format!("{}\n", directory.display()).as_bytes())
        .with_context(|| format!("writing `{}`", last.display()))
}

/// Takes back what [`announce`] wrote: the gateway of `data_dir` no longer runs.
#[cfg(feature = "server")]
pub(crate) fn withdraw(data_dir: &Path) {
    // A file that is already gone says the same.
    let _ = std::fs::remove_file(data_dir.join(FILE));
}
