//! This node's membership in a fleet: how it joins with a token, what proves that it belongs, and how that stays valid.
//!
//! Membership is for the channel to the control plane only. Expired, revoked or refused, a node says so and serves on from
//! what it holds; only a first join that is refused ends the process, because such a node has nothing to serve.

mod certificate;
mod tls;
mod files;
mod call;
mod standing;
mod renew;
mod enrol;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use gateway_model::secret::Secret;
use gateway_model::token::{Form, Prefix, check, decode_join};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{JoinToken, Remote};
use crate::link::{Access, Link};
use crate::task;
use crate::telemetry::identity::Identity;
use crate::warnings::Warnings;
use enrol::{Ticket, enrol};
use files::Files;
use renew::Held;
use standing::Standing;

/// A start waits so long to hear whether the node is let in; then it goes on without.
const PATIENCE: Duration = Duration::from_secs(2);

/// What all parts of a membership work with.
struct Shared {
    remote: Remote,
    files: Files,
    identity: Arc<Identity>,
    labels: BTreeMap<String, String>,
    standing: Standing,
    access: watch::Sender<Option<Access>>,
    progress: watch::Sender<Progress>,
}

/// How far a node has come that wants to be a member.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    Trying,
    /// The control plane is away. It is tried again.
    Waiting,
    Joined,
    /// Trying again makes no sense.
    Refused(String),
}

/// Whether the data directory knows the fleet, read before anything is started.
pub struct Membership {
    shared: Shared,
    begin: Begin,
}

enum Begin {
    Known(Held),
    Stranger(Ticket),
}

/// A membership that is kept up.
pub struct Member {
    link: Link,
    progress: watch::Receiver<Progress>,
    ending: CancellationToken,
    job: JoinHandle<()>,
}

// === impl Membership ===

impl Membership {
    /// Reads what is on disk. A damaged membership is an error, and so is none without a token to get one. The node gets
    /// the id that its certificate says.
    pub fn open(
        data_dir: &Path,
        remote: Remote,
        identity: Arc<Identity>,
        labels: BTreeMap<String, String>,
        warnings: Arc<Warnings>,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(
            !remote.urls.is_empty(),
            "a node that joins a fleet needs the URL of its control plane (--fleet-url)"
        );
        let files = Files::new(data_dir);
        let begin = match files.load()? {
            Some(credentials) => {
                identity.adopt(&credentials.certificate.node_id);
                Begin::Known(
                    Held::stored(credentials)
                        .map_err(|what| anyhow::anyhow!("the membership cannot be used: {what}"))?,
                )
            }
            None => Begin::Stranger(ticket(remote.join_token.as_ref())?),
        };
        let (access, progress) = (watch::Sender::new(None), watch::Sender::new(Progress::Trying));
        let standing = Standing::new(warnings, files.folder().to_owned());
        Ok(Self { shared: Shared { remote, files, identity, labels, standing, access, progress }, begin })
    }

    /// The road to the control plane, and whoever keeps it open. Returns when the control plane has let this node in, when it
    /// is away, or after two seconds; refusing is an error.
    pub async fn start(self) -> anyhow::Result<Member> {
        let link = Link::remote(self.shared.remote.urls.clone(), self.shared.access.subscribe());
        let ending = CancellationToken::new();
        let mut progress = self.shared.progress.subscribe();
        let job = task::spawn_job(run(self, link.clone(), ending.clone()));
        let settled = progress.wait_for(|progress| *progress != Progress::Trying);
        let settled =
            tokio::time::timeout(PATIENCE, settled).await.ok().and_then(Result::ok).map(|settled| settled.clone());
        if let Some(Progress::Refused(reason)) = settled {
            anyhow::bail!(reason);
        }
        Ok(Member { link, progress, ending, job })
    }
}

async fn run(membership: Membership, link: Link, ending: CancellationToken) {
    let Membership { shared, begin } = membership;
    let work = async {
        let held = match begin {
            Begin::Known(held) => {
                shared.progress.send_replace(Progress::Joined);
                held
            }
            Begin::Stranger(ticket) => match enrol(&shared, &ticket).await {
                Ok(held) => {
                    shared.progress.send_replace(Progress::Joined);
                    held
                }
                Err(reason) => {
                    shared.progress.send_replace(Progress::Refused(reason));
                    // Nothing more to do; whoever waits for the access waits until the process ends.
                    return std::future::pending().await;
                }
            },
        };
        renew::keep(&shared, &link, held).await;
    };
    let _ = ending.run_until_cancelled(Box::pin(work)).await;
}

/// The token, read and looked at before it is shown to anybody.
fn ticket(token: Option<&JoinToken>) -> anyhow::Result<Ticket> {
    let text = match token {
        Some(JoinToken::Given(secret)) => secret.clone(),
        Some(JoinToken::File(path)) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("reading the join token from `{}`", path.display()))?;
            Secret::new(text.trim())
        }
        None => anyhow::bail!(
            "this node is no member of a fleet yet: give it a join token (--join-token, --join-token-file or \
             GATEWAY_JOIN_TOKEN); `gatewayctl node token create` makes one"
        ),
    };
    match decode_join(text.expose()) {
        Some(join) => Ok(Ticket { token: text, pin: join.pin }),
        None if matches!(check(text.expose()), Form::Ours(Prefix::Master | Prefix::VirtualKey)) => {
            anyhow::bail!(
                "that is no join token but another kind of key; `gatewayctl node token create` makes a join token"
            )
        }
        None => anyhow::bail!("the join token is mistyped or cut short; `gatewayctl node token create` makes another"),
    }
}

// === impl Member ===

impl Member {
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Returns only where the control plane refused to let this node join, with the reason.
    pub(crate) fn refused(&self) -> impl Future<Output = String> + Send + use<> {
        let mut progress = self.progress.clone();
        async move {
            let refused = progress.wait_for(|progress| matches!(progress, Progress::Refused(_))).await;
            let refused = refused.map(|progress| progress.clone());
            match refused {
                Ok(Progress::Refused(reason)) => reason,
                // The job is gone because the node stops.
                _ => std::future::pending().await,
            }
        }
    }

    pub async fn shutdown(self) {
        self.ending.cancel();
        // A panic in the job was reported by it.
        let _ = self.job.await;
    }
}
