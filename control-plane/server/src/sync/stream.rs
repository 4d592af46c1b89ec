//! One node's `Sync` stream: a task that sends what the node needs when the node can take it, and hears what it answers.
//! It waits for its own node only.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use gateway_model::kind;
use gateway_wire::SCHEMA;
use gateway_wire::v1::control_msg::Msg;
use gateway_wire::v1::node_msg::Msg as Received;
use gateway_wire::v1::{
    Ack, Bookmark, BucketRequest, Class, ControlMsg, Heartbeat, Hello, Incompatible, NodeMsg, Redirect,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::balance::{Balance, Place};
use super::session::{Answer, Need, Session, Standing};
use super::speaker::Speaker;
use crate::fleet::{Fleet, Seat, check_id, check_words};
use crate::publish::{Head, Publisher};

const HELLO: Duration = Duration::from_secs(10);
const BOOKMARK: Duration = Duration::from_secs(10);
/// A node that takes nothing for so long is let go; it comes back and gets everything merged.
const STUCK: Duration = Duration::from_secs(30);
/// How soon the database is asked again whether a node's epoch or ours is the one there is.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Streams end after about this time, so that nodes spread over replicas again.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);
/// A node that is sent away comes back within this time.
const COME_BACK: u32 = 2000;

/// What a stream works with.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) publisher: Arc<Publisher>,
    pub(super) fleet: Arc<Fleet>,
    /// Snapshots that may be on their way at a time.
    pub(super) admission: Arc<Semaphore>,
    pub(super) balance: Arc<Balance>,
    pub(super) stop: CancellationToken,
}

pub(super) type Outbound = mpsc::Sender<Result<ControlMsg, Status>>;

/// One node, connected.
struct Stream {
    context: Context,
    session: Session,
    seat: Seat,
    place: Place,
    outbound: Outbound,
    /// The stream's own: nodes must not come back in step.
    chance: StdRng,
    /// Classes whose hash the node has not been told on this stream: what it brought along may have drifted.
    untold: Vec<kind::Class>,
    /// A snapshot is held back until the database says that it is the right one.
    holds_back: bool,
}

/// Serves a node until either side ends it.
pub(super) async fn serve(context: Context, speaker: Speaker, mut inbound: Streaming<NodeMsg>, outbound: Outbound) {
    let stop = context.stop.clone();
    let served = async {
        let hello = tokio::time::timeout(HELLO, inbound.message()).await;
        let hello = hello.map_err(|_| Status::deadline_exceeded("no `Hello` came"))??;
        let Some(NodeMsg { msg: Some(Received::Hello(mut hello)) }) = hello else {
            return Err(Status::invalid_argument("the first message must be a `Hello`"));
        };
        check(&hello)?;
        speaker.introduce(&mut hello).await?;
        let seat = context.fleet.connect(&hello, |class| context.publisher.head(class).epoch);
        let session = Session::new(&hello, |class| seat.refused(class));
        let node = &hello.node_id;
        tracing::info!(node, version = hello.version, "node connected");
        let (place, untold) = (context.balance.take(), kind::Class::ALL.to_vec());
        let chance = chance(&hello, &place);
        let mut stream =
            Stream { context, session, seat, place, outbound: outbound.clone(), chance, untold, holds_back: false };
        let ended = stream.run(inbound).await;
        tracing::info!(node, "node disconnected");
        ended
    };
    let ended = tokio::select! {
        biased;
        ended = served => ended,
        cut = speaker.cut() => Err(cut),
        () = stop.cancelled() => Err(Status::unavailable("the control plane is stopping")),
    };
    if let Err(status) = ended {
        // Nobody may be there to hear it.
        let _ = outbound.try_send(Err(status));
    }
}

/// Whether this node can be talked to.
fn check(hello: &Hello) -> Result<(), Status> {
    let known = [SCHEMA.saturating_sub(1), SCHEMA];
    if !known.contains(&hello.schema) {
        let message = format!(
            "this control plane speaks version {SCHEMA} of the contract and the one before, the node speaks {}; upgrade the older one",
            hello.schema
        );
        return Err(Status::failed_precondition(message));
    }
    check_words(
        hello.labels.iter().flat_map(|(name, value)| [name, value]).chain(&hello.features).chain([&hello.version]),
    )?;
    check_id(&hello.node_id)?;
    check_id(&hello.boot_id)
}

// === impl Stream ===

impl Stream {
    async fn run(&mut self, mut inbound: Streaming<NodeMsg>) -> Result<(), Status> {
        let publisher = Arc::clone(&self.context.publisher);
        let mut bookmark = tokio::time::interval_at(Instant::now() + BOOKMARK, BOOKMARK);
        bookmark.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end_at = Instant::now() + MAX_AGE.mul_f64(self.chance.random_range(0.8..1.2));
        let replaced = self.seat.replaced();
        let mut n_nodes = self.context.balance.n_nodes();
        loop {
            // Before it is looked at what there is, so that nothing comes in between.
            let mut news = pin!(publisher.news());
            news.as_mut().enable();
            self.holds_back = false;
            // Identity first: a revocation does not wait behind a large topology.
            for class in [kind::Class::Identity, kind::Class::Topology] {
                self.send_needed(class).await?;
            }
            let untold = std::mem::take(&mut self.untold);
            self.untold = self.send_bookmarks(&untold).await?;
            tokio::select! {
                // What is rare goes first, so that a talkative node holds up none of it.
                biased;
                () = replaced.cancelled() => {
                    return Err(Status::aborted("another connection of the same node has taken over"));
                }
                () = tokio::time::sleep_until(end_at) => return self.redirect().await,
                () = self.place.excess() => return self.redirect().await,
                // Not at once: what is new goes first.
                _ = bookmark.tick() => self.untold = kind::Class::ALL.to_vec(),
                () = tokio::time::sleep(ASK_AGAIN), if self.holds_back => {}
                // The balance outlives its streams.
                _ = n_nodes.changed() => self.untold = kind::Class::ALL.to_vec(),
                () = news => {}
                received = inbound.message() => match received? {
                    Some(NodeMsg { msg: Some(received) }) => self.receive(received).await?,
                    // A message of a later version.
                    Some(NodeMsg { msg: None }) => {}
                    None => return Ok(()),
                },
            }
        }
    }

    /// To another replica, if the node knows one; else it comes back here.
    async fn redirect(&mut self) -> Result<(), Status> {
        let retry_after_ms = self.chance.random_range(0..COME_BACK);
        self.send(Msg::Redirect(Redirect { endpoint: String::new(), retry_after_ms })).await
    }

    /// Everything that the node can take now.
    async fn send_needed(&mut self, class: kind::Class) -> Result<(), Status> {
        loop {
            let head = self.context.publisher.head(class);
            match self.session.need(wire(class), &head) {
                Need::Nothing => return Ok(()),
                Need::Delta { from } => match self.context.publisher.delta(class, from).await {
                    Some(mut delta) => {
                        delta.nonce = self.session.sends(wire(class), &delta.epoch, delta.to_revision);
                        self.seat.sends(wire(class), "delta");
                        self.send(Msg::Delta(delta)).await?;
                    }
                    None => self.send_snapshot(class).await?,
                },
                Need::Snapshot if self.is_outdated(class, &head).await => {
                    self.holds_back = true;
                    return Ok(());
                }
                Need::Snapshot => self.send_snapshot(class).await?,
                Need::Incompatible { missing } => {
                    self.session.told_incompatible(wire(class), head.revision);
                    self.seat.incompatible(wire(class), head.revision, &missing);
                    let (class, revision) = (wire(class).into(), head.revision);
                    self.send(Msg::Incompatible(Incompatible { class, revision, features: missing })).await?;
                }
            }
        }
    }

    /// Whether the node has another epoch and the database does not say that ours is the one there is. Then the node keeps what
    /// it has: an epoch has no order, and a replica that is cut off must not take it back to the one before.
    async fn is_outdated(&self, class: kind::Class, head: &Head) -> bool {
        self.session.standing(wire(class), head) == Standing::Elsewhere
            && self.context.publisher.newest().await.is_none_or(|heads| heads.epoch != head.epoch)
    }

    async fn send_snapshot(&mut self, class: kind::Class) -> Result<(), Status> {
        let admission = Arc::clone(&self.context.admission);
        let _place = admission.acquire().await.map_err(|_| Status::unavailable("the control plane is stopping"))?;
        let snapshot = self.context.publisher.snapshot(class).await.map_err(|error| unavailable(&error))?;
        let nonce = self.session.sends(wire(class), &snapshot.epoch, snapshot.revision);
        self.seat.sends(wire(class), "snapshot");
        for message in snapshot.messages(wire(class), nonce) {
            self.send(message).await?;
        }
        Ok(())
    }

    /// To nodes that have all of those classes that they can have; returns the classes of which that is not so yet.
    async fn send_bookmarks(&mut self, classes: &[kind::Class]) -> Result<Vec<kind::Class>, Status> {
        let mut untold = Vec::new();
        for &class in classes {
            let publisher = &self.context.publisher;
            let head = publisher.head(class);
            let is_true = match self.session.standing(wire(class), &head) {
                Standing::Known => true,
                // It is told that the database is behind it, and not that this replica is.
                Standing::Ahead => {
                    let newest = publisher.newest().await;
                    newest.is_some_and(|heads| heads.epoch == head.epoch && heads.of(class) == head.revision)
                }
                Standing::Elsewhere => false,
            };
            if is_true && self.session.is_quiet(wire(class)) {
                let live_nodes = *self.context.balance.n_nodes().borrow();
                self.send(Msg::Bookmark(Bookmark { live_nodes, ..publisher.bookmark(class) })).await?;
            } else {
                untold.push(class);
            }
        }
        Ok(untold)
    }

    async fn receive(&mut self, received: Received) -> Result<(), Status> {
        match received {
            Received::Hello(_) => return Err(Status::invalid_argument("a second `Hello`")),
            Received::Ack(ack) => self.acked(&ack),
            Received::Heartbeat(heartbeat) => self.heartbeat(heartbeat),
            Received::Resync(resync) => {
                if let Some(have) = &resync.have
                    && have.class() != Class::Unspecified
                {
                    tracing::info!(node = self.seat.node(), reason = resync.reason, "node starts over");
                    self.session.resync(have);
                }
            }
            Received::Buckets(request) => self.repair(&request).await?,
        }
        Ok(())
    }

    fn heartbeat(&mut self, heartbeat: Heartbeat) {
        for class in kind::Class::ALL {
            let head = self.context.publisher.head(class);
            if let Some(state) = heartbeat.state.iter().find(|state| state.class() == wire(class))
                && state.epoch == head.epoch
            {
                self.seat.holds(state, state.revision > head.revision);
            }
        }
        self.seat.heartbeat(heartbeat);
    }

    fn acked(&mut self, ack: &Ack) {
        match self.session.acked(ack) {
            Answer::Applied { revision } => self.seat.applied(ack, revision),
            Answer::Refused(refused) => self.seat.refuses(ack, refused),
            // Unasked: the node tells that it is ahead of this database, or that a repair went in.
            Answer::Stray if ack.nonce == 0 => self.seat.told(ack),
            Answer::Stray => {}
        }
    }

    async fn repair(&mut self, request: &BucketRequest) -> Result<(), Status> {
        let Some(class) = kind::Class::ALL.into_iter().find(|class| wire(*class) == request.class()) else {
            return Ok(());
        };
        let publisher = Arc::clone(&self.context.publisher);
        match publisher.repair(class, request.revision, &request.bucket_hashes) {
            Some(repair) => {
                tracing::warn!(
                    node = self.seat.node(),
                    class = class.name(),
                    n_buckets = repair.buckets.len(),
                    "node has drifted"
                );
                self.send(Msg::Repair(repair)).await
            }
            // It is behind, and gets what is newer; or too much differs to be mended piece by piece.
            None if request.revision == publisher.head(class).revision => self.send_snapshot(class).await,
            None => Ok(()),
        }
    }

    async fn send(&mut self, message: Msg) -> Result<(), Status> {
        let message = Ok(ControlMsg { msg: Some(message) });
        match tokio::time::timeout(STUCK, self.outbound.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Status::cancelled("the node has gone")),
            Err(_) => Err(Status::deadline_exceeded("the node takes nothing; it may come back and start where it is")),
        }
    }
}

/// By who the node is and which of its connections this is: no two are alike, and a run that is repeated goes the same way.
fn chance(hello: &Hello, place: &Place) -> StdRng {
    let mut hasher = DefaultHasher::new();
    (&hello.node_id, &hello.boot_id, place.number()).hash(&mut hasher);
    StdRng::seed_from_u64(hasher.finish())
}

fn wire(class: kind::Class) -> Class {
    match class {
        kind::Class::Topology => Class::Topology,
        kind::Class::Identity => Class::Identity,
    }
}

fn unavailable(error: &anyhow::Error) -> Status {
    tracing::error!("cannot serve a node: {error:#}");
    Status::unavailable("the control plane cannot read its database")
}
