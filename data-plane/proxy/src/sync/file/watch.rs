//! When to read the file again: when the system says that something in its directory changed, and every second in any case,
//! because not every file system tells.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use notify::event::ModifyKind;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
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
    let name = path.file_name().map(ToOwned::to_owned);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if !event.is_ok_and(|event| is_idle(&event, name.as_deref())) {
            // One waiting notice is as good as many.
            let _ = sender.try_send(());
        }
    })?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// Whether nothing can be new in the file `name`: it was read (by ourselves, too), or what is written to is its neighbour, such as a
/// log, many times a second.
fn is_idle(event: &Event, name: Option<&OsStr>) -> bool {
    let is_neighbour = || event.paths.iter().all(|path| path.file_name() != name);
    event.kind.is_access() || matches!(event.kind, EventKind::Modify(ModifyKind::Data(_))) && is_neighbour()
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, CreateKind, DataChange};

    use super::*;

    #[test]
    fn a_neighbour_that_is_written_to_is_no_change_and_one_that_comes_may_be() {
        let name = Some(OsStr::new("gateway.yaml"));
        let is_idle = |kind, file: &str| super::is_idle(&Event::new(kind).add_path(Path::new("/etc").join(file)), name);
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        assert!(is_idle(EventKind::Access(AccessKind::Any), "gateway.yaml"));
        assert!(is_idle(written, "gateway.log"));
        assert!(!is_idle(written, "gateway.yaml"));
        // An orchestrator exchanges a link beside the file that it goes through.
        assert!(!is_idle(EventKind::Create(CreateKind::Any), "..data"));
    }
}
