//! Which gateway a command talks to: the one that was named, else the local one, found by what `up` left on disk.
//!
//! A local gateway writes `context.json` (0600: address and master key) into its data directory while it runs, and notes
//! that directory in the user's state directory.

use std::path::{Path, PathBuf};

use gateway_model::secret::Secret;
use serde::Deserialize;

use crate::args::{self, Gateway};
use crate::exit::{Exit, Failure};
use crate::host::{self, variable};

/// Name of the file in a data directory that tells where its gateway listens.
const FILE: &str = "context.json";

/// Where to send requests and what proves who we are.
#[derive(Debug)]
pub(crate) struct Context {
    /// Without a trailing slash.
    pub(crate) admin_url: String,
    pub(crate) master_key: Secret,
}

/// What a running local gateway tells its clients.
#[derive(Debug, Deserialize)]
struct Local {
    admin_url: String,
    master_key: Secret,
}

/// Finds the gateway for `gateway`'s flags and the environment. The master key of a local gateway is never sent to any other
/// address than its own.
pub(crate) fn find(gateway: &Gateway) -> Result<Context, Failure> {
    let key = host::variable(variable::MASTER_KEY).map(Secret::new);
    let url = gateway.admin_url.as_deref().map(|url| url.trim_end_matches('/').to_owned());
    if let (Some(admin_url), Some(master_key)) = (&url, &key) {
        return Ok(Context { admin_url: admin_url.clone(), master_key: master_key.clone() });
    }
    let local = local(gateway.data_dir.as_deref());
    match (url, key, local) {
        (None, None, Ok(local)) => Ok(Context { admin_url: local.admin_url, master_key: local.master_key }),
        (None, Some(master_key), Ok(local)) => Ok(Context { admin_url: local.admin_url, master_key }),
        (Some(admin_url), None, Ok(local)) if local.admin_url == admin_url => {
            Ok(Context { admin_url, master_key: local.master_key })
        }
        (Some(admin_url), _, _) => Err(Failure::new(Exit::Unreachable, format!("no master key for {admin_url}"))
            .hint(format!("set {} to the gateway's master key", variable::MASTER_KEY))),
        (None, _, Err(failure)) => Err(failure),
    }
}

/// Announces the gateway that runs in `data_dir` to commands of this user. Failing to note the directory is told, not fatal:
/// commands still find the gateway through `--data-dir`.
#[cfg(feature = "server")]
pub(crate) fn announce(data_dir: &Path, admin_url: &str, master_key: &Secret) -> anyhow::Result<()> {
    let text = serde_json::json!({"admin_url": admin_url, "master_key": master_key.expose()});
    gateway_proxy::command::write_private(&data_dir.join(FILE), &format!("{text:#}\n"))?;
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
    gateway_proxy::command::write_private(last, &format!("{}\n", directory.display()))
}

/// Takes back what [`announce`] wrote: the gateway of `data_dir` no longer runs.
#[cfg(feature = "server")]
pub(crate) fn withdraw(data_dir: &Path) {
    // A file that is already gone says the same.
    let _ = std::fs::remove_file(data_dir.join(FILE));
}

fn local(data_dir: Option<&Path>) -> Result<Local, Failure> {
    let candidates: Vec<PathBuf> = match data_dir {
        Some(directory) => vec![directory.to_owned()],
        None => std::iter::once(PathBuf::from(args::DATA_DIR)).chain(last_directory()).collect(),
    };
    for directory in &candidates {
        let Ok(text) = std::fs::read_to_string(directory.join(FILE)) else { continue };
        return serde_json::from_str(&text).map_err(|error| {
            Failure::new(Exit::Unreachable, format!("`{}` is damaged: {error}", directory.join(FILE).display()))
                .hint("restart the gateway, which writes it anew")
        });
    }
    let looked: Vec<String> = candidates.iter().map(|directory| format!("`{}`", directory.display())).collect();
    Err(Failure::new(Exit::Unreachable, format!("no running gateway was found (looked in {})", looked.join(", ")))
        .hint(format!("start one with `gatewayctl up`, or set {} and {}", variable::ADMIN_URL, variable::MASTER_KEY)))
}

fn last_directory() -> Option<PathBuf> {
    let text = std::fs::read_to_string(host::last_gateway_file()?).ok()?;
    Some(PathBuf::from(text.trim_end()))
}
