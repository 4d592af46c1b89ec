//! Joining: a token becomes a certificate. The token is shown only to a control plane that holds the key of the authority
//! which the token names.

use std::time::Duration;

use gateway_model::secret::Secret;
use gateway_wire::v1::EnrolRequest;

use super::call::{self, Trouble, checked};
use super::certificate::Key;
use super::renew::Held;
use super::tls::{self, Pin};
use super::{Progress, Shared};
use crate::backoff::Backoff;
use crate::clock;

/// Ids that are tried before it is taken for an answer that they are taken.
const MAX_IDS: u32 = 3;

/// What lets a node in.
pub(super) struct Ticket {
    pub(super) token: Secret,
    /// Of the authority that may see the token.
    pub(super) pin: Pin,
}

/// Tries until it has an answer. The error says why this node is not let in and what to do.
pub(super) async fn enrol(shared: &Shared, ticket: &Ticket) -> Result<Held, String> {
    let (mut backoff, mut n_taken, mut turn) = (Backoff::default(), 0, 0_usize);
    loop {
        match attempt(shared, ticket, turn).await {
            Ok(held) => return Ok(held),
            Err(Trouble::Taken) if n_taken + 1 < MAX_IDS => {
                n_taken += 1;
                let taken = shared.identity.node_id();
                let node_id = shared.identity.renew();
                tracing::warn!("another node of the fleet is known as `{taken}`; this one is now `{node_id}`");
            }
            Err(Trouble::Taken) => return Err(refused("every id of this node is taken")),
            Err(Trouble::Refused(reason)) => return Err(refused(&reason)),
            Err(Trouble::Away(reason)) => {
                shared.standing.waiting_to_join(&reason);
                shared.progress.send_replace(Progress::Waiting);
                tokio::time::sleep(backoff.next(Duration::ZERO)).await;
                turn = turn.wrapping_add(1);
            }
        }
    }
}

fn refused(reason: &str) -> String {
    format!(
        "the fleet does not let this node in: {reason}; check --fleet-url, and take a new join token of that fleet \
         (`gatewayctl node token create`)"
    )
}

async fn attempt(shared: &Shared, ticket: &Ticket, turn: usize) -> Result<Held, Trouble> {
    let connected = call::connect(&shared.remote.urls, turn, &tls::stranger(ticket.pin)).await;
    // Where somebody of the fleet may yet answer, a stranger at one address does not decide.
    let mut client = connected.map_err(|none| match none.is_foreign {
        true => Trouble::Refused(none.reasons),
        false => Trouble::Away(none.reasons),
    })?;
    let key = Key::generate().map_err(Trouble::Refused)?;
    let request = EnrolRequest {
        token: ticket.token.expose().to_owned(),
        csr: key.request().map_err(Trouble::Refused)?,
        node_id: shared.identity.node_id().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        labels: shared.labels.clone().into_iter().collect(),
    };
    let membership = call::answer(client.enrol(request)).await?;
    let (ours_ms, theirs_ms) = (clock::unix_ms(), membership.unix_ms);
    let wrong = |what: String| Trouble::Refused(format!("its answer cannot be used: {what}"));
    let credentials = checked(membership, key).map_err(wrong)?;
    if tls::fingerprint(&credentials.ca) != ticket.pin {
        return Err(wrong("the authority in it is not the one that the join token names".to_owned()));
    }
    let held = Held::received(credentials, ours_ms, theirs_ms).map_err(wrong)?;
    shared.took(&held);
    tracing::info!("joined the fleet as `{}`", shared.identity.node_id());
    Ok(held)
}
