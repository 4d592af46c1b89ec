//! Configuration over the fleet channel: connect, say what is held, feed the state machine, apply, answer; again and again.

use std::time::Duration;

use gateway_wire::v1::fleet_client::FleetClient;
use gateway_wire::v1::node_msg::Msg as Sent;
use gateway_wire::v1::{Heartbeat, Hello, NodeMsg, control_msg};
use gateway_wire::{FEATURES, SCHEMA};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

use super::state::{Content, Replica, Step, Target, Update};
use crate::backoff::Backoff;
use crate::clock;
use crate::telemetry::Reporter;

const HEARTBEAT: Duration = Duration::from_secs(5);
/// Acknowledgements are bounded by what the control plane sends without waiting for them; this holds all of them.
const OUTBOUND: usize = 64;

/// The node's end of the `Sync` stream.
pub struct Subscriber<T> {
    pub reporter: Reporter,
    pub replica: Replica,
    pub target: T,
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
    /// Runs until `ending`; then it says what it has come to hold.
    pub async fn run(mut self, channel: Channel, ending: CancellationToken) -> Self {
        let mut backoff = Backoff::of(&self.reporter.identity.boot_id);
        loop {
            let began = Instant::now();
            let wait = match self.connection(FleetClient::new(channel.clone()), &ending).await {
                End::Stopped => return self,
                End::Away(after, reason) => {
                    tracing::info!("reconnecting to the control plane in {after:?}: {reason}");
                    self.reporter.link.leave();
                    after
                }
                End::Broken(status) => {
                    self.reporter.link.notice(&status);
                    let wait = backoff.next(began.elapsed());
                    tracing::warn!("no control plane, trying again in {wait:?}: {}", status.message());
                    wait
                }
            };
            if tokio::time::timeout(wait, ending.cancelled()).await.is_ok() {
                return self;
            }
        }
    }

    async fn connection(&mut self, mut client: FleetClient<Channel>, ending: &CancellationToken) -> End {
        let (sender, outbound) = mpsc::channel(OUTBOUND);
        let hello = self.hello();
        // The channel is new and empty.
        let _ = sender.try_send(message(Sent::Hello(hello)));
        let opened = tokio::select! {
            biased;
            opened = client.sync(ReceiverStream::new(outbound)) => opened,
            () = ending.cancelled() => return End::Stopped,
        };
        let mut inbound = match opened {
            Ok(response) => response.into_inner(),
            Err(status) => return End::Broken(status),
        };
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // What is rare goes first, so that a talkative control plane holds up none of it.
                biased;
                () = ending.cancelled() => return End::Stopped,
                _ = heartbeat.tick() => {
                    // A full channel says that nobody reads; the keep-alive finds out.
                    let _ = sender.try_send(message(Sent::Heartbeat(self.heartbeat())));
                }
                received = inbound.message() => {
                    let replies = match received {
                        Ok(Some(received)) => self.receive(received.msg),
                        Ok(None) => return End::Broken(Status::unavailable("the control plane closed the stream")),
                        Err(status) => return End::Broken(status),
                    };
                    match replies {
                        Ok(replies) => {
                            for reply in replies {
                                if sender.try_send(message(reply)).is_err() {
                                    return End::Broken(Status::unavailable("the control plane takes no answers"));
                                }
                            }
                        }
                        Err(end) => return end,
                    }
                }
            }
        }
    }

    /// Answers to one message.
    fn receive(&mut self, received: Option<control_msg::Msg>) -> Result<Vec<Sent>, End> {
        // A message that a later version has and this one does not.
        let Some(received) = received else { return Ok(Vec::new()) };
        match self.replica.receive(received) {
            Step::Nothing => Ok(Vec::new()),
            Step::Reply(reply) => Ok(vec![reply]),
            Step::Apply(update) => Ok(self.apply(*update)),
            Step::Leave { after, reason } => Err(End::Away(after, reason)),
        }
    }

    fn apply(&mut self, update: Update) -> Vec<Sent> {
        let began = Instant::now();
        let applied = match &update.content {
            Content::Topology(items) => self.target.topology(items, update.revision).map(|()| Vec::new()),
            Content::Identity { upsert, removed } => Ok(self.target.identity(upsert, removed)),
        };
        let apply_ms = u32::try_from(began.elapsed().as_millis()).unwrap_or(u32::MAX);
        let (class, revision) = (update.class.word(), update.revision);
        match applied {
            Ok(quarantined) => {
                tracing::info!("revision {revision} of {class} serves, applied in {apply_ms} ms");
                let class = update.class;
                let replies = self.replica.applied(update, quarantined, apply_ms);
                if let Some(applied) = &self.reporter.applied {
                    self.replica.have().iter().filter(|have| have.class() == class).for_each(applied);
                }
                replies
            }
            Err(errors) => {
                for error in &errors {
                    let (kind, name, path) = (&error.kind, &error.name, &error.field_path);
                    tracing::error!(
                        "revision {revision} of {class} is refused: {kind} `{name}` {path}: {}",
                        error.message
                    );
                }
                vec![self.replica.refused(&update, errors, apply_ms)]
            }
        }
    }

    fn hello(&mut self) -> Hello {
        Hello {
            node_id: self.reporter.identity.node_id().to_string(),
            boot_id: self.reporter.identity.boot_id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema: SCHEMA,
            features: FEATURES.iter().map(|feature| (*feature).to_owned()).collect(),
            labels: self.reporter.labels.clone().into_iter().collect(),
            have: self.replica.connected(),
        }
    }

    fn heartbeat(&mut self) -> Heartbeat {
        Heartbeat {
            state: self.replica.have(),
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
