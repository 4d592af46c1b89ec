//! Configuration from a file, with no control plane: read, applied by the same path, and read again when it changes.
//!
//! A broken file changes nothing and is told about; the configuration that served serves on. Revisions count up from 1.

mod watch;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use gateway_engine::bodies::Keeping;
use gateway_engine::identity::{Access, Belongs, KeyEntry, Peppers};
use gateway_model::file::{self, Parsed};
use gateway_model::kind::key::Key;
use gateway_model::problem::{Code, Problem};

use super::apply::Applier;
use crate::config;

pub(super) use watch::watch;

/// A file and what has become of it.
pub(super) struct FileSource {
    path: PathBuf,
    applier: Applier,
    /// Random, for this process only: a file's keys are digested like all others, and their digests mean nothing elsewhere.
    peppers: Arc<Peppers>,
    revision: u64,
    /// Hash of what was last tried, whether it could be used or not.
    tried: Option<Vec<u8>>,
    /// Files that the file includes by `${file:…}`.
    included: BTreeSet<PathBuf>,
}

/// Why the file is not what serves.
#[derive(Debug)]
pub(super) enum Refused {
    Unreadable(io::Error),
    Problems(Vec<Problem>),
}

// === impl FileSource ===

impl FileSource {
    pub(super) fn new(path: PathBuf, applier: Applier) -> Self {
        let pepper: [u8; 32] = rand::random();
        let peppers = Peppers::new([(1, pepper)]).expect("the pepper is not empty");
        Self { path, applier, peppers: Arc::new(peppers), revision: 0, tried: None, included: BTreeSet::new() }
    }

    /// Reads and applies if the content is not what was tried last. True when something new serves.
    pub(super) fn reload(&mut self) -> Result<bool, Refused> {
        let text = read(&self.path).map_err(Refused::Unreadable)?;
        let hash = self.content_hash(&text);
        if self.tried.as_ref() == Some(&hash) {
            return Ok(false);
        }
        self.tried = Some(hash);
        let applied = self.apply(&text);
        // What the new text includes is known now, and belongs to what was tried.
        let hash = self.content_hash(&text);
        let shown: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        self.tried = Some(hash);
        applied.map_err(Refused::Problems)?;
        tracing::info!("`{}` serves as revision {}, hash {shown}", self.path.display(), self.revision);
        Ok(true)
    }

    /// Tells the log what is wrong, a line for each problem.
    pub(super) fn complain(&self, refused: &Refused) {
        for line in refused.lines(&self.path) {
            tracing::error!("{line}");
        }
        if self.revision > 0 {
            tracing::error!("revision {} serves on", self.revision);
        }
    }

    fn apply(&mut self, text: &str) -> Result<(), Vec<Problem>> {
        let included = RefCell::new(BTreeSet::new());
        let read_included = |path: &Path| {
            included.borrow_mut().insert(path.to_owned());
            read(path)
        };
        let parsed = file::parse(&self.path.to_string_lossy(), text, &config::variable, &read_included);
        // A text that cannot be parsed may have stopped short of them; what was known may still be what is wrong.
        self.included.extend(included.into_inner());
        let parsed = parsed?;
        let entries = self.keys(&parsed)?;
        self.applier.set(&parsed.set, self.revision + 1).map_err(|mut problems| {
            parsed.index.locate(&mut problems);
            problems
        })?;
        self.revision += 1;
        self.applier.keys(&entries, Arc::clone(&self.peppers));
        for warning in &parsed.warnings {
            tracing::warn!("{warning}");
        }
        Ok(())
    }

    fn keys(&self, parsed: &Parsed) -> Result<Vec<KeyEntry>, Vec<Problem>> {
        let (mut entries, mut problems) = (Vec::new(), Vec::new());
        for key in &parsed.set.keys {
            match &key.secret {
                Some(secret) => {
                    // There is a pepper: `new` made it.
                    if let Some((_, digest)) = self.peppers.digest(secret.expose()) {
                        entries.push(entry(key, digest));
                    }
                }
                None => problems.push(Problem::error(
                    Code::MissingField,
                    format!("keys[{}].secret", key.name),
                    "a node alone makes no keys; give `secret`, for instance ${MY_KEY}, or have a control plane make one",
                )),
            }
        }
        for key in &parsed.set.keys {
            let teams = || parsed.set.teams.iter().map(|team| team.name.as_str());
            let users = || parsed.set.users.iter().map(|user| user.name.as_str());
            let missing_team = key.team.as_deref().filter(|named| !teams().any(|team| team == *named));
            let missing_user = key.user.as_deref().filter(|named| !users().any(|user| user == *named));
            for (kind, named) in
                missing_team.map(|team| ("team", team)).into_iter().chain(missing_user.map(|user| ("user", user)))
            {
                let message = format!("no {kind} is named `{named}`");
                problems.push(Problem::error(Code::UnknownReference, format!("keys[{}].{kind}", key.name), message));
            }
        }
        if problems.is_empty() {
            return Ok(entries);
        }
        parsed.index.locate(&mut problems);
        Err(problems)
    }

    /// Over the text and everything it includes. Environment variables do not change while a process runs.
    fn content_hash(&self, text: &str) -> Vec<u8> {
        let mut context = Context::new(&SHA256);
        context.update(text.as_bytes());
        for path in &self.included {
            let content = read(path).unwrap_or_default();
            context.update(&(content.len() as u64).to_be_bytes());
            context.update(content.as_bytes());
        }
        context.finish().as_ref().to_vec()
    }
}

// === impl Refused ===

impl Refused {
    pub(super) fn lines(&self, path: &Path) -> Vec<String> {
        match self {
            Self::Unreadable(error) => vec![format!("`{}` cannot be read: {error}", path.display())],
            Self::Problems(problems) => problems.iter().map(ToString::to_string).collect(),
        }
    }
}

fn entry(key: &Key, digest: gateway_engine::identity::Digest) -> KeyEntry {
    KeyEntry {
        // Without a control plane nobody gives out ids; names are unique too.
        id: key.name.as_str().into(),
        name: key.name.clone(),
        digest,
        models: key.models.clone(),
        passthrough: key.passthrough.clone(),
        enabled: key.enabled,
        expires_at_ms: key.expires_at.as_ref().map(|at| at.0),
        limits: key.limits.clone(),
        access: Access {
            roles: key.roles.clone(),
            endpoints: key.endpoints.iter().map(ToString::to_string).collect(),
            ips: key.ips.clone(),
            belongs: Belongs { user: key.user.as_deref().map(Into::into), team: key.team.as_deref().map(Into::into) },
            budget: key.budget,
            revoke_mode: key.revoke_mode,
            unpriced: key.unpriced,
            log_bodies: key.log_bodies.as_ref().map(Keeping::compile),
        },
        tags: key.tags.clone(),
        ..KeyEntry::default()
    }
}

/// Bounded, so that a wrong name (`/dev/zero`) is an error and not the end of the process.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let limit = file::MAX_BYTES as u64;
    std::fs::File::open(path)?.take(limit + 1).read_to_string(&mut text)?;
    if text.len() as u64 > limit {
        return Err(io::Error::other(format!("larger than {} MiB", limit >> 20)));
    }
    Ok(text)
}
