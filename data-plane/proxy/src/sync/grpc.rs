//! Configuration over the fleet channel: connect, say what is held, feed the state machine, apply, answer; again and again.

use std::path::Path;
use std::time::Duration;

use gateway_wire::v1::fleet_client::FleetClient;
use gateway_wire::v1::node_msg::Msg as Sent;
use gateway_wire::v1::{ControlMsg, Heartbeat, Hello, NodeMsg, control_msg};
use gateway_wire::{FEATURES, SCHEMA};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::disk::{CLASSES, Found, Keep, Keeper, seed};
use super::holder::{Holder, Leave, log_refusal};
use super::state::{Replica, Target};
use crate::backoff::Backoff;
use crate::clock;
use crate::telemetry::Reporter;

const HEARTBEAT: Duration = Duration::from_secs(5);
/// News between heartbeats are told at most this often.
const NEWS: Duration = Duration::from_secs(1);
/// A node that has nothing to serve by looks for a control plane at least this often.
const IMPATIENCE: Duration = Duration::from_secs(1);
/// Acknowledgements are bounded by what the control plane sends without waiting for them; this holds all of them.
const OUTBOUND: usize = 64;

/// The node's end of the `Sync` stream.
pub struct Subscriber<T: Target> {
    reporter: Reporter,
    holder: Holder<T>,
    contact: watch::Sender<Contact>,
}

/// How it stands with the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// Nothing is known yet.
    Unknown,
    /// It has confirmed that what serves is the newest.
    Current,
    /// It could not be reached, or was lost.
    Lost,
}

/// How a connection ended.
enum End {
    Stopped,
    /// Come back after this time; the count of failures does not matter.
    Away(Duration, String),
    Broken(Status),
}

// === impl Subscriber ===

impl<T: Target> Subscriber<T> {
    /// Keeps nothing on disk.
    pub fn new(mut reporter: Reporter, replica: Replica, target: T) -> Self {
        let holder = Holder::new(replica, target, reporter.warnings.clone(), reporter.applied.take());
        Self { reporter, holder, contact: watch::Sender::new(Contact::Unknown) }
    }

    /// Serves what is on disk, or the seed where there is nothing, and keeps what comes from now on. True where both classes
    /// serve now. A seed that is asked for and cannot be used is an error; anything that is wrong with the disk is not.
    pub async fn resume(&mut self, keep: &Keep) -> anyhow::Result<bool> {
        let (keeper, shelf) = Keeper::open(keep).await;
        for damage in &shelf.damage {
            tracing::error!("last known good: {damage}");
        }
        if let Some(standing) = self.holder.standing() {
            standing.damaged(shelf.damage.len() as u64);
        }
        let is_bare = shelf.found.is_empty() && shelf.damage.is_empty();
        self.holder.keep(keeper);
        let mut n_served = 0;
        // Identity first: once the topology serves, so may requests.
        for found in shelf.found.into_iter().rev() {
            let (class, revision) = (found.class.word(), found.revision);
            match self.holder.restore(found) {
                Ok(()) => n_served += 1,
                Err(errors) => {
                    log_refusal(class, revision, &errors);
                    tracing::error!("{class} on disk cannot serve; was it written by a newer version?");
                }
            }
        }
        if let (true, Some(path)) = (is_bare, &keep.seed) {
            self.plant(path, keep).await?;
            n_served = CLASSES.len();
        }
        Ok(n_served == CLASSES.len())
    }

    /// Serves an exported configuration, and keeps it.
    async fn plant(&mut self, path: &Path, keep: &Keep) -> anyhow::Result<()> {
        let configuration = seed(path, keep.state_key.as_ref())?;
        let mut wholes = Vec::new();
        for (class, part) in CLASSES.into_iter().zip([configuration.topology, configuration.identity]).rev() {
            let (epoch, revision, items) = (configuration.epoch.clone(), part.revision, part.items);
            let found = Found { class, epoch, revision, items: items.clone(), confirmed_unix_ms: None };
            self.holder.restore(found).map_err(|errors| {
                log_refusal(class.word(), revision, &errors);
                anyhow::anyhow!("the seed snapshot `{}` cannot serve on this version, see above", path.display())
            })?;
            wholes.push((class, items));
        }
        while !self.holder.is_counted() {
            let due = self.holder.due().await;
            self.holder.see_to(due);
        }
        for (class, items) in wholes {
            self.holder.keep_whole(class, items);
        }
        tracing::info!("`{}` serves until a control plane is there", path.display());
        Ok(())
    }

    pub fn contact(&self) -> watch::Receiver<Contact> {
        self.contact.subscribe()
    }

    /// Runs until `ending`; then it says what it has come to hold, which is on disk where that is kept.
    pub async fn run(mut self, channel: Channel, ending: CancellationToken) -> (Replica, T) {
        let mut backoff = Backoff::of(&self.reporter.identity.boot_id);
        loop {
            let began = Instant::now();
            let wait = match self.connection(FleetClient::new(channel.clone()), &ending).await {
                End::Stopped => break,
                End::Away(after, reason) => {
                    tracing::info!("reconnecting to the control plane in {after:?}: {reason}");
                    self.reporter.link.leave();
                    after
                }
                End::Broken(status) => {
                    self.reporter.link.notice(&status);
                    let wait = self.patience(backoff.next(began.elapsed()));
                    tracing::warn!("no control plane, trying again in {wait:?}: {}", status.message());
                    wait
                }
            };
            self.contact.send_replace(Contact::Lost);
            if self.beside(tokio::time::sleep(wait), &ending).await.is_none() {
                break;
            }
        }
        self.holder.close().await
    }

    fn patience(&self, wait: Duration) -> Duration {
        let can_serve = CLASSES.into_iter().all(|class| self.holder.holds(class));
        if can_serve { wait } else { wait.min(IMPATIENCE) }
    }

    /// Waits for something, and sees to the holder meanwhile. `None` when it is time to end.
    async fn beside<O>(&mut self, awaited: impl Future<Output = O>, ending: &CancellationToken) -> Option<O> {
        let mut awaited = std::pin::pin!(awaited);
        loop {
            tokio::select! {
                biased;
                () = ending.cancelled() => return None,
                due = self.holder.due() => drop(self.holder.see_to(due)),
                done = &mut awaited => return Some(done),
            }
        }
    }

    async fn connection(&mut self, client: FleetClient<Channel>, ending: &CancellationToken) -> End {
        let (sender, outbound) = mpsc::channel(OUTBOUND);
        let mut inbound = match self.open(client, &sender, outbound, ending).await {
            Some(Ok(inbound)) => inbound,
            Some(Err(status)) => return End::Broken(status),
            None => return End::Stopped,
        };
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut may_tell_at = Instant::now();
        loop {
            let replies = tokio::select! {
                // What is rare goes first, so that a talkative control plane holds up none of it.
                biased;
                () = ending.cancelled() => return End::Stopped,
                _ = heartbeat.tick() => vec![Sent::Heartbeat(self.heartbeat())],
                due = self.holder.due() => self.holder.see_to(due),
                received = inbound.message() => match received {
                    Ok(Some(received)) => match self.receive(received.msg) {
                        Ok(replies) => replies,
                        Err(Leave { after, reason }) => return End::Away(after, reason),
                    },
                    Ok(None) => return End::Broken(Status::unavailable("the control plane closed the stream")),
                    Err(status) => return End::Broken(status),
                },
            };
            for reply in replies {
                let is_heartbeat = matches!(reply, Sent::Heartbeat(_));
                // A full channel says that nobody reads; of heartbeats the next one is as good, and the keep-alive finds out.
                // One that listens no more has still said why.
                if let Err(TrySendError::Full(_)) = sender.try_send(message(reply))
                    && !is_heartbeat
                {
                    return End::Broken(Status::unavailable("the control plane takes no answers"));
                }
            }
            if Instant::now() >= may_tell_at && self.holder.take_news() {
                may_tell_at = Instant::now() + NEWS;
                heartbeat.reset();
                let _ = sender.try_send(message(Sent::Heartbeat(self.heartbeat())));
            }
        }
    }

    /// Opens the stream and says what is held, as soon as that has been counted: a control plane that is away is found out
    /// before. `None` when it is time to end.
    async fn open(
        &mut self,
        mut client: FleetClient<Channel>,
        sender: &mpsc::Sender<NodeMsg>,
        outbound: mpsc::Receiver<NodeMsg>,
        ending: &CancellationToken,
    ) -> Option<Result<Streaming<ControlMsg>, Status>> {
        let mut opening = std::pin::pin!(client.sync(ReceiverStream::new(outbound)));
        let (mut inbound, mut is_greeted) = (None, false);
        loop {
            if !is_greeted && self.holder.is_counted() {
                // The channel is new and empty.
                let _ = sender.try_send(message(Sent::Hello(self.hello())));
                is_greeted = true;
            }
            if is_greeted && let Some(inbound) = inbound {
                return Some(Ok(inbound));
            }
            tokio::select! {
                biased;
                () = ending.cancelled() => return None,
                due = self.holder.due() => drop(self.holder.see_to(due)),
                opened = &mut opening, if inbound.is_none() => match opened {
                    Ok(response) => inbound = Some(response.into_inner()),
                    Err(status) => return Some(Err(status)),
                },
            }
        }
    }

    /// Answers to one message.
    fn receive(&mut self, received: Option<control_msg::Msg>) -> Result<Vec<Sent>, Leave> {
        // A message that a later version has and this one does not.
        let Some(received) = received else { return Ok(Vec::new()) };
        let replies = self.holder.receive(received)?;
        if self.holder.is_current() && *self.contact.borrow() != Contact::Current {
            self.contact.send_replace(Contact::Current);
        }
        Ok(replies)
    }

    fn hello(&mut self) -> Hello {
        Hello {
            node_id: self.reporter.identity.node_id().to_string(),
            boot_id: self.reporter.identity.boot_id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema: SCHEMA,
            features: FEATURES.iter().map(|feature| (*feature).to_owned()).collect(),
            labels: self.reporter.labels.clone().into_iter().collect(),
            have: self.holder.connected(),
        }
    }

    fn heartbeat(&mut self) -> Heartbeat {
        Heartbeat {
            state: self.holder.have(),
            inflight: (self.reporter.frames)().inflight,
            spool: Some((self.reporter.spool)()),
            clock_unix_ms: clock::unix_ms(),
            warnings: self.reporter.warnings.list(),
        }
    }
}

fn message(msg: Sent) -> NodeMsg {
    NodeMsg { msg: Some(msg) }
}

#[cfg(test)]
mod tests {
    use gateway_model::kind::Kind;

    use super::*;

    #[test]
    fn every_kind_is_announced() {
        // What is not announced is not sent: the node would stay on the revision before.
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_for_nodes()) {
            assert!(FEATURES.contains(&kind.name()), "{kind}");
        }
    }
}
