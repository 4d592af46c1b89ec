//! Configuration on its way in: from the control plane's stream or from a file, checked, compiled, swapped, answered for.

mod disk;
mod state;
mod apply;
mod file;
mod holder;
mod grpc;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gateway_model::kind::settings::{Server, Settings};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::state::Live;
use crate::task;
use crate::telemetry::Reporter;
use apply::Applier;
use file::FileSource;

pub use disk::Keep;
pub use grpc::{Contact, Subscriber};
pub use state::{Replica, Target};

/// The listener is configured too, so a start waits this long for a control plane to say how.
const FIRST_REVISION: Duration = Duration::from_secs(2);

/// Where configuration comes from.
pub enum Feed {
    File {
        path: PathBuf,
        watch: bool,
    },
    Fleet {
        channel: Channel,
        /// Boxed, because the other way needs so little.
        reporter: Box<Reporter>,
        /// `None`: nothing is kept on disk, and nothing costs for it.
        keep: Option<Keep>,
    },
}

/// Keeps [`Live`] current.
pub struct Sync {
    settings: watch::Receiver<Option<Settings>>,
    served_with: Arc<OnceLock<Option<Server>>>,
    ending: CancellationToken,
    job: Option<JoinHandle<()>>,
}

// === impl Sync ===

impl Sync {
    /// From a file: it is applied when this returns, and one that cannot be used is an error. From a control plane: what is
    /// on disk serves when this returns, and what is newer too if it comes within two seconds; with nothing on disk, returns
    /// with the first revision, or without after two seconds.
    pub async fn start(feed: Feed, live: Arc<Live>) -> anyhow::Result<Self> {
        let applier = Applier::new(live);
        let (mut settings, served_with) = (applier.settings(), applier.served_with());
        let ending = CancellationToken::new();
        let job = match feed {
            Feed::File { path, watch } => {
                let mut source = FileSource::new(path.clone(), applier);
                source.reload().map_err(|refused| unusable(&path, &refused))?;
                watch.then(|| task::spawn_job(file::watch(source, ending.clone())))
            }
            Feed::Fleet { channel, reporter, keep } => {
                let mut subscriber = Subscriber::new(*reporter, Replica::new(), applier);
                let can_serve = match &keep {
                    Some(keep) => subscriber.resume(keep).await?,
                    None => false,
                };
                let mut contact = subscriber.contact();
                let following = subscriber.run(channel, ending.clone());
                let job = task::spawn_job(async move { drop(following.await) });
                let first = async {
                    if can_serve {
                        let _ = contact.wait_for(|contact| *contact != Contact::Unknown).await;
                    } else {
                        let _ = settings.wait_for(Option::is_some).await;
                    }
                };
                let _ = tokio::time::timeout(FIRST_REVISION, first).await;
                Some(job)
            }
        };
        Ok(Self { settings, served_with, ending, job })
    }

    /// What the listener is to be started with. Later changes of it are warned about.
    pub fn server_settings(&self) -> Settings {
        let settings = self.settings.borrow().clone().unwrap_or_default();
        // Asked twice, the first answer is what counts.
        let _ = self.served_with.set(settings.server.clone());
        settings
    }

    /// Changes whenever another topology serves.
    pub(crate) fn changes(&self) -> watch::Receiver<Option<Settings>> {
        self.settings.clone()
    }

    /// Stops listening to the source. What serves, serves on.
    pub async fn shutdown(self) {
        self.ending.cancel();
        if let Some(job) = self.job {
            // A panic in the job was reported by it.
            let _ = job.await;
        }
    }
}

fn unusable(path: &Path, refused: &file::Refused) -> anyhow::Error {
    anyhow::anyhow!("`{}` cannot be used\n{}", path.display(), refused.lines(path).join("\n"))
}
