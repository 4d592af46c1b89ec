//! `up --watch`: applies the file again when it has changed. A broken one keeps what runs.

use std::convert::Infallible;
use std::path::Path;
use std::time::{Duration, SystemTime};

use gateway_model::kind::settings::Server;
use gateway_standalone::Standalone;

use super::{file, refused};
use crate::exit::Failure;
use crate::host;
use crate::source::{self, FileArgs, Source};

/// How often the file is looked at. Works on every file system, also where changes are not announced.
const PACE: Duration = Duration::from_millis(250);

/// The file and what is known of it.
pub(super) struct Watch {
    file: FileArgs,
    stamp: Option<Stamp>,
    /// Listener settings that this process started with.
    server: Option<Server>,
}

/// Tells one version of a file from the next without reading it.
#[derive(PartialEq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

/// Follows the file for as long as the gateway runs; without one there is nothing to do.
pub(super) async fn follow(watch: Option<Watch>, standalone: &Standalone) -> Infallible {
    let Some(mut watch) = watch else { return std::future::pending().await };
    loop {
        tokio::time::sleep(PACE).await;
        if !watch.changed() {
            continue;
        }
        match watch.apply(standalone).await {
            Ok(told) => host::say(&told),
            Err(failure) => {
                host::say(failure.render(host::wants_colour(&std::io::stderr())).trim_end());
                host::say("the configuration from before runs on");
            }
        }
    }
}

// === impl Watch ===

impl Watch {
    /// `source` is the file as it was applied at the start.
    pub(super) fn new(file: FileArgs, source: Source) -> Self {
        let stamp = Stamp::of(&file.file);
        Self { file, stamp, server: source.set.settings.server }
    }

    fn changed(&mut self) -> bool {
        let stamp = Stamp::of(&self.file.file);
        // Editors that replace the file leave a moment without one; what comes after is looked at.
        if stamp.is_none() || stamp == self.stamp {
            return false;
        }
        self.stamp = stamp;
        true
    }

    /// Applies the file; returns what to say about it.
    async fn apply(&self, standalone: &Standalone) -> Result<String, Failure> {
        let source = source::load(&self.file)?;
        let outcome = standalone.apply(file(&source)).await.map_err(|error| refused(error, Some(&source)))?;
        for warning in &outcome.warnings {
            host::say(&warning.to_string());
        }
        let mut told = format!(
            "`{}` applied: revision topology {}, identity {}",
            source.file_name, outcome.revision.topology, outcome.revision.identity
        );
        for key in &outcome.minted {
            told.push_str(&format!("\nkey {}: {} (not shown again)", key.name, key.key.expose()));
        }
        if source.set.settings.server != self.server {
            told.push_str("\nwarning: settings.server has changed; restart needed for it to hold");
        }
        Ok(told)
    }
}

// === impl Stamp ===

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        Some(Self { modified: metadata.modified().ok(), length: metadata.len(), inode })
    }
}
