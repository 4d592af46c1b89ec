//! Which gateway a command talks to, and by whose word: a flag, the environment, a saved context, else the local one.

pub(crate) mod local;
pub(crate) mod saved;

use std::fmt;
use std::path::PathBuf;

use gateway_model::secret::Secret;

use self::saved::LOCAL;
use crate::args::Gateway;
use crate::exit::{Exit, Failure};
use crate::host::{self, variable};

/// Where to send requests and what proves who we are.
#[derive(Debug)]
pub(crate) struct Context {
    /// Without a trailing slash.
    pub(crate) admin_url: String,
    pub(crate) master_key: Secret,
    pub(crate) origin: Origin,
}

/// How the gateway was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `--admin-url` or its variable.
    Url,
    /// The saved context of this name.
    Saved(String),
    /// The local gateway with this data directory.
    Local(PathBuf),
}

/// What the flags, or else the environment, ask for.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Url(String),
    Saved(String),
    Local(Option<PathBuf>),
    Unsaid,
}

/// Finds the gateway: flags go before the environment, that before the current saved context, that before the local gateway.
/// `GATEWAY_MASTER_KEY` goes before the key that a context or a local gateway has of its own, unless a flag named that one.
/// A key that is on disk is never sent to another address than the one it was saved with.
pub(crate) fn find(gateway: &Gateway) -> Result<Context, Failure> {
    let key = host::variable(variable::MASTER_KEY).map(Secret::new);
    if gateway.context.is_some() && (gateway.admin_url.is_some() || gateway.data_dir.is_some()) {
        // The parser sees this only where both stand behind the command.
        return Err(Failure::new(
            Exit::Usage,
            "`--context` already names a gateway; leave out --admin-url and --data-dir",
        ));
    }
    match (flagged(gateway), from_environment()) {
        (Choice::Unsaid, Choice::Unsaid) => match saved::load()?.current {
            Some(name) if name != LOCAL => saved_one(&name, key),
            _ => local_one(None, key),
        },
        (Choice::Unsaid, Choice::Url(url)) | (Choice::Url(url), _) => at_url(&url, key),
        (Choice::Unsaid, Choice::Saved(name)) => saved_one(&name, key),
        (Choice::Unsaid, Choice::Local(data_dir)) => local_one(data_dir, key),
        (Choice::Saved(name), _) => saved_one(&name, None),
        (Choice::Local(data_dir), _) => local_one(data_dir, None),
    }
}

/// Whom commands without flags talk to, where that is not the gateway on this machine.
#[cfg(feature = "server")]
pub(crate) fn elsewhere() -> Option<String> {
    match from_environment() {
        Choice::Url(url) => Some(url.trim_end_matches('/').to_owned()),
        Choice::Saved(name) => Some(name),
        Choice::Local(_) => None,
        Choice::Unsaid => saved::load().ok()?.current.filter(|name| name != LOCAL),
    }
}

fn flagged(gateway: &Gateway) -> Choice {
    choice(gateway.admin_url.clone(), gateway.context.clone(), gateway.data_dir.clone())
}

fn from_environment() -> Choice {
    choice(
        host::variable(variable::ADMIN_URL),
        host::variable(variable::CONTEXT),
        host::variable(variable::DATA_DIR).map(PathBuf::from),
    )
}

/// The most exact one wins where the environment says several; the argument parser allows one flag.
fn choice(url: Option<String>, context: Option<String>, data_dir: Option<PathBuf>) -> Choice {
    match (url, context, data_dir) {
        (Some(url), ..) => Choice::Url(url),
        (None, Some(name), data_dir) if name == LOCAL => Choice::Local(data_dir),
        (None, Some(name), _) => Choice::Saved(name),
        (None, None, Some(data_dir)) => Choice::Local(Some(data_dir)),
        (None, None, None) => Choice::Unsaid,
    }
}

fn at_url(url: &str, key: Option<Secret>) -> Result<Context, Failure> {
    let admin_url = url.trim_end_matches('/').to_owned();
    let own = || {
        let saved = saved::load().ok().and_then(|saved| saved.key_of(&admin_url).cloned());
        saved.or_else(|| {
            local::find(None).ok().filter(|local| local.admin_url == admin_url).map(|local| local.master_key)
        })
    };
    let Some(master_key) = key.or_else(own) else {
        return Err(Failure::new(Exit::Unreachable, format!("no master key for {admin_url}")).hint(format!(
            "set {} to the gateway's master key, or save it: gatewayctl context add NAME --admin-url {admin_url}",
            variable::MASTER_KEY
        )));
    };
    Ok(Context { admin_url, master_key, origin: Origin::Url })
}

fn saved_one(name: &str, key: Option<Secret>) -> Result<Context, Failure> {
    let saved = saved::load()?;
    let entry = saved.get(name)?;
    let master_key = key.unwrap_or_else(|| entry.master_key.clone());
    Ok(Context { admin_url: entry.admin_url.clone(), master_key, origin: Origin::Saved(name.to_owned()) })
}

fn local_one(data_dir: Option<PathBuf>, key: Option<Secret>) -> Result<Context, Failure> {
    let local = local::find(data_dir.as_deref())?;
    let master_key = key.unwrap_or(local.master_key);
    Ok(Context { admin_url: local.admin_url, master_key, origin: Origin::Local(local.data_dir) })
}

// === impl Context ===

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Url => write!(f, "{}", self.admin_url),
            Origin::Saved(name) => write!(f, "{name} ({})", self.admin_url),
            Origin::Local(data_dir) => write!(f, "local ({}, data in {})", self.admin_url, data_dir.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_word_counts() {
        let word = |text: &str| Some(text.to_owned());
        let dir = || Some(PathBuf::from("d"));
        for (given, expected) in [
            ((None, None, None), Choice::Unsaid),
            ((word("u"), word("c"), dir()), Choice::Url("u".into())),
            ((None, word("c"), dir()), Choice::Saved("c".into())),
            ((None, word(LOCAL), dir()), Choice::Local(dir())),
            ((None, word(LOCAL), None), Choice::Local(None)),
            ((None, None, dir()), Choice::Local(dir())),
        ] {
            assert_eq!(choice(given.0, given.1, given.2), expected);
        }
    }
}
