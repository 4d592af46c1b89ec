//! Whom a call comes from, and what that allows: a node speaks for itself only, and only while it is a member.

use std::sync::Arc;
use std::time::Duration;

use gateway_wire::v1::{BodyBatch, Hello, LeaseAsk, LogBatch, MetricFrame, UsageBatch};
use tonic::{Request, Status};

use crate::clock;
use crate::members::Members;
use crate::peer::{Contact, Peer};

/// The caller of one call.
#[derive(Clone)]
pub(super) struct Speaker {
    peer: Peer,
    members: Option<Arc<Members>>,
}

/// What a node reports says of whom it is.
pub(super) trait Report {
    /// Names this node and no other.
    fn is_of(&self, node_id: &str) -> bool;
}

// === impl Speaker ===

impl Speaker {
    /// Refuses callers that may not use the channel.
    pub(super) fn of<T>(request: &Request<T>, members: Option<&Arc<Members>>) -> Result<Self, Status> {
        let Contact { peer, .. } = Contact::of(request)?;
        match (&peer, members) {
            (Peer::Local, _) => {}
            (Peer::Joining, _) | (Peer::Member(_), None) => {
                return Err(Status::unauthenticated(
                    "this takes the certificate of a node; enrol with a join token first",
                ));
            }
            (Peer::Member(identity), Some(members)) => {
                if members.is_revoked(&identity.node_id) {
                    return Err(revoked(&identity.node_id));
                }
                if !identity.is_current(clock::unix_ms()) {
                    return Err(over(&identity.node_id));
                }
            }
        }
        Ok(Self { peer, members: members.cloned() })
    }

    /// The node has said its name. What its token has made of it is added to what it says itself.
    pub(super) async fn introduce(&self, hello: &mut Hello) -> Result<(), Status> {
        match (&self.peer, &self.members) {
            (Peer::Local, Some(members)) => members.note_local(&hello.node_id),
            (Peer::Member(identity), Some(members)) => {
                self.check_name(&identity.node_id, hello.node_id == identity.node_id)?;
                hello.labels.extend(members.labels(&identity.node_id).await);
            }
            _ => {}
        }
        Ok(())
    }

    pub(super) fn check(&self, report: &impl Report) -> Result<(), Status> {
        match &self.peer {
            Peer::Member(identity) => self.check_name(&identity.node_id, report.is_of(&identity.node_id)),
            Peer::Local | Peer::Joining => Ok(()),
        }
    }

    /// Returns when the caller may not go on, with the reason.
    pub(super) async fn cut(&self) -> Status {
        let (Peer::Member(identity), Some(members)) = (&self.peer, &self.members) else {
            return std::future::pending().await;
        };
        let left_ms = identity.not_after_ms - clock::unix_ms();
        let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
        tokio::select! {
            () = members.until_revoked(&identity.node_id) => revoked(&identity.node_id),
            () = tokio::time::sleep(left) => over(&identity.node_id),
        }
    }

    fn check_name(&self, node_id: &str, is_own: bool) -> Result<(), Status> {
        if is_own {
            return Ok(());
        }
        tracing::warn!(node = node_id, "a node speaks for another and is refused");
        Err(Status::permission_denied(format!(
            "the certificate is that of `{node_id}`, who may speak for no other node"
        )))
    }
}

fn revoked(node_id: &str) -> Status {
    let message =
        format!("the node `{node_id}` was revoked; to bring the machine back, enrol it with an empty data directory");
    Status::permission_denied(message)
}

fn over(node_id: &str) -> Status {
    Status::unauthenticated(format!("the certificate of `{node_id}` has run out; renew it"))
}

// === impl Report ===

impl Report for UsageBatch {
    fn is_of(&self, node_id: &str) -> bool {
        self.node_id == node_id
    }
}

impl Report for LogBatch {
    fn is_of(&self, node_id: &str) -> bool {
        self.node_id == node_id && self.records.iter().all(|record| record.node_id == node_id)
    }
}

impl Report for BodyBatch {
    fn is_of(&self, node_id: &str) -> bool {
        self.node_id == node_id
    }
}

impl Report for LeaseAsk {
    fn is_of(&self, node_id: &str) -> bool {
        self.node_id == node_id
    }
}

impl Report for MetricFrame {
    fn is_of(&self, node_id: &str) -> bool {
        self.node_id == node_id
    }
}
