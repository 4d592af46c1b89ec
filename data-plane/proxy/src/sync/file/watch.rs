//! When to read the file again: when the system says that something in its directory changed, and every second in any case,
//! because not every file system tells.

use std::path::Path;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{FileSource, Refused};

const EVERY: Duration = Duration::from_secs(1);
/// An editor writes in several steps; this long after the last one it is done.
const QUIET: Duration = Duration::from_millis(50);

/// Runs until `ending`.
pub(in crate::sync) async fn watch(mut source: FileSource, ending: CancellationToken) {
    let (sender, mut changed) = mpsc::channel(1);
    let watcher = watcher(&source.path, sender);
    if let Err(error) = &watcher {
        tracing::debug!("changes of `{}` are looked for every second: {error}", source.path.display());
    }
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // An error that stays is told once and not every second.
    let mut was_unreadable = false;
    loop {
        tokio::select! {
            Some(()) = changed.recv() => {
                tokio::time::sleep(QUIET).await;
                while changed.try_recv().is_ok() {}
            }
            _ = every.tick() => {}
            () = ending.cancelled() => return,
        }
        let reloaded = source.reload();
        let is_unreadable = matches!(reloaded, Err(Refused::Unreadable(_)));
        if let Err(refused) = reloaded
            && !(is_unreadable && was_unreadable)
        {
            source.complain(&refused);
        }
        was_unreadable = is_unreadable;
    }
}

/// The directory and not the file: editors and orchestrators put another file in its place.
fn watcher(path: &Path, sender: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reading is an event too.
        let is_read = event.is_ok_and(|event| event.kind.is_access());
        if !is_read {
            // One waiting notice is as good as many.
            let _ = sender.try_send(());
        }
    })?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}
