//! The ledger is the control plane's: asked over a stream of its own, which comes back by itself.

use std::sync::Arc;
use std::time::Instant;

use gateway_wire::v1::fleet_client::FleetClient;
use gateway_wire::v1::{LeaseAsk, LeaseGrant};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::rates::Talk;
use super::teller::Teller;
use super::{EVERY, Leases};
use crate::backoff::Backoff;
use crate::clock;
use crate::link::Link;

/// One message at a time is on its way.
struct Conversation {
    asks: mpsc::Sender<LeaseAsk>,
    answers: Streaming<LeaseGrant>,
    is_asked: bool,
}

/// How many nodes share rates.
pub(super) type Nodes = Box<dyn Fn() -> u32 + Send + Sync>;

pub(super) async fn run(leases: Arc<Leases>, mut teller: Teller, link: Link, n_nodes: Nodes) {
    let mut backoff = Backoff::default();
    while !leases.ending.is_cancelled() {
        let began = Instant::now();
        let status = match converse(&leases, &mut teller, &link, &*n_nodes).await {
            Ok(()) => return,
            Err(status) => status,
        };
        link.notice(&status);
        leases.purses.silent(clock::unix_ms());
        let wait = backoff.next(began.elapsed());
        tracing::debug!("the ledger of budgets cannot be asked, trying again in {wait:?}: {}", status.message());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = link.opened() => {}
            () = leases.ending.cancelled() => {}
        }
    }
}

/// Ends well when the node ends and has given back what it had.
async fn converse(
    leases: &Leases,
    teller: &mut Teller,
    link: &Link,
    n_nodes: &(dyn Fn() -> u32 + Send + Sync),
) -> Result<(), Status> {
    let (asks, receiver) = mpsc::channel(1);
    let mut client = FleetClient::new(link.channel());
    // It is answered when the first message has come.
    send(leases, &asks, teller.greeting()).await?;
    let opened = tokio::select! {
        opened = client.lease(ReceiverStream::new(receiver)) => opened?,
        () = leases.ending.cancelled() => return Ok(()),
    };
    let mut conversation = Conversation { asks, answers: opened.into_inner(), is_asked: true };
    let mut talk = Talk::new(&leases.rates, n_nodes, Instant::now());
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        conversation.say(leases, teller, &mut talk).await?;
        let later = teller.waits(Instant::now()).filter(|_| !conversation.is_asked);
        tokio::select! {
            answer = conversation.answers.message() => {
                let Some(answer) = answer? else { return Err(Status::unavailable("the control plane closed the stream")) };
                conversation.is_asked = false;
                teller.answered(&answer, clock::unix_ms());
                talk.answered(&answer);
                leases.answered();
            }
            () = leases.noted.notified() => {}
            () = tokio::time::sleep(later.unwrap_or(EVERY)) => {}
            _ = tick.tick() => teller.look(Instant::now(), clock::unix_ms()),
            () = leases.ending.cancelled() => return conversation.end(leases, teller).await,
        }
    }
}

async fn send(leases: &Leases, asks: &mpsc::Sender<LeaseAsk>, ask: LeaseAsk) -> Result<(), Status> {
    leases.purses.silent(clock::unix_ms());
    asks.send(ask).await.map_err(|_| Status::unavailable("the control plane closed the stream"))
}

// === impl Conversation ===

impl Conversation {
    async fn say(&mut self, leases: &Leases, teller: &mut Teller, talk: &mut Talk<'_>) -> Result<(), Status> {
        if self.is_asked {
            return Ok(());
        }
        let now = Instant::now();
        if let Some(ask) = talk.add(teller.next(now), || teller.bare(), now) {
            send(leases, &self.asks, ask).await?;
            self.is_asked = true;
        }
        Ok(())
    }

    /// Gives back what is not spent, and waits until that is known.
    async fn end(&mut self, leases: &Leases, teller: &mut Teller) -> Result<(), Status> {
        loop {
            if self.is_asked {
                let Some(answer) = self.answers.message().await? else { return Ok(()) };
                self.is_asked = false;
                teller.answered(&answer, clock::unix_ms());
                continue;
            }
            teller.give_back_all();
            match teller.next(Instant::now()) {
                Some(ask) => send(leases, &self.asks, ask).await?,
                None => return Ok(()),
            }
            self.is_asked = true;
        }
    }
}
